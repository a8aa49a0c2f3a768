"""The database itself: where it is opened, and what only the whole of it can do."""

import asyncio
import os
import sys
import time
import warnings
from asyncio import get_running_loop
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from qicore.base import Failure, QiError, Result, Success
from qicore.database.config import ISOLATIONS, DatabaseConfig, Isolation, check_config
from qicore.database.engine import Engine, PoolStatus
from qicore.database.errors import bad_query, closed, connect_failed
from qicore.database.guard import GuardedEngine, guard_options
from qicore.database.listener import Listener
from qicore.database.migrations import Migration, read_migrations
from qicore.database.operations import Operations
from qicore.database.transaction import Transaction, TransactionBlock, end_with_task, repeat_transaction
from qicore.resilience import CircuitBreaker

if TYPE_CHECKING:
    from qicore.database.postgres.engine import PostgresEngine
    from qicore.database.sqlite.engine import SqliteEngine

__all__ = ["Database"]

T = TypeVar("T")


class Database(Operations):
    """An open database: rows in, rows out, every answer a Result.

    A statement outside a transaction is committed when its Success is there, and together with others that
    wait: many tasks share one commit, and still each fails alone. Reads see what was committed before they
    start. Close it, or use `async with`.

    >>> async def main() -> Result[list[dict[str, object]]]:
    ...     async with (await Database.connect(":memory:")).unwrap() as db:
    ...         await db.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
    ...         await db.create("users", {"name": "Ann"})
    ...         return await db.read("users", {"name": ["Ann", "Bob"]})
    >>> asyncio.run(main())
    Success([{'id': 1, 'name': 'Ann'}])
    """

    __slots__ = ("__weakref__", "_attempts", "_breaker", "_closed", "_engine", "_guard", "_loop")

    def __init__(
        self, engine: Engine, breaker: CircuitBreaker | None = None, config: DatabaseConfig | None = None
    ) -> None:
        """Wrap an engine that was opened in the running event loop. Use `connect`."""
        self._attempts = (config or DatabaseConfig()).attempts
        self._breaker = breaker
        self._guard = None if breaker is None else GuardedEngine(engine, breaker)
        self._engine: Engine = self._guard or engine
        self._runner = self._engine
        self._closed = False
        self._loop = get_running_loop()

    @classmethod
    async def connect(
        cls,
        target: str | os.PathLike[str],
        config: DatabaseConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> "Result[Database]":
        """Open a database: a path, `:memory:`, or a URL, `sqlite:///data.db` or `postgresql://host/name`.

        PostgreSQL needs the extra `qicore-database[postgresql]`; its URL is libpq's, with all that it knows.
        `clock` gives the seconds by which the timeouts of the options are measured, but for those of
        statements and locks that a server measures itself. Fails with
        DB_CONNECT_FAILED (no such directory, no database, unreadable), DB_BUSY (locked while it was opened),
        DB_INVALID_CONFIG.
        """
        options = check_config(config or DatabaseConfig())
        if options.error is not None:
            return Failure(options.error)
        try:
            where = os.fspath(target)
        except TypeError:
            where = None
        if not isinstance(where, str):
            return Failure(
                connect_failed(f"a database is at a path or a URL, not at a {type(target).__name__}")
            )
        settings = options.unwrap()
        opened = await _open(where, settings, clock)
        guarded = settings.circuit_breaker
        breaker = None
        if isinstance(guarded, CircuitBreaker):
            breaker = guarded
        elif guarded is not None:
            # Named by the file or the database alone: the name is logged.
            breaker = CircuitBreaker(guard_options(guarded), name=_name_of(where), clock=clock)
        return opened.map(lambda engine: cls(engine, breaker, settings))

    @property
    def raw(self) -> Any:
        """A new connection of the driver's to this database, not yet opened.

        Of SQLite, aiosqlite's: `async with db.raw as connection`. Of PostgreSQL, psycopg's:
        `async with await db.raw as connection`.
        """
        return self._engine.raw

    @property
    def circuit_breaker(self) -> CircuitBreaker | None:
        """What all calls go through, if the options say so: to look at, to listen to, to open by hand.

        While it is closed it counts failures only, unless its options have rates: `pool()` tells how many
        statements were served. What runs is never turned away, nor is `close()`.
        """
        return self._breaker

    def _refusal(self) -> QiError | None:
        if self._loop is get_running_loop() and not self._closed:
            return None
        return closed() if self._closed else bad_query("the database was opened in another event loop")

    def _failed(self, error: QiError) -> None:
        if self._guard is not None:
            self._guard.heard(error)

    async def begin(self, *, isolation: Isolation | None = None) -> Result[Transaction]:
        """Begin a transaction; on SQLite it waits for those before it. DB_BUSY, DB_POOL_EXHAUSTED in time.

        End it with `commit()` or `rollback()`. `isolation` is its level where that can be chosen: those of
        SQLite are serializable. In the task that holds a transaction of SQLite, a second one, or a statement
        of the database that writes, would wait for itself: it is DB_BAD_QUERY instead.
        """
        refusal = self._refusal()
        if refusal is not None:
            return Failure(refusal)
        if isolation is not None and isolation not in ISOLATIONS:
            return Failure(bad_query(f"isolation must be one of {', '.join(ISOLATIONS)}"))
        begun = await self._engine.begin(isolation)
        if begun.error is not None:
            return Failure(begun.error)
        transaction = Transaction(begun.unwrap())
        end_with_task(transaction, asyncio.current_task())
        return Success(transaction)

    @overload
    def transaction(self, /, *, isolation: Isolation | None = None) -> TransactionBlock: ...
    @overload
    def transaction(
        self,
        fn: Callable[[Transaction], Result[T] | Awaitable[Result[T]]],
        /,
        *,
        isolation: Isolation | None = None,
    ) -> Awaitable[Result[T]]: ...
    def transaction(
        self, fn: Callable[..., Any] | None = None, /, *, isolation: Isolation | None = None
    ) -> Any:
        """Run `fn(transaction)`: commit when it returns a Success, roll back on a Failure or an exception.

        Returns what `fn` returns, or the Failure of the begin or the commit; a QiError raised in `fn` by
        `unwrap` is returned as its Failure. Without `fn`, a block: `async with db.transaction() as tx`, which
        commits at its end and rolls back on an exception. A block has no Result to give, so a begin or commit
        that fails raises its QiError, as `unwrap` would.

        When the database can't put it in order with others (a serialization failure, a deadlock; never with
        SQLite), `fn` is run again from the start, `attempts` times in all: what it does elsewhere, it does
        again.
        """
        begin = self.begin if isolation is None else partial(self.begin, isolation=isolation)
        return TransactionBlock(begin) if fn is None else repeat_transaction(begin, fn, self._attempts)

    async def listen(self, *channels: str) -> Result[Listener]:
        """Hear what is said on channels of PostgreSQL, by `pg_notify` or NOTIFY; DB_CONNECT_FAILED.

        It takes a connection of its own, beside those of the pool. On SQLite it is DB_BAD_QUERY.
        """
        refusal = self._refusal()
        if refusal is not None:
            return Failure(refusal)
        if not channels:
            return Failure(bad_query("listen to what? Name a channel"))
        return await self._engine.listen(channels)

    async def migrate(self, directory: str | os.PathLike[str], /) -> Result[list[Migration]]:
        """Apply the migrations of a directory that are still to apply, in order, and return them.

        Files are named `0001_users.sql`. All are applied or none, and by one process at a time: others wait.
        Fails with DB_MIGRATION_MISMATCH when an applied file was changed or is missing, or a new one is out
        of order; and as its statements do, with file and line in the context.
        """
        refusal = self._refusal()
        if refusal is not None:
            return Failure(refusal)
        migrations = await asyncio.to_thread(read_migrations, Path(directory))
        if migrations.error is not None:
            return Failure(migrations.error)
        return await self._engine.migrate(migrations.unwrap())

    async def backup(self, path: str | os.PathLike[str], /) -> Result[None]:
        """Copy the database as it is now into a file, which appears when it is whole. Others go on.

        DB_BAD_QUERY where no file can be, and on PostgreSQL, whose own tools do it.
        """
        refusal = self._refusal()
        if refusal is not None:
            return Failure(refusal)
        return await self._engine.backup(os.fspath(path))

    async def pool(
        self,
        *,
        readers: int | None = None,
        connections: int | None = None,
        pool_timeout: float | None = None,
    ) -> Result[PoolStatus]:
        """Return what the connections are doing, after changing the limits that are given.

        They are those of the options: `readers` of SQLite, `connections` of PostgreSQL. DB_INVALID_CONFIG
        when wrong.
        """
        refusal = self._refusal()
        if refusal is not None:
            return Failure(refusal)
        wanted = DatabaseConfig(
            readers=2 if readers is None else readers,
            connections=1 if connections is None else connections,
            pool_timeout=0.0 if pool_timeout is None else pool_timeout,
        )
        options = check_config(wanted)
        if options.error is not None:
            return Failure(options.error)
        return await self._engine.pool(readers, connections, pool_timeout)

    async def health(self) -> Result[PoolStatus]:
        """Ask the database for one row, and return what the connections are doing if it answers."""
        answered = await self.query("SELECT 1")
        return Failure(answered.error) if answered.error is not None else await self.pool()

    async def close(self) -> Result[None]:
        """Finish accepted writes, interrupt reads, roll back open transactions, close. Idempotent."""
        self._closed = True
        return await self._engine.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if not self._closed and not sys.is_finalizing():
            self._engine.abandon()
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=1)


