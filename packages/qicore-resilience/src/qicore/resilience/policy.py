"""What all policies have in common, and how they stand around each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, TypeVar

from qicore.base import Failure, Result, Success
from qicore.resilience.errors import not_a_result, to_error

__all__ = ["Policy", "attempt", "attempt_sync", "compose", "pause"]

T = TypeVar("T")
_KINDS: Final = (Success, Failure)


class Policy(Protocol):
    """Stands around an operation that answers a Result, as `CircuitBreaker` and `Retry` do.

    What the operation raises becomes a Failure, but for what ends a task or the program: a cancellation, say.
    """

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        """Call and await `operation`, or do without, and answer a Result."""
        ...

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        """Call `operation`, or do without, and answer a Result."""
        ...


class _Composed:
    """Policies, the outermost first."""

    __slots__ = ("policies",)

    def __init__(self, policies: tuple[Policy, ...]) -> None:
        self.policies = policies

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        for policy in reversed(self.policies):
            operation = partial(policy.call, operation)
        return await attempt(operation)

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        for policy in reversed(self.policies):
            operation = partial(policy.call_sync, operation)
        return attempt_sync(operation)

    def __repr__(self) -> str:
        return f"compose({', '.join(map(repr, self.policies))})"


def compose(*policies: Policy) -> Policy:
    """Return one policy that stands for several, the outermost first.

    It is associative, and `compose()` changes nothing, so groups of policies can be named and put together.
    The order says what sees what: in `compose(Retry(), breaker)` each attempt asks the breaker, and an open
    circuit ends the retries; in `compose(breaker, Retry())` the breaker counts only how the last one ended.

    Raises TypeError for what is no policy, such as the class of one.

    >>> from qicore.base import Success
    >>> from qicore.resilience import CircuitBreaker, Retry
    >>> compose(Retry(), CircuitBreaker()).call_sync(lambda: Success(1))
    Success(1)
    """
    flat: list[Policy] = []
    for policy in policies:
        _require(policy)
        flat += policy.policies if isinstance(policy, _Composed) else (policy,)
    return flat[0] if len(flat) == 1 else _Composed(tuple(flat))


def _require(policy: object) -> None:
    # A class has these attributes, too, and would fail only when it is called.
    methods = (getattr(policy, name, None) for name in ("call", "call_sync"))
    if isinstance(policy, type) or not all(map(callable, methods)):
        raise TypeError(f"{policy!r} is no policy: it needs the methods call and call_sync")


async def attempt(operation: Callable[[], Awaitable[Result[T]]]) -> Result[T]:
    """Call and await `operation`; what it raises, or answers that is no Result, becomes a Failure."""
    try:
        return _checked(await operation())
    except Exception as exception:  # noqa: BLE001 - it becomes a Failure
        return Failure(to_error(exception))


def attempt_sync(operation: Callable[[], Result[T]]) -> Result[T]:
    """Call `operation`; what it raises, or answers that is no Result, becomes a Failure."""
    try:
        return _checked(operation())
    except Exception as exception:  # noqa: BLE001 - it becomes a Failure
        return Failure(to_error(exception))


def _checked(result: Result[T]) -> Result[T]:
    # Callers without types may give anything.
    return result if type(result) in _KINDS else Failure(not_a_result(result))


async def pause(seconds: float) -> None:
    """Wait, in a task. What is called without one needs no asyncio."""
    import asyncio

    await asyncio.sleep(seconds)
