"""Waiting with a limit, many times in a row, at next to no cost.

Setting a timer for each piece of a stream, and taking it back, costs as much as reading the piece. So what
is there already takes no timer: `Rest` is for an awaitable that was begun by hand, to see if it waits at all.
And what waits shares one: a `Limit` sets its timer again when it has rung too early, not for each wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import Any, Final, Generic, TypeVar

__all__ = ["Limit", "Rest"]

T = TypeVar("T")
_NEVER: Final = float("inf")


class Rest(Generic[T]):
    """What is left of an awaitable whose first step was taken, and gave what it waits for.

    >>> import asyncio
    >>> async def wait_and_answer() -> int:
    ...     await asyncio.sleep(0)
    ...     return 42
    >>> async def by_hand() -> int:
    ...     steps = wait_and_answer().__await__()
    ...     return await Rest(next(steps), steps)
    >>> asyncio.run(by_hand())
    42
    """

    __slots__ = ("_steps", "_waits_for")

    def __init__(self, waits_for: object, steps: Generator[Any, Any, T]) -> None:
        self._waits_for = waits_for
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, T]:
        try:
            yield self._waits_for
        except GeneratorExit:
            self._steps.close()
            raise
        except BaseException as error:  # noqa: BLE001 - a cancellation, say: it is for who waits in there
            try:
                waits_for = self._steps.throw(error)
            except StopIteration as given:
                answer: T = given.value
                return answer
            return (yield from Rest(waits_for, self._steps).__await__())
        return (yield from self._steps)


class Limit:
    """Limits one wait after another, of one loop at a time: TimeoutError for one that takes too long.

    >>> async def main() -> bool:
    ...     limit = Limit(asyncio.get_running_loop())
    ...     try:
    ...         await limit.wait(asyncio.sleep(60), asyncio.get_running_loop().time() + 0.01)
    ...     except TimeoutError:
    ...         return limit.expired
    ...     return False
    >>> asyncio.run(main())
    True
    """

    __slots__ = ("_expired", "_loop", "_task", "_timer", "until")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self.until = 0.0
        """When the last wait had to end, by the loop's clock."""
        self._expired = False

    async def wait(self, operation: Awaitable[T], until: float) -> T:
        """Await something until that time of the loop's clock; infinity is no limit."""
        task = asyncio.current_task()
        assert task is not None
        before = task.cancelling()
        self._task, self.until, self._expired = task, until, False
        timer = self._timer
        if until < _NEVER and (timer is None or timer.when() > until):
            self.close()
            self._timer = self._loop.call_at(until, self._ring)
        try:
            value = await operation
        except BaseException as error:
            if self._over(task, before) and isinstance(error, asyncio.CancelledError):
                raise TimeoutError from error
            raise
        self._over(task, before)
        return value

    def _over(self, task: asyncio.Task[Any], before: int) -> bool:
        """End a wait; whether this limit has cancelled it, and nobody else, as `asyncio.timeout` tells it."""
        self._task = None
        return self._expired and task.uncancel() <= before

    @property
    def busy(self) -> bool:
        """Whether a task waits now."""
        return self._task is not None

    @property
    def expired(self) -> bool:
        """Whether the last wait was ended: a TimeoutError was this limit's."""
        return self._expired

    def end(self) -> None:
        """End the wait of another task now, as if its time were over."""
        if self._task is not None and not self._expired:
            self._expired = True
            self._task.cancel()

    def close(self) -> None:
        """Take the timer back."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        if self._task is None:
            return  # nobody waits now: the next one sets it
        if self._loop.time() < self.until < _NEVER:
            self._timer = self._loop.call_at(self.until, self._ring)
        elif self.until < _NEVER:
            self.end()
