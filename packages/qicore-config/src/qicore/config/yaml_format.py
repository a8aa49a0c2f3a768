"""Read YAML as version 1.2 means it, from the parser's events: every bound holds before anything is built.

PyYAML's own loaders resolve scalars as YAML 1.1 does (`no` is False, `12:30` is 750), let a later key
overwrite an earlier one, and copy whatever a merge key repeats. So only its parser is used, libyaml's where
it is there: it knows the syntax, and what the events mean is decided here, by the core schema of YAML 1.2.2
(chapter 10.3).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, TypeAlias, cast

from qicore.config.config import ConfigLimits
from qicore.config.errors import Refused
from qicore.config.freezing import freeze_scalar
from qicore.config.tree import EMPTY_MAPPING, Branch, ConfigValue, FrozenMapping, Source, Trace, mark_of

__all__ = ["read_yaml"]

_CONSTANTS: Final[dict[str, bool | None]] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN: Final = frozenset((".nan", ".NaN", ".NAN"))
_MAX_DIGITS: Final = 4300
_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = object()
# What the pure Python parser quotes from the text, but for single characters and `<names of tokens>`.
_QUOTED: Final = re.compile(r" ?'(?![<\\])[^']{2,}'")
# libyaml 0.2.6 and newer count brackets before they tell of the first; ours are counted as they are told.
_LIBYAML_TOO_DEEP: Final = "exceeded maximum nesting depth"

# PyYAML's events, whose types its stubs leave open.
_Event: TypeAlias = Any
# A node that is done: its value, its trace, how many values it stands for, how many levels it has.
_Node: TypeAlias = "tuple[ConfigValue, Trace, int, int]"


class _Frame:
    """A mapping or list that is being read."""

    __slots__ = (
        "anchor",
        "children",
        "is_mapping",
        "items",
        "key",
        "key_line",
        "levels",
        "line",
        "merged",
        "size",
        "values",
    )

    def __init__(self, *, is_mapping: bool, line: int, anchor: str | None) -> None:
        self.is_mapping = is_mapping
        self.line = line
        self.anchor = anchor
        self.values: dict[str, ConfigValue] = {}
        self.items: list[ConfigValue] = []
        self.children: dict[str | int, Trace] = {}
        self.merged: list[tuple[FrozenMapping, Branch]] | None = None
        self.key: object = None
        self.key_line = 0
        self.size = 1
        self.levels = 0


def read_yaml(text: str, source: Source, limits: ConfigLimits) -> tuple[FrozenMapping, Branch]:
    """Return the frozen values and their lines; raise Refused."""
    from yaml import MarkedYAMLError, YAMLError

    code = "CONFIG_PARSE_ERROR"
    try:
        return _Reader(text, source, limits).read()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = _QUOTED.sub("", error.problem or error.context or "it is no YAML")
        if problem == _LIBYAML_TOO_DEEP:
            code = "CONFIG_TOO_DEEP"
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    except YAMLError as error:  # a character that YAML does not have
        problem = "a character that YAML does not allow"
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 0
        column = 0
    # Raised out here: in the handler it would carry the parser's exception, which shows the text.
    raise Refused(code, problem, line=line, column=column)


def _open_parser(text: str) -> Callable[[], _Event]:
    import yaml

    library: Any = yaml
    parser = library.cyaml.CParser(text) if library.__with_libyaml__ else library.BaseLoader(text)
    next_event: Callable[[], _Event] = parser.get_event
    return next_event


class _Reader:
    def __init__(self, text: str, source: Source, limits: ConfigLimits) -> None:
        self.next_event = _open_parser(text)
        self.source = source
        self.limits = limits
        self.stack: list[_Frame] = []
        self.anchors: dict[str, _Node] = {}
        self.left = limits.max_values
        self.root: _Node | None = None

    def read(self) -> tuple[FrozenMapping, Branch]:
        from yaml import events

        scalar, alias = events.ScalarEvent, events.AliasEvent
        ends = (events.MappingEndEvent, events.SequenceEndEvent)
        starts = (events.MappingStartEvent, events.SequenceStartEvent)
        next_event, stack = self.next_event, self.stack
        while True:
            event = next_event()
            kind = event.__class__
            if kind is scalar:
                if stack and stack[-1].is_mapping and stack[-1].key is None:
                    self.take_key(event, stack[-1])
                else:
                    self.take_scalar(event)
            elif kind in ends:
                self.close(stack.pop())
            elif kind in starts:
                self.open(event, is_mapping=kind is events.MappingStartEvent)
            elif kind is alias:
                self.take_alias(event)
            elif kind is events.DocumentStartEvent and self.root is not None:
                raise _refuse("there is more than one document; a configuration is one", event)
            elif kind is events.StreamEndEvent:
                return self.finish()

    def finish(self) -> tuple[FrozenMapping, Branch]:
        if self.root is None or self.root[0] is None:
            return EMPTY_MAPPING, Branch((self.source, 1), {})
        value, trace, _, _ = self.root
        if isinstance(value, MappingProxyType) and isinstance(trace, Branch):
            return value, trace
        raise Refused("CONFIG_PARSE_ERROR", "the top level must be a mapping of keys to values", line=1)

    def take_key(self, event: _Event, frame: _Frame) -> None:
        key: str = event.value
        frame.key_line = event.start_mark.line + 1
        if key == "<<" and event.implicit[0] and event.tag is None:
            if frame.merged is not None:
                raise _refuse("the merge key << is there twice; give it a list", event)
            frame.key = _MERGE
            return
        if key in frame.children:
            first = mark_of(frame.children[key])[1]
            raise _refuse(f"the key {key!r} is there twice, first on line {first}", event)
        if not key.isascii():
            self.freeze(key, event)
        if event.anchor is not None:
            self.anchors[event.anchor] = (key, (self.source, frame.key_line), 1, 0)
        # The text itself, whatever it would be as a value: `80:` is the key "80", `no:` the key "no".
        frame.key = key

    def take_scalar(self, event: _Event) -> None:
        line = event.start_mark.line + 1
        text: str = event.value
        tag = event.tag
        if tag is None:
            value = self.resolve(text, event) if event.implicit[0] else text
        else:
            value = self.by_tag(tag, text, event)
        if type(value) is str and not value.isascii():
            self.freeze(value, event)
        node = (value, (self.source, line), 1, 0)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        self.put(node)

    def take_alias(self, event: _Event) -> None:
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.is_mapping and frame.key is None:
            raise _refuse("an alias can't be a key", event)
        node = self.anchors.get(event.anchor)
        if node is None:
            raise _refuse("the alias names no anchor before it; text that starts with * needs quotes", event)
        value, trace, size, levels = node
        if not isinstance(trace, Branch):
            trace = (self.source, event.start_mark.line + 1)
        self.check_depth(len(self.stack) + levels, event)
        self.put((value, trace, size, levels))

    def open(self, event: _Event, *, is_mapping: bool) -> None:
        if self.stack and self.stack[-1].is_mapping and self.stack[-1].key is None:
            raise _refuse("a key must be text, not a mapping or a list", event)
        expected = "map" if is_mapping else "seq"
        if event.tag not in (None, "!", _TAG + expected):
            raise _refuse(_unknown(event.tag), event)
        self.check_depth(len(self.stack) + 1, event)
        self.stack.append(_Frame(is_mapping=is_mapping, line=event.start_mark.line + 1, anchor=event.anchor))

    def close(self, frame: _Frame) -> None:
        value: ConfigValue
        if frame.is_mapping:
            values, children = frame.values, frame.children
            if frame.merged:
                values, children = dict[str, ConfigValue](), dict[str | int, Trace]()
                for mapping, branch in reversed(frame.merged):  # the first of the list wins
                    values.update(mapping)
                    children.update(branch.children)
                values.update(frame.values)
                children.update(frame.children)
            value = MappingProxyType(values)
        else:
            value, children = tuple(frame.items), frame.children
        # A mapping that is a value has the line of its key, as any value has.
        outer = self.stack[-1] if self.stack else None
        line = outer.key_line if outer is not None and outer.is_mapping else frame.line
        node = (value, Branch((self.source, line), children), frame.size, frame.levels + 1)
        if frame.anchor is not None:
            self.anchors[frame.anchor] = node
        self.put(node, counted=frame.size - 1)

    def put(self, node: _Node, *, counted: int = 0) -> None:
        value, trace, size, levels = node
        self.left -= size - counted
        if self.left < 0:
            line = mark_of(trace)[1]
            problem = (
                f"there are more than {self.limits.max_values} values, those included that aliases repeat"
            )
            raise Refused("CONFIG_TOO_LARGE", problem, line=line)
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        frame.size += size
        if levels > frame.levels:
            frame.levels = levels
        if not frame.is_mapping:
            frame.children[len(frame.items)] = trace
            frame.items.append(value)
        elif frame.key is _MERGE:
            frame.merged = self.to_merge(value, trace, frame.key_line)
            frame.key = None
        else:
            key = cast("str", frame.key)
            frame.values[key] = value
            # The line of the key: what a reader looks for, also where the value starts further down.
            frame.children[key] = trace if isinstance(trace, Branch) else (self.source, frame.key_line)
            frame.key = None

    def to_merge(self, value: ConfigValue, trace: Trace, line: int) -> list[tuple[FrozenMapping, Branch]]:
        found: list[tuple[FrozenMapping, Branch]] = []
        if isinstance(value, tuple) and isinstance(trace, Branch):
            for index, item in enumerate(value):
                found += self.to_merge(item, trace.children[index], line)
        elif isinstance(value, MappingProxyType) and isinstance(trace, Branch):
            found.append((value, trace))
        else:
            raise Refused(
                "CONFIG_PARSE_ERROR", "the merge key << takes a mapping, or a list of them", line=line
            )
        return found

    def check_depth(self, depth: int, event: _Event) -> None:
        if depth > self.limits.max_depth:
            line = event.start_mark.line + 1
            raise Refused(
                "CONFIG_TOO_DEEP", f"it is nested deeper than {self.limits.max_depth} levels", line=line
            )

    def resolve(self, text: str, event: _Event) -> ConfigValue:
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text[0] not in "+-.0123456789":
            return text
        if _INT.fullmatch(text):
            if len(text) > _MAX_DIGITS:
                raise _refuse("the number is too long", event)
            return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if number in (float("inf"), float("-inf")):
                raise _refuse("the number is beyond what a float holds", event)
            return number
        if _INFINITE.fullmatch(text):
            return float(text.replace(".", "", 1))
        return self.freeze(float("nan"), event) if text in _NAN else text

    def by_tag(self, tag: str, text: str, event: _Event) -> ConfigValue:
        if tag in ("!", _TAG + "str"):
            return text
        value = self.resolve(text, event)
        if tag == _TAG + "float" and type(value) is int:
            return float(value)
        expected = {"null": type(None), "bool": bool, "int": int, "float": float}.get(tag.removeprefix(_TAG))
        if expected is None:
            raise _refuse(_unknown(tag), event)
        if type(value) is not expected:
            raise _refuse("the value is not what its tag says", event)
        return value

    def freeze(self, value: object, event: _Event) -> ConfigValue:
        try:
            return freeze_scalar(value)
        except ValueError as problem:
            raise _refuse(str(problem), event) from None


def _unknown(tag: str) -> str:
    if tag.startswith(_TAG):
        return f"the tag !!{tag.removeprefix(_TAG)} is not known here"
    return "a tag that is not known here; text that starts with ! needs quotes"  # it may be a password


def _refuse(problem: str, event: _Event) -> Refused:
    mark = event.start_mark
    return Refused("CONFIG_PARSE_ERROR", problem, line=mark.line + 1, column=mark.column + 1)
