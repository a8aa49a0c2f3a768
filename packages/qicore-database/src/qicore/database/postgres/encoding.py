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

__all__ = ["encode", "needs_types", "plain"]

_PLAIN: Final = frozenset({int, float, str, bytes, type(None), bool})
_JSON: Final = frozenset({114, 3802})
"""The types json and jsonb: pg_type.dat."""


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
    return not _PLAIN.issuperset(map(type, values))


def encode(values: Sequence[Any], types: Sequence[int] | None) -> list[bytes | None]:
    """Return the parameters as the server reads them; DB_BAD_QUERY for what it could not.

    `types` are the numbers of the types that the server expects, needed where `needs_types` says so.
    """
    encoded: list[bytes | None] = []
    for number, value in enumerate(values):
        kind = type(cast("object", value))
        if kind is int:
            encoded.append(b"%d" % value)
        elif kind is str:
            encoded.append(_text(value))
        elif value is None:
            encoded.append(None)
        elif kind is bool:
            encoded.append(b"t" if value else b"f")
        elif kind is float:
            encoded.append(repr(value).encode())
        elif kind is bytes:
            encoded.append(b"\\x" + value.hex().encode())
        else:
            wanted = types[number] if types is not None and number < len(types) else 0
            encoded.append(_text(_container(value, wanted)))
    return encoded


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
        else:
            text = encode([known], None)[0] or b""
            parts.append(text.decode() if isinstance(known, int | float) else _quoted(text.decode()))
    return "{" + ",".join(parts) + "}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
