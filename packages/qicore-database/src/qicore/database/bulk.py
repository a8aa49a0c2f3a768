"""Many rows on their way into a table: taken from whatever gives them, so many at a time."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from operator import itemgetter
from typing import Any, cast

from qicore.base import Failure, Result, Success
from qicore.database import statements
from qicore.database.engine import Runner
from qicore.database.errors import bad_query, translate
from qicore.database.names import quote_table
from qicore.database.rows import columns_of

__all__ = ["Bulk"]


class Bulk:
    """Rows of one table, all with the columns of the first one; no more than two batches are held at a time.

    Attributes:
        is_single: whether there is one batch only, which a statement inserts by itself.
    """

    def __init__(self, table: str, names: list[str], batches: AsyncGenerator[list[object]]) -> None:
        self._sql = statements.insert(table, names)
        self._table, _ = quote_table(table)
        self._names = names
        self._pick = _picker(names)
        self._batches = batches
        self._rows: list[Sequence[Any]] = []
        self._following: list[object] | None = None

    @classmethod
    async def read(cls, table: str, rows: object, size: int) -> "Result[Bulk | None]":
        """Take the first batches of an iterable; None when it is empty. DB_BAD_QUERY for what is no rows."""
        batches = _batches(rows, size)
        try:
            first = await anext(batches, None)
            if first is None:
                return Success(None)
            bulk = cls(table, list(columns_of(first[0])), batches)
            bulk._rows = bulk._values(first)
            bulk._following = await anext(batches, None)
        except Exception as exception:  # noqa: BLE001 - whatever the caller's iterable raises is answered
            return Failure(translate(exception))
        return Success(bulk)

    @property
    def is_single(self) -> bool:
        """Whether there is one batch only."""
        return self._following is None

    async def insert(self, runner: Runner) -> Result[int]:
        """Insert every row: all or none, if there is one batch only, or the runner is a transaction."""
        count = 0
        while True:
            done = await runner.insert_many(self._sql, self._table, self._names, self._rows)
            if done.error is not None:
                return done
            count += done.unwrap()
            if self._following is None:
                return Success(count)
            try:
                self._rows = self._values(self._following)
                self._following = await anext(self._batches, None)
            except Exception as exception:  # noqa: BLE001 - as above
                return Failure(translate(exception))

    def _values(self, rows: list[object]) -> list[Sequence[Any]]:
        pick, width = self._pick, len(self._names)
        if set(map(type, rows)) == {dict} and set(map(len, cast("list[dict[str, Any]]", rows))) == {width}:
            # As most are: then a few calls look at all rows.
            with suppress(KeyError):
                return list(map(pick, cast("list[dict[str, Any]]", rows)))
        found: list[Sequence[Any]] = []
        for row in rows:
            columns = columns_of(row)
            try:
                if len(columns) != width:
                    raise KeyError
                found.append(pick(columns))
            except KeyError:
                raise bad_query(
                    "all rows of a bulk insert need the columns of the first one",
                    differing=sorted(map(str, set(self._names).symmetric_difference(columns))),
                ) from None
        return found


async def _batches(rows: object, size: int) -> AsyncGenerator[list[object]]:
    if isinstance(rows, AsyncIterable):
        batch: list[object] = []
        async for row in cast("AsyncIterable[object]", rows):
            batch.append(row)
            if len(batch) == size:
                yield batch
                batch = []
        if batch:
            yield batch
        return
    kind: type = type(rows)
    if isinstance(rows, Mapping | str | bytes) or not isinstance(rows, Iterable):
        raise bad_query(f"rows are an iterable of rows, not a {kind.__name__}")
    iterator = iter(cast("Iterable[object]", rows))
    while batch := list(islice(iterator, size)):
        yield batch


def _picker(names: list[str]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda columns: [columns[name] for name in names]
