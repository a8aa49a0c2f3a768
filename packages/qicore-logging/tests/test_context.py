from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from qicore.logging import (
    Logger,
    bind_contextvars,
    bound_contextvars,
    carry_contextvars,
    clear_contextvars,
    get_contextvars,
    unbind_contextvars,
)
from qicore.logging.testing import MemoryDestination as Memory

FIELDS = st.dictionaries(st.sampled_from("abcd"), st.integers(), max_size=4)


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    clear_contextvars()
    yield
    clear_contextvars()
    structlog.contextvars.clear_contextvars()


def test_bound_fields_are_on_every_line_until_unbound(log: Logger, memory: Memory) -> None:
    bind_contextvars(request="r", user="u")
    log.info("one")
    log.with_context(a=1).info("two", user="other")
    unbind_contextvars("user", "never bound")
    log.info("three")
    clear_contextvars()
    log.info("four")
    one, two, three, four = memory.lines()
    assert (one["request"], one["user"]) == ("r", "u")
    assert (two["request"], two["user"], two["a"]) == ("r", "other", 1)
    assert (three["request"], "user" in three) == ("r", False)
    assert "request" not in four


async def test_each_task_has_its_own(log: Logger, memory: Memory) -> None:
    bind_contextvars(shared=True)

    async def handle(number: int) -> None:
        bind_contextvars(request=number)
        for _ in range(5):
            await asyncio.sleep(0)
            log.info("step", expected=number)

    await asyncio.gather(*(handle(number) for number in range(50)))
    lines = memory.lines()
    assert len(lines) == 250
    assert all(line["request"] == line["expected"] and line["shared"] for line in lines)
    assert dict(get_contextvars()) == {"shared": True}


def test_a_thread_starts_with_none_unless_they_are_carried() -> None:
    seen: list[dict[str, object]] = []

    def look() -> None:
        seen.append(dict(get_contextvars()))
        bind_contextvars(more=2)

    with bound_contextvars(job=1):
        for target in (look, carry_contextvars(look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
        with ThreadPoolExecutor(1) as pool:
            pool.submit(carry_contextvars(look)).result()
            pool.submit(look).result()
        assert dict(get_contextvars()) == {"job": 1}
    assert seen == [{}, {"job": 1}, {"job": 1}, {}]


@given(FIELDS, FIELDS, FIELDS)
def test_a_block_restores_its_own_keys_and_no_others(
    outer: dict[str, int], inner: dict[str, int], later: dict[str, int]
) -> None:
    clear_contextvars()
    bind_contextvars(**outer)
    with bound_contextvars(**inner):
        assert dict(get_contextvars()) == outer | inner
        bind_contextvars(**later)
    kept = {key: value for key, value in later.items() if key not in inner}
    assert dict(get_contextvars()) == outer | kept
    clear_contextvars()


def test_a_block_restores_after_an_exception() -> None:
    with pytest.raises(ValueError, match="x"), bound_contextvars(a=1):
        raise ValueError("x")
    assert dict(get_contextvars()) == {}


def test_what_is_bound_can_not_be_changed_from_outside() -> None:
    bind_contextvars(a=1)
    with pytest.raises(TypeError):
        get_contextvars()["a"] = 2  # type: ignore[index]  # pyright: ignore[reportIndexIssue]  # read-only


def test_structlogs_own_variables_show_too_and_give_way(log: Logger, memory: Memory) -> None:
    structlog.contextvars.bind_contextvars(theirs=1, both="theirs", password="p", event="e")
    log.info("one", a=1)
    with bound_contextvars(both="ours"):
        log.info("two", a=1)
    log.with_context(both="bound").info("three", odd=object())
    structlog.contextvars.clear_contextvars()
    log.info("four", a=1)
    one, two, three, four = memory.lines()
    assert (one["theirs"], one["both"], one["password"], one["event_"]) == (1, "theirs", "[REDACTED]", "e")
    assert two["both"] == "ours"
    assert three["both"] == "bound"
    assert "theirs" not in four
