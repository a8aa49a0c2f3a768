"""One thread for the file of a cache: it takes all that waits, commits it together, and answers it together."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

from qicore.base import Failure, Result, Success
from qicore.cache.errors import closed, from_file
from qicore.cache.file_store import FileStore

__all__ = ["FileWorker"]

T = TypeVar("T")
_MOST_AT_ONCE: Final = 256


class _Job(Generic[T]):
    __slots__ = ("action", "answer", "loop", "result", "writes")

    def __init__(self, action: Callable[[FileStore], T], *, writes: bool) -> None:
        self.action = action
        self.writes = writes
        self.loop = asyncio.get_running_loop()
        self.answer: asyncio.Future[Result[T]] = self.loop.create_future()
        self.result: Result[T] = Failure(closed())


class FileWorker:
    """Runs what it is given on the store, in order, on a thread of its own; any task of any loop may ask.

    The thread is a daemon and holds the store, not the cache: a cache that is forgotten is closed by its
    finalizer (`stop`), and none keeps the interpreter from exiting.
    """

    def __init__(self, store: FileStore) -> None:
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._stopped = False
        self._lock = threading.Lock()  # nothing is put into the queue behind the end of it
        self._thread = threading.Thread(
            target=_work, args=(store, self._jobs), name="qicore-cache-file", daemon=True
        )
        self._thread.start()

    async def read(self, action: Callable[[FileStore], T]) -> Result[T]:
        """Run what only reads; CACHE_FILE_FAILED or CACHE_FILE_BUSY when it can't."""
        return await self._run(_Job(action, writes=False))

    async def write(self, action: Callable[[FileStore], T]) -> Result[T]:
        """Run what writes; it is committed, with the writes beside it, before this returns."""
        return await self._run(_Job(action, writes=True))

    async def _run(self, job: _Job[T]) -> Result[T]:
        with self._lock:
            if self._stopped:
                return Failure(closed())
            self._jobs.put(job)
        return await job.answer

    def stop(self) -> None:
        """End the thread when all that was asked is done; the store is closed then. Idempotent."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._jobs.put(None)

    async def close(self) -> None:
        """Stop, and wait until the file is closed."""
        self.stop()
        await asyncio.to_thread(self._thread.join)


def _work(store: FileStore, jobs: SimpleQueue[_Job[Any] | None]) -> None:
    going = True
    while going:
        batch: list[_Job[Any]] = []
        job = jobs.get()
        with suppress(Empty):
            while job is not None:
                batch.append(job)
                if len(batch) >= _MOST_AT_ONCE:
                    break
                job = jobs.get_nowait()
            going = job is not None
        _run_all(store, batch)
        _answer(batch)
        del batch, job  # an idle worker keeps nothing alive
    store.close()


def _run_all(store: FileStore, batch: list[_Job[Any]]) -> None:
    """Run the jobs in order; writes that stand together are one transaction."""
    start = 0
    while start < len(batch):
        end = start + 1
        while end < len(batch) and batch[end].writes == batch[start].writes:
            end += 1
        if batch[start].writes:
            _write(store, batch[start:end])
        else:
            for job in batch[start:end]:
                job.result = _attempt(store, job)
        start = end
    if store.much_touched:
        with suppress(sqlite3.Error):  # the uses stay remembered, for a later time
            store.begin()
            store.touch()
            store.commit()
        store.rollback()


def _write(store: FileStore, jobs: list[_Job[Any]]) -> None:
    try:
        store.begin()
    except Exception as exception:  # noqa: BLE001 - the boundary: nobody is told that it is written
        _fail(jobs, exception)
        return
    try:
        for job in jobs:
            job.result = Success(job.action(store))
        store.commit()
    except Exception as exception:  # noqa: BLE001 - as above
        store.rollback()
        if len(jobs) == 1:
            _fail(jobs, exception)
        else:  # one that fails would take the others along: each again, alone
            for job in jobs:
                _write(store, [job])


def _fail(jobs: list[_Job[Any]], exception: Exception) -> None:
    error = from_file(exception)
    for job in jobs:
        job.result = Failure(error)


def _attempt(store: FileStore, job: _Job[T]) -> Result[T]:
    try:
        return Success(job.action(store))
    except Exception as exception:  # noqa: BLE001 - the boundary: whatever SQLite raises is an answer
        return Failure(from_file(exception))


def _answer(batch: list[_Job[Any]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job[Any]]] = {}
    for job in batch:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_deliver, jobs)


def _deliver(jobs: list[_Job[Any]]) -> None:
    for job in jobs:
        if not job.answer.done():  # a cancelled one is
            job.answer.set_result(job.result)
