"""Stale values are refreshed in the background: once, not forgotten, logged when it fails, ended at close."""

import asyncio
import gc
import logging
import threading
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.cache.flight import Flights
from qicore.cache.refresh import Refreshes


class Gate:
    """A computation that waits until it is let through, and knows how often it began and ended."""

    def __init__(self) -> None:
        self.begun = self.ended = 0
        self.open = asyncio.Event()

    async def __call__(self) -> Result[Any]:
        self.begun += 1
        try:
            await self.open.wait()
        finally:
            self.ended += 1
        return Success("new")


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_refresh_for_each_key_which_the_collector_does_not_take() -> None:
    flights, gate = Flights(), Gate()
    refreshes = Refreshes(flights)
    for _ in range(3):
        refreshes.begin("a", gate)
        await turns()
        gc.collect()
    refreshes.begin("b", gate)
    await turns()
    assert gate.begun == 2
    gate.open.set()
    await turns()
    assert (gate.ended, len(refreshes), len(flights)) == (2, 0, 0)


async def test_who_misses_the_key_meanwhile_waits_for_it() -> None:
    flights, gate = Flights(), Gate()
    refreshes = Refreshes(flights)
    refreshes.begin("a", gate)
    await turns()
    waiting = asyncio.create_task(flights.fly("a", Gate()))
    await turns()
    gate.open.set()
    assert await waiting == Success("new")


async def test_no_refresh_begins_while_the_key_is_computed() -> None:
    flights, gate, other = Flights(), Gate(), Gate()
    refreshes = Refreshes(flights)
    leader = asyncio.create_task(flights.fly("a", gate))
    await turns()
    refreshes.begin("a", other)
    refreshes.begin_sync("a", lambda: Success(1))
    await turns()
    assert (other.begun, len(refreshes)) == (0, 0)
    gate.open.set()
    await leader


async def test_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    refreshes = Refreshes(Flights())

    async def fails() -> Result[int]:
        return Failure(QiError.network("DOWN", "it is down"))

    with caplog.at_level(logging.WARNING, logger="qicore.cache"):
        refreshes.begin("key", fails)
        await turns()
    assert "'key'" in caplog.text
    assert "NETWORK/DOWN: it is down" in caplog.text


async def test_close_ends_all_and_none_begins_after_it() -> None:
    gate = Gate()
    refreshes = Refreshes(Flights())
    refreshes.begin("a", gate)
    refreshes.begin("b", gate)
    await turns()
    await refreshes.close()
    assert (gate.ended, len(refreshes)) == (2, 0)
    refreshes.begin("a", gate)
    refreshes.begin_sync("a", lambda: Success(1))
    await turns()
    assert (gate.begun, len(refreshes)) == (2, 0)
    await refreshes.close()


async def test_one_refresh_may_close_all() -> None:
    refreshes, gate = Refreshes(Flights()), Gate()
    closed = asyncio.Event()

    async def closes() -> Result[int]:
        await refreshes.close()
        closed.set()
        return Success(1)

    refreshes.begin("gate", gate)
    await turns()
    refreshes.begin("closes", closes)
    await closed.wait()
    assert gate.ended == 1


async def test_a_refresh_is_no_part_of_the_computation_that_began_it() -> None:
    flights = Flights()
    refreshes = Refreshes(flights)
    refreshed: list[Result[Any]] = []
    gate = Gate()

    async def refresh() -> Result[Any]:
        # It waits for the key whose computation met the stale value, which does not wait for it.
        refreshed.append(await flights.fly("outer", gate))
        return Success(1)

    async def outer() -> Result[Any]:
        refreshes.begin("stale", refresh)
        await turns()
        return Success("outer")

    assert await flights.fly("outer", outer) == Success("outer")
    await turns()
    assert refreshed == [Success("outer")]


def test_a_refresh_of_an_event_loop_that_was_closed_is_in_nobodys_way() -> None:
    flights = Flights()
    refreshes = Refreshes(flights)
    loop = asyncio.new_event_loop()

    async def never_begins() -> Result[int]:
        return Success(1)

    async def begin() -> None:
        refreshes.begin("a", never_begins)

    loop.run_until_complete(begin())
    left = asyncio.all_tasks(loop)
    loop.close()

    async def later() -> None:
        gate = Gate()
        refreshes.begin("a", gate)
        await turns()
        assert gate.begun == 1
        await refreshes.close()

    asyncio.run(later())
    for task in left:  # what asyncio.run would have done
        task.get_coro().close()


def test_a_thread_refreshes_for_threads_once(caplog: pytest.LogCaptureFixture) -> None:
    flights = Flights()
    refreshes = Refreshes(flights)
    begun: list[str] = []
    go, done = threading.Event(), threading.Event()

    def compute() -> Result[int]:
        begun.append(threading.current_thread().name)
        go.wait()
        done.set()
        return Failure(QiError.network("DOWN", "it is down"))

    for _ in range(3):
        refreshes.begin_sync("a", compute)
    go.set()
    done.wait()
    while len(refreshes):
        pass
    assert len(begun) == 1
    assert begun[0] != threading.current_thread().name
    assert "it is down" in caplog.text


def test_a_thread_that_can_not_be_started_is_logged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    refreshes = Refreshes(Flights())
    monkeypatch.setattr(threading.Thread, "start", refuses)
    refreshes.begin_sync("a", lambda: Success(1))
    assert "can't start new thread" in caplog.text
    assert len(refreshes) == 0


async def test_no_task_begins_under_the_lock_of_a_loop_with_eager_tasks() -> None:
    def eager(_: asyncio.AbstractEventLoop, coroutine: Any, **__: Any) -> Any:
        # An eager task would run the computation here, which may begin another refresh.
        coroutine.close()
        raise AssertionError("the factory of the loop was asked")

    flights, gate = Flights(), Gate()
    refreshes = Refreshes(flights)
    loop = asyncio.get_running_loop()
    loop.set_task_factory(eager)
    try:
        refreshes.begin("a", gate)
    finally:
        loop.set_task_factory(None)
    await turns()
    assert gate.begun == 1
    gate.open.set()
    await turns()
    assert (gate.ended, len(refreshes)) == (1, 0)
