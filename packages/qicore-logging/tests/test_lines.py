"""No text, wherever it stands, makes more than one line, moves the cursor, or gets lost."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.logging import LogConfig, Logger, bound_contextvars
from qicore.logging.testing import MemoryDestination as Memory

HOSTILE = (
    "\n", "\r", "\r\n", "\x0b", "\x0c", "\x00", "\x07", "\x08", "\x1b[31m", "\x1b]0;title\x07", "\x7f",
    "\x85", "\x9b31m", "\u2028", "\u2029", "\u202e", "\u2066", "\u200b", "\ufeff", "\ud800", "\udfff",
    "\U000e0001",
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
TEXT = st.text(st.characters()) | st.sampled_from(HOSTILE)
VALUES = st.recursive(
    SCALARS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.integers(), inner, max_size=4),
    max_leaves=12,
)


def written(form: Any, message: Any, context: dict[str, Any]) -> bytes:
    memory = Memory()
    log = Logger.create(LogConfig(destination=memory, format=form, color=False)).unwrap()
    log.info("warm up", **context)
    memory.seek(0)
    memory.truncate()
    log.info(message, **context)
    assert log.stats.failures == 0
    return memory.getvalue()


def assert_one_clean_line(line: bytes) -> str:
    text = line.decode()
    assert text.endswith("\n")
    assert text[:-1].isprintable()
    return text[:-1]


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_in_its_line(text: str, form: str) -> None:
    nested = {text: [text, {text: text}], "key": text.encode("utf-8", "surrogatepass")}
    line = assert_one_clean_line(written(form, f"a{text}b", {f"k{text}": text, "nested": nested}))
    if form == "json":
        data = json.loads(line)
        shown = text.encode("utf-8", "backslashreplace").decode()
        assert data["event"] == f"a{shown}b"
        assert data[f"k{shown}"] == shown


@given(
    message=TEXT, context=st.dictionaries(TEXT, VALUES, max_size=5), form=st.sampled_from(["json", "console"])
)
def test_any_context_makes_one_clean_line(message: str, context: dict[str, Any], form: str) -> None:
    line = assert_one_clean_line(written(form, message, context))
    if form == "json":
        data = json.loads(line)
        assert data["event"] == message.encode("utf-8", "backslashreplace").decode()
        assert len(data) == 3 + len(context)


@given(
    st.dictionaries(
        st.text(st.characters(categories=["L"]), min_size=1).map("x{}".format), SCALARS, max_size=6
    )
)
def test_both_ways_of_rendering_agree(context: dict[str, Any]) -> None:
    memory = Memory()
    fast = Logger.create(LogConfig(destination=memory, format="json", redact=(), clock=lambda: 0)).unwrap()

    def unchanged(_: object, __: str, event: Any) -> Any:
        return event

    careful = Logger.create(
        LogConfig(destination=memory, format="json", redact=(), clock=lambda: 0, processors=[unchanged])
    ).unwrap()
    for log in (fast, fast, careful):
        log.info("x", **context)
    first, second, third = memory.getvalue().splitlines()
    assert first == second == third


def test_a_traceback_can_not_pass_for_a_line() -> None:
    memory = Memory()
    log = Logger.create(LogConfig(destination=memory, format="console", color=True)).unwrap()
    try:
        raise ValueError("x\n2026-01-01T00:00:00.000000Z info  all is well\r\x1b[2K\u2028")
    except ValueError as problem:
        log.error("failed", error=problem)
    first, *rest = memory.getvalue().decode().split("\n")[:-1]
    assert "failed" in first
    assert rest
    for line in rest:
        assert line.startswith("    ")
        assert line.isprintable()


def test_in_the_console_text_can_not_pass_for_fields() -> None:
    line = written(
        "console", "m", {"a": "1 admin=true", "b": 'say "hi"', "c": "", "d": "plain", "e": [1, "x y"]}
    )
    fields = line.decode().split("m" + " " * 29, 1)[1].strip()
    assert fields == r'a="1 admin=true" b="say \"hi\"" c="" d=plain e=[1,"x y"]'


def test_the_console_colours_only_when_told_to() -> None:
    memory = Memory()
    log = Logger.create(LogConfig(destination=memory, format="console", color=True)).unwrap()
    log.warn("careful", key="\x1b[31mred")
    colours = re.findall(rb"\x1b\[[0-9;]*m", memory.getvalue())
    assert colours
    assert b"\x1b[31mred" not in memory.getvalue()
    assert b"\x1b" not in written("console", "careful", {"key": "x"})


@pytest.mark.parametrize("message", [None, 5, b"bytes", ["a"], object(), {"a": 1}])
def test_a_message_that_is_no_text_is_rendered(message: Any) -> None:
    assert_one_clean_line(written("console", message, {}))
    json.loads(assert_one_clean_line(written("json", message, {})))


def test_text_that_only_looks_nested_is_left_alone() -> None:
    line = written("json", '{"level":"fatal"}', {"path": "/users/{id}", "x": "null"})
    assert json.loads(line)["event"] == '{"level":"fatal"}'
    assert json.loads(line)["path"] == "/users/{id}"


def test_hostile_context_variables_stay_in_their_line() -> None:
    with bound_contextvars(**{"k\n": "v\n\x7f\ud800"}):
        assert_one_clean_line(written("json", "x", {}))
        assert_one_clean_line(written("console", "x", {}))


def test_a_huge_value_is_written_whole() -> None:
    text = "x" * 5_000_000
    assert json.loads(written("json", "x", {"text": text}))["text"] == text
