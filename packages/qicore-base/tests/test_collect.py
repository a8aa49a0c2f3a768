import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import (
    Failure,
    QiError,
    Result,
    Success,
    accumulate,
    collect,
    collect_async,
    combine,
    partition,
)
from qicore.base.testing import assert_failure
from qicore.base.testing.strategies import results

ERROR = QiError.cache("A", "first")
OTHER = QiError.cache("B", "second")


@given(st.lists(results(st.integers())))
def test_partition_loses_nothing(given_results: list[Result[int]]) -> None:
    values, errors = partition(iter(given_results))
    succeeded: list[Result[int]] = [Success(value) for value in values]
    assert succeeded == [r for r in given_results if r.is_success]
    assert [Failure(error) for error in errors] == [r for r in given_results if r.is_failure]
    first_failure = next((r for r in given_results if r.is_failure), None)
    assert collect(given_results) == (Success(values) if first_failure is None else first_failure)
    if errors:
        assert accumulate(given_results) == Failure(QiError.aggregate(errors))
    else:
        assert accumulate(given_results) == Success(values)


def test_collect_stops_at_the_first_failure() -> None:
    def produce() -> Iterator[Result[int]]:
        yield Success(1)
        yield Failure(ERROR)
        raise AssertionError("not asked for")

    assert collect(produce()) == Failure(ERROR)


def test_nothing_collects_to_nothing() -> None:
    assert collect([]) == accumulate([]) == Success([])
    assert partition([]) == ([], [])


def test_combine_keeps_every_error() -> None:
    assert combine(Success(1), Success("a"), Success(None)) == Success((1, "a", None))
    failed: Result[int] = Failure(ERROR)
    assert assert_failure(combine(failed, Success(1), Failure(OTHER))).message == "2 errors: first; second"
    assert combine(failed, Success(1)) == Failure(ERROR)


class TestCollectAsync:
    async def test_all_at_once_and_in_order(self) -> None:
        started: list[int] = []
        everybody = asyncio.Event()

        async def work(number: int) -> Result[int]:
            started.append(number)
            if len(started) == 5:
                everybody.set()
            await everybody.wait()
            return Success(number)

        assert await collect_async(work(number) for number in range(5)) == Success([0, 1, 2, 3, 4])

    async def test_a_result_that_is_there_is_fine_too(self) -> None:
        assert await collect_async([Success(1), Success(2)]) == Success([1, 2])
        assert await collect_async([]) == Success([])

    async def test_never_more_than_the_limit(self) -> None:
        running = most = 0

        async def work(number: int) -> Result[int]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return Success(number)

        assert (await collect_async((work(n) for n in range(20)), limit=3)).unwrap() == list(range(20))
        assert most == 3

    async def test_the_first_failure_cancels_the_rest_and_waits_for_it(self) -> None:
        cleaned: list[str] = []

        async def endless() -> Result[int]:
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0)
                cleaned.append("up")
            return Success(1)

        async def fail() -> Result[int]:
            await asyncio.sleep(0)
            return Failure(ERROR)

        assert await collect_async([endless(), fail(), endless()]) == Failure(ERROR)
        assert cleaned == ["up", "up"]

    async def test_an_exception_propagates_after_the_rest_has_ended(self) -> None:
        ended = asyncio.Event()

        async def endless() -> Result[int]:
            try:
                await asyncio.sleep(3600)
            finally:
                ended.set()
            return Success(1)

        async def crash() -> Result[int]:
            await asyncio.sleep(0)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await collect_async([endless(), crash()])
        assert ended.is_set()

    async def test_an_iterable_that_raises_leaves_nothing_running(self) -> None:
        async def never() -> Result[int]:
            raise AssertionError("this must not begin")

        made = never()

        def produce() -> Iterator[Coroutine[Any, Any, Result[int]]]:
            yield made
            raise KeyError("no more")

        with pytest.raises(KeyError):
            await collect_async(produce())
        assert asyncio.all_tasks() == {asyncio.current_task()}
        made.close()

    async def test_cancelling_it_cancels_all(self) -> None:
        cancelled = 0

        async def endless() -> Result[int]:
            nonlocal cancelled
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled += 1
                raise
            return Success(1)

        task = asyncio.ensure_future(collect_async([endless(), endless()]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cancelled == 2

    @pytest.mark.parametrize("limit", [0, -1])
    async def test_a_limit_is_positive(self, limit: Any) -> None:
        with pytest.raises(ValueError, match="limit"):
            await collect_async([Success(1)], limit=limit)
