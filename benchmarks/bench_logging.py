"""qicore.logging against structlog in its fast set-ups, the standard logging as JSON, and loguru, in one run.

Every enabled line has the time in ISO 8601, its level, the context variables and five fields, and goes to
/dev/null, so that what is timed is the work of the library and one system call.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import structlog
from harness import Suite
from loguru import logger as loguru
from pythonjsonlogger.json import JsonFormatter
from qicore.base import QiError
from qicore.logging import LogConfig, Logger, bind_contextvars, clear_contextvars
from structlog.typing import FilteringBoundLogger

FIELDS: dict[str, Any] = {"user": "ann", "order": 4711, "amount": 12.5, "paid": True, "country": "DE"}
CALLS = 1000


def loop_of(statement: str, **names: object) -> Callable[[], None]:
    """Return a function that runs a statement CALLS times, its names being locals."""
    source = f"def loop({', '.join(names)}):\n for _ in range({CALLS}):\n  {statement}\n"
    space: dict[str, Any] = {}
    exec(source, space)
    return lambda: space["loop"](**names)


class OsWriteLogger:
    """The least a structlog output can do: one system call."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def msg(self, line: bytes) -> None:
        os.write(self._fd, line + b"\n")

    debug = info = warning = error = critical = msg


def fused(_: object, method: str, event: structlog.typing.EventDict) -> bytes:
    """All of the documented processors' work in one: time, level, context variables, JSON."""
    event["level"] = method
    event["timestamp"] = datetime.now(UTC).isoformat()
    structlog.contextvars.merge_contextvars(None, method, event)
    return orjson.dumps(event)


def by_structlog(processors: list[Any], output: Any, level: int = logging.INFO) -> FilteringBoundLogger:
    bound: FilteringBoundLogger = structlog.wrap_logger(
        output, processors=processors, wrapper_class=structlog.make_filtering_bound_logger(level)
    ).bind()
    return bound


def documented() -> list[Any]:
    """The chain of structlog's page on performance."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(serializer=orjson.dumps),
    ]


def by_stdlib(name: str, formatter: logging.Formatter, null: Any) -> logging.Logger:
    logger = logging.getLogger(name)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    handler = logging.StreamHandler(null)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    return logger


def checks(suite: Suite, log: Logger, bound: FilteringBoundLogger, stdlib: logging.Logger) -> None:
    suite.compare(
        "level check, with its loop",
        {
            "bare loop": loop_of("pass"),
            "qicore log.debug_enabled": loop_of("log.debug_enabled", log=log),
            "qicore is_level_enabled": loop_of("log.is_level_enabled(10)", log=log),
            "structlog is_enabled_for": loop_of("log.is_enabled_for(10)", log=bound),
            "logging isEnabledFor": loop_of("log.isEnabledFor(10)", log=stdlib),
        },
        calls=CALLS,
        target="log.debug_enabled under 10 ns over the empty loop",
    )
    for what, arguments in (("3 fields", "'m', a=1, b=2, c=3"), ("no fields", "'m'")):
        contenders = {
            "qicore": loop_of(f"log.debug({arguments})", log=log),
            "qicore behind debug_enabled": loop_of(f"if log.debug_enabled: log.debug({arguments})", log=log),
            "structlog": loop_of(f"log.debug({arguments})", log=bound),
            "loguru": loop_of(f"log.debug({arguments})", log=loguru),
            "logging": loop_of(
                "log.debug('m', extra={'a': 1, 'b': 2, 'c': 3})" if "a=" in arguments else "log.debug('m')",
                log=stdlib,
            ),
        }
        suite.compare(f"disabled call, {what}", contenders, calls=CALLS, target="no slower than structlog")


def lines(suite: Suite, log: Logger, fd: int) -> None:
    null = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    binary = Path(os.devnull).open("wb")  # noqa: SIM115 - open as long as the process
    with_os_write = by_structlog([fused], OsWriteLogger(fd))
    with_bytes_logger = by_structlog([fused], structlog.BytesLogger(binary))
    as_documented = by_structlog(documented(), structlog.BytesLogger(binary))
    python_json = by_stdlib("bench.json", JsonFormatter("{levelname}{asctime}{message}", style="{"), null)
    through_stdlib = by_stdlib(
        "bench.structlog",
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *documented()]
        ),
        null,
    )
    formatted = structlog.wrap_logger(
        through_stdlib,
        processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
    ).bind()
    loguru.remove()
    loguru.add(null, serialize=True, level="INFO")
    raw = log.raw
    contenders: dict[str, Callable[[], object]] = {
        "qicore": lambda: log.info("order placed", **FIELDS),
        "structlog fused, os.write": lambda: with_os_write.info("order placed", **FIELDS),
        "structlog fused, BytesLogger": lambda: with_bytes_logger.info("order placed", **FIELDS),
        "structlog as documented": lambda: as_documented.info("order placed", **FIELDS),
        "qicore log.raw": lambda: raw.info("order placed", **FIELDS),
        "structlog ProcessorFormatter": lambda: formatted.info("order placed", **FIELDS),
        "python-json-logger": lambda: python_json.info("order placed", extra=FIELDS),
        "loguru": lambda: loguru.info("order placed", **FIELDS),
    }
    target = "no slower than structlog's fastest"
    suite.compare("enabled JSON line, 5 fields", contenders, target=target)


def with_variables(suite: Suite, log: Logger, fd: int) -> None:
    """Two variables, bound by the functions of each library: ours then also looks for structlog's."""
    binary = Path(os.devnull).open("wb")  # noqa: SIM115 - open as long as the process
    with_os_write = by_structlog([fused], OsWriteLogger(fd))
    as_documented = by_structlog(documented(), structlog.BytesLogger(binary))
    suite.compare(
        "enabled JSON line, 5 fields and 2 variables, structlog's too",
        {
            "qicore": lambda: log.info("order placed", **FIELDS),
            "structlog fused, os.write": lambda: with_os_write.info("order placed", **FIELDS),
            "structlog as documented": lambda: as_documented.info("order placed", **FIELDS),
        },
        target="no slower than structlog's fastest",
    )


