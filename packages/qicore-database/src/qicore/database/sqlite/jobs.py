"""What the event loop asks a connection's thread to do. A job runs in that thread and is answered once."""

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Literal, TypeAlias

from qicore.base import QiError
from qicore.database.engine import Outcome
from qicore.database.errors import bad_query
from qicore.database.rows import Shape
from qicore.database.scan import Kind, kind_of
from qicore.database.values import Params

__all__ = [
    "Begin",
    "Call",
    "Execute",
    "ExecuteMany",
    "Fetch",
    "Insert",
    "Job",
    "Stop",
    "TransactionState",
    "column_names",
]

Prepared: TypeAlias = tuple[Shape, Callable[[list[Any]], list[Any]]]
Stopped: TypeAlias = Literal["", "cancelled", "timeout", "closed"]


class TransactionState:
    """What the jobs of one transaction know together: why it is over, and which of its streams are open.

    Only the thread of the connection touches it.
    """

    __slots__ = ("cursors", "lost")

    def __init__(self) -> None:
        self.lost: QiError | None = None
        self.cursors: list[sqlite3.Cursor] = []

    def end(self) -> None:
        """Let no job run any more, and close what would keep a snapshot that no later write could follow."""
        self.lost = self.lost or bad_query("the transaction is over")
        while self.cursors:
            self.cursors.pop().close()


class Job(ABC):
    """One thing to do. `stop` says that its result is no longer wanted, and why.

    Attributes:
        future: what waits for the answer; None when nobody does. A cancelled one stops the job.
        since: when it was handed over, on the database's clock.
        state: the transaction it belongs to, if any.
        begins: it opens a transaction.
        control: it ends something, so it runs even when nobody waits for it any more.
        limited: the statement timeout holds for it.
        guarded: more than one step, to be undone together.
        alone: it can't share a transaction with other statements.
        reads: it changes nothing.
    """

    # Defaults of the class, not of __init__: a job is made for every statement, and most have only these.
    sql: Any = None
    state: TransactionState | None = None
    since = 0.0
    stop: Stopped = ""
    begins = False
    control = False
    limited = True
    guarded = False
    alone = False
    reads = False

    def __init__(self, future: "asyncio.Future[Any] | None", state: TransactionState | None = None) -> None:
        self.future = future
        if state is not None:
            self.state = state

    @property
    def unwanted(self) -> bool:
        """Whether nobody wants it done any more."""
        future = self.future
        return not self.control and (bool(self.stop) or (future is not None and future.cancelled()))

    @abstractmethod
    def run(self, cursor: sqlite3.Cursor) -> Any:
        """Do it; the value is the answer, an exception becomes a Failure."""

    def run_among_others(self, cursor: sqlite3.Cursor, prepared: "dict[str, Prepared]") -> Any:
        """Do it in a transaction of reads; `prepared` remembers shapes, while the schema can't change."""
        del prepared
        return self.run(cursor)


class Fetch(Job):
    """Run a statement and return its shaped rows."""

    def __init__(
        self,
        future: "asyncio.Future[Any]",
        state: TransactionState | None,
        sql: str,
        params: Params,
        shape: Shape,
    ) -> None:
        self.future = future
        if state is not None:
            self.state = state
        self.sql: str = sql
        self.params = params
        self.shape = shape

    def run(self, cursor: sqlite3.Cursor) -> list[Any]:
        """Fetch all rows at once."""
        rows = cursor.execute(self.sql, self.params).fetchall()
        return self.shape.prepare(column_names(cursor))(rows) if rows else rows

    def run_among_others(self, cursor: sqlite3.Cursor, prepared: dict[str, Prepared]) -> list[Any]:
        """Fetch all rows at once."""
        rows = cursor.execute(self.sql, self.params).fetchall()
        if not rows:
            return rows
        known = prepared.get(self.sql)
        if known is None or known[0] is not self.shape:
            known = prepared[self.sql] = (self.shape, self.shape.prepare(column_names(cursor)))
        return known[1](rows)


class Insert(Fetch):
    """Insert one row and return it, shaped.

    RETURNING alone would do, but that it gives a whole number in a REAL column as an int, and not what a
    trigger made of the row. So it gives the row's id, and the row is read again; where there is no id,
    RETURNING it is.
    """

    def __init__(
        self,
        future: "asyncio.Future[Any]",
        state: TransactionState | None,
        sql: str,
        params: Params,
        shape: Shape,
        table: str,
    ) -> None:
        super().__init__(future, state, sql, params, shape)
        self.table = table
        self.guarded = True

    def run(self, cursor: sqlite3.Cursor) -> list[Any]:
        """Insert, and read what is there now."""
        try:
            cursor.execute(f"{self.sql} RETURNING _rowid_, *", self.params)
        except sqlite3.OperationalError as exception:
            if "_rowid_" not in str(exception):
                raise
            cursor.execute(f"{self.sql} RETURNING *", self.params)
            return self.shape.prepare(column_names(cursor))(cursor.fetchall())
        returned = cursor.fetchall()
        names = column_names(cursor)[1:]
        read = f"SELECT * FROM {self.table} WHERE _rowid_ = ?"  # noqa: S608 - the name is quoted
        rows = cursor.execute(read, returned[0][:1]).fetchall() if returned else []
        return self.shape.prepare(names)(rows or [row[1:] for row in returned])


class Execute(Job):
    """Run a statement and return its Outcome."""

    def __init__(
        self, future: "asyncio.Future[Any]", state: TransactionState | None, sql: str, params: Params
    ) -> None:
        self.future = future
        if state is not None:
            self.state = state
        self.sql: str = sql
        self.params = params

    def run(self, cursor: sqlite3.Cursor) -> Outcome:
        """Execute it to its end."""
        cursor.execute(self.sql, self.params)
        if cursor.description is not None:
            # Its rows are not wanted, but SQLite counts the changes once the last one was fetched.
            for _ in cursor:
                pass
        count = cursor.rowcount
        if count > 0 and kind_of(self.sql) is Kind.INSERT:
            return Outcome(count, cursor.lastrowid)
        return Outcome(max(count, 0), None)


class ExecuteMany(Job):
    """Run a statement for many rows of parameters and return the count of changed rows."""

    def __init__(
        self,
        future: "asyncio.Future[Any]",
        state: TransactionState | None,
        sql: str,
        rows: Sequence[Params],
    ) -> None:
        self.future = future
        if state is not None:
            self.state = state
        self.sql: str = sql
        self.rows = rows
        self.guarded = True

    def run(self, cursor: sqlite3.Cursor) -> int:
        """Execute it for each row."""
        return max(cursor.executemany(self.sql, self.rows).rowcount, 0)


class Call(Job):
    """Call a function with the connection and return what it returns."""

    limited = False

    def __init__(
        self,
        future: "asyncio.Future[Any] | None",
        state: TransactionState | None,
        fn: Callable[[sqlite3.Connection], Any],
    ) -> None:
        super().__init__(future, state)
        self.fn = fn

    def run(self, cursor: sqlite3.Cursor) -> Any:
        """Call the function."""
        return self.fn(cursor.connection)


_first = itemgetter(0)


def column_names(cursor: sqlite3.Cursor) -> tuple[str, ...]:
    """Return the names of the columns that a statement gives."""
    return tuple(map(_first, cursor.description or ()))


class Begin(Call):
    """Open a transaction."""

    begins = True


class Stop(Job):
    """Close the connection and end the thread."""

    def run(self, cursor: sqlite3.Cursor) -> None:
        """Do nothing: the thread that meets it ends, and closes the connection itself."""
