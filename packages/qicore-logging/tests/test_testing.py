from __future__ import annotations

from pathlib import Path

import pytest
from qicore.logging import LogConfig, Logger, bound_contextvars
from qicore.logging.testing import MemoryDestination, capture_logs


def test_it_collects_instead_of_writing_even_from_loggers_kept_elsewhere(
    log: Logger, memory: MemoryDestination
) -> None:
    kept = log.with_context(a=1)
    method = kept.info
    raw = kept.raw
    with capture_logs(log) as lines, bound_contextvars(r=2):
        method("one", password="p")
        raw.info("two")
    log.info("after")
    assert [(line["event"], line["a"], line["r"]) for line in lines] == [("one", 1, 2), ("two", 1, 2)]
    assert lines[0]["password"] == "[REDACTED]"
    assert [line["event"] for line in memory.lines()] == ["after"]


def test_without_arguments_it_takes_all_there_are_and_will_be(memory: MemoryDestination) -> None:
    console = Logger.create(LogConfig(destination=memory, format="console")).unwrap()
    with capture_logs() as lines:
        console.info("old")
        Logger.create(LogConfig(destination=memory)).unwrap().info("new")
    assert [line["event"] for line in lines] == ["old", "new"]
    console.info("after")
    assert memory.getvalue().count(b"\n") == 1


def test_the_level_holds_within_the_block(log: Logger) -> None:
    log.set_level("error")
    with capture_logs(log, level="debug") as lines:
        log.debug("seen")
    log.debug("not seen")
    assert len(lines) == 1
    assert log.level == 40


def test_captures_nest(log: Logger, memory: MemoryDestination) -> None:
    with capture_logs(log) as outer:
        with capture_logs(log) as inner:
            log.info("in")
        log.info("out")
    assert [line["event"] for line in inner] == ["in"]
    assert [line["event"] for line in outer] == ["out"]
    assert memory.getvalue() == b""


def test_it_restores_after_a_failure(log: Logger, memory: MemoryDestination) -> None:
    with pytest.raises(RuntimeError), capture_logs(log):
        raise RuntimeError
    log.info("x")
    assert len(memory.lines()) == 1


def test_a_level_that_is_none_is_a_mistake(log: Logger) -> None:
    with pytest.raises(ValueError, match="loud"), capture_logs(log, level="loud"):
        pass


def test_a_closed_logger_stays_closed(tmp_path: Path) -> None:
    log = Logger.create(LogConfig(destination=tmp_path / "a.log")).unwrap()
    log.close()
    with capture_logs(log) as lines:
        log.info("x")
    log.info("y")
    assert len(lines) == 1
    assert log.dropped == 1
