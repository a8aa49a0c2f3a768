"""One flight per key, across tasks, event loops and threads; and none that waits for itself."""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cache.flight import Flights
from qicore.cache.waiting import LOCK

Compute = Callable[[], Awaitable[Result[Any]]]


class Gate:
    """A computation that waits until it is let through, and knows how often it began."""

    def __init__(self, value: object = "value") -> None:
        self.begun = 0
        self.open = asyncio.Event()
        self.value = value

    async def __call__(self) -> Result[Any]:
        self.begun += 1
        await self.open.wait()
        return Success(self.value)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_computes_and_all_get_the_same_result() -> None:
    flights, gate = Flights(), Gate(object())
    tasks = [asyncio.create_task(flights.fly("a", gate)) for _ in range(20)]
    await turns()
    assert "a" in flights
    gate.open.set()
    results = await asyncio.gather(*tasks)
    assert gate.begun == 1
    assert all(result is results[0] for result in results)
    assert len(flights) == 0


async def test_keys_do_not_wait_for_each_other() -> None:
    flights, gate = Flights(), Gate()
    waiting = asyncio.create_task(flights.fly("a", gate))
    await turns()
    assert await flights.fly("b", _gives(2)) == Success(2)
    gate.open.set()
    assert await waiting == Success("value")


def _gives(value: object) -> Compute:
    async def compute() -> Result[Any]:
        return Success(value)

    return compute


async def test_a_failure_is_shared_and_the_next_computes_anew() -> None:
    flights = Flights()
    error = QiError.network("DOWN", "it is down")

    async def fails() -> Result[int]:
        await asyncio.sleep(0)
        return Failure(error)

    assert await asyncio.gather(*(flights.fly("a", fails) for _ in range(3))) == [Failure(error)] * 3
    assert await flights.fly("a", _gives(1)) == Success(1)


async def test_an_exception_of_the_computation_leaves_nobody_waiting() -> None:
    flights = Flights()

    async def breaks() -> Result[int]:
        await asyncio.sleep(0)
        raise KeyError("a")

    for result in await asyncio.gather(*(flights.fly("a", breaks) for _ in range(3))):
        assert_failure(result, "KEY_ERROR")
    assert len(flights) == 0


async def test_when_the_leader_is_cancelled_one_that_waits_leads() -> None:
    flights, gate, second = Flights(), Gate("never"), Gate("second")
    leader = asyncio.create_task(flights.fly("a", gate))
    await turns()
    waiting = [asyncio.create_task(flights.fly("a", second)) for _ in range(5)]
    await turns()
    leader.cancel()
    await turns()
    assert (gate.begun, second.begun) == (1, 1)
    second.open.set()
    assert await asyncio.gather(*waiting) == [Success("second")] * 5
    assert leader.cancelled()
    assert len(flights) == 0


async def test_one_that_waits_and_is_cancelled_disturbs_nobody() -> None:
    flights, gate = Flights(), Gate()
    leader = asyncio.create_task(flights.fly("a", gate))
    waiting = [asyncio.create_task(flights.fly("a", gate)) for _ in range(4)]
    await turns()
    waiting[0].cancel()
    waiting[2].cancel()
    await turns()
    gate.open.set()
    assert await leader == Success("value")
    assert await waiting[1] == await waiting[3] == Success("value")
    assert gate.begun == 1


async def test_one_that_was_cancelled_is_not_given_the_lead() -> None:
    flights, gate, second = Flights(), Gate("never"), Gate("second")
    leader = asyncio.create_task(flights.fly("a", gate))
    waiting = [asyncio.create_task(flights.fly("a", second)) for _ in range(3)]
    await turns()
    waiting[0].cancel()
    await turns()
    leader.cancel()
    await turns()
    second.open.set()
    assert await asyncio.gather(*waiting[1:]) == [Success("second")] * 2


async def test_one_that_is_cancelled_as_it_is_given_the_lead_gives_it_on() -> None:
    flights, gate, second = Flights(), Gate("never"), Gate("second")
    leader = asyncio.create_task(flights.fly("a", gate))
    waiting = [asyncio.create_task(flights.fly("a", second)) for _ in range(3)]
    await turns()
    leader.cancel()
    await asyncio.sleep(0)  # the leader has given the lead to the first, which has not run since
    waiting[0].cancel()
    await turns()
    second.open.set()
    assert await asyncio.gather(*waiting[1:]) == [Success("second")] * 2
    assert second.begun == 1
    assert len(flights) == 0


async def test_when_all_are_cancelled_nothing_is_left() -> None:
    flights, gate = Flights(), Gate()
    tasks = [asyncio.create_task(flights.fly("a", gate)) for _ in range(5)]
    await turns()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(flights) == 0
    assert await flights.fly("a", _gives(1)) == Success(1)


