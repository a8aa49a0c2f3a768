import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from qicore.base import Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import Bulkhead, BulkheadConfig

LONG = 60.0


class Room:
    """What is inside of a bulkhead, and the most that ever was."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = self.most = self.passed = 0

    def enter(self) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def leave(self) -> None:
        with self.lock:
            self.now -= 1
            self.passed += 1

    async def stay(self) -> Result[int]:
        self.enter()
        try:
            await asyncio.sleep(random.random() / 1000)
        finally:
            self.leave()
        return Success(1)

    def stay_sync(self) -> Result[int]:
        self.enter()
        try:
            threading.Event().wait(random.random() / 1000)
        finally:
            self.leave()
        return Success(1)


def resting(bulkhead: Bulkhead) -> bool:
    statistics = bulkhead.statistics()
    return (statistics.running, statistics.waiting) == (0, 0)


async def test_a_call_too_many_is_turned_away_at_once() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=2))
    gate = asyncio.Event()

    async def waits() -> Result[int]:
        await gate.wait()
        return Success(1)

    tasks = [asyncio.ensure_future(bulkhead.call(waits)) for _ in range(5)]
    await asyncio.sleep(0)
    assert bulkhead.statistics().running == 2
    gate.set()
    results = await asyncio.gather(*tasks)
    assert [result.is_success for result in results] == [True, True, False, False, False]
    error = assert_failure(results[2], "BULKHEAD_FULL")
    assert error.context["max_concurrent"] == 2
    assert resting(bulkhead)
    assert bulkhead.statistics().rejected == 3


async def test_who_waits_is_served_in_order() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=1, max_waiting=10))
    order: list[int] = []

    async def note(number: int) -> Result[int]:
        order.append(number)
        await asyncio.sleep(0)
        return Success(number)

    async def numbered(number: int) -> Result[int]:
        return await bulkhead.call(lambda: note(number))

    results = await asyncio.gather(*map(numbered, range(12)))
    assert order == list(range(11))
    assert_failure(results[11], "BULKHEAD_FULL")


async def test_who_waits_too_long_leaves() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=1, max_waiting=1, max_wait=0.01))
    gate = asyncio.Event()

    async def waits() -> Result[int]:
        await gate.wait()
        return Success(1)

    first = asyncio.ensure_future(bulkhead.call(waits))
    await asyncio.sleep(0)
    assert_failure(await bulkhead.call(waits), "BULKHEAD_FULL")
    assert_failure(await asyncio.to_thread(bulkhead.call_sync, lambda: Success(1)), "BULKHEAD_FULL")
    gate.set()
    assert_success(await first)
    assert resting(bulkhead)
    assert_success(await bulkhead.call(waits))


async def test_a_storm_of_cancellations_leaves_no_room_taken() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=3, max_waiting=1000, max_wait=LONG))
    room = Room()
    for _ in range(20):
        tasks = [asyncio.ensure_future(bulkhead.call(room.stay)) for _ in range(50)]
        for task in random.sample(tasks, 40):
            await asyncio.sleep(0)
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) or one == Success(1) for one in done)
        assert resting(bulkhead)
    assert room.most <= 3
    assert room.now == 0


def test_fifty_threads_and_three_loops_share_one() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=4, max_waiting=1000))
    room = Room()

    async def many() -> None:
        results = await asyncio.gather(*(bulkhead.call(room.stay) for _ in range(50)))
        assert all(result.is_success for result in results)

    with ThreadPoolExecutor(53) as pool:
        loops = [pool.submit(asyncio.run, many()) for _ in range(3)]
        calls = [pool.submit(bulkhead.call_sync, room.stay_sync) for _ in range(200)]
        for loop in loops:
            loop.result()
        assert all(call.result() == Success(1) for call in calls)
    assert (room.passed, room.now) == (350, 0)
    assert room.most <= 4
    assert resting(bulkhead)


def test_a_loop_that_is_gone_holds_up_nobody() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=1, max_waiting=5))
    inside, go = threading.Event(), threading.Event()

    def waits() -> Result[int]:
        inside.set()
        go.wait()
        return Success(1)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(bulkhead.call_sync, waits)
        inside.wait()
        loop = asyncio.new_event_loop()
        task = loop.create_task(bulkhead.call(Room().stay))
        loop.run_until_complete(asyncio.sleep(0))
        assert bulkhead.statistics().waiting == 1
        loop.close()
        go.set()
        assert_success(first.result())
        assert_success(pool.submit(bulkhead.call_sync, lambda: Success(1)).result())
    coroutine = task.get_coro()
    assert coroutine is not None
    coroutine.close()
    assert resting(bulkhead)
    # The task itself never ends with its loop gone, and would complain of it.
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


async def test_room_is_given_back_whatever_the_operation_does() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=1))

    def breaks() -> Result[int]:
        raise KeyError("x")

    def interrupts() -> Result[int]:
        raise KeyboardInterrupt

    assert_failure(bulkhead.call_sync(breaks), "KEY_ERROR")
    assert_failure(await bulkhead.call(breaks), "KEY_ERROR")
    with pytest.raises(KeyboardInterrupt):
        bulkhead.call_sync(interrupts)
    assert resting(bulkhead)


@pytest.mark.parametrize("options", [{"max_concurrent": 0}, {"max_waiting": -1}, {"max_wait": 0}])
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    error = assert_failure(Bulkhead.create(BulkheadConfig(**options)), "INVALID_RESILIENCE_CONFIG")
    assert next(iter(options)) in error.message
    with pytest.raises(ValueError, match=next(iter(options))):
        Bulkhead(BulkheadConfig(**options))
