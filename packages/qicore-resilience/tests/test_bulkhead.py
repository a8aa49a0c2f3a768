import asyncio
import random
import signal
import threading
from collections import OrderedDict
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from qicore.base import ErrorCategory, Result, Success
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


async def test_it_says_which_is_full() -> None:
    bulkhead = assert_success(Bulkhead.create(BulkheadConfig(max_concurrent=1), name="reports"))
    result = bulkhead.call_sync(lambda: bulkhead.call_sync(lambda: Success(1)))
    error = assert_failure(result, "BULKHEAD_FULL")
    assert error.context["name"] == bulkhead.name == "reports"
    assert "'reports'" in error.message
    assert error.category is ErrorCategory.TIMEOUT


class Pause:
    """What a coroutine waits for that nobody ever wakes."""

    def __await__(self) -> Generator[None, None, Result[int]]:
        yield
        return Success(1)


def test_a_call_that_is_forgotten_gives_its_room_back() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=1))
    call = bulkhead.call(Pause)
    call.send(None)
    assert bulkhead.statistics().running == 1
    del call
    assert resting(bulkhead)


async def test_a_call_that_is_forgotten_while_it_waits_leaves_the_line() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=1, max_waiting=2))
    inside, waiting = bulkhead.call(Pause), bulkhead.call(Pause)
    inside.send(None)
    waiting.send(None)
    assert bulkhead.statistics().waiting == 1
    waiting.close()
    inside.close()
    assert resting(bulkhead)


def test_a_call_in_a_signal_handler_does_not_wait_for_itself() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=1000))
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        assert_success(bulkhead.call_sync(lambda: Success(1)))
        handled += 1

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        while handled < 300:
            assert_success(bulkhead.call_sync(lambda: Success(1)))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert resting(bulkhead)


def test_room_that_is_given_back_within_its_own_bookkeeping_is_not_lost() -> None:
    """A finaliser may end one call while another is about to stand in line, in one and the same thread."""
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=1, max_waiting=1))
    inside = bulkhead.call(Pause)
    inside.send(None)

    class Line(OrderedDict[Any, None]):
        def __setitem__(self, key: Any, value: None) -> None:
            inside.close()
            super().__setitem__(key, value)

    bulkhead._line = Line()  # pyright: ignore[reportPrivateUsage]  # there is no other way in between
    assert_success(bulkhead.call_sync(lambda: Success(1)))
    assert resting(bulkhead)


async def test_waiting_longer_than_the_system_knows() -> None:
    bulkhead = Bulkhead(BulkheadConfig(max_concurrent=1, max_waiting=2, max_wait=1e300))
    gate = asyncio.Event()

    async def waits() -> Result[int]:
        await gate.wait()
        return Success(1)

    first = asyncio.ensure_future(bulkhead.call(waits))
    await asyncio.sleep(0)
    thread = asyncio.ensure_future(asyncio.to_thread(bulkhead.call_sync, lambda: Success(2)))
    task = asyncio.ensure_future(bulkhead.call(lambda: Success(3)))
    while bulkhead.statistics().waiting < 2:  # noqa: ASYNC110 - one stands in a thread, and sets no event
        await asyncio.sleep(0.001)
    gate.set()
    assert [assert_success(result) for result in await asyncio.gather(first, thread, task)] == [1, 2, 3]


class Bulkheads(RuleBasedStateMachine):
    """A bulkhead against a list: who is in, who waits, who is turned away."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.bulkhead = Bulkhead(BulkheadConfig(max_concurrent=2, max_waiting=3))
        self.inside: list[int] = []
        self.line: list[int] = []
        self.tasks: dict[int, asyncio.Task[Result[int]]] = {}
        self.gates: dict[int, asyncio.Event] = {}
        self.begun: list[int] = []
        self.rejected = 0

    def settle(self) -> None:
        async def ticks() -> None:
            for _ in range(10):
                await asyncio.sleep(0)

        self.loop.run_until_complete(ticks())

    def enter_next(self) -> None:
        while self.line and len(self.inside) < 2:
            self.inside.append(self.line.pop(0))

    @rule()
    def call(self) -> None:
        number = len(self.tasks)
        gate = self.gates[number] = asyncio.Event()

        async def operation() -> Result[int]:
            self.begun.append(number)
            await gate.wait()
            return Success(number)

        self.tasks[number] = self.loop.create_task(self.bulkhead.call(operation))
        self.settle()
        if len(self.inside) < 2 and not self.line:
            self.inside.append(number)
        elif len(self.line) < 3:
            self.line.append(number)
        else:
            self.rejected += 1
            assert_failure(self.tasks[number].result(), "BULKHEAD_FULL")

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.inside))
        self.gates[number].set()
        self.settle()
        assert assert_success(self.tasks[number].result()) == number
        self.inside.remove(number)
        self.enter_next()

    @precondition(lambda self: self.inside or self.line)
    @rule(data=st.data(), with_the_gate=st.booleans())
    def cancel(self, data: st.DataObject, with_the_gate: bool) -> None:
        number = data.draw(st.sampled_from(self.inside + self.line))
        if with_the_gate and self.inside:  # who waits may be cancelled in the moment in which its turn comes
            ending = self.inside[0]
            self.gates[ending].set()
            self.tasks[number].cancel()
            self.settle()
            self.inside.remove(ending)
        else:
            self.tasks[number].cancel()
            self.settle()
        assert self.tasks[number].done()
        for place in (self.inside, self.line):
            if number in place:
                place.remove(number)
        self.rejected = self.bulkhead.statistics().rejected  # how a cancellation counts is told elsewhere
        self.enter_next()

    @invariant()
    def it_is_as_the_list_says(self) -> None:
        seen = self.bulkhead.statistics()
        assert (seen.running, seen.waiting) == (len(self.inside), len(self.line))
        assert seen.rejected == self.rejected
        assert self.begun == sorted(self.begun), "first come, first served"

    def teardown(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        self.settle()
        assert resting(self.bulkhead)
        self.loop.close()


TestBulkheads = Bulkheads.TestCase
TestBulkheads.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("options", [{"max_concurrent": 0}, {"max_waiting": -1}, {"max_wait": 0}])
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    error = assert_failure(Bulkhead.create(BulkheadConfig(**options)), "INVALID_RESILIENCE_CONFIG")
    assert next(iter(options)) in error.message
    with pytest.raises(ValueError, match=next(iter(options))):
        Bulkhead(BulkheadConfig(**options))
