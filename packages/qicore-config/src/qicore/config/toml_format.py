"""Read TOML 1.0 by the standard library's parser, and find the line of every key.

That parser knows no lines and no bounds: a dotted key of 200,000 parts takes gigabytes. So a scanner goes
first, which knows just enough of the syntax to find keys, values and their depth; where it meets what is no
TOML it stops, and the parser says what is wrong. It reads no value, so the two can't differ in what a
document means.
"""

from __future__ import annotations

import contextlib
import re
import tomllib
from typing import Any, Final

from qicore.config.config import ConfigLimits
from qicore.config.errors import Refused
from qicore.config.freezing import Place, freeze
from qicore.config.tree import Branch, FrozenMapping, Source

__all__ = ["read_toml"]

_WHERE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
# No possessive quantifiers, here and elsewhere: up to Python 3.11.4 they match wrongly when what they repeat
# can backtrack (CPython issue 106052). The alternatives exclude each other, so a match is linear anyway.
_GAP: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANKS: Final = re.compile(r"[ \t]*")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_STRING: Final = re.compile(
    r'"""(?:[^"\\]|\\.|""?(?!"))*"{3,5}'
    r"|'''(?:[^']|''?(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_OTHER: Final = re.compile(r"[^\s,\[\]{}#\"']+(?: [0-9][^\s,\[\]{}#\"']*)?")  # a date may have a blank in it


class _NoTOMLError(Exception):
    """The scanner met what is no TOML; the parser will say what."""


def read_toml(text: str, source: Source, limits: ConfigLimits) -> tuple[FrozenMapping, Branch]:
    """Return the frozen values and their lines; raise Refused."""
    scanner = _Scanner(text.replace("\r\n", "\n"), limits)
    with contextlib.suppress(_NoTOMLError):
        scanner.scan()
    try:
        data = tomllib.loads(text, parse_float=_finite)
    except tomllib.TOMLDecodeError as error:
        problem = str(error)
    except RecursionError:  # the caller's own stack is nearly full
        raise Refused("CONFIG_TOO_DEEP", "it is nested deeper than the interpreter can follow") from None
    except ValueError:
        problem = "a number is too long"
    else:
        return freeze(data, source, limits, scanner.root, "CONFIG_PARSE_ERROR")
    # Raised out here: in the handler it would carry the parser's exception, which may hold the text.
    raise _to_refused(problem, text)


def _to_refused(problem: str, text: str) -> Refused:
    where = _WHERE.search(problem)
    line, column = 0, 0
    if where is not None:
        line = int(where[1]) if where[1] else text.count("\n") + 1
        column = int(where[2]) if where[2] else 0
        problem = problem[: where.start()]
    return Refused("CONFIG_PARSE_ERROR", problem[0].lower() + problem[1:], line=line, column=column)


def _finite(digits: str) -> float:
    """Return NaN, which is refused, for digits that overflow; `inf` itself is a value of TOML."""
    number = float(digits)
    return number if "inf" in digits or abs(number) != float("inf") else float("nan")


class _Scanner:
    def __init__(self, text: str, limits: ConfigLimits) -> None:
        self.text = text
        self.limits = limits
        self.left = limits.max_values
        self.at = 0
        self.line = 1
        self.counted = 0
        self.root = Place(1)
        self.tables: set[int] = set()  # the ids of the places that are arrays of tables

    def line_now(self) -> int:
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        return self.line

    def skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match.group()

    def next_is(self, token: str) -> bool:
        return self.text.startswith(token, self.at)

    def take(self, token: str) -> None:
        if not self.next_is(token):
            raise _NoTOMLError
        self.at += len(token)

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            problem = f"there are more than {self.limits.max_values} values"
            raise Refused("CONFIG_TOO_LARGE", problem, line=self.line_now())

    def check_depth(self, depth: int) -> None:
        if depth > self.limits.max_depth:
            problem = f"it is nested deeper than {self.limits.max_depth} levels"
            raise Refused("CONFIG_TOO_DEEP", problem, line=self.line_now())

    def scan(self) -> None:
        table, depth = self.root, 1
        self.skip(_GAP)
        while self.at < len(self.text):
            if self.next_is("[["):
                self.at += 2
                line, parts = self.line_now(), self.key(1)
                self.take("]]")
                array = self.enter(self.enter_all(self.root, parts[:-1], line), parts[-1], line)
                self.tables.add(id(array))
                table = array.parts[len(array.parts)] = Place(line)
                depth = len(parts) + 2
            elif self.next_is("["):
                self.at += 1
                line, parts = self.line_now(), self.key(1)
                self.take("]")
                table, depth = self.enter_all(self.root, parts, line), len(parts) + 1
            else:
                self.pair(table, depth)
            self.count()
            self.skip(_GAP)

    def enter(self, place: Place, part: str, line: int) -> Place:
        if id(place) in self.tables:
            place = place.parts[len(place.parts) - 1]
        if part not in place.parts:
            place.parts[part] = Place(line)
        return place.parts[part]

    def enter_all(self, place: Place, parts: list[str], line: int) -> Place:
        for part in parts:
            place = self.enter(place, part, line)
        return place

    def key(self, depth: int) -> list[str]:
        parts: list[str] = []
        while True:
            self.skip(_BLANKS)
            bare = self.skip(_BARE_KEY)
            if bare:
                parts.append(bare)
            else:
                quoted = self.skip(_STRING)
                if not quoted or quoted.startswith(('"""', "'''")):
                    raise _NoTOMLError
                parts.append(_unquote(quoted))
            self.check_depth(depth + len(parts) - 1)
            self.skip(_BLANKS)
            if not self.next_is("."):
                return parts
            self.at += 1

    def pair(self, table: Place, depth: int) -> None:
        line = self.line_now()
        parts = self.key(depth)
        self.take("=")
        self.skip(_BLANKS)
        place = self.enter_all(table, parts, line)
        self.value(place, depth + len(parts))

    def value(self, place: Place, depth: int) -> None:
        """Skip a value; `depth` is the level that a list or table here would be on."""
        self.count()
        if self.next_is("["):
            self.check_depth(depth)
            self.at += 1
            self.skip(_GAP)
            while not self.next_is("]"):
                item = place.parts[len(place.parts)] = Place(self.line_now())
                self.value(item, depth + 1)
                self.skip(_GAP)
                if not self.next_is("]"):
                    self.take(",")
                    self.skip(_GAP)
            self.take("]")
        elif self.next_is("{"):
            self.check_depth(depth)
            self.at += 1
            self.skip(_GAP)
            while not self.next_is("}"):
                self.pair(place, depth)
                self.skip(_GAP)
                if not self.next_is("}"):
                    self.take(",")
                    self.skip(_GAP)
            self.take("}")
        elif not self.skip(_STRING) and not self.skip(_OTHER):
            raise _NoTOMLError


def _unquote(quoted: str) -> str:
    if quoted[0] == "'" or "\\" not in quoted:
        return quoted[1:-1]
    try:
        decoded: Any = tomllib.loads(f"key = {quoted}")["key"]
    except tomllib.TOMLDecodeError:
        raise _NoTOMLError from None
    return str(decoded)
