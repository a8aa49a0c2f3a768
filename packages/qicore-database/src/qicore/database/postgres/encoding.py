"""Values on their way to PostgreSQL: as text, whose type the server knows from the statement."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, cast
from uuid import UUID

from qicore.database.errors import bad_query
from qicore.database.values import is_container, to_json

__all__ = ["encode", "hexed", "needs_types", "plain"]

_PLAIN: Final = frozenset({int, float, str, bytes, type(None), bool})
_TYPELESS: Final = _PLAIN - {bytes}
_JSON: Final = frozenset({114, 3802, 25, 1042, 1043})
_BYTEA: Final = 17
"""The types json and jsonb, the texts, which get JSON, too, and bytea: pg_type.dat."""
_FIRST_OWN: Final = 16384
"""From here on types are the database's own, such as a domain: what they are made of is not known here."""
_LARGE: Final = 1_000_000
_MOST: Final = 1_000_000_000
"""Bytes of values in one statement; the protocol ends at 2**30, with everything that belongs to it."""


def plain(value: Any) -> Any:
    """Return what a value is to this engine: a number, a text, bytes, a truth, None, or a container.

    >>> plain(date(2026, 1, 31)), plain(Decimal("1.50")), plain({"a": 1})
    ('2026-01-31', '1.50', {'a': 1})
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"
    if isinstance(value, UUID | Decimal | PurePath):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(cast("bytes", value))
    for kind in (int, float, str):
        if isinstance(value, kind):  # one of its subclasses
            return kind(value)
    return value


def needs_types(values: Iterable[Any]) -> bool:
    """Whether the types of the parameters must be known: a list is an array to some, and JSON to others."""
    return not _TYPELESS.issuperset(map(type, values))


def encode(values: Sequence[Any], types: Sequence[int] | None) -> tuple[list[bytes | None], list[int] | None]:
    """Return the parameters as the server reads them, and their formats; DB_BAD_QUERY for what it could not.

    `types` are the numbers of the types that the server expects, needed where `needs_types` says so.
    """
    try:
        return _encode(values, types)
    except (ValueError, TypeError, RecursionError) as exception:  # such as an int of 5000 digits
        raise bad_query(f"a value can't be sent: {type(exception).__name__}") from None


def _encode(
    values: Sequence[Any], types: Sequence[int] | None
) -> tuple[list[bytes | None], list[int] | None]:
    encoded: list[bytes | None] = []
    formats: list[int] | None = None
    large = 0
    for number, value in enumerate(values):
        kind = type(cast("object", value))
        if kind is int:
            encoded.append(b"%d" % value)
        elif kind is str:
            if len(value) > _LARGE:
                large = _weigh(large, value)
            encoded.append(_text(value))
        elif value is None:
            encoded.append(None)
        elif kind is bool:
            encoded.append(b"true" if value else b"false")
        elif kind is float:
            encoded.append(repr(value).encode())
        else:
            wanted = types[number] if types is not None and number < len(types) else 0
            if kind is not bytes:
                encoded.append(_text(_container(value, wanted)))
                continue
            large = _weigh(large, value)
            if wanted != _BYTEA:
                encoded.append(hexed(value, wanted))
                continue
            formats = formats or [0] * len(values)
            formats[number] = 1
            encoded.append(value)
    return encoded, formats


def _weigh(weight: int, value: str | bytes) -> int:
    """Add up what is large: the server breaks the connection off that brings more than it takes."""
    weight += len(value)
    if weight > _MOST:
        raise bad_query(f"the values are too large: more than {_MOST} bytes")
    return weight


def hexed(value: bytes, wanted: int) -> bytes:
    """Return bytes as the text of a bytea; DB_BAD_QUERY where another type is expected."""
    # As a text these would be stored in another column as they are written, and nobody would notice.
    if 0 < wanted < _FIRST_OWN and wanted != _BYTEA:
        raise bad_query("bytes are no value for what the statement expects there, unless it says ?::bytea")
    _weigh(len(value), value)
    return b"\\x" + value.hex().encode()


def _text(value: str) -> bytes:
    try:
        encoded = value.encode()
    except UnicodeError:
        raise bad_query("a text is not valid Unicode") from None
    if b"\0" in encoded:
        # libpq would send what stands before it, and no word about the rest.
        raise bad_query("a text has a NUL in it, which PostgreSQL can't store")
    return encoded


def _container(value: Any, wanted: int) -> str:
    if not is_container(value):
        raise bad_query(f"a {type(value).__name__} can't be stored")
    if wanted not in _JSON and isinstance(value, list | tuple | set | frozenset):
        return _array(cast("Sequence[Any]", value))
    return to_json(value)


def _array(values: Sequence[Any]) -> str:
    """Return the text of an array.

    https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
    """
    parts: list[str] = []
    for value in values:
        known = plain(value)
        if known is None:
            parts.append("NULL")
        elif isinstance(known, list | tuple | set | frozenset):
            parts.append(_array(cast("Sequence[Any]", known)))
        elif type(known) is bytes:
            parts.append(_quoted("\\x" + known.hex()))
        else:
            text = (_encode([known], None)[0][0] or b"").decode()
            parts.append(text if isinstance(known, int | float) else _quoted(text))
    return "{" + ",".join(parts) + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
