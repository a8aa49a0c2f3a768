"""The circuit breaker before an engine: a database that is busy or out of reach is left alone for a while.

What may be turned away is what begins something: a statement, a transaction, a stream, a migration, a backup.
That call counts as it ends. What continues, such as a statement of a transaction or the later rows of a
stream, is never turned away, for it holds a connection that it must be able to give back in order; it counts
only where it fails. So no permit of a half-open circuit is held for as long as somebody's transaction takes.

A coroutine around each statement would cost a tenth of a short one, where many tasks share a hop. So while
the circuit is closed, and counts nothing but failures, statements go straight to the engine, and who awaits
the answer tells of a failure (`heard`). What is not counted then is that a statement succeeded.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from qicore.base import QiError, Result
from qicore.database.engine import Cursor, Engine, Outcome, PoolStatus, Session
from qicore.database.errors import is_unavailable
from qicore.database.listener import Listener
from qicore.database.migrations import Migration
from qicore.database.rows import Shape
from qicore.database.values import Params
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, CircuitChange, CircuitState, is_ill

__all__ = ["GuardedEngine", "guard_options"]

T = TypeVar("T")


def guard_options(config: CircuitBreakerConfig) -> CircuitBreakerConfig:
    """Return the options of a database's breaker: unless they say what counts, `is_unavailable` does."""
    return replace(config, counts=is_unavailable) if config.counts is is_ill else config


