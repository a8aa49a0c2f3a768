"""Turn any value into frozen plain JSON, and back into mutable plain JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final, TypeAlias, cast

__all__ = ["EMPTY", "FrozenJSON", "PlainJSON", "clean_text", "freeze", "freeze_mapping", "thaw"]

FrozenJSON: TypeAlias = "bool | int | float | str | tuple[FrozenJSON, ...] | Mapping[str, FrozenJSON] | None"
PlainJSON: TypeAlias = "bool | int | float | str | list[PlainJSON] | dict[str, PlainJSON] | None"

EMPTY: Final[Mapping[str, FrozenJSON]] = MappingProxyType({})

_MAX_DEPTH: Final = 32  # far below the interpreter's recursion limit; also what ends a cycle
_MAX_INT_BITS: Final = 14_000  # json.dumps refuses integers of more than 4,300 digits
_MAX_REPR: Final = 500
_INFINITY: Final = float("inf")


def clean_text(text: str) -> str:
    """Return `text` as a plain str that UTF-8 can carry: lone surrogates become their escapes."""
    if text.isascii():
        return text if type(text) is str else str.__str__(text)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def freeze(value: object, depth: int = 0) -> FrozenJSON:
    """Return `value` as immutable JSON. Whatever JSON has no type for is rendered; nothing raises."""
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(value)
    if depth >= _MAX_DEPTH:
        return "<nested too deeply>"
    kind = type(value).__name__
    try:
        if isinstance(value, Mapping):
            return freeze_mapping(cast("Mapping[object, object]", value), depth + 1)
        if isinstance(value, list | tuple):
            return tuple(freeze(item, depth + 1) for item in cast("Iterable[object]", value))
        if isinstance(value, AbstractSet):
            items = (freeze(item, depth + 1) for item in cast("Iterable[object]", value))
            return tuple(sorted(items, key=repr))
        return clean_text(_render(value))
    except Exception as failure:  # noqa: BLE001 - a broken __repr__ must not hide the error it describes
        return f"<{kind}: rendering it raised {type(failure).__name__}>"


def freeze_mapping(
    mapping: Mapping[object, object] | Mapping[str, object], depth: int = 0
) -> Mapping[str, FrozenJSON]:
    """Return a deep, frozen copy of `mapping`, with every key a str."""
    return MappingProxyType(
        {
            clean_text(key if isinstance(key, str) else _render(key)): freeze(item, depth)
            for key, item in mapping.items()
        }
    )


def thaw(value: FrozenJSON) -> PlainJSON:
    """Return the same JSON made of new dicts and lists."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [thaw(item) for item in value]
    return value


def _number(value: float) -> FrozenJSON:
    if isinstance(value, int):
        whole = int(value)  # an IntEnum or another subclass becomes what it stands for
        return whole if whole.bit_length() <= _MAX_INT_BITS else hex(whole)
    number = float(value)
    # NaN and the infinities have no JSON form.
    return number if -_INFINITY < number < _INFINITY else str(number)


def _render(value: object) -> str:
    """Render a value that JSON has no type for: dates as ISO 8601, enums by value, the rest as text."""
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    isoformat = getattr(value, "isoformat", None)  # date, time, datetime, without importing them
    text = isoformat() if callable(isoformat) else str(value)
    if not isinstance(text, str):
        text = repr(text)
    return text if len(text) <= _MAX_REPR else text[:_MAX_REPR] + "…"
