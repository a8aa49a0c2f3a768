"""What goes to the server, and what comes back."""

import asyncio
from collections.abc import Sequence
from typing import Any

from psycopg import pq
from psycopg.abc import Transformer
from qicore.base import Result
from qicore.database.postgres.prepared import Prepared

__all__ = ["Answer", "Statement"]


class Answer:
    """What the server said to one statement: rows and names of columns, or how many rows were changed."""

    __slots__ = ("_loader", "_result")

    def __init__(self, result: "pq.abc.PGresult", loader: Transformer) -> None:
        self._result = result
        self._loader = loader

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        result = self._result
        return tuple((result.fname(index) or b"").decode() for index in range(result.nfields))

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """The rows, as Python's values."""
        self._loader.set_pgresult(self._result)
        return self._loader.load_rows(0, self._result.ntuples, tuple)

    @property
    def has_rows(self) -> bool:
        """Whether it is a statement that gives rows, be they none."""
        return self._result.status == pq.ExecStatus.TUPLES_OK

    @property
    def changed(self) -> int:
        """How many rows were changed."""
        return self._result.command_tuples or 0

    @property
    def tag(self) -> bytes:
        """What was done, in the server's word: `COMMIT`, `INSERT 0 1`."""
        return self._result.command_status or b""


class Statement:
    """One thing to run, and who waits for it.

    Attributes:
        sql: what is run; empty for the question whether the server is there at all.
        text: how it is shown in an error, if at all.
        control: whether it may begin or end a transaction.
        since: when it began to wait for a connection.
        link: the connection it was sent over.
        asks: whether the types of its parameters are asked for, and nothing is run.
        after: what is to be run when these types are known; the same one waits for both.
        fresh: whether it was prepared along with being sent.
        again: whether it was sent once more.
    """

    __slots__ = (
        "after",
        "again",
        "asks",
        "control",
        "fresh",
        "future",
        "link",
        "params",
        "prepared",
        "results",
        "since",
        "sql",
        "text",
    )

    def __init__(
        self,
        sql: bytes,
        params: Sequence[Any],
        future: "asyncio.Future[Result[Any]]",
        text: str | None,
        *,
        control: bool = False,
    ) -> None:
        self.sql = sql
        self.params = params
        self.future = future
        self.text = text
        self.control = control
        self.since = 0.0
        self.link: Any = None
        self.prepared: Prepared | None = None
        self.fresh = False
        self.results: list[pq.abc.PGresult] = []
        self.asks = False
        self.after: Statement | None = None
        self.again = False

    def answer(self, result: Result[Any]) -> None:
        """Give whoever waits, if somebody still does, the answer."""
        if not self.future.done():
            self.future.set_result(result)
