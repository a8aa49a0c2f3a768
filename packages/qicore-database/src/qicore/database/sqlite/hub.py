"""The event loop's side: it gives out answers, keeps time, and interrupts what must stop."""

import asyncio
import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from qicore.base import Failure, QiError, Result
from qicore.database.config import DatabaseConfig
from qicore.database.errors import closed, pool_exhausted, timed_out
from qicore.database.sqlite.jobs import Job, Stopped
from qicore.database.sqlite.wakeup import Wakeup

if TYPE_CHECKING:
    from qicore.database.sqlite.worker import Worker

__all__ = ["TICK", "Hub"]

# How often a busy database looks after itself, in seconds: the longest that a short read waits behind a long
# one before another connection takes over. An idle database has no timer.
TICK: Final = 0.005
_logger = logging.getLogger("qicore.database")


class Hub:
    """What all connections of one database share.

    Threads put answers into `done`; the loop takes them out, woken by a thread (`wake`) or by the tick.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, config: DatabaseConfig, clock: Callable[[], float]
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.busy_timeout = config.busy_timeout
        self.pool_timeout = config.pool_timeout
        self.statement_timeout = config.statement_timeout
        self.done: deque[tuple[Job, Result[Any]]] = deque()
        self.halted = threading.Event()
        self.workers: list[Worker] = []
        self.threads: list[Worker] = []
        self.on_tick: list[Callable[[float], bool]] = []
        self.closed = False
        self.served = 0
        self.outstanding = 0
        self._stopping: set[Job] = set()
        self.timer: asyncio.TimerHandle | None = None
        self._wakeup = Wakeup(loop, self.deliver)
        # Has the loop give out what is done: the one thing here that threads call.
        self.wake = self._wakeup.ring

    def start(self, worker: "Worker") -> None:
        """Take in a worker and start its thread."""
        self.workers.append(worker)
        self.threads = [thread for thread in self.threads if thread.is_alive()]
        worker.start()
        self.threads.append(worker)

    def count(self, job: Job) -> None:
        """Take note of a job that was handed to a thread."""
        job.since = self.clock()
        self.outstanding += 1
        if self.timer is None:
            self.timer = self.loop.call_later(TICK, self._tick)

    def soon(self, fn: Callable[[], None]) -> None:
        """Call a function in the loop: now, if this is it. The garbage collector comes from any thread."""
        try:
            here = asyncio.get_running_loop() is self.loop
        except RuntimeError:
            here = False
        if here:
            fn()
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the connections will be
            self.loop.call_soon_threadsafe(fn)

    def keep_time(self) -> None:
        """Start the tick, for something that waits without a job."""
        if self.timer is None:
            self.timer = self.loop.call_later(TICK, self._tick)

    def deliver(self) -> None:
        """Give out the answers."""
        done = self.done
        served = 0
        while done:
            job, result = done.popleft()
            served += 1
            future = job.future
            if future is not None and not future.done():
                future.set_result(result)
            if job.stop:
                self._stopping.discard(job)
        self.served += served
        self.outstanding -= served

    def answer(self, job: Job, error: QiError) -> None:
        """Answer a job that no thread has begun: its thread will pass over it."""
        future = job.future
        if future is not None and not future.done():
            future.set_result(Failure(error))

    def stop(self, job: Job, why: Stopped) -> None:
        """Stop a job: one that waits is passed over, one that runs is interrupted, however often it takes."""
        if job.control or job.stop:
            return
        job.stop = why
        self._stopping.add(job)
        self._interrupt(job)

    def _interrupt(self, job: Job) -> None:
        for worker in self.workers:
            worker.interrupt(job)

    def expire(self, waiting: deque[Job], now: float, what: str) -> None:
        """Answer the jobs of a queue that have waited too long."""
        limit = now - self.pool_timeout
        try:
            if waiting[0].since > limit:
                return
        except IndexError:
            return
        for job in list(waiting):
            if job.since <= limit and not job.stop:
                job.stop = "timeout"
                self.answer(job, pool_exhausted(self.pool_timeout, what))

    def _tick(self) -> None:
        self.timer = None
        try:
            self.deliver()
            now = self.clock()
            self._interrupt_again()
            self._watch_statements(now)
            waiting = [look(now) for look in self.on_tick]
        except Exception:  # the event loop calls this: without it nobody would be told of a stop any more
            _logger.exception("the database can't look after its connections")
            waiting = [True]
        if (self.outstanding or any(waiting)) and self.timer is None:
            self.timer = self.loop.call_later(TICK, self._tick)

    def _interrupt_again(self) -> None:
        """Repeat the interrupts: one that comes a moment before its statement is lost."""
        current = {worker.current for worker in self.workers}
        for job in tuple(self._stopping):
            if job in current:
                self._interrupt(job)
            elif job.future is None or job.future.done():
                self._stopping.discard(job)

    def _watch_statements(self, now: float) -> None:
        """Stop what runs for a task that was cancelled, or for too long."""
        limit = self.statement_timeout
        for worker in self.workers:
            job = worker.current
            if job is None or job is not worker.seen or worker.waiting:
                worker.seen = job
                worker.seen_at = now
            elif job.limited and limit is not None and not job.stop and now - worker.seen_at > limit:
                self.stop(job, "timeout")
            if job is not None and not job.stop and job.unwanted:
                self.stop(job, "cancelled")

    def reason(self, job: Job) -> QiError | None:
        """Return why a job was interrupted, if it was by us."""
        if job.stop == "timeout":
            return timed_out(self.statement_timeout or 0.0, job.sql)
        return closed() if job.stop == "closed" else None

    def close_later(self) -> None:
        """Leave the loop when all threads have ended; called by the loop."""
        if any(thread.is_alive() for thread in self.threads):
            self.loop.call_later(TICK, self.close_later)
        else:
            self.close()

    def close(self) -> None:
        """Stop keeping time, and leave the loop; called when every thread was told to end."""
        for thread in self.threads:
            # It has nothing left to do but to return, and until then it may ring.
            thread.join()
        self._wakeup.close()
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
