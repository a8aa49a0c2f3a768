"""What the analysis of templates knows about a value, and about the names in a scope."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from jinja2 import nodes

__all__ = [
    "ELEMENT",
    "VALUE",
    "Group",
    "Known",
    "Macro",
    "Many",
    "Module",
    "Need",
    "Path",
    "Scope",
    "Value",
    "show",
]

ELEMENT = "[]"
VALUE = "{}"
Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A part of the data: `("items", "[]", "title")`. Its first `optional` steps may be lacking."""

    path: Path
    optional: int = 0

    def step(self, name: str) -> Known:
        """Return the part of this part."""
        return Known((*self.path, name), self.optional)


@dataclass(frozen=True, slots=True)
class Many:
    """Something that is iterated over, and of whose elements something is known."""

    element: Value


@dataclass(frozen=True, slots=True)
class Group:
    """A pair whose second part is known: an item of a mapping, or what `groupby` gives."""

    second: Value


@dataclass(frozen=True, slots=True, eq=False)
class Macro:
    """A macro, with what it needs to be looked at when it is called."""

    node: nodes.Macro
    scope: Scope
    template: str


@dataclass(frozen=True, slots=True, eq=False)
class Module:
    """An imported template."""

    scope: Scope


# None: a value of the template's own, or one of which nothing is known.
Value: TypeAlias = Known | Many | Group | Macro | Module | None


@dataclass(slots=True, eq=False)
class Scope:
    """Names of a scope, over those of the scope around it."""

    parent: Scope | None = None
    names: dict[str, Value] = field(default_factory=dict[str, "Value"])

    def inner(self) -> Scope:
        """Return a scope within this one."""
        return Scope(self)

    def find(self, name: str) -> tuple[bool, Value]:
        """Return whether the name is set here, and to what."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return True, scope.names[name]
            scope = scope.parent
        return False, None


@dataclass(frozen=True, slots=True)
class Need:
    """A use of the data: a path, where it is used, and which parts are known to be there when it is."""

    path: Path
    optional: int
    guards: frozenset[Path]
    line: int
    template: str


def show(path: Path) -> str:
    """Return a path as people write it: `items[].title`."""
    text = path[0]
    for step in path[1:]:
        text += "[]" if step in (ELEMENT, VALUE) else f".{step}"
    return text
