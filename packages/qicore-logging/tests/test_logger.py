from __future__ import annotations

import asyncio
import copy
import gc
import io
import pickle
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import ErrorCategory, QiError
from qicore.logging import DEFAULT_REDACTED_KEYS, LogConfig, Logger, LogLevel
from qicore.logging.testing import MemoryDestination as Memory

METHODS = ("debug", "info", "warn", "error", "fatal")


def silent(**options: Any) -> Logger:
    return Logger.create(LogConfig(destination=io.BytesIO(), format="json", **options)).unwrap()


def test_each_method_writes_one_line_with_time_level_and_context(log: Logger, memory: Memory) -> None:
    for name in METHODS:
        getattr(log, name)(f"by {name}", number=1)
    lines = memory.lines()
    assert [line["level"] for line in lines] == list(METHODS)
    assert [line["event"] for line in lines] == [f"by {name}" for name in METHODS]
    assert all(list(line) == ["timestamp", "level", "event", "number"] for line in lines)


@pytest.mark.parametrize("level", ["debug", "info", "warn", "error", "fatal", 0, 15, 60, LogLevel.WARN])
def test_the_level_decides_everywhere_alike(level: Any, memory: Memory) -> None:
    log = Logger.create(LogConfig(destination=memory, format="json", level=level)).unwrap()
    for name in METHODS:
        getattr(log, name)("x")
    written = [line["level"] for line in memory.lines()]
    threshold = level if isinstance(level, int) else LogLevel[level.upper()]
    assert written == [name for name in METHODS if LogLevel[name.upper()] >= threshold]
    for name in METHODS:
        assert getattr(log, f"{name}_enabled") is (name in written)
        assert log.is_level_enabled(name) is (name in written)
        assert log.is_level_enabled(name.upper()) is (name in written)
        assert log.is_level_enabled(LogLevel[name.upper()]) is (name in written)


