from __future__ import annotations

import logging
from typing import Any

import pytest
import structlog
from qicore.logging import LogConfig, Logger, bound_contextvars
from qicore.logging.testing import MemoryDestination
from structlog.exceptions import DropEvent
from structlog.typing import EventDict


def with_processors(memory: MemoryDestination, *processors: Any) -> Logger:
    return Logger.create(LogConfig(destination=memory, format="json", processors=processors)).unwrap()


def test_raw_is_a_structlog_logger_that_goes_the_same_way(log: Logger, memory: MemoryDestination) -> None:
    raw = log.with_context(app="shop").raw
    assert isinstance(raw, structlog.BoundLoggerBase)
    with bound_contextvars(request="r"):
        raw.bind(more=1).warning("hello %s", "you", password="p", level="x")
    line = memory.lines()[0]
    del line["timestamp"]
    assert line == {
        "level": "warn", "event": "hello you", "request": "r", "app": "shop", "more": 1,
        "password": "[REDACTED]", "level_": "x",
    }  # fmt: skip


def test_raw_follows_the_level(log: Logger, memory: MemoryDestination) -> None:
    raw = log.raw.bind(a=1)
    log.set_level("error")
    raw.warning("no")
    assert not raw.is_enabled_for(logging.WARNING)
    assert raw.get_effective_level() == logging.ERROR
    log.set_level("debug")
    raw.debug("yes")
    raw.log(logging.CRITICAL, "and this")
    assert [(line["event"], line["level"]) for line in memory.lines()] == [
        ("yes", "debug"),
        ("and this", "fatal"),
    ]


async def test_raw_has_the_async_methods_and_exceptions(log: Logger, memory: MemoryDestination) -> None:
    await log.raw.ainfo("async", a=1)
    try:
        int("x")
    except ValueError:
        log.raw.exception("failed")
    first, second = memory.lines()
    assert (first["event"], first["a"]) == ("async", 1)
    assert second["level"] == "error"
    assert second["error"]["type"] == "ValueError"
    assert "Traceback" in second["exception"]


def test_processors_see_and_change_the_event(memory: MemoryDestination) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def look(_: object, method: str, event: EventDict) -> EventDict:
        seen.append((method, dict(event)))
        return {**event, "added": True, "token": "t"}

    log = with_processors(memory, look)
    log.warn("x", a=1)
    log.raw.warning("x", a=1)
    for method, event in seen:
        assert method == "warning"
        assert {"timestamp", "level", "event", "a"} == set(event)
    for line in memory.lines():
        assert (line["added"], line["token"]) == (True, "[REDACTED]")


def test_a_processor_may_drop_the_line(memory: MemoryDestination) -> None:
    def drop(_: object, __: str, event: EventDict) -> EventDict:
        if event["event"] == "noise":
            raise DropEvent
        return event

    log = with_processors(memory, drop)
    log.info("noise")
    log.raw.info("noise")
    log.info("signal")
    assert [line["event"] for line in memory.lines()] == ["signal"]
    assert log.stats.dropped == log.stats.failures == 0


def test_a_processor_that_fails_is_skipped_and_counted(
    memory: MemoryDestination, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object, __: str, event: EventDict) -> EventDict:
        raise RuntimeError("secret detail")

    def render(_: object, __: str, event: EventDict) -> str:
        return "done"

    def mark(_: object, __: str, event: EventDict) -> EventDict:
        return {**event, "marked": True}

    log = with_processors(memory, fail, render, mark)
    log.info("x")
    log.raw.info("x")
    assert [line["marked"] for line in memory.lines()] == [True, True]
    assert log.stats.failures == 4
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "RuntimeError" in told
    assert "secret detail" not in told


def test_structlogs_own_processors_fit(memory: MemoryDestination) -> None:
    log = with_processors(
        memory,
        structlog.processors.CallsiteParameterAdder({structlog.processors.CallsiteParameter.THREAD_NAME}),
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
    )
    try:
        int("x")
    except ValueError:
        log.info("x", exc_info=True)
    line = memory.lines()[0]
    assert line["thread_name"] == "MainThread"
    assert line["exception"].startswith("Traceback")
