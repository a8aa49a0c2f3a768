"""Values on their way into the database, and on their way back into a typed field."""

import json
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import chain
from pathlib import PurePath
from typing import Annotated, Any, Final, TypeAlias, Union, cast, get_args, get_origin
from uuid import UUID

from qicore.database.errors import bad_query

__all__ = [
    "Adapt",
    "Converter",
    "Params",
    "adapt",
    "adapt_params",
    "adapt_rows",
    "converter_for",
    "is_container",
    "to_json",
]

Params: TypeAlias = Sequence[Any] | Mapping[str, Any]
Converter: TypeAlias = Callable[[Any], Any]
Adapt: TypeAlias = Callable[[Any], Any]
"""What an engine makes of a value before it sees a statement: see `Runner.adapt`."""

# What SQLite stores as it is; anything else takes the slow way through adapt().
_UNCHANGED: Final = frozenset({int, str, bytes, type(None), bool})
_PLAIN: Final = frozenset({int, float, str, bytes, type(None), bool, bytearray, memoryview})


def adapt(value: Any) -> Any:
    """Return what SQLite stores for a value: dates as ISO 8601, UUID, Decimal, paths as text, others as JSON.

    >>> adapt(date(2026, 1, 31)), adapt(Decimal("1.50")), adapt({"a": [1, 2]})
    ('2026-01-31', '1.50', '{"a": [1, 2]}')
    """
    if type(value) in _PLAIN:
        if type(value) is float and math.isnan(value):
            # SQLite would store NULL without a word.
            raise bad_query("a value is NaN, which SQLite can't store")
        return value
    if isinstance(value, Enum):
        return adapt(value.value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID | Decimal | PurePath):
        return str(value)
    if is_container(value):
        return to_json(value)
    return value


def to_json(value: Any) -> str:
    """Return a container as JSON text; raise DB_BAD_QUERY for what it holds and JSON can't."""
    try:
        return json.dumps(_jsonable(value), ensure_ascii=False, default=_jsonable)
    except (TypeError, ValueError, RecursionError):
        raise bad_query(f"a {type(value).__name__} holds what JSON can't") from None


def adapt_params(params: Params, adapt: Adapt) -> Params:
    """Return the parameters of a statement, adapted; raise DB_BAD_QUERY for what is no parameters at all."""
    kind = type(params)
    if kind is tuple or kind is list:
        return _adapt_values(cast("Sequence[Any]", params), adapt)
    if isinstance(params, Mapping):
        return {name: adapt(value) for name, value in params.items()}
    if not _is_sequence(params):
        raise bad_query(
            f"parameters are a sequence or a mapping, not {kind.__name__}: for one value, (value,)"
        )
    return [adapt(value) for value in params]


def _adapt_values(values: Sequence[Any], adapt: Adapt) -> Sequence[Any]:
    """Return values, adapted; the same object where none of them needs it."""
    if _UNCHANGED.issuperset(map(type, values)):
        return values
    return [adapt(value) for value in values]


