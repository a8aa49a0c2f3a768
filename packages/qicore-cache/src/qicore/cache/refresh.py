"""New values for stale ones, computed in the background, one for each key at a time."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final

from qicore.base import Result
from qicore.cache.flight import Flights, computing_nothing

__all__ = ["Refreshes"]

_LOG: Final = logging.getLogger("qicore.cache")


class Refreshes:
    """The refreshes of one cache. Each is a flight: who misses the key meanwhile waits for it.

    A refresh that fails is logged, and the next that meets the stale value tries again. `close` ends those
    that are tasks; a thread can't be ended, its value finds the cache closed.
    """

    __slots__ = ("_closed", "_flights", "_lock", "_running")

    def __init__(self, flights: Flights) -> None:
        self._flights = flights
        # A task is kept here strongly: an event loop itself keeps none.
        self._running: dict[str, asyncio.Task[None] | threading.Thread] = {}
        self._lock = threading.Lock()
        self._closed = False

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, key: str, compute: Callable[[], Awaitable[Result[Any]]]) -> None:
        """Begin a task that computes, unless the key is being computed already."""
        with self._lock:
            if self._may_begin(key):
                # It can't end before this entry is made: it belongs to this very loop, and is no eager task,
                # whatever factory the loop has: such a one would run here, under the lock.
                task = asyncio.Task(self._refresh(key, compute), loop=asyncio.get_running_loop())
                self._running[key] = task
                task.add_done_callback(lambda ended: self._end(key, ended))

    def begin_sync(self, key: str, compute: Callable[[], Result[Any]]) -> None:
        """Begin a thread that computes, unless the key is being computed already."""
        thread = threading.Thread(
            target=copy_context().run, args=(self._refresh_sync, key, compute), daemon=True
        )
        with self._lock:
            if not self._may_begin(key):
                return
            self._running[key] = thread
        try:
            thread.start()
        except RuntimeError as error:  # there are too many threads
            self._end(key, thread)
            _LOG.warning("no thread to refresh the value of %r: %s", key[:200], error)

    async def close(self) -> None:
        """Cancel the tasks, and wait for those of this event loop. None begins any more."""
        loop = asyncio.get_running_loop()
        own = [task for task in self.stop() if task.get_loop() is loop]
        if own:
            await asyncio.wait(own)

    def stop(self) -> list[asyncio.Task[None]]:
        """Cancel the tasks without waiting, from any thread, and return them. None begins any more.

        The task that calls this goes on: a computation may close its own cache.
        """
        current = _current_task()
        with self._lock:
            self._closed = True
            running = [task for task in self._running.values() if isinstance(task, asyncio.Task)]
        tasks = [task for task in running if task is not current]
        for task in tasks:
            with suppress(RuntimeError):  # its loop is closed, so it can't go on anyway
                task.get_loop().call_soon_threadsafe(task.cancel)
        return tasks

    def _may_begin(self, key: str) -> bool:
        if self._closed or key in self._flights:
            return False
        running = self._running.get(key)
        # A loop that was closed before its tasks had ended never lets them end.
        return running is None or (isinstance(running, asyncio.Task) and running.get_loop().is_closed())

    def _end(self, key: str, ended: asyncio.Task[None] | threading.Thread) -> None:
        with self._lock:
            if self._running.get(key) is ended:
                del self._running[key]

    async def _refresh(self, key: str, compute: Callable[[], Awaitable[Result[Any]]]) -> None:
        computing_nothing()
        _report(key, await self._flights.fly(key, compute))

    def _refresh_sync(self, key: str, compute: Callable[[], Result[Any]]) -> None:
        computing_nothing()
        try:
            _report(key, self._flights.fly_sync(key, compute))
        finally:
            self._end(key, threading.current_thread())


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # there is no event loop in this thread
        return None


def _report(key: str, result: Result[Any]) -> None:
    if result.error is not None:
        _LOG.warning("the stale value of %r can't be refreshed: %s", key[:200], result.error)
