"""What a database and a transaction both do: the operations on tables and on statements."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, overload

from qicore.base import Failure, QiError, Result, Success
from qicore.database import statements
from qicore.database.bulk import Bulk
from qicore.database.engine import Cursor, Outcome, Runner
from qicore.database.errors import bad_query, row_not_found, translate
from qicore.database.names import quote_table
from qicore.database.rows import DICTS, Row, Shape, columns_of, shape_of
from qicore.database.statements import EveryRow, Where
from qicore.database.stream import RowStream
from qicore.database.values import Params, adapt_params

__all__ = ["Operations"]

T = TypeVar("T")
Order = str | Sequence[str] | None

# Rows built between two turns of the event loop: about a millisecond of work.
_BUILD: Final = 500
_BULK: Final = 5000
_BATCH: Final = 1024


class Operations(ABC):
    """The operations that `Database` and `Transaction` share.

    `into` says what a row becomes: a dict when it is left out, or `tuple`, a dataclass, a pydantic model, or
    for a query of one column the type of its values (`into=int`). Any operation can fail with DB_BAD_QUERY
    (the statement, a name or a value can't be used, or a row does not fit `into`), DB_BUSY, DB_TIMEOUT,
    DB_POOL_EXHAUSTED, DB_CONNECT_FAILED and CIRCUIT_OPEN; one that writes also with DB_CONSTRAINT.
    """

    __slots__ = ("_runner",)

    _runner: Runner

    @abstractmethod
    def _refusal(self) -> QiError | None:
        """Return why nothing can be done now, or None."""

    @abstractmethod
    def _failed(self, error: QiError) -> None:
        """Take note that the runner could not do what it was asked."""

    @overload
    async def query(self, sql: str, params: Params = (), /) -> Result[list[Row]]: ...
    @overload
    async def query(
        self, sql: str, params: Params = (), /, *, into: type[tuple[Any, ...]]
    ) -> Result[list[tuple[Any, ...]]]: ...
    @overload
    async def query(self, sql: str, params: Params = (), /, *, into: type[T]) -> Result[list[T]]: ...
    async def query(self, sql: str, params: Params = (), /, *, into: type = dict) -> Result[list[Any]]:
        """Run a statement and return its rows. `params` fill `?` from a sequence, `:name` from a mapping."""
        refusal = self._refusal()
        if refusal is not None:
            return Failure(refusal)
        if params:
            try:
                params = adapt_params(params, self._runner.adapt)
            except QiError as error:
                return Failure(error)
        shape = DICTS if into is dict else shape_of(into)
        fetched = await self._runner.fetch(sql, params, shape)
        if fetched.error is not None:
            self._failed(fetched.error)
            return fetched
        if shape.build is None:
            return fetched
        return await _built(shape, fetched.unwrap())

    @overload
    async def query_one(self, sql: str, params: Params = (), /) -> Result[Row]: ...
    @overload
    async def query_one(
        self, sql: str, params: Params = (), /, *, into: type[tuple[Any, ...]]
    ) -> Result[tuple[Any, ...]]: ...
    @overload
    async def query_one(self, sql: str, params: Params = (), /, *, into: type[T]) -> Result[T]: ...
    async def query_one(self, sql: str, params: Params = (), /, *, into: type = dict) -> Result[Any]:
        """Run a statement that gives exactly one row; DB_ROW_NOT_FOUND for none, DB_BAD_QUERY for several."""
        return _only(await self.query(sql, params, into=into), "the query gives no row")

    async def execute(self, sql: str, params: Params = (), /) -> Result[Outcome]:
        """Run a statement for what it does: `Outcome(count, row_id)`."""
        refusal = self._refusal()
        if refusal is not None:
            return Failure(refusal)
        if params:
            try:
                params = adapt_params(params, self._runner.adapt)
            except QiError as error:
                return Failure(error)
        executed = await self._runner.execute(sql, params)
        if executed.error is not None:
            self._failed(executed.error)
        return executed

    async def execute_many(self, sql: str, rows: Iterable[Params], /) -> Result[int]:
        """Run a statement once for each row of parameters, all or nothing; return how many rows changed."""
        refusal = self._refusal()
        if refusal is not None:
            return Failure(refusal)
        adapt = self._runner.adapt
        try:
            adapted = [adapt_params(row, adapt) for row in rows]
        except Exception as exception:  # noqa: BLE001 - whatever the caller's iterable raises is answered
            return Failure(translate(exception))
        executed = await self._runner.execute_many(sql, adapted)
        if executed.error is not None:
            self._failed(executed.error)
        return executed

    @overload
    async def create(self, table: str, row: object, /) -> Result[Row]: ...
    @overload
    async def create(self, table: str, row: object, /, *, into: type[T]) -> Result[T]: ...
    async def create(self, table: str, row: object, /, *, into: type = dict) -> Result[Any]:
        """Insert a row, and return it as it is stored, with its id and its defaults.

        `row` is a mapping, a dataclass or a pydantic model.
        """
        refusal = self._refusal()
        if refusal is not None:
            return Failure(refusal)
        try:
            columns = columns_of(row)
            target, _ = quote_table(table)
            sql = statements.insert(table, list(columns))
            params = list(map(self._runner.adapt, columns.values()))
        except QiError as error:
            return Failure(error)
        shape = shape_of(into)
        inserted = await self._runner.insert(sql, params, target, shape)
        if inserted.error is not None:
            self._failed(inserted.error)
        elif shape.build is not None:
            inserted = await _built(shape, inserted.unwrap())
        return _only(inserted, "no row was inserted")

    @overload
    async def read(
        self,
        table: str,
        where: Where | None = None,
        /,
        *,
        columns: Sequence[str] | None = None,
        order_by: Order = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Result[list[Row]]: ...
    @overload
    async def read(
        self,
        table: str,
        where: Where | None = None,
        /,
        *,
        into: type[T],
        columns: Sequence[str] | None = None,
        order_by: Order = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Result[list[T]]: ...
    async def read(
        self,
        table: str,
        where: Where | None = None,
        /,
        *,
        into: type = dict,
        columns: Sequence[str] | None = None,
        order_by: Order = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> Result[list[Any]]:
        """Return the rows where every named column equals its value.

        In `where`, None means IS NULL, a list, tuple or set means IN, and `Compare` anything else. `order_by`
        names columns, `-name` for descending.
        """
        try:
            sql, params = statements.select(
                table, where, columns=columns, order_by=order_by, limit=limit, offset=offset
            )
        except QiError as error:
            return Failure(error)
        return await self.query(sql, params, into=into)

    @overload
    async def read_one(self, table: str, where: Where, /) -> Result[Row]: ...
    @overload
    async def read_one(self, table: str, where: Where, /, *, into: type[T]) -> Result[T]: ...
    async def read_one(self, table: str, where: Where, /, *, into: type = dict) -> Result[Any]:
        """Return the one row that matches; DB_ROW_NOT_FOUND for none, DB_BAD_QUERY for several."""
        return _only(await self.read(table, where, into=into, limit=2), f"no row of {table} matches")

    async def update(
        self, table: str, where: Where | type[EveryRow], changes: Mapping[str, Any], /
    ) -> Result[int]:
        """Change the rows that match and return how many there were. For all rows, pass EveryRow."""
        try:
            sql, params = statements.update(table, where, changes)
        except QiError as error:
            return Failure(error)
        return (await self.execute(sql, params)).map(_count)

    async def delete(self, table: str, where: Where | type[EveryRow], /) -> Result[int]:
        """Delete the rows that match and return how many there were. For all rows, pass EveryRow."""
        try:
            sql, params = statements.delete(table, where)
        except QiError as error:
            return Failure(error)
        return (await self.execute(sql, params)).map(_count)

    async def bulk_insert(
        self, table: str, rows: Iterable[object] | AsyncIterable[object], /, *, batch: int = _BULK
    ) -> Result[int]:
        """Insert many rows, all or nothing, and return how many. All have the columns of the first one.

        Of an iterable that is longer than `batch`, only so many rows are held at a time.
        """
        if type(batch) is not int or batch < 1:
            return Failure(bad_query("batch must be a whole number above 0"))
        reading = await Bulk.read(table, rows, batch)
        if reading.error is not None:
            return Failure(reading.error)
        bulk = reading.unwrap()
        if bulk is None:
            return Success(0)
        if bulk.is_single:
            refusal = self._refusal()
            if refusal is not None:
                return Failure(refusal)
            inserted = await bulk.insert(self._runner)
            if inserted.error is not None:
                self._failed(inserted.error)
            return inserted
        begun: Result[Any] = await self.begin()
        if begun.error is not None:
            return Failure(begun.error)
        transaction = begun.unwrap()
        try:
            inserted = await bulk.insert(transaction._runner)
        except BaseException:
            await transaction.rollback()
            raise
        if inserted.error is not None:
            await transaction.rollback()
            return inserted
        committed: Result[None] = await transaction.commit()
        return inserted if committed.error is None else Failure(committed.error)

    @abstractmethod
    async def begin(self) -> Result[Any]:
        """Begin a transaction."""

    @overload
    def stream(self, sql: str, params: Params = (), /, *, batch: int = _BATCH) -> RowStream[Row]: ...
    @overload
    def stream(
        self, sql: str, params: Params = (), /, *, into: type[tuple[Any, ...]], batch: int = _BATCH
    ) -> RowStream[tuple[Any, ...]]: ...
    @overload
    def stream(
        self, sql: str, params: Params = (), /, *, into: type[T], batch: int = _BATCH
    ) -> RowStream[T]: ...
    def stream(
        self, sql: str, params: Params = (), /, *, into: type = dict, batch: int = _BATCH
    ) -> RowStream[Any]:
        """Return the rows of a query one after the other, each a Result; see `RowStream`.

        `batch` is how many rows are fetched, and held, at a time.
        """
        shape = shape_of(into)

        def make() -> Result[Cursor]:
            refusal = self._refusal()
            if refusal is None and (type(batch) is not int or batch < 1):
                refusal = bad_query("batch must be a whole number above 0")
            if refusal is not None:
                return Failure(refusal)
            try:
                return Success(self._runner.cursor(sql, adapt_params(params, self._runner.adapt), shape))
            except QiError as error:
                return Failure(error)

        return RowStream(make, shape.build, batch)


def _count(outcome: Outcome) -> int:
    return outcome.changed


def _only(rows: Result[list[T]], missing: str) -> Result[T]:
    if rows.error is not None:
        return Failure(rows.error)
    found = rows.unwrap()
    if len(found) == 1:
        return Success(found[0])
    if not found:
        return Failure(row_not_found(missing))
    return Failure(bad_query("one row is wanted, and there are several"))


async def _built(shape: Shape, rows: list[Any]) -> Result[list[Any]]:
    assert shape.build is not None
    built: list[Any] = []
    try:
        for start in range(0, len(rows), _BUILD):
            if start:
                await asyncio.sleep(0)
            built += shape.build(rows[start : start + _BUILD])
    except Exception as exception:  # noqa: BLE001 - whatever the caller's class raises is answered
        return Failure(translate(exception))
    return Success(built)
