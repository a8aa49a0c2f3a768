"""Rows as what the caller wants: dicts, tuples, dataclasses, pydantic models, or the one value of a column.

pydantic is known by its shape only: a class with `model_validate` and `model_fields` is a model.
"""

import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeAlias, cast, get_args, get_origin

from qicore.database.errors import bad_query, invalid_row
from qicore.database.values import Converter, converter_for

__all__ = ["Row", "Shape", "columns_of", "shape_of"]

Row: TypeAlias = dict[str, Any]
_Names: TypeAlias = tuple[str, ...]
_Stored: TypeAlias = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Shape:
    """How the rows that a statement gives become what the caller asked for.

    `prepare` takes the names of the columns and returns a function that is cheap and plain, and runs in the
    thread of the connection. `build`, if there is one, runs code of the caller's classes, so it runs where
    the caller is: in the event loop.
    """

    prepare: Callable[[_Names], Callable[[_Stored], list[Any]]]
    build: Callable[[list[Any]], list[Any]] | None = None


@lru_cache(maxsize=1024)
def dict_maker(names: _Names) -> Callable[[_Stored], list[Row]]:
    """Return a function from rows to dicts; raise DB_BAD_QUERY when two columns share a name."""
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise bad_query(
            f"two columns are named {', '.join(twice)}: rename them with AS, or ask for into=tuple"
        )
    return _dict_maker_of_width(len(names))(*names)


@lru_cache(maxsize=64)
def _dict_maker_of_width(width: int) -> Callable[..., Callable[[_Stored], list[Row]]]:
    """Return a function of so many names that returns a function from rows to dicts.

    It is written as code, as dataclasses are, since that takes a third of the time of `dict(zip(names,
    row))`.
    """
    names = ", ".join(f"n{index}" for index in range(width))
    values = "".join(f"v{index}, " for index in range(width))
    items = ", ".join(f"n{index}: v{index}" for index in range(width))
    source = f"lambda {names}: lambda rows: [{{{items}}} for {values} in rows]"
    return cast("Callable[..., Callable[[_Stored], list[Row]]]", eval(source))  # noqa: S307 - made of one number


def _as_they_come(_: _Names) -> Callable[[_Stored], list[tuple[Any, ...]]]:
    return _same


def _same(rows: _Stored) -> list[tuple[Any, ...]]:
    return rows


DICTS = Shape(dict_maker)
TUPLES = Shape(_as_they_come)


@lru_cache(maxsize=512)
def shape_of(into: type) -> Shape:
    """Return the shape for a class; raise TypeError for a class that no row can become."""
    if into is dict:
        return DICTS
    if into is tuple or get_origin(into) is tuple:
        return TUPLES
    if get_origin(into) is dict:
        return DICTS
    if hasattr(into, "model_validate") and hasattr(into, "model_fields"):
        return Shape(dict_maker, _model_builder(into))
    if is_dataclass(into):
        return Shape(dict_maker, _dataclass_builder(into))
    converter = converter_for(into)
    if converter is None:
        raise TypeError(
            f"into must be dict, tuple, a dataclass, a pydantic model or a plain type, not {into!r}"
        )
    return Shape(_single_column, _value_builder(repr(cast("object", into)), converter))


def columns_of(row: object) -> Mapping[str, Any]:
    """Return the columns of a row to be stored: a mapping's items, a dataclass's or a model's fields.

    >>> @dataclass
    ... class User:
    ...     name: str
    >>> columns_of(User("Ann"))
    {'name': 'Ann'}
    """
    if isinstance(row, Mapping):
        return cast("Mapping[str, Any]", row)
    model_fields = getattr(type(row), "model_fields", None)
    if isinstance(model_fields, Mapping):
        return {name: getattr(row, name) for name in cast("Mapping[str, Any]", model_fields)}
    if is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in fields(row)}
    raise bad_query(f"a row is a mapping, a dataclass or a pydantic model, not {type(row).__name__}")


def _single_column(names: _Names) -> Callable[[_Stored], list[Any]]:
    if len(names) != 1:
        raise bad_query(f"a plain value needs a query of one column, and this one gives {len(names)}")
    return _first_values


def _first_values(rows: _Stored) -> list[Any]:
    return [row[0] for row in rows]


def _value_builder(into: str, converter: Converter) -> Callable[[list[Any]], list[Any]]:
    def build(values: list[Any]) -> list[Any]:
        try:
            return [converter(value) for value in values]
        except ValueError as exception:
            raise invalid_row(f"the value does not fit {into}: {exception}") from None

    return build


def _dataclass_builder(into: type) -> Callable[[list[Row]], list[Any]]:
    hints = typing.get_type_hints(into, include_extras=True)
    wanted = [field for field in fields(into) if field.init]
    converters = {field.name: converter_for(hints[field.name]) for field in wanted}
    required = {
        field.name for field in wanted if field.default is MISSING and field.default_factory is MISSING
    }

    def build(rows: list[Row]) -> list[Any]:
        if not rows:
            return []
        names = rows[0].keys()
        missing = required - names
        if missing:
            raise invalid_row(
                f"{into.__name__} needs columns that the query does not give", missing=sorted(missing)
            )
        plan = [(name, convert) for name, convert in converters.items() if name in names]
        return [
            into(**{name: _field(into, name, convert, row[name]) for name, convert in plan}) for row in rows
        ]

    return build


def _field(into: type, name: str, convert: Converter | None, value: Any) -> Any:
    if convert is None:
        return value
    try:
        return convert(value)
    except ValueError as exception:
        raise invalid_row(f"column {name} does not fit {into.__name__}: {exception}", column=name) from None


def _model_builder(into: Any) -> Callable[[list[Row]], list[Any]]:
    # A container was stored as JSON text, and a model would refuse the text.
    decoders = {
        name: converter
        for name, field in into.model_fields.items()
        if (converter := _json_converter(field.annotation)) is not None
    }
    validate = into.model_validate

    def build(rows: list[Row]) -> list[Any]:
        found: list[Any] = []
        for row in rows:
            for name, decode in decoders.items():
                if type(row.get(name)) is str:
                    row[name] = _field(into, name, decode, row[name])
            try:
                found.append(validate(row))
            except ValueError as exception:
                raise invalid_row(
                    f"a row does not fit {into.__name__}", problems=_problems(exception)
                ) from None
        return found

    return build


def _json_converter(annotation: Any) -> Converter | None:
    members = [member for member in get_args(annotation) if member is not type(None)]
    inner = members[0] if len(members) == 1 and type(None) in get_args(annotation) else annotation
    kind = get_origin(inner) or inner
    if kind in (dict, list, tuple, set, frozenset):
        return converter_for(list if kind in (tuple, set, frozenset) else kind)
    if isinstance(kind, type) and hasattr(kind, "model_fields"):
        return converter_for(dict)
    return None


def _problems(exception: ValueError) -> list[str]:
    errors = getattr(exception, "errors", None)
    if errors is None:
        return [type(exception).__name__]
    # Without the input, which may be a secret. See pydantic's ValidationError.errors().
    return [
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        for problem in errors(include_input=False, include_context=False, include_url=False)
    ]
