import asyncio
import inspect
from typing import Any

import pytest
from qicore.base import ErrorCategory, Failure, QiError, Result, Success, as_result, early_return
from qicore.base.testing import assert_failure

ERROR = QiError.cache("A", "no")


@as_result(ValueError, ZeroDivisionError)
def ratio(a: str, *, b: int = 1) -> float:
    """Divide."""
    return int(a) / b


@as_result(ZeroDivisionError)
async def ratio_async(a: int, b: int) -> float:
    await asyncio.sleep(0)
    return a / b


class TestAsResult:
    def test_values_and_expected_exceptions(self) -> None:
        assert ratio("1", b=2) == Success(0.5)
        assert_failure(ratio("x"), "VALUE_ERROR", ErrorCategory.UNKNOWN)
        assert_failure(ratio("1", b=0), "ZERO_DIVISION_ERROR")

    def test_what_is_not_listed_propagates(self) -> None:
        wrong: Any = None
        with pytest.raises(TypeError):
            ratio(wrong)

    def test_the_function_stays_itself(self) -> None:
        assert ratio.__name__ == "ratio"
        assert ratio.__doc__ == "Divide."
        assert list(inspect.signature(ratio).parameters) == ["a", "b"]
        assert inspect.iscoroutinefunction(ratio_async)

    async def test_async(self) -> None:
        assert await ratio_async(1, 2) == Success(0.5)
        assert_failure(await ratio_async(1, 0), "ZERO_DIVISION_ERROR")

    async def test_a_cancellation_propagates(self) -> None:
        @as_result(Exception)
        async def endless() -> None:
            await asyncio.sleep(3600)

        task = asyncio.ensure_future(endless())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def test_to_error(self) -> None:
        @as_result(ValueError, to_error=lambda _: ERROR)
        def fail() -> int:
            raise ValueError("no")

        assert fail() == Failure(ERROR)

    def test_methods(self) -> None:
        class Reader:
            @as_result(KeyError)
            def read(self, key: str) -> str:
                return {"a": "b"}[key]

        assert Reader().read("a") == Success("b")
        assert_failure(Reader().read("z"), "KEY_ERROR")

    @pytest.mark.parametrize("catch", [(), (BaseException,), (KeyboardInterrupt,), ("ValueError",), (len,)])
    def test_the_exceptions_must_be_named(self, catch: Any) -> None:
        with pytest.raises(TypeError, match="classes of the exceptions"):
            as_result(*catch)


class TestEarlyReturn:
    def test_a_failure_leaves_the_function(self) -> None:
        seen: list[int] = []

        @early_return
        def total(parts: list[Result[int]]) -> Result[int]:
            seen.extend(part.unwrap() for part in parts)
            return Success(sum(seen))

        assert total([Success(1), Success(2)]) == Success(3)
        seen.clear()
        outcome = total([Success(1), Failure(ERROR), Success(2)])
        assert outcome.error is ERROR
        assert seen == [1]

    async def test_async(self) -> None:
        @early_return
        async def twice(part: Result[int]) -> Result[int]:
            await asyncio.sleep(0)
            return Success(part.unwrap() * 2)

        assert await twice(Success(1)) == Success(2)
        assert await twice(Failure(ERROR)) == Failure(ERROR)
        assert inspect.iscoroutinefunction(twice)

    def test_cleanup_runs_and_other_exceptions_propagate(self) -> None:
        cleaned: list[int] = []

        @early_return
        def leave(result: Result[int]) -> Result[int]:
            try:
                return Success(1 // result.unwrap())
            finally:
                cleaned.append(1)

        assert leave(Failure(ERROR)).is_failure
        with pytest.raises(ZeroDivisionError):
            leave(Success(0))
        assert cleaned == [1, 1]
