"""An awaitable that was begun by hand goes on as if it had not been."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from qicore.ai.waiting import Limit, Rest


async def _rest_of(generator: AsyncGenerator[int, None]) -> int:
    steps = generator.__anext__().__await__()
    return await Rest(next(steps), steps)


async def test_it_waits_as_often_as_it_takes() -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(3):
            for _ in range(5):
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            yield number

    generator = numbers()
    assert [await _rest_of(generator) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(StopAsyncIteration):
        await _rest_of(generator)


async def test_an_error_comes_out() -> None:
    async def fails() -> AsyncGenerator[int, None]:
        await asyncio.sleep(0)
        yield {"one": 1}["two"]

    with pytest.raises(KeyError):
        await _rest_of(fails())


async def test_a_cancellation_goes_in_and_what_is_inside_may_still_wait() -> None:
    done: list[str] = []

    async def cleans_up() -> AsyncGenerator[int, None]:
        try:
            await asyncio.sleep(60)
            yield 1
        finally:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            done.append("cleaned")

    task = asyncio.create_task(_rest_of(cleans_up()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done == ["cleaned"]


async def test_what_is_inside_may_answer_though_it_was_cancelled() -> None:
    async def stubborn() -> AsyncGenerator[int, None]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            yield 7

    task = asyncio.create_task(_rest_of(stubborn()))
    await asyncio.sleep(0)
    task.cancel()
    assert await task == 7


async def test_a_second_cancellation_goes_in_too() -> None:
    heard: list[int] = []

    async def slow() -> AsyncGenerator[int, None]:
        for number in range(2):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                heard.append(number)
        await asyncio.sleep(60)
        yield 1

    task = asyncio.create_task(_rest_of(slow()))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == [0, 1]


async def test_one_that_is_dropped_is_closed() -> None:
    closed: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append("closed")

    async def rest() -> None:
        steps = waits().__await__()
        await Rest(next(steps), steps)

    coroutine = rest()
    coroutine.send(None)
    coroutine.close()
    assert closed == ["closed"]


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def limit() -> Limit:
    return Limit(asyncio.get_running_loop())


async def test_a_limit_ends_what_takes_too_long_and_the_task_goes_on(limit: Limit) -> None:
    for seconds in (0.02, 0.0, -1.0):
        with pytest.raises(TimeoutError):
            await limit.wait(asyncio.sleep(60), now() + seconds)
        assert limit.expired
        assert not limit.busy
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_many_waits_share_a_timer(limit: Limit) -> None:
    for _ in range(50):
        assert await limit.wait(asyncio.sleep(0.001, "x"), now() + 0.03) == "x"
    with pytest.raises(TimeoutError):
        await limit.wait(asyncio.sleep(60), now() + 0.03)
    await limit.wait(asyncio.sleep(0), float("inf"))
    assert not limit.expired


async def test_a_limit_that_comes_sooner_than_the_last_one(limit: Limit) -> None:
    await limit.wait(asyncio.sleep(0), now() + 3600)
    with pytest.raises(TimeoutError):
        await limit.wait(asyncio.sleep(60), now() + 0.01)


async def test_a_timer_that_is_left_ends_nothing_that_has_no_limit(limit: Limit) -> None:
    await limit.wait(asyncio.sleep(0), now() + 0.01)
    assert await limit.wait(asyncio.sleep(0.05, "x"), float("inf")) == "x"
    await limit.wait(asyncio.sleep(0), now() + 0.01)
    await asyncio.sleep(0.05)
    limit.close()


async def test_a_timeout_of_what_is_inside_is_not_the_limits(limit: Limit) -> None:
    async def late() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await limit.wait(late(), now() + 60)
    assert not limit.expired


async def test_a_cancellation_from_outside_stays_one(limit: Limit) -> None:
    task = asyncio.create_task(limit.wait(asyncio.sleep(60), now() + 60))
    await asyncio.sleep(0)
    assert limit.busy
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not limit.expired


async def test_a_cancellation_and_the_limit_at_once_is_a_cancellation(limit: Limit) -> None:
    task = asyncio.create_task(limit.wait(asyncio.sleep(60), now() + 60))
    await asyncio.sleep(0)
    limit.end()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_does_not_heed_the_limit_still_answers(limit: Limit) -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return "done"
        return "slept"

    assert await limit.wait(stubborn(), now() + 0.01) == "done"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
