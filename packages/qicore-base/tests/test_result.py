import asyncio
import copy
import gc
import pickle
import traceback
import weakref
from typing import Any, cast

import pytest
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.base.testing import assert_failure

ERROR = QiError.validation("ODD", "it is odd", number=3)


def explode(*_: object) -> Any:
    raise AssertionError("this must not be called")


class TestConstruction:
    def test_the_contract_spelling_and_the_variant_are_the_same(self) -> None:
        assert Result.success(5) == Success(5)
        assert Result.failure(ERROR) == Failure(ERROR)
        assert type(Result.success(5)) is Success

    @pytest.mark.parametrize("wrong", ["ODD", None, ValueError("odd"), 3])
    def test_a_failure_takes_only_an_error(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match="QiError"):
            Failure(wrong)

    def test_a_bare_result_cannot_be_made(self) -> None:
        with pytest.raises(TypeError, match="Success"):
            cast("Any", Result)()

    def test_there_is_no_third_variant(self) -> None:
        with pytest.raises(TypeError, match="two variants"):
            type("Third", (Result,), {})

    def test_properties(self) -> None:
        assert (Success(1).is_success, Success(1).is_failure) == (True, False)
        assert (Success(1).data, Success(1).error) == (1, None)
        assert (Failure(ERROR).is_success, Failure(ERROR).is_failure) == (False, True)
        assert Failure(ERROR).data is None
        assert Failure(ERROR).error is ERROR

    def test_a_success_of_none_is_a_success(self) -> None:
        assert Success(None).is_success
        assert Success(None).unwrap_or(1) is None

    @pytest.mark.parametrize("result", [Success(1), Failure(ERROR)])
    @pytest.mark.parametrize("name", ["data", "error", "is_success", "other"])
    def test_immutable(self, result: Result[int], name: str) -> None:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(result, name, 2)
        with pytest.raises(AttributeError, match="immutable"):
            delattr(result, name)
        assert not hasattr(result, "__dict__")

    def test_equality_and_hash(self) -> None:
        same = QiError.validation("ODD", "it is odd", number=3)
        assert Failure(ERROR) == Failure(same)
        assert hash(Failure(ERROR)) == hash(Failure(same))
        assert len({Success(1), Success(1), Success(2), Failure(ERROR)}) == 3
        assert Success(ERROR) != Failure(ERROR)
        assert Success(1) != 1
        assert Failure(ERROR) != ERROR

    def test_equality_is_left_to_a_type_that_knows_more(self) -> None:
        class Anything:
            def __eq__(self, other: object) -> bool:
                return True

            __hash__ = None  # type: ignore[assignment]  # the way to say unhashable

        assert Success(1) == Anything()
        assert Failure(ERROR) == Anything()

    def test_repr(self) -> None:
        assert repr(Success("a")) == "Success('a')"
        assert repr(Failure(ERROR)) == "Failure(<QiError VALIDATION/ODD: it is odd>)"

    @pytest.mark.parametrize("result", [Success([1, {"a": 2}]), Failure(ERROR)])
    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle_and_copy(self, result: Result[Any], protocol: int) -> None:
        assert pickle.loads(pickle.dumps(result, protocol)) == result
        assert copy.copy(result) == result
        assert copy.deepcopy(result) == result

    def test_a_deep_copy_shares_nothing(self) -> None:
        original = Success([1])
        assert copy.deepcopy(original).unwrap() is not original.unwrap()


class TestFromTryCatch:
    def test_success_with_arguments(self) -> None:
        assert Result.from_try_catch(int, "ff", base=16) == Success(255)

    def test_an_expected_exception_is_a_failure_that_keeps_it(self) -> None:
        result = Result.from_try_catch(int, "x", catch=(ValueError, TypeError))
        error = assert_failure(result, "VALUE_ERROR", ErrorCategory.UNKNOWN)
        assert isinstance(error.__cause__, ValueError)

    def test_another_exception_propagates(self) -> None:
        with pytest.raises(ZeroDivisionError):
            Result.from_try_catch(lambda: 1 / 0, catch=ValueError)

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
    @pytest.mark.parametrize("catch", [Exception, BaseException])
    def test_control_flow_always_propagates(self, kind: type[BaseException], catch: Any) -> None:
        def leave() -> None:
            raise kind

        async def leave_async() -> None:
            raise kind

        with pytest.raises(kind):
            Result.from_try_catch(leave, catch=catch)
        coroutine = Result.from_try_catch_async(leave_async, catch=catch)
        with pytest.raises(kind):
            coroutine.send(None)

    def test_an_error_raised_is_the_error_of_the_failure(self) -> None:
        def refuse() -> int:
            raise ERROR

        assert Result.from_try_catch(refuse).error is ERROR

    def test_to_error_decides(self) -> None:
        result = Result.from_try_catch(int, "x", to_error=lambda exc: QiError.cache("MINE", str(type(exc))))
        assert_failure(result, "MINE", ErrorCategory.CACHE)

    async def test_async(self) -> None:
        async def ratio(a: int, b: int) -> float:
            return a / b

        assert await Result.from_try_catch_async(ratio, 1, b=2) == Success(0.5)
        failed = await Result.from_try_catch_async(ratio, 1, b=0, catch=ZeroDivisionError)
        assert_failure(failed, "ZERO_DIVISION_ERROR")

    async def test_a_cancelled_task_is_cancelled_and_no_failure(self) -> None:
        task = asyncio.ensure_future(Result.from_try_catch_async(asyncio.sleep, 3600))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    def test_no_reference_cycle_keeps_the_frame_alive(self) -> None:
        class Big:
            pass

        def fail() -> None:
            big = Big()
            seen.append(weakref.ref(big))
            raise ValueError("no")

        seen: list[weakref.ref[Big]] = []
        gc.disable()
        try:
            result: Result[None] | None = Result.from_try_catch(fail)
            assert result is not None
            del result
            assert seen[0]() is None
        finally:
            gc.enable()


