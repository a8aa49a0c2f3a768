"""Rows piece by piece: a statement that stays open on a connection while its rows are consumed."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

from qicore.base import Failure, Result, Success
from qicore.database.errors import closed
from qicore.database.rows import Shape
from qicore.database.sqlite.hub import Hub
from qicore.database.sqlite.jobs import Call, TransactionState, column_names
from qicore.database.sqlite.lending import Lender
from qicore.database.sqlite.worker import Worker
from qicore.database.values import Params

__all__ = ["BufferedCursor", "SqliteCursor", "Step"]


class Step(Call):
    """A piece of the rows; the statement timeout holds for each."""

    limited = True


class SqliteCursor:
    """A statement on a connection that is lent to it alone, or on the connection of a transaction."""

    def __init__(
        self,
        hub: Hub,
        sql: str,
        params: Params,
        shape: Shape,
        *,
        lender: Lender | None = None,
        worker: Worker | None = None,
        state: TransactionState | None = None,
    ) -> None:
        self._hub = hub
        self._sql = sql
        self._params = params
        self._shape = shape
        self._lender = lender
        self._worker = worker
        self._state = state
        self._cursor: sqlite3.Cursor | None = None
        self._names: tuple[str, ...] = ()
        self._running: Step | None = None
        self._closed = False

    async def fetch(self, size: int) -> Result[list[Any]]:
        """Return up to `size` rows; the first call opens the statement."""
        if self._closed:
            return Success([])
        if self._hub.closed:
            return Failure(closed())
        if self._worker is None:
            assert self._lender is not None
            lent = await self._lender.lend()
            if lent.error is not None:
                self._closed = True
                return lent.map(_no_rows)
            self._worker = lent.unwrap()
        future: asyncio.Future[Result[list[Any]]] = self._hub.loop.create_future()
        job = Step(future, self._state, lambda connection: self._step(connection, size))
        job.sql = self._sql
        self._running = job
        self._worker.submit(job)
        try:
            result = await future
        except asyncio.CancelledError:
            self.close()
            raise
        self._running = None
        if result.is_failure:
            self.close()
        return result

    def close(self) -> None:
        """Stop a piece that is under way, close the statement, and give the connection back."""
        if not self._closed:
            self._closed = True
            self._hub.soon(self._give_back)

    def _give_back(self) -> None:
        worker = self._worker
        if worker is None or self._hub.closed:
            return
        if self._running is not None:
            self._hub.stop(self._running, "cancelled")
        job = Call(None, self._state, self._end)
        job.control = True
        worker.submit(job)
        if self._lender is not None:
            self._lender.give_back(worker)

    def _step(self, connection: sqlite3.Connection, size: int) -> list[Any]:
        cursor = self._cursor
        if cursor is None:
            cursor = self._cursor = connection.execute(self._sql, self._params)
            if self._state is not None:
                self._state.cursors.append(cursor)
            self._names = column_names(cursor)
        rows = cursor.fetchmany(size)
        return self._shape.prepare(self._names)(rows) if rows else rows

    def _end(self, _: sqlite3.Connection) -> None:
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close()
            if self._state is not None and cursor in self._state.cursors:
                self._state.cursors.remove(cursor)


class BufferedCursor:
    """Rows fetched all at once: where one connection serves everybody, none can be held for a stream.

    That is a database in memory, so its rows are in memory anyway.
    """

    def __init__(self, source: Callable[[], Awaitable[Result[list[Any]]]]) -> None:
        self._source = source
        self._rows: list[Any] | None = None
        self._position = 0

    async def fetch(self, size: int) -> Result[list[Any]]:
        """Return up to `size` rows."""
        if self._rows is None:
            found = await self._source()
            if found.error is not None:
                return found
            self._rows = found.unwrap()
        rows = self._rows[self._position : self._position + size]
        self._position += size
        return Success(rows)

    def close(self) -> None:
        """Forget the rows."""
        self._rows = []


def _no_rows(_: Worker) -> list[Any]:
    return []
