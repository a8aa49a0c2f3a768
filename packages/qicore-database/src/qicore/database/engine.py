"""The seam between a Database and what stores the data: what an engine must do, in terms of Results.

A `Database` writes statements, checks names, and shapes rows; an engine runs statements and keeps promises
about them. Nothing above this module knows SQLite.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from qicore.base import Result
from qicore.database.listener import Listener
from qicore.database.migrations import Migration
from qicore.database.rows import Shape
from qicore.database.values import Adapt, Params
from qicore.resilience import CircuitState

__all__ = ["Cursor", "Engine", "Outcome", "PoolStatus", "Runner", "Session"]


class Outcome(NamedTuple):
    """What a statement did: how many rows it changed, and the row id of what an INSERT added, else None."""

    changed: int
    row_id: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolStatus:
    """What the connections of a database are doing.

    Attributes:
        readers: how many connections may read at once; of PostgreSQL, how many there may be.
        open: reading connections that have been opened so far; of PostgreSQL, that are open now.
        lent: reading connections that a stream or a backup holds now; of PostgreSQL, a transaction, too.
        waiting_reads: reads that wait for a connection; of PostgreSQL, statements.
        waiting_writes: statements and transactions that wait for the writer; of PostgreSQL, transactions and
            streams that wait for a connection.
        in_transaction: whether a transaction holds the writer; of PostgreSQL, any connection.
        served: statements answered since the database was opened.
        commits: commits that answered them; fewer than the writes, where writes shared one. Of PostgreSQL,
            the same as `served`.
        circuit: the state of the circuit breaker, None without one.
    """

    readers: int
    open: int
    lent: int
    waiting_reads: int
    waiting_writes: int
    in_transaction: bool
    served: int
    commits: int
    circuit: CircuitState | None = None


class Cursor(Protocol):
    """The rows of one statement, fetched piece by piece."""

    async def fetch(self, size: int) -> Result[list[Any]]:
        """Return up to `size` rows; none when there are no more."""
        ...

    def close(self) -> None:
        """Give back what the cursor holds. Never waits, so that a cancelled task can call it."""
        ...


class Runner(Protocol):
    """What runs statements: an engine commits each on its own, a session runs them in its transaction."""

    @property
    def adapt(self) -> Adapt:
        """Return what this engine stores for a value; it raises DB_BAD_QUERY for what it can't."""
        ...

    def fetch(self, sql: str, params: Params, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Run a statement and return its rows, shaped by `shape.prepare`."""
        ...

    def execute(self, sql: str, params: Params) -> Awaitable[Result[Outcome]]:
        """Run a statement and return what it did."""
        ...

    def insert(self, sql: str, params: Params, table: str, shape: Shape) -> Awaitable[Result[list[Any]]]:
        """Run an INSERT of one row into a table, whose name is quoted, and return the row as it is stored."""
        ...

    def execute_many(self, sql: str, rows: Sequence[Params]) -> Awaitable[Result[int]]:
        """Run a statement once for each row of parameters, all or nothing; return how many rows changed."""
        ...

    def insert_many(
        self, sql: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> Awaitable[Result[int]]:
        """Insert many rows into a table, whose name is quoted, all or nothing; return how many.

        The values are as the caller gave them, not adapted. `sql` is the INSERT of one row, and `names` its
        columns.
        """
        ...

    def cursor(self, sql: str, params: Params, shape: Shape) -> Cursor:
        """Return the rows of a statement, not yet asked for."""
        ...


class Session(Runner, Protocol):
    """One open transaction, which nobody else shares."""

    async def savepoint(self, name: str) -> Result[None]:
        """Mark a point to come back to."""
        ...

    async def release(self, name: str) -> Result[None]:
        """Forget the mark and keep what was done since."""
        ...

    async def restore(self, name: str) -> Result[None]:
        """Undo what was done since the mark, and forget it."""
        ...

    async def commit(self) -> Result[None]:
        """Keep everything; the transaction is over, whatever comes back."""
        ...

    async def rollback(self) -> Result[None]:
        """Undo everything; the transaction is over, whatever comes back."""
        ...

    def abandon(self) -> None:
        """Undo everything, without waiting for it. Harmless when the transaction is over."""
        ...


class Engine(Runner, Protocol):
    """A database of one kind, opened."""

    @property
    def raw(self) -> Any:
        """The wrapped library's object."""
        ...

    async def begin(self, isolation: str | None) -> Result[Session]:
        """Begin a transaction, of this isolation level, or of the database's."""
        ...

    async def listen(self, channels: Sequence[str]) -> Result[Listener]:
        """Hear what is said on these channels."""
        ...

    async def migrate(self, migrations: Sequence[Migration]) -> Result[list[Migration]]:
        """Apply what is pending, all or nothing, while no other process does; return what was applied."""
        ...

    async def backup(self, path: str) -> Result[None]:
        """Copy the database into a file while it is in use."""
        ...

    async def pool(
        self, readers: int | None, connections: int | None, pool_timeout: float | None
    ) -> Result[PoolStatus]:
        """Change the limits that are given; return what the connections are doing."""
        ...

    async def close(self) -> Result[None]:
        """Finish accepted writes, interrupt reads, roll back open transactions, close every connection."""
        ...

    def abandon(self) -> None:
        """Let every connection close without waiting for it: for a database that was forgotten."""
        ...
