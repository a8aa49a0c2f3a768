"""What the event loop asks a connection's thread to do. A job runs in that thread and is answered once."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, TypeAlias

from qicore.base import QiError
from qicore.database.engine import Outcome
from qicore.database.rows import Shape
from qicore.database.scan import Kind, kind_of
from qicore.database.values import Params

__all__ = ["Begin", "Call", "Execute", "ExecuteMany", "Fetch", "Insert", "Job", "Stop", "TransactionState"]

Stopped: TypeAlias = Literal["", "cancelled", "timeout", "closed"]


class TransactionState:
    """What the jobs of one transaction know together: why it is over, if SQLite ended it by itself."""

    __slots__ = ("lost",)

    def __init__(self) -> None:
        self.lost: QiError | None = None


class Job:
    """One thing to do. `stop` says that its result is no longer wanted, and why.

    Attributes:
        future: what waits for the answer; None when nobody does.
        since: when it was handed over, on the database's clock.
        state: the transaction it belongs to, if any.
        begins: it opens a transaction.
        control: it ends something, so it runs even when nobody waits for it any more.
        limited: the statement timeout holds for it.
        guarded: more than one step, to be undone together.
        alone: it can't share a transaction with other statements.
        reads: it changes nothing.
    """

    begins: ClassVar[bool] = False
    limited: ClassVar[bool] = True
    __slots__ = ("alone", "control", "future", "guarded", "reads", "since", "sql", "state", "stop")

    def __init__(self, future: "asyncio.Future[Any] | None", state: TransactionState | None = None) -> None:
        self.future = future
        self.state = state
        self.sql: str | None = None
        self.since = 0.0
        self.stop: Stopped = ""
        self.control = False
        self.guarded = False
        self.alone = False
        self.reads = False

    def run(self, connection: sqlite3.Connection) -> Any:
        """Do it; the value is the answer, an exception becomes a Failure."""
        raise NotImplementedError


class Fetch(Job):
    """Run a statement and return its shaped rows."""

    __slots__ = ("_sql", "params", "shape")

    def __init__(
        self,
        future: "asyncio.Future[Any]",
        state: TransactionState | None,
        sql: str,
        params: Params,
        shape: Shape,
    ) -> None:
        super().__init__(future, state)
        self.sql = self._sql = sql
        self.params = params
        self.shape = shape

    def run(self, connection: sqlite3.Connection) -> list[Any]:
        """Fetch all rows at once."""
        cursor = connection.execute(self._sql, self.params)
        rows = cursor.fetchall()
        if not rows:
            return rows
        return self.shape.fetch([column[0] for column in cursor.description], rows)


class Insert(Fetch):
    """Insert one row and return it, shaped.

    RETURNING alone would do, but that it gives a whole number in a REAL column as an int, and not what a
    trigger made of the row. So it gives the row's id, and the row is read again; where there is no id,
    RETURNING it is.
    """

    __slots__ = ("table",)

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

    def run(self, connection: sqlite3.Connection) -> list[Any]:
        """Insert, and read what is there now."""
        try:
            cursor = connection.execute(f"{self._sql} RETURNING _rowid_, *", self.params)
        except sqlite3.OperationalError as exception:
            if "_rowid_" not in str(exception):
                raise
            cursor = connection.execute(f"{self._sql} RETURNING *", self.params)
            return self.shape.fetch([column[0] for column in cursor.description], cursor.fetchall())
        returned = cursor.fetchall()
        names = [column[0] for column in cursor.description][1:]
        read = f"SELECT * FROM {self.table} WHERE _rowid_ = ?"  # noqa: S608 - the name is quoted
        rows = connection.execute(read, returned[0][:1]).fetchall() if returned else []
        return self.shape.fetch(names, rows or [row[1:] for row in returned])


class Execute(Job):
    """Run a statement and return its Outcome."""

    __slots__ = ("_sql", "params")

    def __init__(
        self, future: "asyncio.Future[Any]", state: TransactionState | None, sql: str, params: Params
    ) -> None:
        super().__init__(future, state)
        self.sql = self._sql = sql
        self.params = params

    def run(self, connection: sqlite3.Connection) -> Outcome:
        """Execute it to its end."""
        cursor = connection.execute(self._sql, self.params)
        if cursor.description is not None:
            # Its rows are not wanted, but SQLite counts the changes once the last one was fetched.
            for _ in cursor:
                pass
        count = cursor.rowcount
        if count > 0 and kind_of(self._sql) is Kind.INSERT:
            return Outcome(count, cursor.lastrowid)
        return Outcome(max(count, 0), None)


class ExecuteMany(Job):
    """Run a statement for many rows of parameters and return the count of changed rows."""

    __slots__ = ("_sql", "rows")

    def __init__(
        self,
        future: "asyncio.Future[Any]",
        state: TransactionState | None,
        sql: str,
        rows: Sequence[Params],
    ) -> None:
        super().__init__(future, state)
        self.sql = self._sql = sql
        self.rows = rows
        self.guarded = True

    def run(self, connection: sqlite3.Connection) -> int:
        """Execute it for each row."""
        return max(connection.executemany(self._sql, self.rows).rowcount, 0)


class Call(Job):
    """Call a function with the connection and return what it returns."""

    limited = False

    __slots__ = ("fn",)

    def __init__(
        self,
        future: "asyncio.Future[Any] | None",
        state: TransactionState | None,
        fn: Callable[[sqlite3.Connection], Any],
    ) -> None:
        super().__init__(future, state)
        self.fn = fn

    def run(self, connection: sqlite3.Connection) -> Any:
        """Call the function."""
        return self.fn(connection)


class Begin(Call):
    """Open a transaction."""

    begins = True
    __slots__ = ()


class Stop(Job):
    """Close the connection and end the thread."""

    __slots__ = ()
