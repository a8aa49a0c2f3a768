"""The threads: each owns one connection, and serves all that waits for it before it wakes the loop.

Waking a thread, and waking the loop again, costs ten times as much as a short statement. So a thread that
wakes takes every job that waits and answers them with one wake-up, and the writer commits them together too.
"""

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Final

from qicore.base import Failure, Result, Success
from qicore.database.errors import bad_query, closed, translate
from qicore.database.sqlite.connection import Opener
from qicore.database.sqlite.hub import Hub
from qicore.database.sqlite.jobs import Job, Prepared, Stop, TransactionState

__all__ = ["Reader", "Worker", "Writer"]

# A commit for this many statements costs nothing noticeable per statement, and the first of them still waits
# only milliseconds for the last.
_GROUP: Final = 512
_TOGETHER: Final = 128
_FIRST_PAUSE: Final = 0.0005
_LONGEST_PAUSE: Final = 0.05


class Worker(threading.Thread):
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

    def _work(self) -> None:
        """Serve what waits."""
        raise NotImplementedError

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
        future = job.future
        if (job.stop or (future is not None and future.cancelled())) and not job.control:
            return self._end() if type(job) is Stop else Failure(self.hub.reason(job) or closed())
        self.current = job
        try:
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


class Reader(Worker):
    """A connection that only reads. Each sees what was committed when it was asked for, or later."""

    def __init__(self, hub: Hub, opener: Opener, shared: deque[Job], number: int) -> None:
        super().__init__(hub, opener, shared, name=f"qicore-database-reader-{number}", writes=False)

    def _work(self) -> None:
        while not self.ended:
            cursor = self._cursor
            if self.own:
                self._answer(self.own.popleft())
            elif not (self.shared and self.shares):
                return
            elif len(self.shared) > 1 and cursor is not None:
                self._read_together(cursor)
                self._tell()
            else:
                try:
                    job = self.shared.popleft()
                except IndexError:
                    # Another reader took over in between, and was faster.
                    return
                self.hub.done.append((job, self._serve(job) if cursor is None else self._read(job, cursor)))
                self.current = None
                self.progress += 1
                self._unsaid += 1

    def _read_together(self, cursor: sqlite3.Cursor) -> None:
        """Serve what waits now in one read transaction, which halves the cost of a short statement.

        Only what waits now: a read that is asked for later may follow a write that this snapshot lacks.
        """
        shared = self.shared
        done = self.hub.done
        now = self.hub.clock()
        left = min(len(shared), _TOGETHER)
        self._unsaid += left
        prepared: dict[str, Prepared] = {}
        cursor.execute("BEGIN")
        try:
            while left and self.shares:
                left -= 1
                self.current = job = shared.popleft()
                future = job.future
                if job.since > now or job.stop or future is None or future.cancelled():
                    cursor.connection.commit()
                    done.append((job, self._serve(job)))
                    return
                try:
                    done.append((job, Success(job.run_among_others(cursor, prepared))))
                except Exception:  # noqa: BLE001 - see _read
                    done.append((job, self._serve(job)))
                self.progress += 1
        except IndexError:
            # Another reader took over in between, and was faster.
            return
        finally:
            self.current = None
            if cursor.connection.in_transaction:
                cursor.connection.commit()

    def _read(self, job: Job, cursor: sqlite3.Cursor) -> Result[Any]:
        """Run a read the quick way; where that fails, once more the careful way, which tells why.

        Without the guard, an interrupt meant for the job before may hit this one: running it again heals
        that.
        """
        future = job.future
        if not job.stop and future is not None and not future.cancelled():
            self.current = job
            try:
                return Success(job.run(cursor))
            except Exception:  # noqa: BLE001, S110 - see above
                pass
        return self._serve(job)