async def _open(
    where: str, config: DatabaseConfig, clock: Callable[[], float]
) -> "Result[SqliteEngine] | Result[PostgresEngine]":
    scheme, separator, _ = where.partition("://")
    if separator and scheme in ("postgresql", "postgres"):
        try:
            from qicore.database.postgres.engine import PostgresEngine
        except ImportError as exception:
            error = QiError.configuration(
                "DB_INVALID_CONFIG", "PostgreSQL needs the extra: install qicore-database[postgresql]"
            )
            error.__cause__ = exception
            return Failure(error)
        return await PostgresEngine.open(where, config, clock)
    if not separator and where.lower().startswith(("postgresql:", "postgres:")):
        # Not a path, which an error would show.
        return Failure(connect_failed("the URL of the database can't be read"))
    if separator and scheme != "sqlite":
        return Failure(
            connect_failed(f"there is no engine for {scheme[:20]!r} URLs, only for sqlite and postgresql")
        )
    from qicore.database.sqlite.engine import SqliteEngine

    return await SqliteEngine.open(where, config, clock)


def _name_of(where: str) -> str:
    """Return the last part of a path or a URL, without what a URL may say before and after it."""
    scheme, separator, rest = where.partition("://")
    if not separator:
        return PurePath(scheme).name
    # A user and a password end at the first @ before a slash, whatever else is in them.
    authority, slash, path = rest.partition("/")
    user, at, host = authority.partition("@")
    return PurePath(f"{host if at else user}{slash}{path}".partition("?")[0]).name.rpartition("@")[2]
