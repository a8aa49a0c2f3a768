"""Many rows at once, by COPY."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from qicore.base import Failure, QiError, Result, Success
from qicore.database.names import quote
from qicore.database.postgres.encoding import encode, needs_types
from qicore.database.postgres.errors import unforeseen
from qicore.database.postgres.link import Link, Statement
from qicore.database.postgres.sql import marked

__all__ = ["copy_rows"]


async def copy_rows(
    link: Link, sql: str, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]
) -> Result[int]:
    """Insert rows into a table, whose name is quoted; the connection is the caller's, with nothing under way.

    `sql` is the INSERT of one such row: it tells the types of the columns, where lists and objects need them.
    """
    types: tuple[int, ...] | None = None
    if needs_types(chain.from_iterable(rows)):
        described = await _types(link, sql, len(names))
        if described.error is not None:
            return Failure(described.error)
        types = described.unwrap()
    columns = ", ".join(map(quote, names))
    link.pause()
    try:
        async with link.connection.cursor() as cursor:
            async with cursor.copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copy:
                # As copy.write_row does, without a coroutine for each row.
                write = copy.formatter.write_row
                for row in rows if types is None else _texts(rows, types):
                    if piece := write(row):
                        await copy.writer.write(piece)
            return Success(cursor.rowcount)
    except asyncio.CancelledError:
        link.close()
        raise
    except QiError as error:
        return Failure(error)
    except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
        return Failure(unforeseen(exception))
    finally:
        if link.broken is None:
            link.resume()


def _texts(rows: Sequence[Sequence[Any]], types: Sequence[int]) -> Iterator[Sequence[Any]]:
    """Give the rows with each list and object as the text that its column reads."""
    for row in rows:
        if needs_types(row):
            texts = encode(row, types)
            yield [
                text.decode() if text is not None and needs_types((value,)) else value
                for value, text in zip(row, texts, strict=True)
            ]
        else:
            yield row


async def _types(link: Link, sql: str, count: int) -> Result[tuple[int, ...]]:
    text, _ = marked(sql, (None,) * count)
    future: asyncio.Future[Result[Any]] = asyncio.get_running_loop().create_future()
    link.describe(Statement(text, (), future, sql))
    return await future
