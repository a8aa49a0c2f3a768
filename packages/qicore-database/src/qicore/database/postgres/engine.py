"""The engine: statements, transactions, migrations and streams on a pool of connections."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import Error
from qicore.base import Failure, Result, Success
from qicore.database.config import DatabaseConfig
from qicore.database.conflicts import again, is_conflict
from qicore.database.engine import Outcome, PoolStatus
from qicore.database.errors import bad_query, closed, connect_failed
from qicore.database.listener import Listener
from qicore.database.migrations import Migration
from qicore.database.postgres.answer import Answer, Statement
from qicore.database.postgres.connecting import milliseconds
from qicore.database.postgres.cursor import PostgresCursor
from qicore.database.postgres.encoding import plain
from qicore.database.postgres.errors import unforeseen
from qicore.database.postgres.listening import listen
from qicore.database.postgres.migrating import apply
from qicore.database.postgres.pool import Pool
from qicore.database.postgres.session import PostgresSession, outcome, shaped
from qicore.database.postgres.sql import is_atomic, marked, refusal
from qicore.database.rows import Shape
from qicore.database.values import Adapt, Params

__all__ = ["PostgresEngine"]

T = TypeVar("T")


class PostgresEngine:
    """A PostgreSQL database, or one that speaks its protocol, opened."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._attempts = pool.config.attempts
        self._loop = asyncio.get_running_loop()
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

    async def _run(self, sql: str, params: Params) -> Result[Answer]:
        """Run a statement on any connection; once more when it could not be put in order with others."""
        refused = refusal(sql)
        if refused is not None:
            return Failure(refused)
        try:
            text, values = marked(sql, params)
        except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
            return Failure(unforeseen(exception))
        answered = await self._send(text, values, sql)
        if answered.error is not None and is_conflict(answered.error) and is_atomic(sql):
            return await again(answered, lambda: self._send(text, values, sql), self._attempts)
        return answered

    async def _send(self, sql: bytes, params: Sequence[Any], text: str) -> Result[Answer]:
        statement = Statement(sql, params, self._loop.create_future(), text)
        try:
            return await self._pool.send(statement)
        except asyncio.CancelledError:
            if statement.link is not None:
                statement.link.left()
            raise

    async def fetch(self, sql: str, params: Params, shape: Shape) -> Result[list[Any]]:
        """Run a statement and return its rows."""
        return shaped(await self._run(sql, params), shape)

    def insert(self, sql: str, params: Params, table: str, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Insert a row and return it."""
        del table
        return self.fetch(f"{sql} RETURNING *", params, shape)

    async def execute(self, sql: str, params: Params) -> Result[Outcome]:
        """Run a statement and return what it did."""
        return outcome(await self._run(sql, params))

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> Result[int]:
        """Run a statement for many rows, all or nothing."""
        return await self._in_transaction(lambda session: session.execute_many(sql, rows))

    async def insert_many(
        self, sql: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> Result[int]:
        """Insert rows by COPY, all or nothing."""
        return await self._in_transaction(lambda session: session.insert_many(sql, table, names, rows))

    async def _in_transaction(
        self, work: Callable[[PostgresSession], Awaitable[Result[T]]], isolation: str | None = None
    ) -> Result[T]:
        """Run this in a transaction, and in a new one when it could not be put in order with others."""
        done = await self._once(work, isolation)
        return await again(done, lambda: self._once(work, isolation), self._attempts)

    async def _once(
        self, work: Callable[[PostgresSession], Awaitable[Result[T]]], isolation: str | None
    ) -> Result[T]:
        begun = await self.begin(isolation)
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
        lock_timeout = milliseconds(self._pool.config.busy_timeout)
        return await self._in_transaction(
            lambda session: apply(session, migrations, lock_timeout), "read committed"
        )

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
        statements = sum(isinstance(waiter, Statement) for waiter in pool.waiting)
        return Success(
            PoolStatus(
                readers=pool.size,
                open=len(pool.links),
                lent=pool.lent,
                waiting_reads=statements,
                waiting_writes=len(pool.waiting) - statements,
                in_transaction=pool.lent > 0,
                served=pool.served,
                commits=pool.served,
            )
        )

    async def close(self) -> Result[None]:
        """Let what was sent finish, roll back open transactions, close every connection."""
        if self._loop is asyncio.get_running_loop():
            await self._pool.close()
        else:
            self._pool.abandon()
        return Success(None)

    def abandon(self) -> None:
        """Let every connection close without waiting for it."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._pool.abandon()
