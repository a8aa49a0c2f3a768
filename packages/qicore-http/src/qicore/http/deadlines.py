"""The deadlines of all calls in flight, with one timer of the event loop for them together.

`asyncio.timeout` makes a timer for each call, and almost every one is cancelled unused: 6 us of a request
that takes 60. Here a call is put down in a heap and ticked off, and the one timer looks from time to time.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Deadlines", "Watch"]

_ENDED_KEPT: Final = 256
"""How many calls that have ended may lie in the heap before it is cleared of them."""


class Watch:
    """One call that is to be over in time; its task is cancelled when it is not."""

    __slots__ = ("_cancelling", "_task", "expired")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self._task: asyncio.Task[object] | None = task
        self._cancelling = task.cancelling()
        self.expired = False

    @property
    def ended(self) -> bool:
        """Whether nobody waits for it any more."""
        return self._task is None

    def expire(self) -> None:
        """Cancel the task."""
        if self._task is not None:
            self.expired = True
            self._task.cancel()

    def end(self) -> bool:
        """End the watch; return whether a cancellation that is under way has no other reason than it.

        A task that was cancelled by somebody else too stays cancelled.
        """
        task, self._task = self._task, None
        return self.expired and task is not None and task.uncancel() <= self._cancelling


class Deadlines:
    """Watches over the calls of one event loop at a time.

    >>> async def too_long() -> str:
    ...     watch = deadlines.watch(time.monotonic() + 0.01)
    ...     try:
    ...         await asyncio.sleep(60)
    ...         return "in time"
    ...     except asyncio.CancelledError:
    ...         if watch.end():
    ...             return "late"
    ...         raise
    ...     finally:
    ...         watch.end()
    >>> deadlines = Deadlines()
    >>> asyncio.run(too_long())
    'late'
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heap: list[tuple[float, int, Watch]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._limit = _ENDED_KEPT

    def watch(self, deadline: float) -> Watch:
        """Watch over the running task until `Watch.end`; the deadline is on the clock."""
        task = asyncio.current_task()
        assert task is not None
        watch = Watch(task)
        loop = task.get_loop()
        if loop is not self._loop:
            self._loop, self._heap, self._timer = loop, [], None
        heap = self._heap
        heapq.heappush(heap, (deadline, next(self._numbers), watch))
        if heap[0][2] is watch:
            self._arm(loop)
        elif len(heap) > self._limit:
            self._heap = heap = [entry for entry in heap if not entry[2].ended]
            heapq.heapify(heap)
            self._limit = _ENDED_KEPT + 2 * len(heap)
        return watch

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(max(0.0, self._heap[0][0] - self._clock()), self._look)

    def _look(self) -> None:
        now = self._clock()
        heap = self._heap
        self._timer = None
        while heap and (heap[0][0] <= now or heap[0][2].ended):
            heapq.heappop(heap)[2].expire()
        if heap and self._loop is not None:
            self._arm(self._loop)
