"""The index of routes: a tree of path segments, so that a match costs the same among 5 and 1,000 routes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from starlette.convertors import CONVERTOR_TYPES, Convertor
from starlette.routing import compile_path

__all__ = ["Index", "Match", "parameters_of"]

T = TypeVar("T")

_PARAMETER = re.compile(r"{([a-zA-Z_][a-zA-Z0-9_]*)(:[a-zA-Z_][a-zA-Z0-9_]*)?}")


def parameters_of(path: str) -> list[str]:
    """Return the names of the parameters in a path, in order.

    >>> parameters_of("/users/{id:int}/files/{path:path}")
    ['id', 'path']
    """
    return [found[1] for found in _PARAMETER.finditer(path)]


@dataclass(slots=True)
class Match(Generic[T]):
    """What stands at a path: one target for each method, and the names of its parameters."""

    path: str
    names: tuple[str, ...]
    convertors: tuple[Convertor[Any], ...]
    methods: dict[str, T] = field(default_factory=dict[str, T])


@dataclass(slots=True)
class _Node(Generic[T]):
    literal: dict[str, _Node[T]] = field(default_factory=dict[str, "_Node[T]"])
    # Segments with a parameter, in the order in which they were added: spelling, pattern, what follows.
    patterns: list[tuple[str, re.Pattern[str] | None, _Node[T]]] = field(
        default_factory=list[tuple[str, re.Pattern[str] | None, "_Node[T]"]]
    )
    # Paths that go on with a parameter of several segments: the pattern of all that is left.
    tails: list[tuple[re.Pattern[str], Match[T]]] = field(
        default_factory=list[tuple[re.Pattern[str], Match[T]]]
    )
    match: Match[T] | None = None


class Index(Generic[T]):
    """Finds what stands at a path. Literal segments win over parameters, and these over `{name:path}`.

    >>> index = Index[str]()
    >>> index.add("/users/{id:int}", "GET", "user")
    >>> index.add("/users/me", "GET", "me")
    >>> match, values = index.find("/users/7")
    >>> match.methods["GET"], values
    ('user', {'id': 7})
    >>> index.find("/users/me")[0].methods["GET"], index.find("/users/you")
    ('me', None)
    """

    __slots__ = ("_literal", "_root")

    def __init__(self) -> None:
        self._literal: dict[str, Match[T]] = {}
        self._root: _Node[T] = _Node()

    def add(self, path: str, method: str, target: T) -> None:
        """Put `target` at a path and method; raise ValueError when they are taken, or the path is none."""
        if not path.startswith("/"):
            raise ValueError(f"a path begins with '/', not {path!r}")
        match = self._place(path)
        if method in match.methods:
            raise ValueError(f"{method} {path} is declared twice (as {match.path})")
        match.methods[method] = target

    def _place(self, path: str) -> Match[T]:
        names = parameters_of(path)
        if len(set(names)) != len(names):
            raise ValueError(f"{path!r} has two parameters of one name")
        convertors = tuple(_convertor(path, found[2]) for found in _PARAMETER.finditer(path))
        if not names:
            if path not in self._literal:
                self._literal[path] = Match(path, (), ())
            return self._literal[path]
        node, segments = self._root, path[1:].split("/")
        for position, segment in enumerate(segments):
            if ":path}" in segment:
                return _tail(node, "/".join(segments[position:]), path, tuple(names), convertors)
            node = _step(node, segment)
        if node.match is None:
            node.match = Match(path, tuple(names), convertors)
        return node.match

    def find(self, path: str) -> tuple[Match[T], dict[str, Any]] | None:
        """Return what stands at `path` with the values of its parameters, converted; None for nothing."""
        literal = self._literal.get(path)
        if literal is not None:
            return literal, {}
        found = _walk(self._root, path.split("/"), 1)
        if found is None:
            return None
        match, values = found
        convertors = match.convertors
        try:
            return match, {
                name: convertors[position].convert(values[position])
                for position, name in enumerate(match.names)
            }
        except ValueError:  # a number of more digits than Python converts
            return None


def _convertor(path: str, kind: str | None) -> Convertor[Any]:
    name = (kind or ":str")[1:]
    if name not in CONVERTOR_TYPES:
        raise ValueError(f"{path!r}: there is no convertor {name!r}; there are {', '.join(CONVERTOR_TYPES)}")
    return CONVERTOR_TYPES[name]


def _step(node: _Node[T], segment: str) -> _Node[T]:
    if not _PARAMETER.search(segment):
        return node.literal.setdefault(segment, _Node())
    # The names play no part in what matches: /a/{x} and /a/{y}/b share a segment.
    spelling = _PARAMETER.sub(lambda found: f"{{{found[2] or ':str'}}}", segment)
    for known, _, following in node.patterns:
        if known == spelling:
            return following
    made: _Node[T] = _Node()
    pattern = None if spelling == "{:str}" else _pattern(segment)
    node.patterns.append((spelling, pattern, made))
    # What takes fewer segments goes first: {id:int} before {name}.
    node.patterns.sort(key=lambda entry: entry[1] is None)
    return made


def _tail(
    node: _Node[T], rest: str, path: str, names: tuple[str, ...], convertors: tuple[Convertor[Any], ...]
) -> Match[T]:
    pattern = _pattern(rest)
    spelling = re.sub(r"\(\?P<\w+>", "(", pattern.pattern)
    for known, match in node.tails:
        if re.sub(r"\(\?P<\w+>", "(", known.pattern) == spelling:
            return match
    made: Match[T] = Match(path, names, convertors)
    node.tails.append((pattern, made))
    # The longer pattern says more: /{path:path}/raw before /{path:path}.
    node.tails.sort(key=lambda entry: -len(entry[0].pattern))
    return made


def _pattern(text: str) -> re.Pattern[str]:
    # Starlette's own, for its convertors and those that an application registers.
    return re.compile(compile_path("/" + text)[0].pattern.replace("^/", "^", 1).removesuffix("$") + r"\Z")


def _walk(node: _Node[T], segments: list[str], position: int) -> tuple[Match[T], list[str]] | None:
    if position == len(segments):
        return None if node.match is None else (node.match, [])
    segment = segments[position]
    following = node.literal.get(segment)
    if following is not None:
        found = _walk(following, segments, position + 1)
        if found is not None:
            return found
    for _, pattern, following in node.patterns:
        if pattern is None:
            if not segment:
                continue
            values = [segment]
        else:
            held = pattern.match(segment)
            if held is None:
                continue
            values = list(held.groupdict().values())
        found = _walk(following, segments, position + 1)
        if found is not None:
            return found[0], values + found[1]
    if node.tails:
        rest = "/".join(segments[position:])
        for pattern, match in node.tails:
            held = pattern.match(rest)
            if held is not None:
                return match, list(held.groupdict().values())
    return None