class TestOperations:
    def test_map(self) -> None:
        assert Success(2).map(str) == Success("2")
        failure: Result[int] = Failure(ERROR)
        assert failure.map(explode) is failure

    def test_flat_map_short_circuits(self) -> None:
        assert Success(2).flat_map(lambda n: Success(n + 1)) == Success(3)
        failure: Result[int] = Failure(ERROR)
        assert failure.flat_map(explode).flat_map(explode) is failure

    def test_map_error(self) -> None:
        assert Failure(ERROR).map_error(lambda e: e.with_context({"seen": True})).error.context["seen"]
        success = Success(1)
        assert success.map_error(explode) is success

    def test_or_else(self) -> None:
        assert Failure(ERROR).or_else(lambda error: Success(error.code)) == Success("ODD")
        success = Success(1)
        assert success.or_else(explode) is success

    def test_filter(self) -> None:
        even = Success(2)
        assert even.filter(lambda n: n % 2 == 0, ERROR) is even
        assert Success(3).filter(lambda n: n % 2 == 0, ERROR) == Failure(ERROR)
        made = Success(3).filter(lambda n: n % 2 == 0, lambda n: QiError.validation("ODD", f"{n} is odd"))
        assert assert_failure(made).message == "3 is odd"
        failure: Result[int] = Failure(ERROR)
        assert failure.filter(explode, ERROR) is failure

    def test_taps(self) -> None:
        seen: list[object] = []
        success, failure = Success(1), Failure(ERROR)
        assert success.tap(seen.append).tap_error(explode) is success
        assert failure.tap_error(seen.append).tap(explode) is failure
        assert seen == [1, ERROR]

    def test_taking_apart(self) -> None:
        assert Success(1).unwrap() == Success(1).unwrap_or(2) == Success(1).unwrap_or_else(explode) == 1
        assert Failure(ERROR).unwrap_or(2) == 2
        assert Failure(ERROR).unwrap_or_else(lambda error: error.code) == "ODD"

    def test_unwrap_raises_the_very_error_and_never_lengthens_its_traceback(self) -> None:
        lengths: list[int] = []
        failure = Failure(ERROR)
        for _ in range(3):
            with pytest.raises(QiError) as raised:
                failure.unwrap()
            assert raised.value is ERROR
            lengths.append(len(traceback.extract_tb(raised.value.__traceback__)))
        assert len(set(lengths)) == 1

    def test_match_calls_exactly_one(self) -> None:
        assert Success(1).match(lambda n: n + 1, explode) == 2
        assert Failure(ERROR).match(on_success=explode, on_failure=lambda e: e.code) == "ODD"

    @pytest.mark.parametrize(("result", "seen"), [(Success(1), "1"), (Failure(ERROR), "ODD")])
    def test_match_statement(self, result: Result[int], seen: str) -> None:
        match result:
            case Success(value):
                assert str(value) == seen
            case Failure(error):
                assert error.code == seen
            case _:
                raise AssertionError("one of the two")
        assert result.variant is result

    def test_exceptions_of_a_callback_are_the_callers_own(self) -> None:
        with pytest.raises(ZeroDivisionError):
            Success(0).map(lambda n: 1 / n)

    def test_from_optional(self) -> None:
        assert Result.from_optional(0, ERROR) == Success(0)
        assert Result.from_optional(None, ERROR) == Failure(ERROR)
        assert Result.from_optional(None, lambda: ERROR) == Failure(ERROR)

    def test_the_contracts_spellings(self) -> None:
        assert Success(1).flatMap(lambda n: Success(n + 1)).unwrapOr(0) == 2
        assert Failure(ERROR).orElse(lambda _: Success(1)) == Success(1)
        assert Result.fromTryCatch(int, "1") == Success(1)


class TestAsyncTwins:
    async def test_a_result_can_be_awaited_any_number_of_times(self) -> None:
        for result in (Success(1), Failure(ERROR)):
            assert await result is result
            assert await result is result

    async def test_on_a_success(self) -> None:
        async def more(number: int) -> int:
            return number + 1

        async def even(number: int) -> bool:
            return number % 2 == 0

        async def as_success(number: int) -> Result[int]:
            return Success(number)

        success = Success(2)
        assert await success.map_async(more) == Success(3)
        assert await success.flat_map_async(as_success) == success
        assert await success.filter_async(even, ERROR) is success
        assert await Success(3).filter_async(even, ERROR) == Failure(ERROR)
        assert await Success(3).filter_async(even, lambda _: ERROR) == Failure(ERROR)
        assert await success.tap_async(more) is success
        assert await success.match_async(more, explode) == 3
        assert await success.unwrap_or_else_async(explode) == 2
        assert await success.map_error_async(explode) is success
        assert await success.or_else_async(explode) is success
        assert await success.tap_error_async(explode) is success

    async def test_on_a_failure(self) -> None:
        async def same(error: QiError) -> QiError:
            return error

        async def recover(_: QiError) -> Result[int]:
            return Success(1)

        failure: Result[int] = Failure(ERROR)
        assert await failure.map_async(explode) is failure
        assert await failure.flat_map_async(explode) is failure
        assert await failure.filter_async(explode, ERROR) is failure
        assert await failure.tap_async(explode) is failure
        assert await failure.match_async(explode, same) is ERROR
        assert await failure.unwrap_or_else_async(same) is ERROR
        assert await failure.map_error_async(same) == failure
        assert await failure.or_else_async(recover) == Success(1)
        assert await failure.tap_error_async(same) is failure
