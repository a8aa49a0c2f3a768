"""Decorators between the two worlds: functions that raise, and functions that answer a Result."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from qicore.base.error import QiError
from qicore.base.result import Result
from qicore.base.variants import Failure, Success

__all__ = ["as_result", "early_return"]

T = TypeVar("T")
P = ParamSpec("P")


class _AsResult(Protocol):
    # A coroutine is also some T, so the overloads overlap: the first that fits is taken, as is meant.
    @overload
    def __call__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self, fn: Callable[P, Coroutine[Any, Any, T]], /
    ) -> Callable[P, Coroutine[Any, Any, Result[T]]]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> Callable[P, Result[T]]: ...


def as_result(
    *catch: type[Exception], to_error: Callable[[Exception], QiError] = QiError.from_exception
) -> _AsResult:
    """Make a function that raises into one that returns a Result; for `def` and `async def` alike.

    Name the exceptions that are expected: they become Failures, by `to_error`. Every other one propagates, as
    does every BaseException that is no Exception. At least one must be named; anything else is a TypeError.

    >>> @as_result(ZeroDivisionError)
    ... def ratio(a: int, b: int) -> float:
    ...     return a / b
    >>> ratio(1, 2)
    Success(0.5)
    >>> str(ratio(1, 0).error)
    'UNKNOWN/ZERO_DIVISION_ERROR: division by zero'
    """
    if not catch or not all(map(_is_exception_class, catch)):
        raise TypeError("as_result() needs the classes of the exceptions to catch: @as_result(ValueError)")

    def decorate(fn: Callable[..., Any]) -> Callable[..., Any]:
        if _is_coroutine_function(fn):

            @wraps(fn)
            async def answer_async(*args: Any, **kwargs: Any) -> Result[Any]:
                try:
                    return Success(await fn(*args, **kwargs))
                except catch as exception:
                    return Failure(to_error(exception))

            return answer_async

        @wraps(fn)
        def answer(*args: Any, **kwargs: Any) -> Result[Any]:
            try:
                return Success(fn(*args, **kwargs))
            except catch as exception:
                return Failure(to_error(exception))

        return answer

    return cast("_AsResult", decorate)


@overload
def early_return(
    fn: Callable[P, Coroutine[Any, Any, Result[T]]], /
) -> Callable[P, Coroutine[Any, Any, Result[T]]]: ...
@overload
def early_return(fn: Callable[P, Result[T]], /) -> Callable[P, Result[T]]: ...
def early_return(fn: Callable[..., Any], /) -> Callable[..., Any]:
    """Let a function that returns a Result leave early: `.unwrap()` of a Failure in it returns that Failure.

    The `?` of Rust, for pipelines too long or too branching for `flat_map`; for `def` and `async def` alike.

    >>> @early_return
    ... def add(a: str, b: str) -> Result[int]:
    ...     left = Result.from_try_catch(int, a).unwrap()
    ...     right = Result.from_try_catch(int, b).unwrap()
    ...     return Success(left + right)
    >>> add("1", "2"), add("1", "x").is_failure
    (Success(3), True)
    """
    if _is_coroutine_function(fn):

        @wraps(fn)
        async def leave_async(*args: Any, **kwargs: Any) -> Result[Any]:
            try:
                return cast("Result[Any]", await fn(*args, **kwargs))
            except QiError as error:
                return Failure(error)

        return leave_async

    @wraps(fn)
    def leave(*args: Any, **kwargs: Any) -> Result[Any]:
        try:
            return cast("Result[Any]", fn(*args, **kwargs))
        except QiError as error:
            return Failure(error)

    return leave


def _is_coroutine_function(fn: Callable[..., Any]) -> bool:
    import inspect  # as dear as this whole package, and only needed where a function is decorated

    return inspect.iscoroutinefunction(fn)


def _is_exception_class(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)