async def test_a_coroutine_that_is_dropped_instead_of_cancelled_frees_those_that_wait() -> None:
    flights, gate = Flights(), Gate()
    dropped: Coroutine[Any, Any, Result[Any]] = flights.fly("a", gate)
    copy_context().run(dropped.send, None)  # as a task does; it leads, and waits for the gate
    waiting = asyncio.create_task(flights.fly("a", _gives("waiting")))
    await turns()
    dropped.close()  # as the garbage collector does
    assert await waiting == Success("waiting")


def test_what_is_dropped_while_the_lock_is_held_is_done_when_it_is_released() -> None:
    done: list[str] = []
    with LOCK:
        LOCK.soon(lambda: done.append("one"))
        LOCK.soon(lambda: done.append("two"))
        assert done == []
    assert done == ["one", "two"]
    LOCK.soon(lambda: done.append("three"))
    assert done == ["one", "two", "three"]


def test_threads_get_the_same_result() -> None:
    flights = Flights()
    calls: list[int] = []
    all_here = threading.Barrier(8)

    def compute() -> Result[object]:
        calls.append(1)
        time.sleep(0.05)
        return Success(object())

    def ask(_: int) -> Result[object]:
        all_here.wait()
        return flights.fly_sync("a", compute)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(ask, range(8)))
    assert len(calls) == 1
    assert all(result is results[0] for result in results)
    assert len(flights) == 0


def test_event_loops_and_threads_wait_for_each_other() -> None:
    flights = Flights()
    calls: list[str] = []
    all_here = threading.Barrier(9)

    async def compute() -> Result[object]:
        calls.append("task")
        await asyncio.sleep(0.05)
        return Success(object())

    def compute_sync() -> Result[object]:
        calls.append("thread")
        time.sleep(0.05)
        return Success(object())

    async def ask_often() -> list[Result[object]]:
        all_here.wait()
        return await asyncio.gather(*(flights.fly("a", compute) for _ in range(5)))

    def ask(number: int) -> list[Result[object]]:
        if number % 3 == 0:
            return asyncio.run(ask_often())
        all_here.wait()
        return [flights.fly_sync("a", compute_sync)]

    with ThreadPoolExecutor(9) as pool:
        results = [result for many in pool.map(ask, range(9)) for result in many]
    assert len(calls) == 1
    assert len(results) == 21
    assert all(result is results[0] for result in results)


async def test_a_thread_takes_over_from_a_task_and_a_task_from_a_thread() -> None:
    flights, gate = Flights(), Gate()
    leader = asyncio.create_task(flights.fly("a", gate))
    await turns()
    thread = asyncio.create_task(asyncio.to_thread(flights.fly_sync, "a", lambda: Success("thread")))
    while not _is_waited_for(flights):  # noqa: ASYNC110 - a thread gives no event
        await asyncio.sleep(0.001)
    leader.cancel()
    assert await thread == Success("thread")

    begun, go = threading.Event(), threading.Event()

    def dies() -> Result[str]:
        begun.set()
        go.wait()
        raise SystemExit

    def ask() -> None:
        with pytest.raises(SystemExit):
            flights.fly_sync("a", dies)

    dying = asyncio.create_task(asyncio.to_thread(ask))
    await asyncio.to_thread(begun.wait)
    waiting = asyncio.create_task(flights.fly("a", _gives("task")))
    await turns()
    go.set()
    assert await waiting == Success("task")
    await dying


def _is_waited_for(flights: Flights) -> bool:
    return any(flight.waiters for flight in flights._flights.values())  # pyright: ignore[reportPrivateUsage]  # a test looks inside


def test_one_whose_event_loop_is_closed_is_passed_over() -> None:
    flights = Flights()
    other = asyncio.new_event_loop()

    async def main() -> None:
        gate = Gate()
        leader = asyncio.create_task(flights.fly("a", gate))
        await turns()
        await asyncio.to_thread(wait_and_close)
        last = asyncio.create_task(flights.fly("a", _gives("last")))
        await turns()
        leader.cancel()
        assert await last == Success("last")

    stuck = flights.fly("a", _gives("stuck"))

    def wait_and_close() -> None:
        async def begin() -> None:
            copy_context().run(stuck.send, None)

        other.run_until_complete(begin())
        other.close()

    asyncio.run(main())
    stuck.close()
    assert len(flights) == 0


