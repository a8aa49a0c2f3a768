"""Timeout: an operation that takes too long is ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

from qicore.base import Failure, Result
from qicore.base.options import Checks
from qicore.resilience.errors import INVALID_CONFIG, timed_out, with_causes
from qicore.resilience.policy import attempt
from qicore.resilience.threads import Answers

__all__ = ["Timeout"]

T = TypeVar("T")


class Timeout:
    """Ends an operation that takes longer than `seconds`: TIMEOUT_ERROR [TIMEOUT].

    `call` cancels it and waits until it has cleaned up. When it answers a Success nonetheless, that is the
    answer, for what was done was done; a Failure by then is the cause of the TIMEOUT_ERROR. A cancellation
    from outside stays one.

    Python can't stop a blocking operation. So `call_sync` runs it in a thread of its own, with the context
    variables of the caller, and leaves it there when the time is over: it goes on to its end, unheard, and
    what it does is done. Where the operation has a timeout itself, as `SyncHTTPClient` has, that is the
    better one. A `Bulkhead` inside, `compose(Timeout(1), Bulkhead())`, bounds how many may be left behind.

    Raises ValueError for seconds that are none; `create` answers a Failure.

    >>> import asyncio
    >>> from qicore.base import Result, Success
    >>> async def slow() -> Result[int]:
    ...     await asyncio.sleep(60)
    ...     return Success(1)
    >>> asyncio.run(Timeout(0.01).call(slow)).error.code
    'TIMEOUT_ERROR'

    Attributes:
        seconds: how long an operation may take.
    """

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        wrong = Checks().seconds("seconds", seconds).answer(None, INVALID_CONFIG).error
        if wrong is not None:
            raise ValueError(wrong.message)
        self.seconds = seconds

    @classmethod
    def create(cls, seconds: float) -> Result[Self]:
        """Check the seconds and return a timeout; INVALID_RESILIENCE_CONFIG [VALIDATION]."""
        return Checks().seconds("seconds", seconds).answer(seconds, INVALID_CONFIG).map(cls)

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        """Call and await `operation`, for so long; else TIMEOUT_ERROR [TIMEOUT]."""
        import asyncio

        try:
            async with asyncio.timeout(self.seconds) as limit:
                # A TimeoutError of the operation's own becomes a Failure in there.
                result = await attempt(operation)
        except TimeoutError:
            return Failure(timed_out(self.seconds))
        if isinstance(result, Failure) and limit.expired():
            return Failure(with_causes(timed_out(self.seconds), [result.error]))
        return result

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        """Call `operation` in a thread and wait for it, for so long; else TIMEOUT_ERROR [TIMEOUT]."""
        answers = Answers[T]()
        answers.start(operation)
        return answers.next(self.seconds) or Failure(timed_out(self.seconds))

    def __repr__(self) -> str:
        return f"<Timeout {self.seconds:g} s>"