def adapt_rows(rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """Return rows of values as SQLite stores them; one look at all values costs less than one at each row."""
    if _UNCHANGED.issuperset(map(type, chain.from_iterable(rows))):
        return rows
    return [_adapt_values(row, adapt) for row in rows]


def _is_sequence(params: object) -> bool:
    return isinstance(params, Sequence) and not isinstance(params, str | bytes)


def is_container(value: Any) -> bool:
    """Whether a value holds others: a collection, a dataclass, a model."""
    return (
        isinstance(value, dict | list | tuple | set | frozenset)
        or hasattr(value, "model_dump")
        or (is_dataclass(value) and not isinstance(value, type))
    )


def _jsonable(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, set | frozenset):
        return list(cast("set[Any]", value))
    if isinstance(value, dict | list | tuple):
        return cast("Any", value)
    adapted = adapt(value)
    if adapted is value and not isinstance(value, str | int | float | None):
        raise TypeError(type(value).__name__)
    return adapted


def converter_for(annotation: Any) -> Converter | None:
    """Return the function that makes a stored value into one of the annotated type; None lets it pass.

    The function raises ValueError for a stored value that is none of that type.

    >>> converter_for(date | None)("2026-01-31")
    datetime.date(2026, 1, 31)
    """
    if get_origin(annotation) is Annotated:
        return converter_for(get_args(annotation)[0])
    origin: Any = get_origin(annotation)
    if origin in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        optional = len(members) < len(get_args(annotation))
        if len(members) != 1:
            return None
        inner = converter_for(members[0])
        return None if inner is None or not optional else _optional(inner)
    kind = origin or annotation
    if not isinstance(kind, type):
        return None
    if kind in _CONVERTERS:
        converter = _CONVERTERS[kind]
        return converter if converter is None or kind in _STORED else _unless(kind, converter)
    if issubclass(kind, Enum):
        return _calling(kind)
    if issubclass(kind, PurePath):
        return _calling(kind, str)
    if kind in (dict, list, tuple, set, frozenset):
        return _json(kind)
    return None


def _unless(kind: type, converter: Converter) -> Converter:
    """Let pass what some engines give as that type already."""

    def convert(value: Any) -> Any:
        return value if type(value) is kind else converter(value)

    return convert


def _optional(inner: Converter) -> Converter:
    def convert(value: Any) -> Any:
        return None if value is None else inner(value)

    return convert


def _exactly(kind: type) -> Converter:
    def convert(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(f"{type(value).__name__} is stored where {kind.__name__} is expected")
        return value

    return convert


def _calling(kind: Callable[[Any], Any], stored: type | None = None) -> Converter:
    name = getattr(kind, "__qualname__", "a value")

    def convert(value: Any) -> Any:
        if stored is not None and type(value) is not stored:
            raise ValueError(f"{type(value).__name__} is stored where {name} is expected")
        try:
            return kind(value)
        except (ValueError, TypeError, ArithmeticError):
            raise ValueError(f"what is stored can't be read as {name}") from None

    return convert


def _json(kind: type) -> Converter:
    def convert(value: Any) -> Any:
        found: Any = value
        if type(value) is str:
            try:
                found = json.loads(value)
            except (ValueError, RecursionError):
                raise ValueError("what is stored is not JSON") from None
        elif not isinstance(value, dict | list):
            raise ValueError(f"{type(value).__name__} is stored where JSON text is expected")
        if not isinstance(found, dict if kind is dict else list):
            raise ValueError(f"the JSON stored is no {kind.__name__}")
        return cast("Any", kind(found))

    return convert


def _float(value: Any) -> float:
    if type(value) is float or type(value) is int:
        return float(value)
    raise ValueError(f"{type(value).__name__} is stored where float is expected")


def _bool(value: Any) -> bool:
    if type(value) is int and value in (0, 1):
        return bool(value)
    raise ValueError("what is stored is neither 0 nor 1, where bool is expected")


def _decimal(value: Any) -> Decimal:
    # A column with NUMERIC affinity turns the text into a number; str() gives its shortest exact form.
    if type(value) in (str, int, float):
        return Decimal(str(value))
    raise ValueError(type(value).__name__)


def _timedelta(value: Any) -> timedelta:
    return timedelta(seconds=_float(value))


# What every engine gives as itself.
_STORED: Final = frozenset({object, int, str, bytes, type(None)})
_CONVERTERS: Final[dict[Any, Converter | None]] = {
    object: None,
    int: _exactly(int),
    str: _exactly(str),
    bytes: _exactly(bytes),
    type(None): _exactly(type(None)),
    float: _float,
    bool: _bool,
    datetime: _calling(datetime.fromisoformat, str),
    date: _calling(date.fromisoformat, str),
    time: _calling(time.fromisoformat, str),
    timedelta: _calling(_timedelta),
    UUID: _calling(UUID, str),
    Decimal: _calling(_decimal),
}
