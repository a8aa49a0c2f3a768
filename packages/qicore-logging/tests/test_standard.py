from __future__ import annotations

import asyncio
import io
import logging
import logging.config
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from qicore.base import QiError
from qicore.logging import LogConfig, Logger, StandardHandler, bound_contextvars
from qicore.logging.testing import MemoryDestination


@pytest.fixture
def library(log: Logger) -> Iterator[logging.Logger]:
    logger = logging.getLogger("some.library")
    handler = StandardHandler(log)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)
    logger.propagate = True


def test_a_record_is_a_line_like_any_other(library: logging.Logger, memory: MemoryDestination) -> None:
    with bound_contextvars(request="r"):
        library.warning("%s has %d", "ann", 3, extra={"token": "t", "event": "e", "disk": {"api_key": "k"}})
    line = memory.lines()[0]
    del line["timestamp"]
    assert line == {
        "level": "warn", "event": "ann has 3", "request": "r", "logger": "some.library",
        "token": "[REDACTED]", "event_": "e", "disk": {"api_key": "[REDACTED]"},
    }  # fmt: skip


def test_exceptions_and_stacks_come_along(library: logging.Logger, memory: MemoryDestination) -> None:
    try:
        int("x")
    except ValueError:
        library.exception("failed")
    try:
        raise QiError.network("REFUSED", "refused")
    except QiError:
        library.exception("failed")
    library.error("not in a handler", exc_info=True)
    library.info("stack", stack_info=True)
    first, second, third, fourth = memory.lines()
    assert first["error"]["type"] == "ValueError"
    assert first["exception"].startswith("Traceback")
    assert second["error"]["code"] == "REFUSED"
    assert "error" not in third
    assert "exc_info" not in third
    assert fourth["stack"].startswith("Stack")


@pytest.mark.parametrize(
    ("message", "args"),
    [
        ("%d", ("x",)),
        ("%s %s", (1,)),
        ("no place", (1,)),
        ("%(a)s", ({"b": 1},)),
        (object(), ()),
        ("\n\x1b[2J", ()),
    ],
)
def test_any_message_and_arguments_make_one_line(
    message: Any, args: tuple[Any, ...], log: Logger, memory: MemoryDestination
) -> None:
    record = logging.LogRecord("name", logging.INFO, "path", 1, message, args, None)
    StandardHandler(log).handle(record)
    assert len(memory.lines()) == 1
    assert memory.getvalue()[:-1].decode().isprintable()


@pytest.mark.parametrize(
    ("number", "name"),
    [(5, "debug"), (10, "debug"), (25, "info"), (30, "warn"), (45, "error"), (99, "fatal")],
)
def test_levels_are_ours(
    number: int, name: str, library: logging.Logger, log: Logger, memory: MemoryDestination
) -> None:
    log.set_level(0)
    library.setLevel(1)
    library.log(number, "x")
    assert memory.lines()[0]["level"] == name


def test_the_time_is_the_records(library: logging.Logger, memory: MemoryDestination) -> None:
    library.handle(logging.makeLogRecord({"msg": "x", "created": 0.5, "levelno": 20, "name": "n"}))
    assert memory.lines()[0]["timestamp"] == "1970-01-01T00:00:00.500000Z"


def test_capture_takes_everything_at_our_level_and_gives_it_back(memory: MemoryDestination) -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    log = Logger.create(LogConfig(destination=memory, format="json", capture_standard=True)).unwrap()
    logging.getLogger("any.library").info("one")
    logging.getLogger("any.library").debug("not yet")
    log.set_level("debug")
    logging.getLogger("any.library").debug("two")
    assert [line["event"] for line in memory.lines()] == ["one", "two"]
    log.close()
    assert (root.level, list(root.handlers)) == before


def test_loggers_with_their_own_terminal_handlers_are_taken_over_and_given_back(
    memory: MemoryDestination,
) -> None:
    # What uvicorn sets up when it starts.
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}},
            "loggers": {"like.uvicorn": {"handlers": ["out"], "level": "INFO", "propagate": False}},
        }
    )
    access = logging.getLogger("like.uvicorn")
    kept = logging.StreamHandler(io.StringIO())
    access.addHandler(kept)
    displaced = access.handlers[0]
    log = Logger.create(LogConfig(destination=memory, format="json")).unwrap()
    log.capture_standard()
    log.capture_standard()
    access.info('%s - "%s"', "1.2.3.4", "GET /", extra={"color_message": "\x1b[1mGET"})
    assert access.handlers == [kept]
    (line,) = memory.lines()
    assert (line["event"], line["logger"]) == ('1.2.3.4 - "GET /"', "like.uvicorn")
    assert "color_message" not in line
    log.close()
    assert set(access.handlers) == {kept, displaced}
    assert access.propagate is False
    access.handlers.clear()
    access.propagate = True


def test_a_destination_that_logs_does_not_loop_forever() -> None:
    class Chatty(io.StringIO):
        def write(self, text: str, /) -> int:
            if text:
                logging.getLogger("chatty").info("writing")
            return super().write(text)

    out = Chatty()
    with Logger.create(LogConfig(destination=out, format="json", capture_standard=True)).unwrap() as log:
        log.info("x")
    assert '"event":"x"' in out.getvalue()


async def test_asyncios_own_reports_arrive(memory: MemoryDestination) -> None:
    with Logger.create(LogConfig(destination=memory, format="json", capture_standard=True)).unwrap():
        asyncio.get_running_loop().call_exception_handler({"message": "lost", "exception": ValueError("v")})
    reports = [line for line in memory.lines() if line["logger"] == "asyncio"]
    assert reports[-1]["error"]["type"] == "ValueError"


def test_the_terminal_handler_of_the_root_steps_aside(memory: MemoryDestination) -> None:
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    try:
        with Logger.create(LogConfig(destination=memory, format="json", capture_standard=True)).unwrap():
            assert handler not in logging.getLogger().handlers
        assert handler in logging.getLogger().handlers
    finally:
        logging.getLogger().removeHandler(handler)
