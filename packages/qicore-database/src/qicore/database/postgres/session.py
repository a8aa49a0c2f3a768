"""One transaction on a connection that is lent to it alone."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from qicore.base import Failure, Result, Success
from qicore.database.engine import Outcome
from qicore.database.errors import bad_query
from qicore.database.postgres.copying import copy_rows
from qicore.database.postgres.cursor import PostgresCursor
from qicore.database.postgres.encoding import plain
from qicore.database.postgres.errors import unforeseen
from qicore.database.postgres.link import Answer, Link, Statement
from qicore.database.postgres.pool import Pool
from qicore.database.postgres.sql import marked
from qicore.database.rows import Shape
from qicore.database.scan import Kind, kind_of
from qicore.database.values import Adapt, Params

__all__ = ["PostgresSession", "outcome", "refuse_control", "shaped"]

_PATIENCE: Final = 5.0
"""Seconds for the request that interrupts a statement to reach the server."""


class PostgresSession:
    """A transaction, from BEGIN to COMMIT or ROLLBACK."""

    def __init__(self, pool: Pool, link: Link) -> None:
        self._pool = pool
        self._link = link
        self._over = False
        self._cancelling: asyncio.Task[None] | None = None
        self.adapt: Adapt = plain

    async def begin(self, isolation: str | None) -> Result[None]:
        """Begin."""
        level = "" if isolation is None else f" ISOLATION LEVEL {isolation.upper()}"
        try:
            begun = await self._run(f"BEGIN{level}")
        except asyncio.CancelledError:
            self.abandon()
            raise
        if begun.error is not None:
            self._leave()
            return Failure(begun.error)
        return Success(None)

    def _send(self, sql: bytes, params: Sequence[Any], text: str) -> "asyncio.Future[Result[Answer]]":
        future: asyncio.Future[Result[Answer]] = asyncio.get_running_loop().create_future()
        if self._over or self._link.broken is not None:
            future.set_result(Failure(self._link.broken or bad_query("the transaction is over")))
        else:
            self._pool.served += 1
            self._link.run(Statement(sql, params, future, text))
        return future

    async def _run(self, sql: str, params: Params = ()) -> Result[Answer]:
        try:
            text, values = marked(sql, params)
        except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
            return Failure(unforeseen(exception))
        try:
            return await self._send(text, values, sql)
        except asyncio.CancelledError:
            # Nobody else's statement can be hit: the connection is this transaction's.
            if self._link.under_way and self._cancelling is None:
                self._cancelling = asyncio.create_task(self._link.cancel(_PATIENCE))
            raise

    async def fetch(self, sql: str, params: Params, shape: Shape) -> Result[list[Any]]:
        """Run a statement in this transaction and return its rows."""
        if kind_of(sql) is Kind.CONTROL:
            return refuse_control()
        return shaped(await self._run(sql, params), shape)

    def insert(self, sql: str, params: Params, table: str, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Insert a row in this transaction and return it."""
        del table
        return self.fetch(f"{sql} RETURNING *", params, shape)

    async def execute(self, sql: str, params: Params) -> Result[Outcome]:
        """Run a statement in this transaction."""
        if kind_of(sql) is Kind.CONTROL:
            return refuse_control()
        return outcome(await self._run(sql, params))

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> Result[int]:
        """Run a statement for many rows, all under way at once, all or nothing."""
        if kind_of(sql) is Kind.CONTROL:
            return refuse_control()
        try:
            ready = [marked(sql, row) for row in rows]
        except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
            return Failure(unforeseen(exception))
        marked_point = await self.savepoint("qicore_many")
        if marked_point.error is not None:
            return Failure(marked_point.error)
        answers = await asyncio.gather(*(self._send(text, values, sql) for text, values in ready))
        failed = next((answer.error for answer in answers if answer.error is not None), None)
        if failed is not None:
            await self.restore("qicore_many")
            return Failure(failed)
        released = await self.release("qicore_many")
        changed = sum(answer.unwrap().changed for answer in answers)
        return released.map(lambda _: changed)

    async def insert_many(
        self, sql: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> Result[int]:
        """Insert rows by COPY, all or nothing."""
        if self._over:
            return Failure(bad_query("the transaction is over"))
        if not names:  # rows of nothing but defaults, which COPY can't write
            return await self.execute_many(sql, rows)
        return await copy_rows(self._link, sql, table, names, rows)

    def forget(self, cursor: str) -> None:
        """Close a cursor without waiting for it."""
        if not self._over and self._link.broken is None:
            text = f"CLOSE {cursor}"
            self._send(text.encode(), (), text)

    def cursor(self, sql: str, params: Params, shape: Shape) -> PostgresCursor:
        """Return the rows of a statement of this transaction."""
        return PostgresCursor(self._pool, sql, params, shape, self)

    async def savepoint(self, name: str) -> Result[None]:
        """Mark a point to come back to."""
        return (await self._run(f'SAVEPOINT "{name}"')).map(_nothing)

    async def release(self, name: str) -> Result[None]:
        """Forget the mark and keep what was done since."""
        released = await self._run(f'RELEASE SAVEPOINT "{name}"')
        if released.error is not None and self._link.broken is None:
            await self.restore(name)
        return released.map(_nothing)

    async def restore(self, name: str) -> Result[None]:
        """Undo what was done since the mark, and forget it."""
        undone = await self._run(f'ROLLBACK TO SAVEPOINT "{name}"')
        if undone.error is not None:
            return Failure(undone.error)
        return (await self._run(f'RELEASE SAVEPOINT "{name}"')).map(_nothing)

    async def commit(self) -> Result[None]:
        """Keep everything. A server that has to roll back instead says so, and so does the Failure."""
        committed = await self._end("COMMIT")
        if committed.error is not None:
            return Failure(committed.error)
        if committed.unwrap().tag != b"COMMIT":
            return Failure(bad_query("the transaction was rolled back when a statement in it failed"))
        return Success(None)

    async def rollback(self) -> Result[None]:
        """Undo everything."""
        return (await self._end("ROLLBACK")).map(_nothing)

    async def _end(self, sql: str) -> Result[Answer]:
        """End it; when the task is cancelled meanwhile, the connection is closed, and with it all."""
        cancelling, self._cancelling = self._cancelling, None
        try:
            if cancelling is not None:
                await cancelling
            return await self._send(sql.encode(), (), sql)
        finally:
            self._leave()

    def abandon(self) -> None:
        """Undo everything, without waiting for it."""
        if not self._over and not self._link.under_way and self._link.broken is None:
            # What others send over this connection comes after it.
            self._send(b"ROLLBACK", (), "ROLLBACK")
            self._over = True
            self._pool.give_back(self._link, ended=True)
            return
        self._leave()

    def _leave(self) -> None:
        if not self._over:
            self._over = True
            self._pool.give_back(self._link)


def refuse_control() -> Failure:
    """Answer a statement that begins or ends a transaction behind the back of its session."""
    return Failure(bad_query("transactions begin with begin() and end with commit() or rollback()"))


def shaped(answered: Result[Answer], shape: Shape) -> Result[list[Any]]:
    """Return the rows of an answer in the shape that is wanted."""
    if answered.error is not None:
        return Failure(answered.error)
    answer = answered.unwrap()
    if not answer.has_rows:
        return Success([])
    try:
        return Success(shape.prepare(answer.names)(answer.rows))
    except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
        return Failure(unforeseen(exception))


def outcome(answered: Result[Answer]) -> Result[Outcome]:
    """Return what a statement did."""
    return answered.map(
        lambda answer: Outcome(0 if answer.has_rows and not _wrote(answer) else answer.changed, None)
    )


def _wrote(answer: Answer) -> bool:
    return answer.tag.split(b" ", 1)[0] in (b"INSERT", b"UPDATE", b"DELETE", b"MERGE", b"COPY")


def _nothing(_: object) -> None:
    return None