class Writer(Worker):
    """The one connection that writes. What waits for it together is committed together."""

    def __init__(self, hub: Hub, opener: Opener, shared: deque[Job]) -> None:
        super().__init__(hub, opener, shared, name="qicore-database-writer", writes=True)
        self.commits = 0

    def _work(self) -> None:
        while not self.ended:
            if self.own:
                job = self.own.popleft()
                if job.begins and self.shared:
                    # Between two transactions the statements that wait get their turn.
                    self._serve_group()
                self._answer(job)
                continue
            if not (self.shared and self.shares):
                return
            self._serve_group()
            self._tell()

    def _serve_group(self) -> None:
        shared = self.shared
        if len(shared) == 1:
            job = shared.popleft()
            self._answer(job)
            self.commits += not job.reads
            return
        jobs: list[Job] = []
        while shared and len(jobs) < _GROUP:
            if shared[0].alone and jobs:
                break
            job = shared.popleft()
            jobs.append(job)
            if job.alone:
                break
        writes = sum(not job.reads for job in jobs)
        if writes < 2 or self.connection is None:
            results = [self._serve(job) for job in jobs]
            self.commits += bool(writes)
        else:
            results = self._commit_together(jobs)
        self._unsaid += len(jobs)
        self.hub.done.extend(zip(jobs, results, strict=True))

    def _commit_together(self, jobs: list[Job]) -> list[Result[Any]]:
        """Run jobs in one transaction and answer them after its commit; each still fails alone.

        SQLite undoes a statement that fails by itself; a job of several steps gets a savepoint. Where a
        failure takes the whole transaction with it (ON CONFLICT ROLLBACK, an interrupt), or shows at the
        commit only (a deferred foreign key), nothing was answered yet, so each job is run again by itself.
        """
        connection = self.connection
        assert connection is not None
        first = jobs[0]
        self.current = first
        try:
            self.patiently(lambda: connection.execute("BEGIN IMMEDIATE"), first)
        except Exception as exception:  # noqa: BLE001 - as in _serve
            error = self.hub.reason(first)
            # Only the first one was told to stop: the others get a turn of their own.
            if error is not None or first.unwanted:
                return [self._serve(job) for job in jobs]
            return [Failure(translate(exception, job.sql)) for job in jobs]
        finally:
            with self._guard:
                self.current = None
        results = self._run_together(jobs, connection)
        if not connection.in_transaction:
            return [self._serve(job) for job in jobs]
        try:
            self.patiently(lambda: connection.execute("COMMIT"))
        except Exception as exception:  # noqa: BLE001 - as in _serve
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(exception, sqlite3.IntegrityError):
                return [self._serve(job) for job in jobs]
            return [
                result if result.is_failure else Failure(translate(exception, job.sql))
                for job, result in zip(jobs, results, strict=True)
            ]
        self.commits += 1
        return results

    def _run_together(self, jobs: list[Job], connection: sqlite3.Connection) -> list[Result[Any]]:
        """Run jobs in the open transaction, as long as it is open.

        The quick way first, as with reads: a statement that fails has changed nothing, so the careful way can
        run it once more and tell why.
        """
        results: list[Result[Any]] = []
        cursor = connection.cursor()
        for job in jobs:
            future = job.future
            if job.guarded or job.stop or future is None or future.cancelled():
                results.append(self._serve(job))
            else:
                self.current = job
                try:
                    results.append(Success(job.run(cursor)))
                except Exception:  # noqa: BLE001 - see above
                    if connection.in_transaction:
                        results.append(self._serve(job))
            if not connection.in_transaction:
                break
        with self._guard:
            self.current = None
        return results

    def _attempt(self, job: Job, cursor: sqlite3.Cursor) -> Any:
        if not job.guarded:
            return super()._attempt(job, cursor)
        connection = cursor.connection
        if connection.in_transaction:
            connection.execute("SAVEPOINT qicore_step")
            try:
                value = job.run(cursor)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK TO qicore_step")
                    connection.execute("RELEASE qicore_step")
                raise
            connection.execute("RELEASE qicore_step")
            return value
        return self._commit_alone(job, cursor, connection)

    def _commit_alone(self, job: Job, cursor: sqlite3.Cursor, connection: sqlite3.Connection) -> Any:
        self.patiently(lambda: connection.execute("BEGIN IMMEDIATE"), job)
        try:
            value = job.run(cursor)
            self.patiently(lambda: connection.execute("COMMIT"))
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return value


def _is_busy(exception: sqlite3.OperationalError) -> bool:
    return getattr(exception, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
