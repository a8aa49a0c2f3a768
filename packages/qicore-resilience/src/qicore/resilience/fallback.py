"""Fallback: what to answer when an operation fails."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, cast

from qicore.base import Failure, QiError, Result
from qicore.resilience.errors import with_causes
from qicore.resilience.policy import attempt, attempt_sync

__all__ = ["Fallback"]

T = TypeVar("T")
_log: Final = logging.getLogger("qicore.resilience")


def _any(_: QiError) -> bool:
    return True


class Fallback:
    """Answers what `instead` makes of the error, when the operation fails with one that `on` accepts.

    `instead` gets the error and gives a Result, or for `call` an awaitable of one: of the operation's own
    type, which type checkers take for granted, since one policy may stand around operations of any type.
    When it fails too, its error is the answer, with the first one as its cause.

    Raises TypeError for an `instead` or `on` that is no function.

    >>> from qicore.base import Failure, QiError, Success
    >>> def down() -> Result[list[str]]:
    ...     return Failure(QiError.network("NETWORK_ERROR", "connection refused"))
    >>> Fallback(lambda error: Success([])).call_sync(down)
    Success([])
    """

    __slots__ = ("_instead", "_on")

    def __init__(
        self,
        instead: Callable[[QiError], Result[Any] | Awaitable[Result[Any]]],
        *,
        on: Callable[[QiError], bool] = _any,
    ) -> None:
        for name, function in (("instead", instead), ("on", on)):
            if not callable(cast("object", function)):
                raise TypeError(f"{name} must be a function of an error")
        self._instead = instead
        self._on = on

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        """Call and await `operation`; when it fails, answer what stands in for it."""
        result = await attempt(operation)
        if not isinstance(result, Failure) or not self._accepts(result.error):
            return result
        error = result.error

        async def instead() -> Result[T]:
            answer = self._instead(error)
            return await answer  # a Result is awaitable, too

        return _after(error, await attempt(instead))

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        """Call `operation`; when it fails, answer what stands in for it."""
        result = attempt_sync(operation)
        if not isinstance(result, Failure) or not self._accepts(result.error):
            return result
        error = result.error
        # What gives an awaitable can't be used here: attempt_sync says so.
        instead: Any = self._instead
        return _after(error, attempt_sync(lambda: instead(error)))

    def _accepts(self, error: QiError) -> bool:
        try:
            return self._on(error)
        except Exception:  # noqa: BLE001 - logged, and the failure is the answer: nothing here hurts a call
            _log.exception("`on` of a fallback failed: there is none for this error")
            return False

    def __repr__(self) -> str:
        return f"<Fallback {getattr(self._instead, '__qualname__', type(self._instead).__qualname__)}>"


def _after(error: QiError, result: Result[T]) -> Result[T]:
    return Failure(with_causes(result.error, [error])) if isinstance(result, Failure) else result