def careful(suite: Suite, log: Logger) -> None:
    error = QiError.network("REFUSED", "connection refused", host="example.org")
    nested = {"headers": {"Authorization": "Bearer x", "Accept": "*/*"}, "path": ["a", "b"]}
    hostile = "line one\nline two\x1b[31m\u2028\u202e"
    suite.compare(
        "lines that need care",
        {
            "qicore, 5 plain fields": lambda: log.info("order placed", **FIELDS),
            "qicore, a secret among 5": lambda: log.info("order placed", **{**FIELDS, "password": "x"}),
            "qicore, a nested secret": lambda: log.info("request", **nested),
            "qicore, hostile text": lambda: log.info(hostile, text=hostile),
            "qicore, None and a float": lambda: log.info("order placed", a=None, b=1.5, c=1, d=2, e=3),
            "qicore, an integer of 100 bits": lambda: log.info("order placed", big=1 << 100),
            "qicore, a QiError": lambda: log.error("failed", error=error),
        },
    )


def children(suite: Suite, log: Logger, bound: FilteringBoundLogger) -> None:
    suite.compare(
        "child with 3 fields",
        {
            "qicore with_context": lambda: log.with_context(a=1, b="two", c=3.0),
            "structlog bind": lambda: bound.bind(a=1, b="two", c=3.0),
            "loguru bind": lambda: loguru.bind(a=1, b="two", c=3.0),
        },
    )


def main() -> None:
    suite = Suite("logging", ("structlog", "orjson", "loguru", "python-json-logger"))
    fd = os.open(os.devnull, os.O_WRONLY)
    log = Logger.create(LogConfig(destination=os.devnull, format="json")).unwrap()
    bound = by_structlog([fused], OsWriteLogger(fd))
    loguru.remove()
    loguru.add(io.StringIO(), level="INFO")
    checks(suite, log, bound, by_stdlib("bench.plain", logging.Formatter(), io.StringIO()))
    lines(suite, log, fd)
    careful(suite, log)
    bind_contextvars(request_id="r-1", tenant="acme")
    structlog.contextvars.bind_contextvars(request_id="r-1", tenant="acme")
    with_variables(suite, log, fd)
    clear_contextvars()
    structlog.contextvars.clear_contextvars()
    children(suite, log, bound)
    suite.save()


if __name__ == "__main__":
    main()
