"""An awaitable that was begun by hand goes on as if it had not been."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from qicore.ai.waiting import Rest


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
