"""How tasks and threads use the one connection to the file of a cache.

What is short is done at once, by whoever asks: to wake a thread, and to be woken by it, takes ten times as
long as a hit. The writes that tasks ask for in one turn of their event loop are one transaction. But no event
loop waits for a lock or for a disk: what finds the file in use, what is long, and what brings the log into
the file, a thread does.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, Final, TypeVar, cast
from weakref import WeakSet

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.errors import closed, from_file
from qicore.cache.file_jobs import Job, answer, busy, fail, time_out
from qicore.cache.file_schema import is_busy
from qicore.cache.file_store import SHORT, FileStore

__all__ = ["LATER", "FileWorker"]

T = TypeVar("T")

LATER: Final = cast("Result[Any]", Success(None))
"""What is answered at once where there is no answer yet."""

_MOST_AT_ONCE: Final = 256
_MOST_IN_TURN: Final = 128
# A disk that once took so long is asked by the thread for a while: event loops shall not wait for it.
_SLOW: Final = 0.05
_WHILE: Final = 1.0
_FIRST_PAUSE: Final = 0.0005
_LONGEST_PAUSE: Final = 0.01
_LAST_WAIT: Final = 2.0


class FileWorker:
    """Does what it is given on a store, for any task of any event loop.

    Its thread is a daemon, and knows the store but not the cache: the finalizer of a cache that is forgotten
    ends it (`stop`), and none keeps the interpreter from exiting.
    """

    def __init__(self, patience: float, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self._store: FileStore | None = None
        self._lock = threading.Lock()  # whoever holds it uses the store
        self._turns: dict[asyncio.AbstractEventLoop, list[Job[Any]]] = {}
        # What the thread has to do; a job stays until it is done. A finalizer may use both, in the middle of
        # their use by the same thread: neither has a lock of Python's.
        self._jobs: deque[Job[Any] | None] = deque()
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._stopped = False
        self._ended = False
        self._tidying = False
        self._slow_until = 0.0
        self._thread = threading.Thread(target=self._work, name="qicore-cache-file", daemon=True)

    @classmethod
    async def start(
        cls,
        open_store: Callable[[], FileStore],
        *,
        patience: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Result[FileWorker]:
        """Open a store, and start to work on it; `patience` is how many seconds an answer may take."""
        worker = cls(patience, clock)
        opening = Job[None](lambda _: None, asyncio.get_running_loop(), writes=False)
        assert opening.answer is not None
        worker._thread = threading.Thread(
            target=worker._open, args=(open_store, opening), name="qicore-cache-file", daemon=True
        )
        try:
            worker._thread.start()
        except RuntimeError as exception:  # there are too many threads
            return Failure(QiError.from_exception(exception, code="FILE_UNREADABLE"))
        try:
            opened = await opening.answer
        except BaseException:
            worker.stop()
            raise
        return opened.map(lambda _: worker)

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped

    @property
    def store(self) -> FileStore:
        """What it works on."""
        assert self._store is not None
        return self._store

    def read_now(self, action: Callable[[FileStore], T]) -> Result[T]:
        """Do what is short and writes nothing; `LATER` when that has to wait."""
        if (self._slow_until and not self._calm()) or not self._lock.acquire(False):
            return LATER
        began = self._clock()
        try:
            if self._stopped:
                return Failure(closed())
            return Success(action(self.store))
        except Exception as exception:  # noqa: BLE001 - the boundary: whatever SQLite raises is an answer
            if isinstance(exception, sqlite3.Error) and is_busy(exception):
                return LATER
            return Failure(from_file(exception))
        finally:
            if self._clock() - began > _SLOW:
                self._slow_until = self._clock() + _WHILE
            self._lock.release()
            if self.store.untidy:
                self._tidy_up()

    async def read(self, action: Callable[[FileStore], T]) -> Result[T]:
        """Have the thread do what writes nothing, or needs no transaction."""
        job = Job(action, asyncio.get_running_loop(), writes=False)
        self._hand_over([job])
        assert job.answer is not None
        return await job.answer

    async def write(self, action: Callable[[FileStore], T], *, weight: int = 0) -> Result[T]:
        """Do what writes; it is committed, with the writes beside it, before this returns."""
        loop = asyncio.get_running_loop()
        job = Job(action, loop, writes=True, weight=weight)
        turn = self._turns.get(loop)
        if turn is None:
            for other in [other for other in list(self._turns) if other.is_closed()] if self._turns else ():
                self._turns.pop(other, None)
            self._turns[loop] = [job]
            loop.call_soon(self._take_turn, loop)
        else:
            turn.append(job)
        assert job.answer is not None
        return await job.answer

    def post(self, action: Callable[[FileStore], object]) -> None:
        """Have the thread do what writes; nobody waits for it. Any thread may call it, at any moment."""
        self._hand_over([Job(action, None, writes=True)])

    def stop(self) -> None:
        """End the thread when all that was asked is done; the file is closed then. Idempotent."""
        if not self._stopped:
            self._stopped = True
            self._jobs.append(None)
            self._bell.put(None)

    async def close(self) -> None:
        """Stop, and wait until the file is closed."""
        self._take_turn(asyncio.get_running_loop())
        self.stop()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    # ---- at once

    def _tidy_up(self) -> None:
        if not self._tidying:
            self._tidying = True
            self._hand_over([Job(FileStore.tidy, None, writes=True), Job(self._tidy, None, writes=False)])

    def _tidy(self, store: FileStore) -> None:
        try:
            store.bring_in(if_long=True)
        finally:
            self._tidying = False

    def _calm(self) -> bool:
        if self._clock() < self._slow_until:
            return False
        self._slow_until = 0.0
        return True

    def _take_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write what was asked for in this turn of the event loop, or have the thread do it."""
        jobs = [job for job in self._turns.pop(loop, ()) if not job.unwanted]
        if not jobs:
            return
        at_once = (
            not self._jobs  # nobody overtakes
            and len(jobs) <= _MOST_IN_TURN
            and sum(job.weight for job in jobs) <= SHORT
            and not self.store.laborious
            and (not self._slow_until or self._calm())
            and self._lock.acquire(False)
        )
        if not at_once:
            self._hand_over(jobs)
            return
        began = self._clock()
        try:
            done = self._commit(jobs)
        finally:
            if self._clock() - began > _SLOW:
                self._slow_until = self._clock() + _WHILE
            self._lock.release()
        if self.store.untidy:
            self._tidy_up()
        if not done:
            self._hand_over(jobs)
            return
        for job in jobs:
            job.deliver()

    def _commit(self, jobs: list[Job[Any]]) -> bool:
        """Do writes in one transaction, holding the lock; False when somebody else is writing."""
        if self._stopped and self._ended:
            fail(jobs, closed())
            return True
        store = self.store
        try:
            store.begin()
        except Exception as exception:  # noqa: BLE001 - the boundary: nobody is told that it is written
            if isinstance(exception, sqlite3.Error) and is_busy(exception):
                return False
            fail(jobs, from_file(exception))
            return True
        try:
            for job in jobs:
                if not job.unwanted:
                    job.result = Success(job.action(store))
            store.commit()
        except BaseException as exception:
            store.rollback()
            if not isinstance(exception, Exception):
                raise
            if len(jobs) == 1:
                fail(jobs, from_file(exception))
                return True
            # One that fails would take the others along: each again, alone.
            for job in jobs:
                if not self._commit([job]):
                    fail([job], from_file(exception))
        return True

    # ---- in the thread

    def _hand_over(self, jobs: list[Job[Any]]) -> None:
        deadline = time.monotonic() + self._patience
        for job in jobs:
            job.deadline = deadline
            if job.loop is not None and job.timer is None:
                job.timer = job.loop.call_later(self._patience, time_out, job)
        self._jobs.extend(jobs)
        self._bell.put(None)
        if self._ended:
            self._refuse()

    def _refuse(self) -> None:
        """Answer what nobody does any more."""
        with suppress(IndexError):
            while True:
                job = self._jobs.popleft()
                if job is not None:
                    fail([job], closed())
                    answer([job])

    def _open(self, open_store: Callable[[], FileStore], opening: Job[None]) -> None:
        try:
            self._store = open_store()
            opening.result = Success(None)
        except Exception as exception:  # noqa: BLE001 - the boundary
            opening.result = Failure(from_file(exception))
            self._stopped = self._ended = True
        _WORKERS.add(self)
        answer([opening])
        del opening
        if self._store is not None:
            self._work()

    def _work(self) -> None:
        going = True
        while going:
            self._bell.get()
            while self._jobs and going:
                batch = self._next_batch()
                if not batch:
                    going = False
                    break
                self._do(batch)
                for _ in batch:
                    self._jobs.popleft()
                answer(batch)
                del batch  # an idle worker keeps nothing alive
        with self._lock:
            self._ended = True
            self.store.close()
        self._refuse()

    def _next_batch(self) -> list[Job[Any]]:
        """Return writes that stand together, or one other job, or nothing at the end."""
        batch: list[Job[Any]] = []
        for at in range(min(len(self._jobs), _MOST_AT_ONCE)):
            job = self._jobs[at]
            if job is None or (batch and not (job.writes and batch[0].writes)):
                break
            batch.append(job)
        return batch

    def _do(self, jobs: list[Job[Any]]) -> None:
        """Do jobs that are all writes, or one that is none; wait for locks of others, but not for ever."""
        pause = _FIRST_PAUSE
        while jobs := [job for job in jobs if not job.unwanted and job.result is None]:
            with self._lock:
                if jobs[0].writes:
                    done = self._commit(jobs)
                else:
                    jobs[0].result = self._attempt(jobs[0])
                    done = jobs[0].result is not None
            if done:
                return
            now = time.monotonic()
            fail([job for job in jobs if now >= job.deadline], busy())
            self._read_meanwhile()
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _read_meanwhile(self) -> None:
        """Do the reads that stand behind writes: those wait for a lock of others, which stops no reader."""
        for at in range(len(self._jobs)):
            job = self._jobs[at]
            if job is None:
                return
            if not job.writes and job.result is None and not job.unwanted:
                with self._lock:
                    job.result = self._attempt(job)
                answer([job])

    def _attempt(self, job: Job[T]) -> Result[T] | None:
        try:
            return Success(job.action(self.store))
        except Exception as exception:  # noqa: BLE001 - the boundary: whatever SQLite raises is an answer
            if isinstance(exception, sqlite3.Error) and is_busy(exception):
                return None
            return Failure(from_file(exception))

    # ---- the ends of processes

    def abandon(self) -> None:
        """Never use the file again, nor close it: it is the parent process that has it open."""
        self._lock = threading.Lock()
        self._stopped = self._ended = True
        _ABANDONED.append(self._store)

    def finish(self) -> None:
        """Close the file, now that the interpreter exits, but don't wait long for it."""
        self.stop()
        self._thread.join(_LAST_WAIT)


_WORKERS: Final[WeakSet[FileWorker]] = WeakSet()
_ABANDONED: Final[list[FileStore | None]] = []


def _after_fork() -> None:
    # https://www.sqlite.org/howtocorrupt.html, 2.6: a connection must not be carried across a fork.
    for worker in list(_WORKERS):
        worker.abandon()


def _at_exit() -> None:
    for worker in list(_WORKERS):
        worker.finish()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
