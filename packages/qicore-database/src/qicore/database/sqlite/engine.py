"""The embedded engine: one writer, a pool of readers, and the promises about both."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiosqlite
from qicore.base import Failure, QiError, Result, Success
from qicore.database.config import DatabaseConfig
from qicore.database.engine import Cursor, Outcome, PoolStatus, Session
from qicore.database.errors import bad_query, closed, translate
from qicore.database.listener import Listener
from qicore.database.migrations import Migration
from qicore.database.rows import Shape
from qicore.database.scan import Kind, kind_of
from qicore.database.sqlite.connection import Opener, find_place
from qicore.database.sqlite.cursor import BufferedCursor, SqliteCursor
from qicore.database.sqlite.hub import TICK, Hub
from qicore.database.sqlite.jobs import Call, Execute, ExecuteMany, Fetch, Insert, Job, Stop
from qicore.database.sqlite.lending import Lender, Readers, WriterDesk
from qicore.database.sqlite.session import SqliteSession, refuse_control
from qicore.database.sqlite.tasks import apply_migrations, check_target, copy_database
from qicore.database.sqlite.worker import Worker
from qicore.database.values import Adapt, Params, adapt, adapt_rows

__all__ = ["SqliteEngine"]


class SqliteEngine:
    """An open SQLite database. In memory there are no readers: its one connection does everything."""

    def __init__(self, opener: Opener, clock: Callable[[], float]) -> None:
        self.loop = asyncio.get_running_loop()
        self.hub = Hub(self.loop, opener.config, clock)
        self.opener = opener
        self.desk = WriterDesk(self.hub, opener)
        in_memory = opener.place.path is None
        self.readers = None if in_memory else Readers(self.hub, opener, opener.config.readers)
        self._session: SqliteSession | None = None
        self._closed = False
        self._closing: asyncio.Task[Result[None]] | None = None
        self.adapt: Adapt = adapt

    @classmethod
    async def open(
        cls, target: str, config: DatabaseConfig, clock: Callable[[], float]
    ) -> "Result[SqliteEngine]":
        """Open a database: its writer now, its readers when they are needed."""
        place = find_place(target, config)
        if place.error is not None:
            return Failure(place.error)
        engine = cls(Opener(place.unwrap(), config), clock)
        job = Call(engine.loop.create_future(), None, _nothing)
        job.alone = True
        try:
            opened = await engine._submit(job)
        except asyncio.CancelledError:
            engine.abandon()
            raise
        if opened.error is not None:
            await engine.close()
            return Failure(opened.error)
        return Success(engine)

    @property
    def raw(self) -> aiosqlite.Connection:
        """A new aiosqlite connection to the same database, not yet opened."""
        return aiosqlite.connect(self.opener.place.uri, uri=True, isolation_level=None)

    def fetch(self, sql: str, params: Params, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Run a statement: one that reads on a reader, any other on the writer."""
        kind = kind_of(sql)
        readers = self.readers
        if readers is None or (kind is not Kind.READ and kind is not Kind.WITH):
            return self._fetch_from_writer(kind, sql, params, shape)
        if self._closed:
            return Failure(closed())
        # No coroutine of its own: it would cost as much as the hop of one job among many.
        future: asyncio.Future[Result[list[Any]]] = self.loop.create_future()
        job = Fetch(future, None, sql, params, shape)
        readers.submit(job)
        if kind is Kind.READ:
            return future
        return self._fetch_again(future, sql, params, shape)

    def _fetch_from_writer(
        self, kind: Kind, sql: str, params: Params, shape: Shape
    ) -> Awaitable[Result[list[Any]]]:
        if kind is Kind.CONTROL:
            return Failure(refuse_control())
        job = Fetch(self.loop.create_future(), None, sql, params, shape)
        job.reads = kind is Kind.READ
        job.alone = kind is Kind.ALONE
        job.guarded = not (job.reads or job.alone)
        return self._submit(job)

    async def _fetch_again(
        self, tried: Awaitable[Result[list[Any]]], sql: str, params: Params, shape: Shape
    ) -> Result[list[Any]]:
        """Return the rows of a WITH statement: a reader refuses one that writes, before it does anything."""
        result = await tried
        error = result.error
        if error is None or error.context.get("sqlite") != "SQLITE_READONLY" or self.opener.config.read_only:
            return result
        return await self._fetch_from_writer(Kind.WITH, sql, params, shape)

    def execute(self, sql: str, params: Params) -> Awaitable[Result[Outcome]]:
        """Run a statement on the writer; it is committed when this is answered."""
        kind = kind_of(sql)
        if kind is Kind.CONTROL:
            return Failure(refuse_control())
        job = Execute(self.loop.create_future(), None, sql, params)
        if kind is Kind.ALONE:
            job.alone = True
        return self._submit(job)

    def insert(self, sql: str, params: Params, table: str, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Insert a row, commit, and return it."""
        return self._submit(Insert(self.loop.create_future(), None, sql, params, shape, table))

    def execute_many(self, sql: str, rows: Sequence[Params]) -> Awaitable[Result[int]]:
        """Run a statement for many rows and commit, all or nothing."""
        if kind_of(sql) is Kind.CONTROL:
            return Failure(refuse_control())
        return self._submit(ExecuteMany(self.loop.create_future(), None, sql, rows))

    def _submit(self, job: Job) -> Awaitable[Result[Any]]:
        """Hand a job to the writer, to be committed on its own."""
        if self._closed:
            return Failure(closed())
        if self.desk.owner is not None and self.desk.held_by_caller:
            return Failure(_deadlock())
        self.desk.submit(job)
        assert job.future is not None
        return job.future

    def cursor(self, sql: str, params: Params, shape: Shape) -> Cursor:
        """Return the rows of a statement that reads."""
        if self.readers is None:
            return BufferedCursor(lambda: self.fetch(sql, params, shape))
        return SqliteCursor(self.hub, sql, params, shape, lender=self.readers)

    async def insert_many(
        self, sql: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> Result[int]:
        """Insert rows and commit, all or nothing."""
        del table, names
        try:
            adapted = adapt_rows(rows)
        except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
            return Failure(translate(exception))
        return await self.execute_many(sql, adapted)

    async def listen(self, channels: Sequence[str]) -> Result[Listener]:
        """Refuse: a file says nothing."""
        del channels
        return Failure(bad_query("SQLite has no channels to listen to"))

    async def begin(self, isolation: str | None) -> Result[Session]:
        """Begin a transaction, when the writer is free; each is serializable."""
        del isolation
        if self.desk.held_by_caller:
            return Failure(_deadlock())
        lent = await self.desk.lend()
        if lent.error is not None:
            return Failure(lent.error)
        session = SqliteSession(self.hub, self.desk)
        self._session = session
        begun = await session.begin()
        if begun.error is not None:
            return Failure(begun.error)
        return Success(session)

    async def migrate(self, migrations: Sequence[Migration]) -> Result[list[Migration]]:
        """Apply what is pending, on the writer alone."""
        patiently = self.desk.worker.patiently
        return await self._alone(
            self.desk, lambda _: lambda connection: apply_migrations(connection, migrations, patiently)
        )

    async def backup(self, path: str) -> Result[None]:
        """Copy the database into a file."""
        checked = check_target(path, self.opener.place.path)
        if checked.error is not None:
            return Failure(checked.error)
        target = checked.unwrap()
        lender: Lender = self.desk if self.readers is None else self.readers
        patiently = self.desk.worker.patiently
        return await self._alone(
            lender,
            lambda job: (
                lambda connection: copy_database(connection, target, patiently, lambda: bool(job.stop))
            ),
        )

    async def _alone(
        self, lender: Lender, make: Callable[[Job], Callable[[sqlite3.Connection], Any]]
    ) -> Result[Any]:
        """Run a function on a connection that is lent for it alone."""
        if self._closed:
            return Failure(closed())
        if lender is self.desk and self.desk.held_by_caller:
            return Failure(_deadlock())
        lent = await lender.lend()
        if lent.error is not None:
            return Failure(lent.error)
        worker = lent.unwrap()
        future: asyncio.Future[Result[Any]] = self.loop.create_future()
        job = Call(future, None, _nothing)
        job.fn = make(job)
        worker.submit(job)
        try:
            return await future
        finally:
            lender.give_back(worker)

    async def pool(
        self, readers: int | None, connections: int | None, pool_timeout: float | None
    ) -> Result[PoolStatus]:
        """Change the limits, and return what the connections are doing."""
        del connections
        if self._closed:
            return Failure(closed())
        if pool_timeout is not None:
            self.hub.pool_timeout = pool_timeout
        pool = self.readers
        if readers is not None and pool is not None:
            pool.resize(readers)
        desk = self.desk
        return Success(
            PoolStatus(
                readers=0 if pool is None else pool.size,
                open=0 if pool is None else len(pool.workers),
                lent=0 if pool is None else sum(worker.lent for worker in pool.workers),
                waiting_reads=0 if pool is None else len(pool.shared) + len(pool.waiters),
                waiting_writes=len(desk.shared) + len(desk.waiters),
                in_transaction=desk.owner is not None,
                served=self.hub.served,
                commits=desk.worker.commits,
            )
        )

    async def close(self) -> Result[None]:
        """Close, once; whoever asks again gets the same answer."""
        if asyncio.get_running_loop() is not self.loop:
            # A loop that is gone can't be waited for.
            if self._closing is None:
                self.abandon()
            return Success(None)
        if self._closing is None:
            self._closed = True
            self._closing = self.loop.create_task(self._shut_down())
        return await asyncio.shield(self._closing)

    async def _shut_down(self) -> Result[None]:
        hub = self.hub
        hub.closed = True
        results: list[Result[None]] = []
        if self.readers is not None:
            self.readers.refuse()
            with contextlib.suppress(IndexError):  # a reader takes from the other end of this
                while True:
                    hub.done.append((self.readers.shared.pop(), Failure(closed())))
            hub.deliver()
            for worker in list(self.readers.workers):
                closing = await self._retire(worker)
                results.append(closing)
        self.desk.refuse()
        if self._session is not None:
            self._session.abandon()
        # Behind every write that was accepted.
        future: asyncio.Future[Result[None]] = self.loop.create_future()
        stop = Stop(future)
        stop.alone = True
        self.desk.submit(stop)
        results.append(await future)
        hub.close()
        return next((result for result in results if result.is_failure), Success(None))

    async def _retire(self, worker: Worker) -> Result[None]:
        future: asyncio.Future[Result[None]] = self.loop.create_future()
        worker.submit(Stop(future))
        while not future.done():
            if worker.current is not None:
                self.hub.stop(worker.current, "closed")
            await asyncio.wait((future,), timeout=TICK)
        return future.result()

    def abandon(self) -> None:
        """Let every connection close on its own."""
        self._closed = True
        self.hub.closed = True
        self.hub.halted.set()
        for worker in list(self.hub.workers):
            worker.own.append(Stop(None))
            worker.ring()
        self.hub.soon(self.hub.close_later)


def _deadlock() -> QiError:
    return bad_query(
        "this task holds a transaction and would wait for itself: use the transaction's own operations"
    )


def _nothing(_: sqlite3.Connection) -> None:
    """Open the connection, and no more."""
