import asyncio
import contextvars
import threading

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import Timeout

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
        def ends() -> Result[int]:
            raise SystemExit(3)

        def breaks() -> Result[int]:
            raise KeyError("x")

        assert "SystemExit" in assert_failure(Timeout(LONG).call_sync(ends)).message
        assert_failure(Timeout(LONG).call_sync(breaks), "KEY_ERROR")


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True])
def test_wrong_seconds(seconds: float) -> None:
    assert_failure(Timeout.create(seconds), "INVALID_RESILIENCE_CONFIG")
    with pytest.raises(ValueError, match="seconds"):
        Timeout(seconds)
