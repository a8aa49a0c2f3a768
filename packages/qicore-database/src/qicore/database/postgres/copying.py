"""Many rows at once, by COPY, written column by column: most of the work is then done by a few calls."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

from qicore.base import Failure, QiError, Result, Success
from qicore.database.errors import bad_query
from qicore.database.names import quote
from qicore.database.postgres.encoding import encode, hexed, plain
from qicore.database.postgres.errors import lost, unforeseen
from qicore.database.postgres.link import Link
from qicore.database.postgres.sql import marked

__all__ = ["copy_rows", "copy_text"]

_AT_ONCE: Final = 1000
"""Rows that are written between two turns of the event loop: about half a millisecond of work."""

# What has a meaning in the text of a COPY: https://www.postgresql.org/docs/current/sql-copy.html
_NULL: Final = r"\N"
_ESCAPES: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

_INTS: Final = frozenset((20, 21, 23))
_FLOATS: Final = frozenset((700, 701))
_TEXTS: Final = frozenset((25, 1042, 1043))
"""The types of numbers and texts: pg_type.dat."""


async def copy_rows(
    link: Link,
    sql: str,
    table: str,
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    patience: float | None,
) -> Result[int]:
    """Insert rows into a table, whose name is quoted; the connection is the caller's alone.

    `sql` is the INSERT of one such row: it tells the types of the columns. The server has `patience` seconds.
    """
    asked = marked(sql, (None,) * len(names))[0]
    known = await link.types(asked, sql)
    if known.error is not None:
        return Failure(known.error)
    copied = await _copied(link, table, names, rows, known.unwrap(), patience)
    if copied.error is not None:
        link.forget(asked)  # the columns may have got other types since they were asked for
    return copied


async def _copied(
    link: Link,
    table: str,
    names: Sequence[str],
    rows: Sequence[Sequence[Any]],
    types: Sequence[int],
    patience: float | None,
) -> Result[int]:
    copy = f"COPY {table} ({', '.join(map(quote, names))}) FROM STDIN".encode()
    try:
        async with asyncio.timeout(patience), link.alone() as connection, connection.cursor() as cursor:
            async with cursor.copy(copy) as writer:
                for start in range(0, len(rows), _AT_ONCE):
                    await writer.write(copy_text(rows[start : start + _AT_ONCE], types))
                    await asyncio.sleep(0)
            return Success(cursor.rowcount)
    except TimeoutError:
        link.give_up("the server did not answer in time")
        return Failure(lost("the server did not answer in time"))
    except QiError as error:
        return Failure(error)
    except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
        return Failure(unforeseen(exception))


def copy_text(rows: Sequence[Sequence[Any]], types: Sequence[int]) -> bytes:
    r"""Return the rows as COPY reads them; DB_BAD_QUERY for what can't be stored.

    >>> copy_text([(1, "a\tb", None), (2, "c", True)], (23, 25, 16))
    b'1\ta\\tb\t\\N\n2\tc\ttrue\n'
    """
    columns = cast("Sequence[tuple[Any, ...]]", zip(*rows, strict=True))
    texts = [_column(column, wanted) for column, wanted in zip(columns, types, strict=True)]
    lines = "\n".join(map("\t".join, zip(*texts, strict=True)))
    try:
        return f"{lines}\n".encode()
    except UnicodeError:
        raise bad_query("a text is not valid Unicode") from None


def _column(values: Sequence[Any], wanted: int) -> Sequence[str]:
    """Write a column: as one that holds what its type says, or, where that fails, value by value."""
    try:
        if wanted in _INTS:
            return list(map(int.__repr__, values))
        if wanted in _FLOATS:
            return list(map(float.__repr__, values))
        if wanted in _TEXTS:
            return _texts(values)
    except (TypeError, ValueError):
        pass
    return [_text(value, wanted) for value in values]


def _texts(values: Sequence[str]) -> Sequence[str]:
    joined = "".join(values)  # a TypeError where one is no text
    if "\0" in joined:
        raise bad_query("a text has a NUL in it, which PostgreSQL can't store")
    if "\\" in joined or "\t" in joined or "\n" in joined or "\r" in joined:
        return [value.translate(_ESCAPES) for value in values]
    return values


def _text(value: Any, wanted: int) -> str:
    """Write one value, of whatever type."""
    if value is None:
        return _NULL
    known = plain(value)
    encoded = hexed(known, wanted) if type(known) is bytes else encode((known,), (wanted,))[0][0]
    return _NULL if encoded is None else encoded.decode().translate(_ESCAPES)
