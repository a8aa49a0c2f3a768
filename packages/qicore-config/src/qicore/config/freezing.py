"""Take a deep, frozen copy of a user's mapping, dataclass or pydantic model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from enum import Enum
from os import PathLike, fspath
from types import MappingProxyType
from typing import Final, cast

from qicore.config.config import ConfigLimits
from qicore.config.errors import Refused
from qicore.config.paths import Path
from qicore.config.tree import Branch, ConfigValue, FrozenMapping, Mark, Source, Trace

__all__ = ["Place", "fields_of", "freeze", "freeze_scalar"]

# What Python writes in decimal without being asked (sys.int_info.default_max_str_digits is 4300).
_MAX_INT_BITS: Final = 14_000
# Modules whose values are read back from their text by a model: told by name, as importing them takes long.
_TEXTUAL: Final = frozenset(("decimal", "ipaddress", "pydantic", "pydantic_core", "uuid"))


class Place:
    """The line of a value, and the places of what is in it."""

    __slots__ = ("line", "parts")

    def __init__(self, line: int) -> None:
        self.line = line
        self.parts: dict[str | int, Place] = {}


def freeze(
    data: object,
    source: Source,
    limits: ConfigLimits,
    places: Place | None = None,
    code: str = "INVALID_CONFIG",
) -> tuple[FrozenMapping, Branch]:
    """Return the frozen copy and its trace; raise Refused with `code` for what no configuration can hold."""
    copy = _Freezer(source, limits, code)
    fields = fields_of(data)
    if fields is None:
        raise Refused(code, f"a configuration is a mapping, not {_kind(data)}")
    value, trace = copy.mapping(fields, (), places or Place(0))
    return value, trace


def fields_of(value: object) -> Mapping[object, object] | None:
    """Return a mapping, a dataclass or a pydantic model as a mapping; None for anything else."""
    if isinstance(value, Mapping):
        return cast("Mapping[object, object]", value)
    kind = type(value)
    model_fields = getattr(kind, "model_fields", None)
    if isinstance(model_fields, Mapping):
        # Not model_dump: it gives asterisks for a secret, and that would be taken for the password.
        fields: dict[object, object] = {}
        for name, field in cast("Mapping[str, object]", model_fields).items():
            alias = getattr(field, "validation_alias", None) or getattr(field, "alias", None)
            fields[alias if isinstance(alias, str) else name] = getattr(value, name)
        fields.update(getattr(value, "__pydantic_extra__", None) or {})
        return fields
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def freeze_scalar(value: object) -> ConfigValue:
    """Return a scalar as configuration holds it; raise ValueError that says why it can't be held."""
    if type(value) is str:
        if not value.isascii():
            _check_text(value)
        return value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return freeze_scalar(value.value)
    if isinstance(value, int):
        if value.bit_length() > _MAX_INT_BITS:
            raise ValueError("the number is too long")
        return int(value)
    if isinstance(value, float):
        if value != value:
            raise ValueError("NaN, or beyond what a float holds: it equals nothing, not even itself")
        return float(value)
    if isinstance(value, str):
        return freeze_scalar(str.__str__(value))
    if isinstance(value, datetime | time):
        return value.replace(fold=0)  # no format has it, and equality does not see it
    if isinstance(value, date):
        return value
    reveal = getattr(value, "get_secret_value", None)
    if callable(reveal):
        return freeze_scalar(reveal())
    if isinstance(value, PathLike):
        return freeze_scalar(fspath(cast("PathLike[str]", value)))
    if isinstance(value, bytes):
        raise ValueError("bytes: decode them first")
    if type(value).__module__.partition(".")[0] in _TEXTUAL:
        return str(value)
    raise ValueError(f"{_kind(value)} is nothing that configuration holds")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text has a lone surrogate in it, which no file can hold") from None


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


class _Freezer:
    def __init__(self, source: Source, limits: ConfigLimits, code: str) -> None:
        self.source = source
        self.limits = limits
        self.code = code
        self.left = limits.max_values

    def mapping(
        self, mapping: Mapping[object, object], path: Path, place: Place
    ) -> tuple[FrozenMapping, Branch]:
        self.check_depth(path, place)
        values: dict[str, ConfigValue] = {}
        children: dict[str | int, Trace] = {}
        for given, item in mapping.items():
            key = given.value if isinstance(given, Enum) else given
            if type(key) is not str:
                if not isinstance(key, str):
                    raise Refused(
                        self.code, f"a key must be text, not {_kind(key)}", line=place.line, key=path
                    )
                key = str.__str__(key)
            if not key.isascii():
                self.scalar(key, (*path, key), place)
            if key in values:
                raise Refused(self.code, "the key is there twice", line=place.line, key=(*path, key))
            values[key], children[key] = self.value(item, (*path, key), place.parts.get(key), place)
        return MappingProxyType(values), Branch(self.mark(place), children)

    def value(self, value: object, path: Path, own: Place | None, around: Place) -> tuple[ConfigValue, Trace]:
        place = own or Place(around.line)
        self.left -= 1
        if self.left < 0:
            raise Refused(
                "CONFIG_TOO_LARGE", f"there are more than {self.limits.max_values} values", line=place.line
            )
        kind = type(value)
        if kind is str or value is None or kind is int or kind is bool or kind is float:
            return self.scalar(value, path, place), self.mark(place)
        if isinstance(value, list | tuple):
            return self.sequence(cast("list[object]", value), path, place)
        if isinstance(value, AbstractSet):
            members = cast("AbstractSet[object]", value)
            return self.sequence(
                sorted(members, key=lambda item: (type(item).__name__, str(item))), path, place
            )
        fields = fields_of(value)
        if fields is not None:
            return self.mapping(fields, path, place)
        return self.scalar(value, path, place), self.mark(place)

    def sequence(
        self, items: list[object], path: Path, place: Place
    ) -> tuple[tuple[ConfigValue, ...], Branch]:
        self.check_depth(path, place)
        values: list[ConfigValue] = []
        children: dict[str | int, Trace] = {}
        for index, item in enumerate(items):
            value, children[index] = self.value(item, (*path, index), place.parts.get(index), place)
            values.append(value)
        return tuple(values), Branch(self.mark(place), children)

    def scalar(self, value: object, path: Path, place: Place) -> ConfigValue:
        try:
            return freeze_scalar(value)
        except ValueError as problem:
            shown = tuple(
                part if isinstance(part, int) else part.encode("utf-8", "replace").decode() for part in path
            )
            raise Refused(self.code, str(problem), line=place.line, key=shown) from None

    def check_depth(self, path: Path, place: Place) -> None:
        if len(path) >= self.limits.max_depth:
            raise Refused(
                "CONFIG_TOO_DEEP",
                f"it is nested deeper than {self.limits.max_depth} levels, or in itself",
                line=place.line,
                key=path[:3],
            )

    def mark(self, place: Place) -> Mark:
        return (self.source, place.line)
