"""What `flight.py` is made of: those that wait, what they wait for, and the lock around both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Final

__all__ = ["LEAD", "LOCK", "Flight", "Waiter"]

LEAD: Final = object()  # the outcome of a wait that ends with the lead


class Waiter:
    """A task or a thread that waits.

    Attributes:
        loop: the event loop of the task, or None for a thread.
        outcome: None while it waits, then the Result or `LEAD`; set once, under the lock.
    """

    __slots__ = ("_event", "_future", "loop", "outcome")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.outcome: Any = None
        if loop is None:
            self._event = threading.Event()
        else:
            self._future: asyncio.Future[None] = loop.create_future()

    async def wait(self) -> None:
        """Wait for the outcome, as a task."""
        await self._future

    def wait_sync(self) -> None:
        """Wait for the outcome, as a thread."""
        self._event.wait()

    def wake(self) -> bool:
        """Let it go on, from any thread; False when its event loop is closed, and it never will."""
        if self.loop is None:
            self._event.set()
            return True
        try:
            self.loop.call_soon_threadsafe(self._end)
        except RuntimeError:
            return False
        return True

    def _end(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class Flight:
    """A computation.

    Attributes:
        loop: the event loop of the task that leads, or None for a thread.
        waiters: those that wait for it, in their order.
        awaited: the flights that are waited for from within this computation.
    """

    __slots__ = ("awaited", "loop", "waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.waiters: dict[Waiter, None] = {}
        self.awaited: list[Flight] = []

    def needs_any_of(self, flights: Iterable[Flight]) -> bool:
        """Whether this computation is one of these, or waits for one, be it through others."""
        reached: set[Flight] = {self}
        todo: list[Flight] = [self]
        while todo:
            for flight in todo.pop().awaited:
                if flight not in reached:
                    reached.add(flight)
                    todo.append(flight)
        return not reached.isdisjoint(flights)

    def next_waiter(self) -> Waiter | None:
        """Take the one that waits and comes next to lead: a thread before a task.

        Should the thread block the event loop of the task, it could not go on any other way.
        """
        waiter = next((one for one in self.waiters if one.loop is None), next(iter(self.waiters), None))
        if waiter is not None:
            del self.waiters[waiter]
        return waiter


class _Lock:
    """A lock which coroutines may need that the garbage collector ends, in whatever thread and at any moment.

    That may be the very thread that holds the lock. So what they have to do is done `soon`: at once when the
    lock is free, else by its holder when it releases it.
    """

    __slots__ = ("_jobs", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()  # its `put` may interrupt itself

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        self._catch_up()

    def soon(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)
        self._catch_up()

    def _catch_up(self) -> None:
        # Whoever finds the lock held leaves its job to the holder, who looks again after the release.
        while not self._jobs.empty() and self._lock.acquire(blocking=False):
            try:
                if not self._jobs.empty():
                    self._jobs.get()()
            finally:
                self._lock.release()


# For the flights of all caches together: only so a circle through two caches can be seen. It is held for a
# few look-ups, and only around computations.
LOCK: Final = _Lock()
