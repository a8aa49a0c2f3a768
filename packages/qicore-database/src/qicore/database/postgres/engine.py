"""The engine: statements, transactions, migrations and streams on a pool of connections."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import Error
from qicore.base import Failure, Result, Success
from qicore.database.config import DatabaseConfig
from qicore.database.engine import Outcome, PoolStatus
from qicore.database.errors import bad_query, closed, connect_failed
from qicore.database.listener import Listener
from qicore.database.migrations import Migration
from qicore.database.postgres.cursor import PostgresCursor
from qicore.database.postgres.encoding import plain
from qicore.database.postgres.errors import unforeseen
from qicore.database.postgres.listening import listen
from qicore.database.postgres.migrating import apply
from qicore.database.postgres.pool import Pool
from qicore.database.postgres.session import PostgresSession, outcome, refuse_control, shaped
from qicore.database.postgres.sql import marked
from qicore.database.rows import Shape
from qicore.database.scan import Kind, kind_of
from qicore.database.values import Adapt, Params

__all__ = ["PostgresEngine"]


class PostgresEngine:
    """A PostgreSQL database, or one that speaks its protocol, opened."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.adapt: Adapt = plain

    @classmethod
    async def open(
        cls, url: str, config: DatabaseConfig, clock: Callable[[], float]
    ) -> "Result[PostgresEngine]":
        """Open the first connection: DB_CONNECT_FAILED."""
        try:
            conninfo_to_dict(url)
        except (Error, ValueError):
            # Its text would show a part of the URL.
            return Failure(connect_failed("the URL of the database can't be read"))
        pool = Pool(url, config, clock)
        started = await pool.start()
        return started.map(lambda _: cls(pool))

    @property
    def raw(self) -> Awaitable["AsyncConnection[Any]"]:
        """A new connection of psycopg to this database."""
        return AsyncConnection.connect(self._pool.conninfo, autocommit=True)

    async def fetch(self, sql: str, params: Params, shape: Shape) -> Result[list[Any]]:
        """Run a statement and return its rows."""
        if kind_of(sql) is Kind.CONTROL:
            return refuse_control()
        try:
            text, values = marked(sql, params)
        except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
            return Failure(unforeseen(exception))
        return shaped(await self._pool.send(text, values, sql), shape)

    def insert(self, sql: str, params: Params, table: str, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Insert a row and return it."""
        del table
        return self.fetch(f"{sql} RETURNING *", params, shape)

    async def execute(self, sql: str, params: Params) -> Result[Outcome]:
        """Run a statement and return what it did."""
        if kind_of(sql) is Kind.CONTROL:
            return refuse_control()
        try:
            text, values = marked(sql, params)
        except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
            return Failure(unforeseen(exception))
        return outcome(await self._pool.send(text, values, sql))

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> Result[int]:
        """Run a statement for many rows, all or nothing."""
        return await self._in_transaction(lambda session: session.execute_many(sql, rows))

    async def insert_many(
        self, sql: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> Result[int]:
        """Insert rows by COPY, all or nothing."""
        return await self._in_transaction(lambda session: session.insert_many(sql, table, names, rows))

    async def _in_transaction(self, work: Callable[[PostgresSession], Awaitable[Result[int]]]) -> Result[int]:
        begun = await self.begin(None)
        if begun.error is not None:
            return Failure(begun.error)
        session = begun.unwrap()
        try:
            done = await work(session)
        except BaseException:
            session.abandon()
            raise
        if done.error is not None:
            await session.rollback()
            return done
        return (await session.commit()).map(lambda _: done.unwrap())

    def cursor(self, sql: str, params: Params, shape: Shape) -> PostgresCursor:
        """Return the rows of a statement, not yet asked for."""
        return PostgresCursor(self._pool, sql, params, shape)

    async def begin(self, isolation: str | None) -> Result[PostgresSession]:
        """Begin a transaction."""
        borrowed = await self._pool.borrow()
        if borrowed.error is not None:
            return Failure(borrowed.error)
        session = PostgresSession(self._pool, borrowed.unwrap())
        begun = await session.begin(isolation)
        return begun.map(lambda _: session)

    async def migrate(self, migrations: Sequence[Migration]) -> Result[list[Migration]]:
        """Apply what is pending, all or nothing, under an advisory lock."""
        begun = await self.begin("read committed")
        if begun.error is not None:
            return Failure(begun.error)
        session = begun.unwrap()
        try:
            applied = await apply(session, migrations)
        except BaseException:
            session.abandon()
            raise
        if applied.error is not None:
            await session.rollback()
            return applied
        return (await session.commit()).map(lambda _: applied.unwrap())

    async def backup(self, path: str) -> Result[None]:
        """Refuse: a server is backed up by its own tools."""
        del path
        return Failure(bad_query("a PostgreSQL database is backed up by pg_dump, or by its server"))

    async def listen(self, channels: Sequence[str]) -> Result[Listener]:
        """Hear what is said on these channels, on a connection of its own."""
        if self._pool.closed:
            return Failure(closed())
        return await listen(self._pool, channels)

    async def pool(
        self, readers: int | None, connections: int | None, pool_timeout: float | None
    ) -> Result[PoolStatus]:
        """Change the limits that are given; return what the connections are doing."""
        del readers
        pool = self._pool
        if pool.closed:
            return Failure(closed())
        if connections is not None:
            pool.resize(connections)
        if pool_timeout is not None:
            pool.pool_timeout = pool_timeout
        return Success(
            PoolStatus(
                readers=pool.size,
                open=len(pool.links),
                lent=pool.lent,
                waiting_reads=len(pool.waiting),
                waiting_writes=len(pool.borrowers),
                in_transaction=pool.lent > 0,
                served=pool.served,
                commits=pool.served,
            )
        )

    async def close(self) -> Result[None]:
        """Let what was sent finish, roll back open transactions, close every connection."""
        await self._pool.close()
        return Success(None)

    def abandon(self) -> None:
        """Let every connection close without waiting for it."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._pool.abandon()
