"""One transaction on a connection that is lent to it alone."""

import asyncio
from collections.abc import Awaitable, Sequence
from itertools import islice
from typing import Any, Final

from qicore.base import Failure, QiError, Result, Success
from qicore.database.engine import Outcome
from qicore.database.errors import bad_query
from qicore.database.postgres.answer import Answer, Statement
from qicore.database.postgres.copying import copy_rows
from qicore.database.postgres.cursor import PostgresCursor
from qicore.database.postgres.encoding import plain
from qicore.database.postgres.errors import unforeseen
from qicore.database.postgres.link import PATIENCE, Link
from qicore.database.postgres.pool import Pool
from qicore.database.postgres.sql import marked, refusal
from qicore.database.rows import Shape
from qicore.database.values import Adapt, Params

__all__ = ["PostgresSession", "outcome", "shaped"]

_AT_ONCE: Final = 1000
"""Statements of an `execute_many` that are under way at once."""


class PostgresSession:
    """A transaction, from BEGIN to COMMIT or ROLLBACK."""

    def __init__(self, pool: Pool, link: Link) -> None:
        self._pool = pool
        self._link = link
        self._over = False
        self._cursors: set[int] = set()
        self.adapt: Adapt = plain

    async def begin(self, isolation: str | None) -> Result[None]:
        """Begin."""
        level = "" if isolation is None else f" ISOLATION LEVEL {isolation.upper()}"
        try:
            begun = await self._control(f"BEGIN{level}")
        except asyncio.CancelledError:
            self._leave(ended=False)
            raise
        if begun.error is not None:
            self._leave(ended=False)
        return begun.map(_nothing)

    def _send(
        self, sql: bytes, params: Sequence[Any], text: str, *, control: bool = False
    ) -> "asyncio.Future[Result[Answer]]":
        future: asyncio.Future[Result[Answer]] = asyncio.get_running_loop().create_future()
        if self._over or self._link.broken is not None:
            future.set_result(Failure(self._link.broken or bad_query("the transaction is over")))
        else:
            self._pool.served += 1
            self._link.run(Statement(sql, params, future, text, control=control))
        return future

    async def _control(self, sql: str) -> Result[Answer]:
        """Run a statement of this class's own."""
        return await self._wait(sql.encode(), (), sql, control=True)

    async def _run(self, sql: str, params: Params) -> Result[Answer]:
        """Run a statement of the caller's."""
        refused = refusal(sql)
        if refused is not None:
            return Failure(refused)
        try:
            text, values = marked(sql, params)
        except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
            return Failure(unforeseen(exception))
        return await self._wait(text, values, sql)

    async def _wait(
        self, sql: bytes, params: Sequence[Any], text: str, *, control: bool = False
    ) -> Result[Answer]:
        if self._link.interrupting:
            await self._link.calm()
        try:
            return await self._send(sql, params, text, control=control)
        except asyncio.CancelledError:
            # Nobody else's statement can be hit: the connection is this transaction's.
            self._link.interrupt()
            raise

    async def fetch(self, sql: str, params: Params, shape: Shape) -> Result[list[Any]]:
        """Run a statement in this transaction and return its rows."""
        return shaped(await self._run(sql, params), shape)

    def insert(self, sql: str, params: Params, table: str, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Insert a row in this transaction and return it."""
        del table
        return self.fetch(f"{sql} RETURNING *", params, shape)

    async def execute(self, sql: str, params: Params) -> Result[Outcome]:
        """Run a statement in this transaction."""
        return outcome(await self._run(sql, params))

    async def execute_many(self, sql: str, rows: Sequence[Params]) -> Result[int]:
        """Run a statement for many rows, many of them under way at once, all or nothing."""
        refused = refusal(sql)
        if refused is not None:
            return Failure(refused)
        marked_point = await self.savepoint("qicore_many")
        if marked_point.error is not None:
            return Failure(marked_point.error)
        changed = 0
        remaining = iter(rows)
        while some := list(islice(remaining, _AT_ONCE)):
            done = await self._run_some(sql, some)
            if done.error is not None:
                await self.restore("qicore_many")
                return done
            changed += done.unwrap()
        return (await self.release("qicore_many")).map(lambda _: changed)

    async def _run_some(self, sql: str, rows: Sequence[Params]) -> Result[int]:
        try:
            ready = [marked(sql, row) for row in rows]
        except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
            return Failure(unforeseen(exception))
        try:
            answers = await asyncio.gather(*(self._send(text, values, sql) for text, values in ready))
        except asyncio.CancelledError:
            self._link.interrupt()
            raise
        failed = next((answer.error for answer in answers if answer.error is not None), None)
        if failed is not None:
            return Failure(failed)
        return Success(sum(answer.unwrap().changed for answer in answers))

    async def insert_many(
        self, sql: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> Result[int]:
        """Insert rows by COPY, all or nothing."""
        if self._over:
            return Failure(bad_query("the transaction is over"))
        if not names:  # rows of nothing but defaults, which COPY can't write
            return await self.execute_many(sql, rows)
        await self._link.calm()
        timeout = self._pool.config.statement_timeout
        # The server ends it before that, unless it fell silent.
        patience = None if timeout is None or self._link.unbounded else timeout + PATIENCE
        return await copy_rows(self._link, sql, table, names, rows, patience)

    def cursor(self, sql: str, params: Params, shape: Shape) -> PostgresCursor:
        """Return the rows of a statement of this transaction."""
        return PostgresCursor(self._pool, sql, params, shape, self)

    def name_cursor(self) -> int:
        """Return a number for a cursor, which no other open one has; few numbers make few statements."""
        number = next(number for number in range(1, len(self._cursors) + 2) if number not in self._cursors)
        self._cursors.add(number)
        return number

    async def declare(self, number: int, sql: str, params: Params) -> QiError | None:
        """Open a cursor for a statement."""
        return (await self._run(f"DECLARE qicore_{number} NO SCROLL CURSOR FOR {sql}", params)).error

    async def fetch_some(self, number: int, size: int, shape: Shape) -> Result[list[Any]]:
        """Return the next rows of a cursor."""
        return await self.fetch(f"FETCH {size} FROM qicore_{number}", (), shape)

    def forget(self, number: int) -> None:
        """Close a cursor without waiting for it."""
        if not self._over and self._link.broken is None:
            text = f"CLOSE qicore_{number}"
            self._send(text.encode(), (), text)
        self._cursors.discard(number)

    async def savepoint(self, name: str) -> Result[None]:
        """Mark a point to come back to."""
        return (await self._control(f'SAVEPOINT "{name}"')).map(_nothing)

    async def release(self, name: str) -> Result[None]:
        """Forget the mark and keep what was done since."""
        released = await self._control(f'RELEASE SAVEPOINT "{name}"')
        if released.error is not None and self._link.broken is None:
            await self.restore(name)
        return released.map(_nothing)

    async def restore(self, name: str) -> Result[None]:
        """Undo what was done since the mark, and forget it."""
        undone = await self._control(f'ROLLBACK TO SAVEPOINT "{name}"')
        if undone.error is not None:
            return Failure(undone.error)
        return (await self._control(f'RELEASE SAVEPOINT "{name}"')).map(_nothing)

    def take_time(self) -> None:
        """Let what runs here take as long as it takes."""
        self._link.unbounded = True

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
        ended = False
        try:
            if self._link.interrupting:
                await self._link.calm()
            answered = await self._send(sql.encode(), (), sql, control=True)
            # A commit that fails has rolled back, unless it was not carried out at all.
            ended = answered.error is None or "sqlstate" in answered.error.context
            return answered
        finally:
            self._leave(ended=ended)

    def abandon(self) -> None:
        """Undo everything, without waiting for it."""
        link = self._link
        if not (self._over or link.under_way or link.interrupting) and link.broken is None:
            # What others send over this connection comes after it.
            self._send(b"ROLLBACK", (), "ROLLBACK", control=True)
            self._leave(ended=True)
        else:
            self._leave(ended=False)

    def _leave(self, *, ended: bool) -> None:
        if not self._over:
            self._over = True
            self._pool.give_back(self._link, ended=ended)


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
