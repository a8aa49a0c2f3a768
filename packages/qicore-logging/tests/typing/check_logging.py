"""Checked by mypy and pyright, never run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

from qicore.base import Failure, Result, Success
from qicore.logging import (
    LogConfig,
    Logger,
    LogLevel,
    LogStats,
    StandardHandler,
    bind_contextvars,
    carry_contextvars,
    get_contextvars,
)
from qicore.logging.testing import MemoryDestination, capture_logs
from structlog.typing import FilteringBoundLogger


def create() -> None:
    created = Logger.create(LogConfig(level=LogLevel.DEBUG, destination=Path("app.log")))
    assert_type(created, Result[Logger])
    match created.variant:
        case Success(log):
            assert_type(log, Logger)
        case Failure(error):
            assert_type(error.code, str)


def use(log: Logger) -> None:
    assert_type(log.info("x", any=1, thing=object()), None)
    assert_type(log.error("x", error=ValueError(), a=1), None)
    assert_type(log.debug_enabled, bool)
    assert_type(log.is_level_enabled("warn"), bool)
    assert_type(log.set_level(20), Result[None])
    assert_type(log.with_context({"a": 1}, b=2), Logger)
    assert_type(log.raw, FilteringBoundLogger)
    assert_type(log.stats, LogStats)
    assert_type(log.close(), Result[None])
    StandardHandler(log)


async def close(log: Logger) -> None:
    async with log as same:
        assert_type(same, Logger)
    assert_type(await log.close(), Result[None])


def variables() -> None:
    assert_type(bind_contextvars(a=1), None)
    assert_type(get_contextvars(), Mapping[str, object])

    def work(number: int) -> str:
        return str(number)

    assert_type(carry_contextvars(work)(1), str)


def testing(log: Logger) -> None:
    with capture_logs(log, level="debug") as lines:
        assert_type(lines, list[dict[str, Any]])
    LogConfig(destination=MemoryDestination())


LogConfig("info")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # options are given by name
LogConfig(format="xml")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not a format
LogConfig(destination=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not a destination
