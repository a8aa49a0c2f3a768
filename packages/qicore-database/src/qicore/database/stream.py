"""Rows one after the other, without ever holding all of them."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from qicore.base import Failure, QiError, Result, Success
from qicore.database.engine import Cursor
from qicore.database.errors import translate

__all__ = ["RowStream"]

T = TypeVar("T")


class RowStream(Generic[T]):
    """The rows of a query as an async iterator of Results; a Failure is its last item.

    All rows are those of one moment: what others commit meanwhile is not seen. A stream holds a connection
    until its last row, until `close()`, or until it is forgotten; with `async with`, until the block is left.
    """

    def __init__(
        self,
        make: Callable[[], Result[Cursor]],
        build: Callable[[list[Any]], list[Any]] | None,
        size: int,
    ) -> None:
        self._make = make
        self._build = build
        self._size = size
        self._cursor: Cursor | None = None
        self._results: Iterator[Result[T]] = iter(())
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result[T]:
        for result in self._results:
            return result
        return await self._refill()

    async def _refill(self) -> Result[T]:
        if self._over:
            raise StopAsyncIteration
        cursor = self._cursor
        if cursor is None:
            made = self._make()
            if made.error is not None:
                return self._fail(made.error)
            cursor = self._cursor = made.unwrap()
        fetched = await cursor.fetch(self._size)
        if fetched.error is not None:
            return self._fail(fetched.error)
        rows = fetched.unwrap()
        if len(rows) < self._size:
            # These are the last ones, so the connection need not wait until they are consumed.
            self.close()
        if not rows:
            raise StopAsyncIteration
        if self._build is not None:
            try:
                rows = self._build(rows)
            except Exception as exception:  # noqa: BLE001 - whatever the caller's class raises is answered
                return self._fail(translate(exception))
        self._results = map(Success, rows)
        return next(self._results)

    def _fail(self, error: QiError) -> Result[T]:
        self.close()
        return Failure(error)

    def close(self) -> Result[None]:
        """End the stream and give its connection back; harmless when that was done already."""
        self._over = True
        self._results = iter(())
        if self._cursor is not None:
            self._cursor.close()
        return Success(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Left by `break` without `async with`: the connection goes back at once, not at the next collection.
        if not self._over:
            self.close()
