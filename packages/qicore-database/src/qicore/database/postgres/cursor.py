"""Rows piece by piece, by a cursor at the server, within a transaction of its own or of somebody's."""

import asyncio
from typing import TYPE_CHECKING, Any

from qicore.base import Failure, Result, Success
from qicore.database.errors import closed
from qicore.database.postgres.pool import Pool
from qicore.database.rows import Shape
from qicore.database.values import Params

if TYPE_CHECKING:
    from qicore.database.postgres.session import PostgresSession

__all__ = ["PostgresCursor"]


class PostgresCursor:
    """A cursor: declared when its first rows are wanted, and closed with its last ones."""

    def __init__(
        self, pool: Pool, sql: str, params: Params, shape: Shape, session: "PostgresSession | None" = None
    ) -> None:
        self._pool = pool
        self._sql = sql
        self._params = params
        self._shape = shape
        self._session = session
        self._own = session is None
        self._number: int | None = None
        self._closed = False

    async def fetch(self, size: int) -> Result[list[Any]]:
        """Return up to `size` rows."""
        if self._closed:
            return Success([])
        if self._pool.closed:
            return Failure(closed())
        try:
            found = await self._fetch(size)
        except asyncio.CancelledError:
            self.close()
            raise
        if found.error is not None:
            self.close()
        return found

    async def _fetch(self, size: int) -> Result[list[Any]]:
        from qicore.database.postgres.session import PostgresSession

        session = self._session
        if session is None:
            borrowed = await self._pool.borrow()
            if borrowed.error is not None:
                return Failure(borrowed.error)
            session = self._session = PostgresSession(self._pool, borrowed.unwrap())
            begun = await session.begin(None)
            if begun.error is not None:
                return Failure(begun.error)
        if self._number is None:
            self._number = session.name_cursor()
            error = await session.declare(self._number, self._sql, self._params)
            if error is not None:
                return Failure(error)
        return await session.fetch_some(self._number, size, self._shape)

    def close(self) -> None:
        """Give back what the cursor holds; its own transaction ends, one of somebody's goes on without it."""
        if self._closed:
            return
        self._closed = True
        if self._session is None:
            return
        if self._own:
            self._session.abandon()
        elif self._number is not None:
            self._session.forget(self._number)
