"""What a configuration is made of: frozen values, and beside them a tree of the places they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from types import MappingProxyType
from typing import Final, TypeAlias, cast

from qicore.config.paths import Path

__all__ = [
    "EMPTY_BRANCH", "EMPTY_MAPPING", "Branch", "ConfigValue", "FrozenMapping", "Mark", "PlainValue", "Source",
    "Trace", "find", "hash_of", "leaves", "mark_of", "merge_trees", "origin_of", "refreeze", "thaw",
]  # fmt: skip

ConfigValue: TypeAlias = "_Scalar | tuple[ConfigValue, ...] | Mapping[str, ConfigValue]"
PlainValue: TypeAlias = "_Scalar | list[PlainValue] | dict[str, PlainValue]"
_Scalar: TypeAlias = bool | int | float | str | datetime | date | time | None
FrozenMapping: TypeAlias = "MappingProxyType[str, ConfigValue]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a value came from.

    Attributes:
        layer: the name of the layer: a file's path, `environment`, or what the caller named it.
        file: the path of the file, as it was given.
        line: the line in the file or text, from 1.
        variable: the name of the environment variable, in the environment or in a dotenv file.

    >>> str(Source(layer="app.yaml", file="app.yaml", line=3))
    'app.yaml:3'
    >>> str(Source(layer="environment", variable="APP_DB__HOST"))
    'environment variable APP_DB__HOST'
    """

    layer: str
    file: str | None = None
    line: int | None = None
    variable: str | None = None

    def __str__(self) -> str:
        if self.variable is not None and self.line is None:
            return f"environment variable {self.variable}"
        place = self.file or self.layer
        if self.line is not None:
            place = f"{place}:{self.line}"
        return place if self.variable is None else f"{place} ({self.variable})"


# A source shared by a whole layer and the line in it, 0 for none: a tuple costs a tenth of a Source.
Mark: TypeAlias = "tuple[Source, int]"


class Branch:
    """The places of a mapping or list and of all that is in it.

    `sealed`: this mapping took the place of something that is no mapping, in a lower layer. It must then
    replace whatever it is merged over, else (a | b) | c and a | (b | c) would differ where b is the scalar.
    """

    __slots__ = ("children", "mark", "sealed")

    def __init__(self, mark: Mark, children: dict[str | int, Trace], *, sealed: bool = False) -> None:
        self.mark = mark
        self.children = children
        self.sealed = sealed

    def seal(self) -> Branch:
        """Return this branch, sealed."""
        return Branch(self.mark, self.children, sealed=True)


Trace: TypeAlias = "Branch | Mark"

EMPTY_MAPPING: Final[FrozenMapping] = MappingProxyType({})
EMPTY_BRANCH: Final = Branch((Source(layer="empty"), 0), {})


def mark_of(trace: Trace) -> Mark:
    """Return the place of a value, be it a leaf or not."""
    return trace.mark if isinstance(trace, Branch) else trace


def origin_of(trace: Trace) -> Source:
    """Return the place of a value as users see it."""
    source, line = mark_of(trace)
    return replace(source, line=line) if line else source


def merge_trees(
    low: FrozenMapping, low_branch: Branch, high: FrozenMapping, high_branch: Branch
) -> tuple[FrozenMapping, Branch]:
    """Merge `high` over `low`: mappings merge key by key, everything else replaces."""
    values = dict(low)
    children = dict(low_branch.children)
    for key, value in high.items():
        trace = high_branch.children[key]
        if (
            isinstance(trace, Branch)
            and isinstance(value, MappingProxyType)
            and not trace.sealed
            and key in values
        ):
            below, below_trace = values[key], children[key]
            if isinstance(below, MappingProxyType) and isinstance(below_trace, Branch):
                values[key], children[key] = merge_trees(below, below_trace, value, trace)
                continue
            trace = trace.seal()
        values[key] = value
        children[key] = trace
    return MappingProxyType(values), Branch(high_branch.mark, children, sealed=low_branch.sealed)


def find(value: ConfigValue, trace: Trace, path: Path) -> tuple[ConfigValue, Trace] | None:
    """Return what is at `path`, or None; a number is an index of a list."""
    for part in path:
        if not isinstance(trace, Branch):
            return None
        if isinstance(value, tuple):
            if isinstance(part, str):
                if not (part.isascii() and part.isdecimal() and len(part) < 10):
                    return None
                part = int(part)  # noqa: PLW2901 - the same place, as the index that it is
            if not 0 <= part < len(value):
                return None
            value, trace = value[part], trace.children[part]
        elif isinstance(value, Mapping) and isinstance(part, str) and part in value:
            value, trace = value[part], trace.children[part]
        else:
            return None
    return value, trace


def leaves(value: ConfigValue, trace: Trace, path: Path = ()) -> Iterator[tuple[Path, ConfigValue, Trace]]:
    """Yield every value that no mapping of values stands for: scalars, lists, empty mappings."""
    if isinstance(value, Mapping) and value and isinstance(trace, Branch):
        for key, item in value.items():
            yield from leaves(item, trace.children[key], (*path, key))
    else:
        yield path, value, trace


def thaw(value: ConfigValue) -> PlainValue:
    """Return the same value made of new dicts and lists."""
    kind = type(value)
    if kind is MappingProxyType:
        return {key: thaw(item) for key, item in cast("FrozenMapping", value).items()}
    if kind is tuple:
        return [thaw(item) for item in cast("tuple[ConfigValue, ...]", value)]
    return cast("PlainValue", value)


def refreeze(value: PlainValue) -> ConfigValue:
    """Return a thawed value as it was before."""
    if isinstance(value, dict):
        return MappingProxyType({key: refreeze(item) for key, item in value.items()})
    if isinstance(value, list):
        return tuple(refreeze(item) for item in value)
    return value


def hash_of(value: ConfigValue) -> int:
    """Return the same for values that are equal, whatever the order of their keys."""
    if isinstance(value, Mapping):
        return hash(frozenset((key, hash_of(item)) for key, item in value.items()))
    if isinstance(value, tuple):
        return hash(tuple(map(hash_of, value)))
    return hash(value)