def test_is_level_enabled_knows_the_names_of_the_standard_library_and_no_others() -> None:
    log = silent(level="warn")
    assert log.is_level_enabled("warning")
    assert log.is_level_enabled("CRITICAL")
    assert log.is_level_enabled(35)
    assert not log.is_level_enabled(29)
    assert not log.is_level_enabled("loud")
    assert not log.is_level_enabled(None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a mistake


@given(st.lists(st.sampled_from([10, 20, 30, 40, 50, 60, 0, 25]), max_size=8))
def test_a_change_of_level_reaches_the_whole_family(levels: list[int]) -> None:
    root = silent()
    family = [root, root.with_context(a=1)]
    family.append(family[1].with_context(b=2))
    for level in levels:
        assert family[-1].set_level(level).is_success
        family.append(family[-1].with_context(level=level))
        for member in family:
            assert member.level == level
            for name in METHODS:
                assert getattr(member, f"{name}_enabled") is (LogLevel[name.upper()] >= level)


def test_a_method_that_was_kept_follows_the_level(log: Logger, memory: Memory) -> None:
    log.set_level("error")
    debug = log.debug
    debug("not yet")
    log.set_level("debug")
    debug("now")
    log.set_level("error")
    debug("no more")
    assert [line["event"] for line in memory.lines()] == ["now"]


def test_a_level_that_is_none_is_refused_and_changes_nothing(log: Logger) -> None:
    mistakes: list[Any] = ["loud", -1, None, True, 1.5]
    for wrong in mistakes:
        result = log.set_level(wrong)
        assert result.error is not None
        assert result.error.code == "INVALID_LOG_CONFIG"
        assert log.level == 10


def test_levels_change_while_children_are_made_in_other_threads() -> None:
    root = silent()
    children: list[Logger] = []

    def make() -> None:
        children.extend([root.with_context(n=number) for number in range(300)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    turn = 0
    while turn < 50 or any(thread.is_alive() for thread in threads):
        root.set_level("error" if turn % 2 else "debug")
        turn += 1
    assert len(children) == 1200
    assert {child.debug_enabled for child in children} == {turn % 2 == 1}


def test_children_that_are_gone_are_forgotten() -> None:
    root = silent()
    for number in range(100):
        root.with_context(n=number)
    gc.collect()
    assert root.pipeline.follower_count == 1


def test_a_child_adds_to_the_context_and_leaves_its_parent_alone(log: Logger, memory: Memory) -> None:
    child = log.with_context({"a": 1, "b": 1}, b=2)
    child.with_context(c=3).info("x", b=4)
    log.info("y")
    assert memory.lines()[0] | {"timestamp": ""} == {
        "timestamp": "", "level": "info", "event": "x", "a": 1, "b": 4, "c": 3,
    }  # fmt: skip
    assert set(memory.lines()[1]) == {"timestamp", "level", "event"}


def test_a_childs_context_is_rendered_when_it_is_bound(log: Logger, memory: Memory) -> None:
    items = [1]
    child = log.with_context(items=items, password="p", event="e")
    items.append(2)
    child.info("x")
    line = memory.lines()[0]
    assert (line["items"], line["password"], line["event"], line["event_"]) == ([1], "[REDACTED]", "x", "e")


@pytest.mark.parametrize(
    "name", ["self", "message", "context", "event", "level", "timestamp", "method_name", "exc_info"]
)
def test_any_name_may_be_a_key(name: str, log: Logger, memory: Memory) -> None:
    for method in METHODS:
        getattr(log, method)("text", **{name: "mine"})
    log.with_context(**{name: "mine"}).info("text")
    for line in memory.lines():
        assert line["event"] == "text"
        assert "mine" in line.values()


def test_reserved_keys_never_overwrite_each_other(log: Logger, memory: Memory) -> None:
    log.info("text", event="a", event_="b", event__="c", level=1, timestamp=2, exception=3, stack=4)
    line = memory.lines()[0]
    assert line["event"] == "text"
    assert line["level"] == "info"
    assert {"a", "b", "c", 1, 2, 3, 4} <= set(line.values())


def test_a_qierror_is_written_with_its_causes(log: Logger, memory: Memory) -> None:
    low = QiError.network("REFUSED", "connection refused", host="h", password="p")
    error = QiError.cache("CACHE_LOAD_FAILED", "no cache").with_cause(low)
    log.error("failed", error=error, tries=3)
    line = memory.lines()[0]
    assert line["error"]["code"] == "CACHE_LOAD_FAILED"
    assert line["error"]["category"] == "CACHE"
    assert line["error"]["cause"]["context"] == {"host": "h", "password": "[REDACTED]"}
    assert line["tries"] == 3
    assert "exception" not in line


def test_a_qierror_from_an_exception_brings_its_traceback(log: Logger, memory: Memory) -> None:
    try:
        int("x")
    except ValueError as problem:
        log.fatal("failed", error=QiError.from_exception(problem))
    line = memory.lines()[0]
    assert line["error"]["code"] == "VALUE_ERROR"
    assert line["exception"].startswith("Traceback")
    assert "invalid literal" in line["exception"]


def test_an_exception_is_written_with_its_traceback_and_causes(log: Logger, memory: Memory) -> None:
    try:
        try:
            int("x")
        except ValueError as problem:
            raise RuntimeError("outer") from problem
    except RuntimeError as problem:
        log.error("failed", error=problem)
        log.info("the same", exc_info=True)
        log.warn("and again", error=problem)
    lines = memory.lines()
    for line in lines:
        assert line["error"] == {"type": "RuntimeError", "message": "outer"}
        assert "invalid literal" in line["exception"]
        assert "test_an_exception_is_written" in line["exception"]
        assert "exc_info" not in line


@pytest.mark.parametrize("value", ["text", 0, {"a": 1}, ValueError("never raised")])
def test_error_may_be_anything(value: object, log: Logger, memory: Memory) -> None:
    log.error("failed", error=value)
    assert "error" in memory.lines()[0]
    assert "exception" not in memory.lines()[0]


def test_a_group_and_an_endless_recursion_are_written_within_bounds(log: Logger, memory: Memory) -> None:
    def odd(n: int) -> int:
        return even(n) + 1

    def even(n: int) -> int:
        return odd(n) + 1

    try:
        odd(1)
    except RecursionError as problem:
        log.error("deep", error=problem)
    log.error("many", error=ExceptionGroup("many", [ValueError("one"), KeyError("two")]))
    deep, many = memory.lines()
    assert "RecursionError" in deep["exception"]
    assert len(deep["exception"]) < 40_000
    assert many["error"]["type"] == "ExceptionGroup"


def test_exceptions_that_break_when_shown_do_not_break_the_line(log: Logger, memory: Memory) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    try:
        raise Broken
    except Broken as problem:
        log.error("failed", error=problem)
    line = memory.lines()[0]
    assert "Broken" in str(line["error"])
    assert "Broken" in line["exception"]


def test_logging_inside_an_except_block_leaves_no_trace(log: Logger) -> None:
    problem = ValueError("mine")
    try:
        raise problem
    except ValueError:
        log.info("weird", value=object(), text="\ud800")
        current = sys.exception()
    assert current is problem
    assert problem.__context__ is None


@pytest.mark.parametrize("now", [0, 1, 999_999_999, 1_700_000_000_123_456_789, 4_102_444_800_000_000_000])
def test_the_time_is_the_clocks_in_utc(now: int, memory: Memory) -> None:
    log = Logger.create(LogConfig(destination=memory, format="json", clock=lambda: now)).unwrap()
    for _ in range(3):
        log.info("x")
    seconds, rest = divmod(now, 10**9)
    expected = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06d}Z"
    assert [line["timestamp"] for line in memory.lines()] == [expected] * 3


@given(st.lists(st.integers(0, 4 * 10**18), min_size=1, max_size=5))
def test_the_time_is_right_however_the_clock_jumps(times: list[int]) -> None:
    memory = Memory()
    ticks = iter([0, *times])
    log = Logger.create(LogConfig(destination=memory, format="json", clock=lambda: next(ticks))).unwrap()
    for _ in times:
        log.info("x")
    for now, line in zip(times, memory.lines(), strict=True):
        moment = datetime.fromisoformat(line["timestamp"])
        assert int(moment.timestamp()) == now // 10**9
        assert moment.microsecond == now % 10**9 // 1000


def test_local_times_carry_their_offset(memory: Memory) -> None:
    log = Logger.create(LogConfig(destination=memory, format="json", utc=False)).unwrap()
    before = time.time()
    log.info("x")
    log.info("x")
    for line in memory.lines():
        moment = datetime.fromisoformat(line["timestamp"])
        assert moment.utcoffset() == datetime.now().astimezone().utcoffset()
        assert before - 0.001 <= moment.timestamp() <= time.time()


@pytest.mark.parametrize("wrong", [1.5, None, 10**30, -(10**30)])
def test_a_clock_that_goes_wrong_costs_the_time_not_the_line(wrong: Any, memory: Memory) -> None:
    times = iter([0])
    log = Logger.create(
        LogConfig(destination=memory, format="json", clock=lambda: next(times, wrong))
    ).unwrap()
    log.info("x", a=1)
    log.info("x", a=1)
    assert [line["a"] for line in memory.lines()] == [1, 1]
    assert log.stats.failures == 2


def test_a_logger_may_be_copied_within_what_holds_it_but_not_pickled(log: Logger) -> None:
    assert copy.deepcopy({"log": log})["log"] is log
    assert copy.copy(log) is log
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(log)


def test_its_repr_says_level_and_destination(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    with Logger.create(LogConfig(destination=path)).unwrap() as log:
        assert repr(log) == f"<Logger level=20 destination={str(path)!r}>"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"level": "loud"}, "level"),
        ({"level": -1}, "level"),
        ({"level": True}, "level"),
        ({"format": "xml"}, "format"),
        ({"destination": ""}, "destination"),
        ({"destination": "a\0b"}, "destination"),
        ({"destination": 5}, "destination"),
        ({"destination": None}, "destination"),
        ({"color": "red"}, "color"),
        ({"redact": "password"}, "redact"),
        ({"redact": [1]}, "redact"),
        ({"redact": ["--"]}, "redact"),
        ({"redact": None}, "redact"),
        ({"utc": "yes"}, "utc"),
        ({"capture_standard": 1}, "capture_standard"),
        ({"processors": [1]}, "processors"),
        ({"processors": None}, "processors"),
        ({"patience": -1}, "patience"),
        ({"patience": float("nan")}, "patience"),
        ({"patience": "1"}, "patience"),
        ({"clock": 5}, "clock"),
        ({"clock": time.time}, "clock"),
        ({"clock": lambda: 1 / 0}, "clock"),
    ],
)
def test_each_wrong_option_is_named(options: dict[str, Any], word: str) -> None:
    error = Logger.create(LogConfig(**options)).error
    assert error is not None
    assert error.code == "INVALID_LOG_CONFIG"
    assert error.category is ErrorCategory.CONFIGURATION
    assert word in error.message


