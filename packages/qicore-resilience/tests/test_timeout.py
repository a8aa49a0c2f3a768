import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import Bulkhead, BulkheadConfig, Timeout, compose

LONG = 60.0


class TestAsync:
    async def test_in_time(self) -> None:
        async def quick() -> Result[int]:
            return Success(1)

        assert assert_success(await Timeout(LONG).call(quick)) == 1

    async def test_too_late_it_is_cancelled_and_has_cleaned_up_before_the_answer(self) -> None:
        cleaned: list[str] = []

        async def slow() -> Result[int]:
            try:
                await asyncio.sleep(LONG)
            finally:
                await asyncio.sleep(0)
                cleaned.append("up")
            return Success(1)

        error = assert_failure(await Timeout(0.01).call(slow), "TIMEOUT_ERROR")
        assert error.context["timeout"] == 0.01
        assert error.category.is_retryable
        assert cleaned == ["up"]

    async def test_an_answer_in_spite_of_it_is_the_answer(self) -> None:
        async def commits() -> Result[int]:
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                return Success(7)
            return Success(1)

        assert assert_success(await Timeout(0.01).call(commits)) == 7

    async def test_a_failure_when_the_time_is_over_is_its_cause(self) -> None:
        async def breaks() -> Result[int]:
            try:
                await asyncio.sleep(LONG)
            finally:
                raise ConnectionResetError("while cleaning up")

        error = assert_failure(await Timeout(0.01).call(breaks), "TIMEOUT_ERROR")
        assert error.cause is not None
        assert error.cause.message == "while cleaning up"

    async def test_a_timeout_of_its_own_is_not_ours(self) -> None:
        async def fails() -> Result[int]:
            raise TimeoutError("of the socket")

        error = assert_failure(await Timeout(LONG).call(fails))
        assert error.message == "of the socket"

    async def test_cancelled_from_outside_it_stays_cancelled(self) -> None:
        begun = asyncio.Event()

        async def slow() -> Result[int]:
            begun.set()
            await asyncio.sleep(LONG)
            return Success(1)

        task = asyncio.ensure_future(Timeout(LONG).call(slow))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_cancelled_from_outside_when_the_time_is_over_it_stays_cancelled(self) -> None:
        cleaning = asyncio.Event()

        async def slow() -> Result[int]:
            try:
                await asyncio.sleep(LONG)
            finally:
                cleaning.set()
                await asyncio.sleep(LONG)
            return Success(1)

        task = asyncio.ensure_future(Timeout(0.01).call(slow))
        await cleaning.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def test_a_timeout_of_the_caller_goes_through(self) -> None:
        async def slow() -> Result[int]:
            await asyncio.sleep(LONG)
            return Success(1)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await Timeout(LONG).call(slow)

    async def test_fifty_at_once_each_with_its_own_time(self) -> None:
        async def sleeps(seconds: float) -> Result[float]:
            await asyncio.sleep(seconds)
            return Success(seconds)

        short, long = Timeout(0.01), Timeout(LONG)
        calls = [
            short.call(partial(sleeps, LONG)) if n % 2 else long.call(partial(sleeps, 0)) for n in range(50)
        ]
        results = await asyncio.gather(*calls)
        assert [result.is_failure for result in results] == [n % 2 == 1 for n in range(50)]

    async def test_one_inside_another(self) -> None:
        async def slow() -> Result[int]:
            await asyncio.sleep(LONG)
            return Success(1)

        inner, outer = Timeout(0.01), Timeout(LONG)
        error = assert_failure(await outer.call(lambda: inner.call(slow)), "TIMEOUT_ERROR")
        assert error.context["timeout"] == 0.01
        error = assert_failure(await inner.call(lambda: outer.call(slow)), "TIMEOUT_ERROR")
        assert error.context["timeout"] == 0.01


class TestBlocking:
    def test_in_time(self) -> None:
        assert assert_success(Timeout(LONG).call_sync(lambda: Success(1))) == 1
        down = QiError.network("NETWORK_ERROR", "x")
        assert Timeout(LONG).call_sync(lambda: Failure(down)).error is down

    def test_too_late_it_is_left_behind(self) -> None:
        go, ended = threading.Event(), threading.Event()

        def slow() -> Result[int]:
            go.wait()
            ended.set()
            return Success(1)

        assert_failure(Timeout(0.01).call_sync(slow), "TIMEOUT_ERROR")
        assert not ended.is_set()
        go.set()
        assert ended.wait(LONG)

    def test_the_context_goes_along(self) -> None:
        variable = contextvars.ContextVar("variable", default=0)
        variable.set(7)
        assert assert_success(Timeout(LONG).call_sync(lambda: Success(variable.get()))) == 7

    def test_what_it_raises_is_a_failure(self) -> None:
        def breaks() -> Result[int]:
            raise KeyError("x")

        assert_failure(Timeout(LONG).call_sync(breaks), "KEY_ERROR")

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
    def test_what_ends_the_program_ends_it_through_the_thread(self, kind: type[BaseException]) -> None:
        def ends() -> Result[int]:
            raise kind(3)

        with pytest.raises(kind):
            Timeout(LONG).call_sync(ends)

    def test_where_no_thread_starts_that_is_the_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def start(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", start)
        error = assert_failure(Timeout(LONG).call_sync(lambda: Success(1)), "RUNTIME_ERROR")
        assert error.message == "can't start new thread"

    def test_a_bulkhead_inside_bounds_how_many_are_left_behind(self) -> None:
        go = threading.Event()
        bulkhead = Bulkhead(BulkheadConfig(max_concurrent=3))
        policy = compose(Timeout(0.01), bulkhead)

        def hangs() -> Result[int]:
            go.wait()
            return Success(1)

        codes = [assert_failure(policy.call_sync(hangs)).code for _ in range(6)]
        assert codes == ["TIMEOUT_ERROR"] * 3 + ["BULKHEAD_FULL"] * 3
        assert bulkhead.statistics().running == 3
        go.set()

    def test_fifty_threads_at_once(self) -> None:
        policy = Timeout(LONG)
        with ThreadPoolExecutor(50) as pool:
            calls = [pool.submit(policy.call_sync, partial(Result[int].success, n)) for n in range(200)]
            assert [assert_success(call.result()) for call in calls] == list(range(200))


@pytest.mark.parametrize("seconds", [1e300, 10**12])
async def test_times_longer_than_the_system_knows(seconds: float) -> None:
    assert_success(Timeout(seconds).call_sync(lambda: Success(1)))
    assert_success(await Timeout(seconds).call(lambda: Success(1)))


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True])
def test_wrong_seconds(seconds: float) -> None:
    assert_failure(Timeout.create(seconds), "INVALID_RESILIENCE_CONFIG")
    with pytest.raises(ValueError, match="seconds"):
        Timeout(seconds)