class TestWaitingForItself:
    """All of these would wait forever, were they not told."""

    async def test_in_the_same_task(self) -> None:
        flights = Flights()

        async def own() -> Result[int]:
            return await flights.fly("a", own)

        assert_failure(await flights.fly("a", own), "CACHE_REENTRANT")
        assert len(flights) == 0

    async def test_in_a_task_of_the_factory(self) -> None:
        flights = Flights()

        async def own() -> Result[int]:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(flights.fly("a", own))
            return task.result()

        assert_failure(await flights.fly("a", own), "CACHE_REENTRANT")

    async def test_in_a_thread_of_the_factory(self) -> None:
        flights = Flights()

        async def own() -> Result[int]:
            return await asyncio.to_thread(flights.fly_sync, "a", lambda: Success(1))

        assert_failure(await flights.fly("a", own), "CACHE_REENTRANT")

    def test_in_the_same_thread(self) -> None:
        flights = Flights()

        def own() -> Result[int]:
            return flights.fly_sync("a", own)

        assert_failure(flights.fly_sync("a", own), "CACHE_REENTRANT")

    async def test_through_another_key(self) -> None:
        flights = Flights()

        async def one() -> Result[int]:
            return await flights.fly("b", other)

        async def other() -> Result[int]:
            return await flights.fly("a", one)

        assert_failure(await flights.fly("a", one), "CACHE_REENTRANT")

    async def test_in_a_circle_of_tasks_and_caches(self) -> None:
        caches = [Flights() for _ in range(3)]
        all_begun = asyncio.Barrier(3)

        async def ask(number: int) -> Result[Any]:
            async def compute() -> Result[Any]:
                await all_begun.wait()
                return await caches[(number + 1) % 3].fly("a", _gives("never"))

            return await caches[number].fly("a", compute)

        results = await asyncio.gather(*map(ask, range(3)))
        # The last that asks closes the circle and is told; its answer frees the others.
        for result in results:
            assert_failure(result, "CACHE_REENTRANT")
        assert [len(flights) for flights in caches] == [0, 0, 0]

    async def test_by_blocking_the_event_loop_of_the_leader(self) -> None:
        flights, gate = Flights(), Gate()
        leader = asyncio.create_task(flights.fly("a", gate))
        await turns()
        assert_failure(flights.fly_sync("a", lambda: Success(1)), "CACHE_REENTRANT")
        gate.open.set()
        assert_success(await leader)


async def test_to_wait_for_others_within_a_computation_is_no_circle() -> None:
    flights = Flights()

    async def leaf() -> Result[int]:
        await asyncio.sleep(0.01)
        return Success(1)

    async def branch() -> Result[int]:
        return (await flights.fly("leaf", leaf)).map(lambda value: value + 1)

    async def root() -> Result[int]:
        results = await asyncio.gather(
            flights.fly("left", branch), flights.fly("right", branch), flights.fly("leaf", leaf)
        )
        return Success(sum(result.unwrap() for result in results))

    assert await asyncio.gather(*(flights.fly("root", root) for _ in range(3))) == [Success(5)] * 3
    assert len(flights) == 0


async def test_who_waits_no_more_is_in_no_circle() -> None:
    flights, gate = Flights(), asyncio.Event()

    async def slow() -> Result[str]:
        await gate.wait()
        return (await flights.fly("impatient", impatient)).map(lambda value: f"slow {value}")

    async def impatient() -> Result[str]:
        try:
            async with asyncio.timeout(0.01):
                await flights.fly("slow", slow)
        except TimeoutError:
            gate.set()
            await asyncio.sleep(0.01)  # now the slow one waits for this one
        return Success("impatient")

    waiting = asyncio.create_task(flights.fly("slow", slow))
    await turns()
    assert await flights.fly("impatient", impatient) == Success("impatient")
    assert await waiting == Success("slow impatient")


@pytest.mark.parametrize("seed", range(10))
async def test_whoever_is_cancelled_all_others_get_their_results(seed: int) -> None:
    flights = Flights()
    dice = random.Random(seed)
    at_once: dict[str, int] = {}

    async def ask(key: str) -> Result[str]:
        async def compute() -> Result[str]:
            at_once[key] = at_once.get(key, 0) + 1
            assert at_once[key] == 1, "two compute at once"
            try:
                await asyncio.sleep(dice.random() / 200)
                return Success(key)
            finally:
                at_once[key] -= 1

        await asyncio.sleep(dice.random() / 100)
        return await flights.fly(key, compute)

    tasks = {asyncio.create_task(ask(key := dice.choice("abc"))): key for _ in range(100)}
    doomed = set(dice.sample(list(tasks), 50))
    for task in doomed:
        await asyncio.sleep(dice.random() / 1000)
        task.cancel()
    await asyncio.wait(tasks)
    for task, key in tasks.items():
        if task.cancelled():
            assert task in doomed
        else:
            assert task.result() == Success(key)
    assert len(flights) == 0