def test_all_wrong_options_are_named_at_once() -> None:
    error = Logger.create(LogConfig(level="loud", format="xml", utc=0)).error  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # mistakes
    assert error is not None
    assert isinstance(error.context["problems"], tuple)
    assert len(error.context["problems"]) == 3


def test_a_config_that_is_none_is_refused() -> None:
    error = Logger.create({"level": "info"}).error  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a mistake
    assert error is not None
    assert "LogConfig" in error.message


def test_options_are_values() -> None:
    config = LogConfig()
    assert config == LogConfig()
    assert config.redact is DEFAULT_REDACTED_KEYS
    with pytest.raises(AttributeError):
        config.level = "debug"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # frozen


async def test_many_tasks_and_threads_write_whole_lines(log: Logger, memory: Memory) -> None:
    async def work(number: int) -> None:
        child = log.with_context(task=number)
        for step in range(20):
            child.info("step", step=step)
            await asyncio.sleep(0)

    await asyncio.gather(
        *(work(n) for n in range(20)), *(asyncio.to_thread(log.info, "t") for _ in range(20))
    )
    lines = memory.lines()
    assert len(lines) == 20 * 20 + 20
    for number in range(20):
        assert [line["step"] for line in lines if line.get("task") == number] == list(range(20))


def test_pydantic_can_fill_the_options_from_a_configuration_section() -> None:
    section = {"level": "warn", "format": "json", "destination": "app.log", "redact": ["iban"], "patience": 2}
    config = pydantic.TypeAdapter(LogConfig).validate_python(section)
    assert (config.level, config.destination, list(config.redact), config.patience) == (
        "warn",
        "app.log",
        ["iban"],
        2,
    )
    stream = io.StringIO()
    assert pydantic.TypeAdapter(LogConfig).validate_python({"destination": stream}).destination is stream
    with pytest.raises(pydantic.ValidationError):
        pydantic.TypeAdapter(LogConfig).validate_python({"format": "xml"})
