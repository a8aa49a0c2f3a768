"""One transaction on the writer, held by one session from BEGIN to COMMIT or ROLLBACK."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from qicore.base import Failure, QiError, Result
from qicore.database.engine import Outcome
from qicore.database.errors import bad_query, translate
from qicore.database.rows import Shape
from qicore.database.scan import Kind, kind_of
from qicore.database.sqlite.cursor import SqliteCursor
from qicore.database.sqlite.hub import Hub
from qicore.database.sqlite.jobs import (
    Begin,
    Call,
    Execute,
    ExecuteMany,
    Fetch,
    Insert,
    Job,
    TransactionState,
)
from qicore.database.sqlite.lending import WriterDesk
from qicore.database.values import Adapt, Params, adapt, adapt_rows

__all__ = ["SqliteSession", "refuse_control"]


class SqliteSession:
    """A transaction. Its jobs go to the writer's own queue, which nobody else fills while it is lent."""

    def __init__(self, hub: Hub, desk: WriterDesk) -> None:
        self._hub = hub
        self._desk = desk
        self._state = TransactionState()
        self._over = False
        self.adapt: Adapt = adapt
        desk.owner = asyncio.current_task()

    async def begin(self) -> Result[None]:
        """Begin, and so hold the lock for writing from the start: no read can turn out stale later."""
        try:
            result: Result[None] = await self._do(
                Begin(self._future(), self._state, _statement("BEGIN IMMEDIATE"))
            )
        except asyncio.CancelledError:
            self.abandon()
            raise
        if result.is_failure:
            self._leave()
        return result

    def fetch(self, sql: str, params: Params, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Run a statement in this transaction and return its rows."""
        kind = kind_of(sql)
        if kind is Kind.CONTROL:
            return Failure(refuse_control())
        job = Fetch(self._future(), self._state, sql, params, shape)
        job.guarded = kind in (Kind.INSERT, Kind.WRITE, Kind.WITH)
        return self._do(job)

    def insert(self, sql: str, params: Params, table: str, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Insert a row in this transaction and return it."""
        return self._do(Insert(self._future(), self._state, sql, params, shape, table))

    def execute(self, sql: str, params: Params) -> Awaitable[Result[Outcome]]:
        """Run a statement in this transaction."""
        if kind_of(sql) is Kind.CONTROL:
            return Failure(refuse_control())
        return self._do(Execute(self._future(), self._state, sql, params))

    def execute_many(self, sql: str, rows: Sequence[Params]) -> Awaitable[Result[int]]:
        """Run a statement for many rows in this transaction, all or nothing."""
        if kind_of(sql) is Kind.CONTROL:
            return Failure(refuse_control())
        return self._do(ExecuteMany(self._future(), self._state, sql, rows))

    async def insert_many(
        self, sql: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> Result[int]:
        """Insert rows in this transaction, all or nothing."""
        del table, names
        try:
            adapted = adapt_rows(rows)
        except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
            return Failure(translate(exception))
        return await self.execute_many(sql, adapted)

    def cursor(self, sql: str, params: Params, shape: Shape) -> SqliteCursor:
        """Return the rows of a statement of this transaction."""
        return SqliteCursor(self._hub, sql, params, shape, worker=self._desk.worker, state=self._state)

    async def savepoint(self, name: str) -> Result[None]:
        """Mark a point to come back to."""
        return await self._do(Call(self._future(), self._state, _statement(f"SAVEPOINT {name}")))

    async def release(self, name: str) -> Result[None]:
        """Forget the mark and keep what was done since."""
        return await self._do(Call(self._future(), self._state, _statement(f"RELEASE {name}")))

    async def restore(self, name: str) -> Result[None]:
        """Undo what was done since the mark, and forget it."""
        job = Call(self._future(), self._state, _statement(f"ROLLBACK TO {name}", f"RELEASE {name}"))
        job.control = True
        return await self._do(job)

    async def commit(self) -> Result[None]:
        """Commit; if that fails, roll back."""
        return await self._end(self._commit)

    async def rollback(self) -> Result[None]:
        """Roll back."""
        return await self._end(self._rollback)

    def abandon(self) -> None:
        """Roll back without waiting."""
        self._hub.soon(self._abandon)

    def _abandon(self) -> None:
        if not self._over:
            self._submit_end(None, self._rollback)

    async def _end(self, fn: Callable[[sqlite3.Connection], None]) -> Result[None]:
        if self._over:
            return Failure(bad_query("the transaction is over"))
        future = self._future()
        self._submit_end(future, fn)
        return await future

    def _submit_end(
        self, future: "asyncio.Future[Result[None]] | None", fn: Callable[[sqlite3.Connection], None]
    ) -> None:
        job = Call(future, self._state, fn)
        job.control = True
        self._desk.worker.submit(job)
        # The next holder's first job comes behind this one, so there is nothing to wait for.
        self._leave()

    def _leave(self) -> None:
        self._over = True
        self._desk.give_back(self._desk.worker)

    def _commit(self, connection: sqlite3.Connection) -> None:
        lost = self._state.lost
        self._state.end()
        if lost is not None:
            raise lost
        try:
            self._desk.worker.patiently(lambda: connection.execute("COMMIT"))
        except BaseException:
            self._rollback(connection)
            raise

    def _rollback(self, connection: sqlite3.Connection) -> None:
        self._state.end()
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def _future(self) -> "asyncio.Future[Result[Any]]":
        return self._hub.loop.create_future()

    def _do(self, job: Job) -> Awaitable[Result[Any]]:
        if self._over:
            return Failure(bad_query("the transaction is over"))
        self._desk.worker.submit(job)
        assert job.future is not None
        return job.future


def refuse_control() -> QiError:
    """Return the error for a statement that would end somebody's transaction."""
    return bad_query("transactions begin and end by begin(), commit() and rollback(), not by a statement")


def _statement(*statements: str) -> Callable[[sqlite3.Connection], None]:
    def run(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return run
