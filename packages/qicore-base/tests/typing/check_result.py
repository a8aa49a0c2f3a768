"""What mypy and pyright must infer, in strict mode. Checked, never run."""

from collections.abc import Callable, Coroutine
from typing import Any, assert_never, assert_type

from qicore.base import (
    AsyncResult,
    Failure,
    QiError,
    Result,
    Success,
    accumulate,
    as_result,
    collect,
    collect_async,
    combine,
    early_return,
    partition,
)
from qicore.base.testing import assert_failure, assert_success


def exhaustive(result: Result[int]) -> str:
    match result.variant:
        case Success(value):
            assert_type(value, int)
            return str(value)
        case Failure(error):
            assert_type(error, QiError)
            return error.code


def exhaustive_with_never(result: Result[int]) -> str:
    match result.variant:
        case Success(value):
            return str(value)
        case Failure(error):
            return error.code
        case other:  # pyright: ignore[reportUnnecessaryComparison]  # that is the point
            assert_never(other)


def narrowing(result: Result[int]) -> int:
    variant = result.variant
    if isinstance(variant, Success):
        assert_type(variant, Success[int])
        return variant.data
    assert_type(variant, Failure)
    return len(variant.error.code)


def covariance(result: Result[bool]) -> Result[int]:
    return result


def failure_fits_every_result(error: QiError) -> Result[list[str]]:
    return Failure(error)


def contract_spelling(error: QiError, ok: bool) -> Result[int]:
    return Result.success(1) if ok else Result.failure(error)


def operations(result: Result[int], error: QiError) -> None:
    assert_type(result.map(str), Result[str])
    assert_type(result.flat_map(lambda n: Success([n])), Result[list[int]])
    assert_type(result.map_error(lambda e: e), Result[int])
    assert_type(result.or_else(lambda e: Success(e.code)), Result[int | str])
    assert_type(result.filter(lambda n: n > 0, error), Result[int])
    assert_type(result.tap(print), Result[int])
    assert_type(result.unwrap(), int)
    assert_type(result.unwrap_or(None), int | None)
    assert_type(result.unwrap_or_else(lambda e: e.code), int | str)
    assert_type(result.match(str, lambda e: e.timestamp), str | int)
    assert_type(result.data, int | None)
    assert_type(result.error, QiError | None)
    assert_type(Result.from_try_catch(int, "1"), Result[int])
    maybe: str | None = None if result.is_success else "text"
    assert_type(Result.from_optional(maybe, error), Result[str])


def variants(error: QiError) -> None:
    assert_type(Success(1), Success[int])
    assert_type(Success(1).unwrap(), int)
    assert_type(Success(1).error, None)
    assert_type(Failure(error).error, QiError)
    assert_type(Failure(error).data, None)
    assert_type(Result.success("a"), Result[str])


async def twins(result: Result[int]) -> None:
    async def text(number: int) -> str:
        return str(number)

    async def fetch(number: int) -> Result[str]:
        return Success(str(number))

    assert_type(await result, Result[int])
    assert_type(await result.map_async(text), Result[str])
    assert_type(await result.flat_map_async(fetch), Result[str])
    assert_type(await Result.from_try_catch_async(text, 1), Result[str])
    chain = AsyncResult(fetch(1)).map(len).flat_map(fetch).flat_map(lambda s: Success(len(s)))
    assert_type(chain, AsyncResult[int])
    assert_type(await chain, Result[int])
    assert_type(await chain.unwrap_or(None), int | None)
    assert_type(await collect_async([fetch(1), fetch(2)]), Result[list[str]])


def collectors(a: Result[int], b: Result[str]) -> None:
    assert_type(collect([a, a]), Result[list[int]])
    assert_type(accumulate([a, a]), Result[list[int]])
    assert_type(partition([a]), tuple[list[int], list[QiError]])
    assert_type(combine(a, b), Result[tuple[int, str]])
    assert_type(combine(a, b, a), Result[tuple[int, str, int]])
    assert_type(assert_success(a), int)
    assert_type(assert_failure(a), QiError)


@as_result(ValueError)
def parse(text: str, *, base: int = 10) -> int:
    return int(text, base)


@as_result(ValueError)
async def parse_async(text: str) -> int:
    return int(text)


@early_return
def early(text: str) -> Result[int]:
    return Success(parse(text).unwrap())


@early_return
async def early_async(text: str) -> Result[int]:
    return Success((await parse_async(text)).unwrap())


def decorators() -> None:
    assert_type(parse("1", base=2), Result[int])
    _exact: Callable[[str], Coroutine[Any, Any, Result[int]]] = parse_async
    assert_type(early("1"), Result[int])
    _also: Callable[[str], Coroutine[Any, Any, Result[int]]] = early_async


def wrong_calls_are_found(error: QiError) -> None:
    parse(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a str is due
    Failure("text")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # an error is due
    Success(1).data = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # immutable
    error.code = "OTHER"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # immutable
