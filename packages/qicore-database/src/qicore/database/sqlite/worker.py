"""A thread that owns a connection, and serves all that waits for it before it wakes the loop.

Waking a thread, and waking the loop again, costs ten times as much as a short statement. So a thread that
wakes takes every job that waits and answers them with one wake-up, and the writer commits them together too.
"""

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

from qicore.base import Failure, Result, Success
from qicore.database.errors import bad_query, closed, translate
from qicore.database.sqlite.connection import Opener
from qicore.database.sqlite.hub import Hub
from qicore.database.sqlite.jobs import Job, Stop, TransactionState

__all__ = ["Worker"]

_FIRST_PAUSE: Final = 0.0005
_LONGEST_PAUSE: Final = 0.05


class Worker(threading.Thread, ABC):
    """A connection and its thread.

    Attributes:
        own: jobs for this connection alone, which go before the `shared` ones.
        shares: it takes shared jobs. Set by the loop only, and True for one reader at most: two threads that
            take turns at short statements spend their time on handing Python's lock to each other.
        lent: somebody holds this connection. Set by the loop only.
        bell: what it sleeps on.
        idle: it sleeps, or is about to: ring the bell. Set to True by the thread, to False by whoever rings.
        current: the job that runs now.
        waiting: it waits for somebody's lock, which the statement timeout does not count.
    """

    def __init__(self, hub: Hub, opener: Opener, shared: deque[Job], *, name: str, writes: bool) -> None:
        # A daemon: a database that was never closed must not keep the interpreter from ending.
        super().__init__(name=name, daemon=True)
        self.hub = hub
        self.opener = opener
        self.shared = shared
        self.own: deque[Job] = deque()
        self.lent = False
        self.shares = False
        self.idle = True
        self.current: Job | None = None
        self.waiting = False
        self.progress = 0
        self.seen: Job | None = None
        self.seen_at = 0.0
        self.seen_progress = -1
        self.connection: sqlite3.Connection | None = None
        # One for all statements: making a cursor costs a third of a short statement.
        self._cursor: sqlite3.Cursor | None = None
        self._writes = writes
        self.bell: SimpleQueue[None] = SimpleQueue()
        self._guard = threading.Lock()
        self.ended = False
        self._unsaid = 0

    def ring(self) -> None:
        """Wake the thread if it sleeps."""
        if self.idle:
            self.idle = False
            self.bell.put(None)

    def submit(self, job: Job) -> None:
        """Hand over a job for this connection alone."""
        self.hub.count(job)
        self.own.append(job)
        self.ring()

    def interrupt(self, job: Job) -> None:
        """Interrupt the connection if this job is what it runs; called by the loop."""
        # Under the guard the job can't end, and so no other one be hit.
        with self._guard:
            if self.current is job and self.connection is not None:
                self.connection.interrupt()

    def run(self) -> None:
        """Serve until a Stop comes."""
        wake = self.hub.wake
        while not self.ended:
            self.bell.get()
            while True:
                self._work()
                if self._unsaid:
                    self._unsaid = 0
                    wake()
                self.idle = True
                if not self._has_work():
                    break
                self.idle = False

    def _has_work(self) -> bool:
        return not self.ended and bool(self.own or (self.shared and self.shares))

    @abstractmethod
    def _work(self) -> None:
        """Serve what waits."""

    def _answer(self, job: Job) -> None:
        """Run one job by itself and note its answer."""
        self.hub.done.append((job, self._serve(job)))
        self.progress += 1
        self._unsaid += 1

    def _tell(self) -> None:
        """Wake the loop, once for all that was done."""
        self._unsaid = 0
        self.hub.wake()

    def _serve(self, job: Job) -> Result[Any]:
        """Run one job and return its answer."""
        if type(job) is Stop:
            return self._end()
        self.current = job
        try:
            if job.unwanted:
                return Failure(self.hub.reason(job) or closed())
            cursor = self._cursor or self._open(job)
            if job.state is not None:
                self._check(job, job.state, cursor.connection)
            return Success(self._attempt(job, cursor))
        except Exception as exception:  # noqa: BLE001 - everything is answered, the unforeseen as UNKNOWN
            return self._failed(job, exception)
        finally:
            with self._guard:
                self.current = None

    def _check(self, job: Job, state: TransactionState, connection: sqlite3.Connection) -> None:
        """Raise for a job whose transaction SQLite has ended: it would be committed on its own."""
        if job.control or job.begins:
            return
        if state.lost is not None:
            raise state.lost
        if not connection.in_transaction:
            raise bad_query("the transaction is over")

    def _attempt(self, job: Job, cursor: sqlite3.Cursor) -> Any:
        """Run a job, patiently where that is safe."""
        try:
            return job.run(cursor)
        except sqlite3.OperationalError as exception:
            if not _is_busy(exception) or (job.state is not None and not job.begins):
                raise
            return self.patiently(lambda: job.run(cursor), job, exception)

    def _failed(self, job: Job, exception: Exception) -> Result[Any]:
        error = self.hub.reason(job) or translate(exception, job.sql)
        state = job.state
        connection = self.connection
        if connection is not None:
            # What failed in the middle of its rows must not keep them, and its snapshot, open.
            self._cursor = connection.cursor()
        if state is not None and connection is not None and not connection.in_transaction and not job.control:
            state.lost = bad_query(
                "the transaction was rolled back when a statement in it failed"
            ).with_cause(error)
        return Failure(error)

    def _open(self, job: Job) -> sqlite3.Cursor:
        self.connection = self.opener.open(
            writer=self._writes, patience=lambda step: self.patiently(step, job)
        )
        self._cursor = self.connection.cursor()
        return self._cursor

    def _end(self) -> Result[None]:
        self.ended = True
        self._cursor = None
        connection, self.connection = self.connection, None
        if connection is None:
            return Success(None)
        try:
            if connection.in_transaction:
                connection.rollback()
            connection.close()
        except sqlite3.Error as exception:
            return Failure(translate(exception))
        return Success(None)

    def patiently(
        self, step: Callable[[], Any], job: Job | None = None, first: sqlite3.OperationalError | None = None
    ) -> Any:
        """Repeat a step while another connection holds a lock, for the busy timeout at most.

        A statement that SQLite refuses as busy has changed nothing, so it can be repeated as it is. `first`
        is the refusal of a try that was made already.
        """
        deadline: float | None = None
        pause = _FIRST_PAUSE
        while True:
            try:
                if first is not None:
                    raise first
                return step()
            except sqlite3.OperationalError as exception:
                first = None
                if not _is_busy(exception) or (job is not None and job.unwanted) or self.hub.halted.is_set():
                    raise
                now = self.hub.clock()
                deadline = now + self.hub.busy_timeout if deadline is None else deadline
                if now >= deadline:
                    raise
            self.waiting = True
            self.hub.halted.wait(pause)
            self.waiting = False
            pause = min(pause * 2, _LONGEST_PAUSE)


def _is_busy(exception: sqlite3.OperationalError) -> bool:
    return getattr(exception, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
