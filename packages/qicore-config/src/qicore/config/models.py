"""What a pydantic model or a dataclass says about its keys: their names, their secrets, their defaults."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Union, cast, get_args, get_origin

from qicore.config.paths import Path

if TYPE_CHECKING:
    from pydantic import TypeAdapter

__all__ = [
    "adapter_of",
    "defaults_of",
    "field_names",
    "fields_by_key",
    "is_secret_field",
    "is_secret_type",
    "types_at",
]


@lru_cache(maxsize=256)
def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """Return pydantic's validator for a type; making one takes a millisecond, so they are kept."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


@lru_cache(maxsize=256)
def fields_by_key(kind: Any) -> Mapping[str, tuple[str, Any]]:
    """Return the fields of a model or a dataclass: their keys, and to each its attribute and its type."""
    fields: dict[str, tuple[str, Any]] = {}
    model_fields = getattr(kind, "model_fields", None)
    if isinstance(model_fields, Mapping):
        for name, field in cast("Mapping[str, Any]", model_fields).items():
            alias = field.validation_alias or field.alias
            keys = [alias] if isinstance(alias, str) else [name]
            keys += [choice for choice in getattr(alias, "choices", ()) if isinstance(choice, str)]
            fields.update(dict.fromkeys((*keys, name), (name, field.annotation)))
    elif dataclasses.is_dataclass(kind):
        try:
            hints = typing.get_type_hints(kind)
        except NameError:  # a name that only type checkers import
            hints = {}
        fields = {field.name: (field.name, hints.get(field.name)) for field in dataclasses.fields(kind)}
    return fields


def field_names(kinds: Iterator[Any] | list[Any]) -> list[str]:
    """Return the keys that these types know."""
    return [
        key
        for kind in kinds
        for inner in _plain(kind)
        if isinstance(inner, type)
        for key in fields_by_key(inner)
    ]


def is_secret_field(model: Any, path: Path) -> bool:
    """Return whether the model holds what is at `path` as a secret, such as pydantic's SecretStr."""
    kinds = [model]
    for part in path:
        kinds = types_at(kinds, part)
        if any(map(is_secret_type, kinds)):
            return True
    return False


def is_secret_type(kind: Any) -> bool:
    """Return whether a type, which is no union, holds a secret."""
    return hasattr(get_origin(kind) or kind, "get_secret_value")


def types_at(kinds: list[Any], part: str | int) -> list[Any]:
    """Return the types of what is at `part` of values of these types, none of them a union."""
    found: list[Any] = []
    for kind in (inner for outer in kinds for inner in _plain(outer)):
        arguments = get_args(kind)
        if arguments:
            origin = get_origin(kind)
            is_mapping = isinstance(origin, type) and issubclass(origin, Mapping)
            found += arguments[-1:] if is_mapping else [one for one in arguments if one is not Ellipsis]
        elif isinstance(kind, type) and isinstance(part, str) and part in (fields := fields_by_key(kind)):
            found.append(fields[part][1])
    return [inner for kind in found for inner in _plain(kind)]


def defaults_of(model: type, keys: Mapping[str, object]) -> Iterator[tuple[str, Any]]:
    """Yield the keys of a model that `keys` lacks, with their defaults."""
    model_fields = getattr(model, "model_fields", None)
    if isinstance(model_fields, Mapping):
        for name, field in cast("Mapping[str, Any]", model_fields).items():
            alias = field.validation_alias or field.alias
            key = alias if isinstance(alias, str) else name
            if key not in keys and name not in keys and not field.is_required():
                yield (
                    key,
                    field.get_default(call_default_factory=not field.default_factory_takes_validated_data),
                )
    elif dataclasses.is_dataclass(model):
        for entry in dataclasses.fields(model):
            if entry.name in keys or not entry.init:
                continue
            if entry.default is not dataclasses.MISSING:
                yield entry.name, entry.default
            elif entry.default_factory is not dataclasses.MISSING:
                yield entry.name, entry.default_factory()


def _plain(kind: Any) -> Iterator[Any]:
    """Yield the alternatives of a type, out of Annotated, unions and aliases."""
    alias = getattr(kind, "__value__", None)  # `type X = …` of Python 3.12
    origin = get_origin(kind)
    if alias is not None:
        yield from _plain(alias)
    elif origin is Annotated:
        yield from _plain(get_args(kind)[0])
    elif origin is Union or isinstance(kind, types.UnionType):
        for one in get_args(kind):
            yield from _plain(one)
    else:
        yield kind
