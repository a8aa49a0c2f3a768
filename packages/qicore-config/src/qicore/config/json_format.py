"""Read JSON (RFC 8259) and know the line of every key.

The standard library's reader knows no positions, recurses as deep as the text says, takes NaN and lets a
later key overwrite an earlier one. Its string scanner, the difficult part, is used here.
"""

from __future__ import annotations

import json.decoder
import re
from collections.abc import Callable
from json import JSONDecodeError
from types import MappingProxyType
from typing import Any, Final, cast

from qicore.config.config import ConfigLimits
from qicore.config.errors import Refused
from qicore.config.freezing import freeze_scalar
from qicore.config.tree import Branch, ConfigValue, FrozenMapping, Source, Trace, mark_of

__all__ = ["read_json", "read_json_value"]

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
_WORD: Final = re.compile(r"[A-Za-z]+")
_MAX_DIGITS: Final = 4300
# In C where the interpreter has it; the stubs leave it out.
_scan_string: Callable[[str, int, bool], tuple[str, int]] = cast("Any", json.decoder).scanstring


def read_json(text: str, source: Source, limits: ConfigLimits) -> tuple[FrozenMapping, Branch]:
    """Return the frozen values and their lines; raise Refused."""
    if not text.strip(" \t\n\r"):
        raise Refused("CONFIG_PARSE_ERROR", "it is empty: the least JSON is {}", line=1, column=1)
    value, trace = read_json_value(text, source, limits)
    if isinstance(value, MappingProxyType) and isinstance(trace, Branch):
        return value, trace
    raise Refused("CONFIG_PARSE_ERROR", "the top level must be an object of keys and values", line=1)


def read_json_value(text: str, source: Source, limits: ConfigLimits) -> tuple[ConfigValue, Trace]:
    """Return any JSON value, frozen, and its lines; raise Refused."""
    reader = _Reader(text, source, limits)
    end = reader.skip(0)
    value, trace, end = reader.value(end, reader.line_at(end), 1)
    end = reader.skip(end)
    if end != len(text):
        raise reader.refuse("there is more text after the end", end)
    return value, trace


class _Reader:
    def __init__(self, text: str, source: Source, limits: ConfigLimits) -> None:
        self.text = text
        self.source = source
        self.limits = limits
        self.left = limits.max_values
        self.line = 1
        self.counted = 0

    def skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def line_at(self, at: int) -> int:
        # Positions only grow, so each newline is counted once.
        self.line += self.text.count("\n", self.counted, at)
        self.counted = at
        return self.line

    def refuse(self, problem: str, at: int, code: str = "CONFIG_PARSE_ERROR") -> Refused:
        line = self.text.count("\n", 0, at) + 1
        return Refused(code, problem, line=line, column=at - self.text.rfind("\n", 0, at))

    def value(self, at: int, line: int, depth: int) -> tuple[ConfigValue, Trace, int]:
        """Read the value at `at`; `line` is that of its key."""
        self.left -= 1
        if self.left < 0:
            raise self.refuse(f"there are more than {self.limits.max_values} values", at, "CONFIG_TOO_LARGE")
        first = self.text[at : at + 1]
        if first == '"':
            text, at = self.string(at)
            return text, (self.source, line), at
        if first in ("{", "["):
            if depth > self.limits.max_depth:
                raise self.refuse(
                    f"it is nested deeper than {self.limits.max_depth} levels", at, "CONFIG_TOO_DEEP"
                )
            return self.mapping(at + 1, line, depth) if first == "{" else self.sequence(at + 1, line, depth)
        value, at = self.scalar(at)
        return value, (self.source, line), at

    def mapping(self, at: int, line: int, depth: int) -> tuple[FrozenMapping, Branch, int]:
        values: dict[str, ConfigValue] = {}
        children: dict[str | int, Trace] = {}
        text, skip = self.text, self.skip
        at = skip(at)
        closed = text[at : at + 1] == "}"
        while not closed:
            if text[at : at + 1] != '"':
                raise self.refuse("here must be a key in double quotes" if at < len(text) else _CUT, at)
            start = at
            key_line = self.line_at(at)
            key, at = self.string(at)
            if key in children:
                first = mark_of(children[key])[1]
                raise self.refuse(f"the key {key!r} is there twice, first on line {first}", start)
            at = skip(at)
            if text[at : at + 1] != ":":
                raise self.refuse("here must be a colon" if at < len(text) else _CUT, at)
            values[key], children[key], at = self.value(skip(at + 1), key_line, depth + 1)
            at = skip(at)
            at, closed = self.after_item(at, "}")
        return MappingProxyType(values), Branch((self.source, line), children), at + 1

    def sequence(self, at: int, line: int, depth: int) -> tuple[tuple[ConfigValue, ...], Branch, int]:
        values: list[ConfigValue] = []
        children: dict[str | int, Trace] = {}
        at = self.skip(at)
        closed = self.text[at : at + 1] == "]"
        while not closed:
            value, children[len(values)], at = self.value(at, self.line_at(at), depth + 1)
            values.append(value)
            at = self.skip(at)
            at, closed = self.after_item(at, "]")
        return tuple(values), Branch((self.source, line), children), at + 1

    def after_item(self, at: int, end: str) -> tuple[int, bool]:
        found = self.text[at : at + 1]
        if found == end:
            return at, True
        if found != ",":
            raise self.refuse(f"here must be a comma or {end}" if found else _CUT, at)
        at = self.skip(at + 1)
        if self.text[at : at + 1] == end:
            raise self.refuse(f"a comma before {end} is one too many", at)
        return at, False

    def string(self, at: int) -> tuple[str, int]:
        try:
            text, end = _scan_string(self.text, at + 1, True)
        except JSONDecodeError as error:
            problem, position = error.msg, error.pos
        else:
            if not text.isascii():
                try:
                    freeze_scalar(text)
                except ValueError as error:
                    raise self.refuse(str(error), at) from None
            return text, end
        # Raised out here: in the handler it would carry the scanner's exception, which holds the text.
        raise self.refuse(problem[0].lower() + problem[1:], position)

    def scalar(self, at: int) -> tuple[ConfigValue, int]:
        match = _NUMBER.match(self.text, at)
        if match is not None:
            digits = match.group()
            if match.lastindex is None:
                if len(digits) > _MAX_DIGITS:
                    raise self.refuse("the number is too long", at)
                return int(digits), match.end()
            number = float(digits)
            if number in (float("inf"), float("-inf")):
                raise self.refuse("the number is beyond what a float holds", at)
            return number, match.end()
        word = _WORD.match(self.text, at)
        if word is not None and word.group() in _WORDS:
            return _WORDS[word.group()], word.end()
        if word is not None and word.group() in ("NaN", "Infinity"):
            raise self.refuse(f"JSON has no {word.group()}", at)
        raise self.refuse("here must be a value" if at < len(self.text) else _CUT, at)


_CUT: Final = "the text ends in the middle"