class GuardedEngine:
    """An engine behind a circuit breaker."""

    def __init__(self, engine: Engine, breaker: CircuitBreaker) -> None:
        self._engine = engine
        self._breaker = breaker
        self._call = breaker.call
        self.adapt = engine.adapt
        config = breaker.config
        self._counts_all = config.failure_rate is not None or config.slow_call_rate is not None
        breaker.add_listener(self._follow)
        self._passes = breaker.state is CircuitState.CLOSED and not self._counts_all

    def _follow(self, change: CircuitChange) -> None:
        self._passes = change.after is CircuitState.CLOSED and not self._counts_all

    def heard(self, error: QiError) -> None:
        """Count the failure of a statement, unless it went through the breaker and was counted there."""
        if self._passes:
            self._breaker.admit().tap(lambda permit: permit.failure(error))

    @property
    def raw(self) -> Any:
        """The wrapped library's object."""
        return self._engine.raw

    def fetch(self, sql: str, params: Params, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Run a statement and return its rows."""
        if self._passes:
            return self._engine.fetch(sql, params, shape)
        return self._call(partial(self._engine.fetch, sql, params, shape))

    def execute(self, sql: str, params: Params) -> Awaitable[Result[Outcome]]:
        """Run a statement and return what it did."""
        if self._passes:
            return self._engine.execute(sql, params)
        return self._call(partial(self._engine.execute, sql, params))

    def insert(self, sql: str, params: Params, table: str, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Insert a row and return it."""
        if self._passes:
            return self._engine.insert(sql, params, table, shape)
        return self._call(partial(self._engine.insert, sql, params, table, shape))

    def execute_many(self, sql: str, rows: Sequence[Params]) -> Awaitable[Result[int]]:
        """Run a statement for many rows, all or nothing."""
        if self._passes:
            return self._engine.execute_many(sql, rows)
        return self._call(partial(self._engine.execute_many, sql, rows))

    def insert_many(
        self, sql: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> Awaitable[Result[int]]:
        """Insert many rows, all or nothing."""
        if self._passes:
            return self._engine.insert_many(sql, table, names, rows)
        return self._call(partial(self._engine.insert_many, sql, table, names, rows))

    def cursor(self, sql: str, params: Params, shape: Shape) -> Cursor:
        """Return the rows of a statement; the breaker is asked when the first ones are."""
        return _Cursor(self._engine.cursor(sql, params, shape), self._breaker, begun=False)

    async def begin(self, isolation: str | None) -> Result[Session]:
        """Begin a transaction."""
        begun = await self._call(partial(self._engine.begin, isolation))
        return begun.map(lambda session: _Session(session, self._breaker))

    async def listen(self, channels: Sequence[str]) -> Result[Listener]:
        """Hear what is said on these channels."""
        return await self._call(partial(self._engine.listen, channels))

    async def migrate(self, migrations: Sequence[Migration]) -> Result[list[Migration]]:
        """Apply what is pending."""
        return await self._call(partial(self._engine.migrate, migrations))

    async def backup(self, path: str) -> Result[None]:
        """Copy the database into a file. A failure counts as neither: it may be that of the other file."""
        admitted = self._breaker.admit()
        if admitted.error is not None:
            return admitted.map(_nothing)
        permit = admitted.unwrap()
        try:
            copied = await self._engine.backup(path)
            if copied.is_success:
                permit.success()
        finally:
            permit.release()
        return copied

    async def pool(
        self, readers: int | None, connections: int | None, pool_timeout: float | None
    ) -> Result[PoolStatus]:
        """Change the limits that are given; return what the connections are doing."""
        status = await self._engine.pool(readers, connections, pool_timeout)
        return status.map(lambda known: replace(known, circuit=self._breaker.state))

    async def close(self) -> Result[None]:
        """Close; no circuit stands before that."""
        self._breaker.remove_listener(self._follow)
        return await self._engine.close()

    def abandon(self) -> None:
        """Let every connection close without waiting for it."""
        self._engine.abandon()


async def _watch(breaker: CircuitBreaker, answer: Awaitable[Result[T]]) -> Result[T]:
    """Return the answer to what was not asked of the breaker, and let it know of a failure."""
    result = await answer
    error = result.error
    if error is not None and breaker.state is not CircuitState.OPEN:
        breaker.admit().tap(lambda permit: permit.failure(error))
    return result


class _Session:
    """A transaction that was let through."""

    def __init__(self, session: Session, breaker: CircuitBreaker) -> None:
        self._session = session
        self._breaker = breaker
        self.adapt = session.adapt

    def fetch(self, sql: str, params: Params, shape: Shape) -> Awaitable[Result[list[Any]]]:
        return _watch(self._breaker, self._session.fetch(sql, params, shape))

    def execute(self, sql: str, params: Params) -> Awaitable[Result[Outcome]]:
        return _watch(self._breaker, self._session.execute(sql, params))

    def insert(self, sql: str, params: Params, table: str, shape: Shape) -> Awaitable[Result[list[Any]]]:
        return _watch(self._breaker, self._session.insert(sql, params, table, shape))

    def execute_many(self, sql: str, rows: Sequence[Params]) -> Awaitable[Result[int]]:
        return _watch(self._breaker, self._session.execute_many(sql, rows))

    def insert_many(
        self, sql: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> Awaitable[Result[int]]:
        return _watch(self._breaker, self._session.insert_many(sql, table, names, rows))

    def cursor(self, sql: str, params: Params, shape: Shape) -> Cursor:
        return _Cursor(self._session.cursor(sql, params, shape), self._breaker, begun=True)

    async def savepoint(self, name: str) -> Result[None]:
        return await _watch(self._breaker, self._session.savepoint(name))

    async def release(self, name: str) -> Result[None]:
        return await _watch(self._breaker, self._session.release(name))

    async def restore(self, name: str) -> Result[None]:
        return await _watch(self._breaker, self._session.restore(name))

    async def commit(self) -> Result[None]:
        return await _watch(self._breaker, self._session.commit())

    async def rollback(self) -> Result[None]:
        return await _watch(self._breaker, self._session.rollback())

    def abandon(self) -> None:
        self._session.abandon()


class _Cursor:
    """Rows piece by piece: the breaker is asked for the first piece, unless a transaction stands for it."""

    def __init__(self, cursor: Cursor, breaker: CircuitBreaker, *, begun: bool) -> None:
        self._cursor = cursor
        self._breaker = breaker
        self._begun = begun

    async def fetch(self, size: int) -> Result[list[Any]]:
        if self._begun:
            return await _watch(self._breaker, self._cursor.fetch(size))
        self._begun = True
        return await self._breaker.call(partial(self._cursor.fetch, size))

    def close(self) -> None:
        self._cursor.close()


def _nothing(_: object) -> None:
    return None
