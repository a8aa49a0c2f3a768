"""Read dotenv files as python-dotenv does, but for what it gets wrong.

A line that can't be read is an error, not a warning; so are a name without `=`, a name given twice, and a
`${NAME}` that nothing sets. Nothing is put in for `${NAME}` within single quotes. Every step is linear in the
length of the text, which python-dotenv's are not: a megabyte of blanks in a value keeps it busy for hours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from qicore.config.config import ConfigLimits
from qicore.config.errors import Refused

__all__ = ["Binding", "read_dotenv"]

_BLANK: Final = re.compile(r"\s*")
_INLINE: Final = re.compile(r"[^\S\r\n]*")
_EXPORT: Final = re.compile(r"export[^\S\r\n]+")
_NAME: Final = re.compile(r"'([^'\r\n]+)'|([^=#\s'\"]+)")
_SINGLE: Final = re.compile(r"'((?:\\.|[^'\\])*)'", re.DOTALL)
_DOUBLE: Final = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_REST: Final = re.compile(r"[^\r\n]*")
_END: Final = re.compile(r"[^\S\r\n]*(?:#[^\r\n]*)?(?=[\r\n]|\Z)")
_NEWLINE: Final = re.compile(r"\r\n|\n|\r")
_ESCAPED: Final = re.compile(r"\\([\\'\"abfnrtv])")
_ESCAPED_SINGLE: Final = re.compile(r"\\([\\'])")
_ESCAPES: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_.]*)(:-|\})")


class Binding(NamedTuple):
    """A variable, its value, and its line."""

    name: str
    value: str
    line: int


def read_dotenv(
    text: str, environ: Mapping[str, str], limits: ConfigLimits, *, environ_wins: bool = True
) -> list[Binding]:
    """Return the variables of a dotenv file, in order; raise Refused.

    `${NAME}` stands for the variable of `environ`, else for one of an earlier line; the other way round when
    `environ_wins` is False.
    """
    reader = _Reader(text, environ, limits, environ_wins)
    while reader.skip_blank():
        reader.binding()
    return list(reader.found.values())


class _Reader:
    def __init__(
        self, text: str, environ: Mapping[str, str], limits: ConfigLimits, environ_wins: bool
    ) -> None:
        self.text = text
        self.environ = environ
        self.environ_wins = environ_wins
        self.limits = limits
        self.left = limits.max_bytes  # of what references are replaced by
        self.at = 0
        self.line = 1
        self.found: dict[str, Binding] = {}

    def skip_blank(self) -> bool:
        """Go to the next line that holds something, past comments."""
        while True:
            self.move(_BLANK.match(self.text, self.at))
            if not self.text.startswith("#", self.at):
                return self.at < len(self.text)
            self.move(_REST.match(self.text, self.at))

    def move(self, match: re.Match[str] | None) -> None:
        if match is not None:
            self.line += len(_NEWLINE.findall(self.text, match.start(), match.end()))
            self.at = match.end()

    def refuse(self, problem: str, line: int, code: str = "CONFIG_PARSE_ERROR") -> Refused:
        return Refused(code, problem, line=line, column=1)

    def binding(self) -> None:
        line = self.line
        self.move(_EXPORT.match(self.text, self.at))
        match = _NAME.match(self.text, self.at)
        if match is None:
            raise self.refuse("here must be NAME=value, or a comment", line)
        name = match[1] or match[2]
        self.move(match)
        self.move(_INLINE.match(self.text, self.at))
        if not self.text.startswith("=", self.at):
            # Not even the name is told: it may be a line of a key that was pasted without quotes.
            raise self.refuse("here must be NAME=value; write NAME= for an empty one", line)
        self.at += 1
        value = self.value(name, line)
        first = self.found.get(name)
        if first is not None:
            raise self.refuse(f"{name} is there twice, first on line {first.line}", line)
        if len(self.found) >= self.limits.max_values:
            raise self.refuse(
                f"there are more than {self.limits.max_values} values", line, "CONFIG_TOO_LARGE"
            )
        self.found[name] = Binding(name, value, line)

    def value(self, name: str, line: int) -> str:
        before = self.at
        self.move(_INLINE.match(self.text, self.at))
        quote = self.text[self.at : self.at + 1]
        if quote in ("'", '"'):
            match = (_SINGLE if quote == "'" else _DOUBLE).match(self.text, self.at)
            if match is None:
                raise self.refuse(f"the quote that opens the value of {name} is never closed", line)
            self.move(match)
            end = _END.match(self.text, self.at)
            if end is None:
                raise self.refuse(f"there is more after the closing quote of {name}", self.line)
            self.move(end)
            if quote == "'":
                return _ESCAPED_SINGLE.sub(r"\1", match[1])
            return self.expand(
                _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), match[1]), name, line
            )
        if quote == "#" and self.at > before:  # `NAME= # a comment`
            self.move(_REST.match(self.text, self.at))
            return ""
        start = self.at
        self.move(_REST.match(self.text, self.at))
        value = self.text[start : self.at]
        comment = re.search(r"\s#", value)
        return self.expand((value[: comment.start()] if comment else value).rstrip(), name, line)

    def expand(self, value: str, name: str, line: int) -> str:
        """Replace `${NAME}` and `${NAME:-default}`."""
        match = _REFERENCE.search(value)
        if match is None:
            return value
        parts: list[str] = []
        at = 0
        while match is not None:
            parts.append(value[at : match.start()])
            at = match.end()
            default: str | None = None
            if match[2] == ":-":
                closing = value.find("}", at)
                if closing < 0:
                    parts.append(match.group())
                    break
                default = value[at:closing]
                at = closing + 1
            parts.append(self.look_up(match[1], default, name, line))
            self.left -= len(parts[-1])
            if self.left < 0:
                problem = f"its references grow it beyond {self.limits.max_bytes} bytes"
                raise self.refuse(problem, line, "CONFIG_TOO_LARGE")
            match = _REFERENCE.search(value, at)
        return "".join(parts) + value[at:]

    def look_up(self, wanted: str, default: str | None, name: str, line: int) -> str:
        outside = self.environ.get(wanted)
        inside = self.found[wanted].value if wanted in self.found else None
        first, second = (outside, inside) if self.environ_wins else (inside, outside)
        value = first if first is not None else second
        if value is None:
            value = default
        if value is None:
            raise self.refuse(
                f"{name} refers to {wanted}, which is not set: give a default as in ${{{wanted}:-…}}, "
                "or put the value in single quotes",
                line,
            )
        return value
