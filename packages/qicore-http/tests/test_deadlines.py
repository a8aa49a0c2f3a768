"""Deadlines cancel what is late, and never swallow a cancellation that is somebody else's."""

import asyncio
import contextlib
import gc
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qicore.http import HTTPClient, HTTPConfig
from qicore.http.deadlines import Deadlines, Watch
from qicore_testkit.fault_server import FaultServer
from qicore_testkit.faults import answer, hang


async def guarded(deadlines: Deadlines, seconds: float, nap: float) -> str:
    deadline = time.monotonic() + seconds
    watch = deadlines.watch(deadline)
    try:
        await asyncio.sleep(nap)
    except asyncio.CancelledError:
        if watch.end():
            assert time.monotonic() >= deadline, "cancelled too early"
            return "late"
        raise
    finally:
        watch.end()
    return "in time"


async def test_what_is_late_is_told_from_what_is_not() -> None:
    deadlines = Deadlines()
    slow = [guarded(deadlines, 0.02 * number, 30) for number in range(1, 5)]
    quick = [guarded(deadlines, 30, 0.01 * number) for number in range(5)]
    assert await asyncio.gather(*slow, *quick) == ["late"] * 4 + ["in time"] * 5
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_deadline_in_the_past_is_late() -> None:
    assert await guarded(Deadlines(), -1, 30) == "late"


async def test_an_earlier_deadline_that_comes_later_is_kept() -> None:
    deadlines = Deadlines()
    long = asyncio.create_task(guarded(deadlines, 60, 60))
    await asyncio.sleep(0)
    assert await guarded(deadlines, 0.02, 30) == "late"
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long


async def test_a_cancellation_at_the_same_moment_is_not_swallowed() -> None:
    deadlines = Deadlines()
    task = asyncio.create_task(guarded(deadlines, 0.01, 30))
    await asyncio.sleep(0)
    time.sleep(0.02)  # noqa: ASYNC251 - so that the timer and the cancellation fall into one round of the loop
    asyncio.get_running_loop().call_soon(task.cancel)
    await asyncio.wait((task,))
    assert task.cancelled()
    assert task.cancelling() == 1, "only the caller's own"


async def test_a_timeout_around_it_is_its_own() -> None:
    deadlines = Deadlines()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await guarded(deadlines, 30, 30)
    async with asyncio.timeout(30) as scope:
        assert await guarded(deadlines, 0.02, 30) == "late"
    assert not scope.expired()
    # Both at once: the one outside wins.
    now = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout_at(now + 0.01):
            await asyncio.sleep(0)
            time.sleep(0.02)  # noqa: ASYNC251 - both are due when the loop looks again
            await guarded(deadlines, -1, 30)


async def test_siblings_in_a_group_go_on() -> None:
    deadlines = Deadlines()
    async with asyncio.TaskGroup() as group:
        late = group.create_task(guarded(deadlines, 0.01, 30))
        sibling = group.create_task(guarded(deadlines, 30, 0.05))
    assert (late.result(), sibling.result()) == ("late", "in time")


async def test_a_group_that_fails_takes_its_calls_along() -> None:
    deadlines = Deadlines()

    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("no more")

    tasks: list[asyncio.Task[str]] = []
    with pytest.raises(ExceptionGroup, match="unhandled") as caught:
        async with asyncio.TaskGroup() as group:
            tasks.append(group.create_task(guarded(deadlines, 30, 30)))
            group.create_task(fail())
    assert caught.group_contains(ValueError)
    assert tasks[0].cancelled()


async def test_what_has_ended_takes_no_room() -> None:
    deadlines = Deadlines()
    for _ in range(5000):
        await guarded(deadlines, 600, 0)
    gc.collect()
    assert sum(isinstance(one, Watch) for one in gc.get_objects()) < 600


def test_a_new_event_loop_starts_anew() -> None:
    deadlines = Deadlines()
    for _ in range(2):
        assert asyncio.run(guarded(deadlines, 0.01, 30)) == "late"


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([0, 1, 2, 3600]), st.booleans()), min_size=1, max_size=8
    )
)
@settings(max_examples=30, deadline=None)
def test_each_ends_in_its_own_way(calls: list[tuple[int, int, bool]]) -> None:
    async def play() -> None:
        deadlines = Deadlines()
        tasks = [
            asyncio.create_task(guarded(deadlines, 0.004 * limit + 0.002, 0.004 * nap))
            for limit, nap, _ in calls
        ]
        await asyncio.sleep(0.005)
        for task, (_, _, cancelled) in zip(tasks, calls, strict=True):
            if cancelled:
                task.cancel()
        await asyncio.wait(tasks)
        for task, (_, nap, cancelled) in zip(tasks, calls, strict=True):
            if task.cancelled():
                assert cancelled
            elif nap == 3600:
                assert task.result() == "late"
            else:
                assert task.result() in ("late", "in time")
            assert task.cancelling() in (0, 1 if cancelled else 0)

    asyncio.run(play())


async def test_a_clients_call_passes_on_what_is_not_its_own(engine: Any, fault_server: FaultServer) -> None:
    stuck = fault_server.on("/stuck", hang())
    fine = fault_server.on("/fine", answer(200, b"tea"))
    async with HTTPClient.create(HTTPConfig(engine=engine, timeout=5)).unwrap() as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.get(stuck)
        async with asyncio.timeout(5) as scope:
            assert (await client.get(stuck, timeout=0.05)).is_failure
        assert not scope.expired()
        async with asyncio.TaskGroup() as group:
            late = group.create_task(client.get(stuck, timeout=0.05))
            sibling = group.create_task(client.get(fine))
        assert (late.result().is_failure, sibling.result().is_success) == (True, True)
        task = asyncio.create_task(client.get(stuck, timeout=0.05))
        await asyncio.sleep(0.02)
        time.sleep(0.05)  # noqa: ASYNC251 - so that the deadline and the cancellation fall into one round
        asyncio.get_running_loop().call_soon(task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
