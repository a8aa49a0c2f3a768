"""The loop's side of the connections: which job goes to which thread, and who holds a connection alone."""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from typing import Final, NamedTuple

from qicore.base import Failure, Result, Success
from qicore.database.errors import closed, pool_exhausted
from qicore.database.sqlite.connection import Opener
from qicore.database.sqlite.hub import Hub
from qicore.database.sqlite.jobs import Job, Stop
from qicore.database.sqlite.reader import Reader
from qicore.database.sqlite.worker import Worker
from qicore.database.sqlite.writer import Writer

__all__ = ["Lender", "Readers", "WriterDesk"]


# Ticks without progress after which a read counts as a long one: with fewer, a thread that merely was not
# scheduled, on a busy machine, would count as stuck.
_PATIENCE: Final = 2


class _Waiter(NamedTuple):
    future: "asyncio.Future[Result[Worker]]"
    since: float


class Lender(ABC):
    """Lends connections, one holder each, in the order of asking."""

    exhausted: str

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.shared: deque[Job] = deque()
        self.waiters: deque[_Waiter] = deque()
        self._closed = False
        hub.on_tick.append(self.look)

    @abstractmethod
    def _take(self) -> Worker | None:
        """Return a connection that can be lent now, marked as lent."""

    async def lend(self) -> Result[Worker]:
        """Return a connection for the caller alone; DB_POOL_EXHAUSTED when none came free in time."""
        if self._is_closed():
            return Failure(closed())
        if not self.waiters and (worker := self._take()) is not None:
            return Success(worker)
        future: asyncio.Future[Result[Worker]] = self.hub.loop.create_future()
        self.waiters.append(_Waiter(future, self.hub.clock()))
        self.hub.keep_time()
        try:
            lent = await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                # It was lent to this task, which was cancelled before it knew.
                future.result().tap(self.give_back)
            raise
        if self._is_closed() and (worker := lent.data) is not None:
            self.give_back(worker)
            return Failure(closed())
        return lent

    def give_back(self, worker: Worker) -> None:
        """Take a connection back and lend it to who waits longest."""
        worker.lent = False
        self._serve_waiters()

    def _serve_waiters(self) -> None:
        while self.waiters:
            if self.waiters[0].future.done():
                self.waiters.popleft()
            elif (worker := self._take()) is not None:
                self.waiters.popleft().future.set_result(Success(worker))
            else:
                return

    def look(self, now: float) -> bool:
        """Look after those who wait; return whether anybody does."""
        self._serve_waiters()
        timeout = self.hub.pool_timeout
        self.hub.expire(self.shared, now, self.exhausted)
        while self.waiters and self.waiters[0].since <= now - timeout:
            future = self.waiters.popleft().future
            if not future.done():
                future.set_result(Failure(pool_exhausted(timeout, self.exhausted)))
        return bool(self.waiters)

    def _is_closed(self) -> bool:
        return self._closed

    def refuse(self) -> None:
        """Lend no more, and tell those who wait."""
        self._closed = True
        while self.waiters:
            future = self.waiters.popleft().future
            if not future.done():
                future.set_result(Failure(closed()))


class Readers(Lender):
    """The reading connections. Short reads go to one of them, the first; when it is stuck, to the next."""

    exhausted = "every reading connection was taken"

    def __init__(self, hub: Hub, opener: Opener, size: int) -> None:
        super().__init__(hub)
        self.opener = opener
        self.size = size
        self.workers: list[Worker] = []
        self._made = 0
        self.first = self._new()
        self.first.shares = True
        self._stuck = 0

    def submit(self, job: Job) -> None:
        """Hand over a read."""
        hub = self.hub
        job.since = hub.clock()
        hub.outstanding += 1
        self.shared.append(job)
        first = self.first
        if first.idle:
            first.idle = False
            first.bell.put(None)
        if hub.timer is None:
            hub.keep_time()

    def look(self, now: float) -> bool:
        """Let another connection take over from one that is stuck in a long read."""
        first = self.first
        if self.shared and not first.idle and first.progress == first.seen_progress:
            self._stuck += 1
        else:
            self._stuck = 0
        first.seen_progress = first.progress
        if self._stuck >= _PATIENCE and (spare := self._spare()) is not None:
            self._stuck = 0
            first.shares = False
            spare.shares = True
            self.first = spare
            spare.ring()
        self._shrink()
        return super().look(now)

    def resize(self, size: int) -> None:
        """Change how many connections there may be."""
        self.size = size
        self._shrink()
        self._serve_waiters()

    def _take(self) -> Worker | None:
        worker = self._spare()
        if worker is not None:
            worker.lent = True
        return worker

    def _spare(self) -> Worker | None:
        """Return a connection with nothing to do, other than the first; open one if there may be one more."""
        for worker in self.workers:
            if worker.idle and not worker.lent and worker is not self.first:
                return worker
        return self._new() if len(self.workers) < self.size else None

    def _new(self) -> Worker:
        self._made += 1
        worker = Reader(self.hub, self.opener, self.shared, self._made)
        self.workers.append(worker)
        self.hub.start(worker)
        return worker

    def _shrink(self) -> None:
        while len(self.workers) > self.size and (worker := self._spare()) is not None:
            self.workers.remove(worker)
            self.hub.workers.remove(worker)
            worker.submit(Stop(None))


class WriterDesk(Lender):
    """The writing connection: statements wait in one queue, transactions in another, and they take turns."""

    exhausted = "the writer was taken by other transactions"

    def __init__(self, hub: Hub, opener: Opener) -> None:
        super().__init__(hub)
        self.worker = Writer(hub, opener, self.shared)
        self.owner: asyncio.Task[object] | None = None
        self.worker.shares = True
        hub.start(self.worker)

    @property
    def held_by_caller(self) -> bool:
        """Whether the current task holds the writer, so that it would wait for itself."""
        return self.owner is not None and self.owner is asyncio.current_task()

    def submit(self, job: Job) -> None:
        """Hand over a statement that commits on its own."""
        self.hub.count(job)
        self.shared.append(job)
        worker = self.worker
        if worker.idle and worker.shares:
            worker.ring()

    def give_back(self, worker: Worker) -> None:
        """Take the writer back."""
        self.owner = None
        worker.shares = True
        super().give_back(worker)
        if worker.shares and self.shared:
            worker.ring()

    def _take(self) -> Worker | None:
        if self.worker.lent:
            return None
        self.worker.lent = True
        self.worker.shares = False
        return self.worker
