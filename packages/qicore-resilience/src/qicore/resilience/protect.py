"""Policies around a function, for good."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from qicore.base import Result
from qicore.resilience.policy import Policy, compose

__all__ = ["protect"]

P = ParamSpec("P")
T = TypeVar("T")


class _Protects(Protocol):
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, Result[T]]], /
    ) -> Callable[P, Coroutine[Any, Any, Result[T]]]: ...
    @overload
    def __call__(self, function: Callable[P, Result[T]], /) -> Callable[P, Result[T]]: ...
    def __call__(self, function: Callable[..., Any], /) -> Callable[..., Any]: ...


def protect(*policies: Policy) -> _Protects:
    """Return a decorator that puts policies, the outermost first, around functions that give Results.

    The function may be `async` or not; its parameters stay the same. All its calls share the policies.

    >>> from qicore.base import Success
    >>> from qicore.resilience import CircuitBreaker, Retry
    >>> @protect(Retry(), CircuitBreaker(name="users"))
    ... def find(user: int) -> Result[str]:
    ...     return Success(f"user {user}")
    >>> find(7)
    Success('user 7')
    """
    policy = compose(*policies)

    def decorate(function: Callable[..., Any], /) -> Callable[..., Any]:
        called = type(function).__call__  # of an object that is called like a function
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called):

            @functools.wraps(function)
            async def awaiting(*args: Any, **kwargs: Any) -> Any:
                return await policy.call(lambda: function(*args, **kwargs))

            return awaiting

        @functools.wraps(function)
        def blocking(*args: Any, **kwargs: Any) -> Any:
            return policy.call_sync(lambda: function(*args, **kwargs))

        return blocking

    return cast("_Protects", decorate)
