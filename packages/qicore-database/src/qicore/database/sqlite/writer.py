"""The connection that writes: what waits for it together is committed together."""

import sqlite3
from collections import deque
from typing import Any, Final

from qicore.base import Failure, Result, Success
from qicore.database.errors import translate
from qicore.database.sqlite.connection import Opener
from qicore.database.sqlite.hub import Hub
from qicore.database.sqlite.jobs import Job
from qicore.database.sqlite.worker import Worker

__all__ = ["Writer"]

# A commit for this many statements costs nothing noticeable per statement, and the first of them still waits
# only milliseconds for the last.
_GROUP: Final = 512


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
