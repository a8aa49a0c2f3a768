import asyncio
from typing import Any

import pytest
from qicore.base import AsyncResult, Failure, QiError, Result, Success

ERROR = QiError.cache("A", "no")


async def fetch(number: int) -> Result[int]:
    await asyncio.sleep(0)
    return Success(number)


async def more(number: int) -> int:
    return number + 1


def explode(*_: object) -> Any:
    raise AssertionError("this must not be called")


async def test_steps_run_in_order() -> None:
    seen: list[object] = []
    chain = (
        AsyncResult(fetch(1))
        .map(lambda n: n + 1)
        .map_async(more)
        .flat_map(fetch)
        .flat_map(lambda n: Success(n * 10))
        .tap(seen.append)
        .tap_async(more)
        .filter(lambda n: n > 0, ERROR)
        .map_error(explode)
        .or_else(explode)
        .tap_error(explode)
    )
    assert seen == [], "nothing runs before it is awaited"
    assert await chain == Success(30)
    assert seen == [30]


async def test_a_failure_passes_through() -> None:
    failed: Result[int] = Failure(ERROR)
    chain = (
        AsyncResult(failed)
        .map(explode)
        .map_async(explode)
        .flat_map(explode)
        .tap(explode)
        .filter(explode, ERROR)
    )
    assert await chain == failed
    assert await chain.map_error(lambda e: e.with_context({"a": 1})).unwrap_or(5) == 5
    assert await chain.or_else(lambda _: fetch(7)).unwrap() == 7
    assert await chain.match(explode, lambda error: error.code) == "A"
    with pytest.raises(QiError):
        await chain.unwrap()


async def test_a_chain_is_a_value() -> None:
    base = AsyncResult(Success(1))
    left, right = base.map(lambda n: n + 1), base.map(lambda n: n + 2)
    assert (await left, await right, await base) == (Success(2), Success(3), Success(1))


async def test_cancelling_reaches_the_source() -> None:
    cancelled = asyncio.Event()

    async def endless() -> Result[int]:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Success(1)

    async def run() -> Result[int]:
        return await AsyncResult(endless()).map(lambda n: n + 1)

    task = asyncio.ensure_future(run())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()
