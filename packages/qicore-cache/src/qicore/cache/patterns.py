"""Patterns of keys, which mean the same in memory, in a file and on Redis."""

from __future__ import annotations

import re
from typing import Final

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.keys import MAX_KEY_LENGTH

__all__ = ["Pattern", "parse_pattern"]

# One item of a pattern; but for the star each stands for one character. A `[` that nothing closes is itself.
_ITEM: Final = re.compile(
    r"(?P<star>\*+)|\\(?P<escaped>.)|\[(?P<not>\^?)(?P<set>(?:\\.|[^\]\\])+)\]|(?P<any>\?)|(?P<plain>.)",
    re.DOTALL,
)
_MEMBER: Final = re.compile(r"\\?(?P<low>.)(?:-\\?(?P<high>.))?", re.DOTALL)


class Pattern:
    r"""What keys match: `*` any text, `?` one character, `[a-c]` one of these, `[^a-c]` one of the others.

    A backslash takes the meaning from the character behind it. Upper and lower case differ. It is how Redis
    reads a pattern.

    >>> pattern = parse_pattern("user:*:[a-c]").unwrap()
    >>> pattern.beginning, pattern.matches("user:7:a"), pattern.matches("user:7:d")
    ('user:', True, False)

    Attributes:
        beginning: the text with which every key that matches begins; it may be empty.
        everything: whether every key matches.
    """

    __slots__ = ("_lengths", "_parts", "beginning", "everything")

    def __init__(self, pattern: str) -> None:
        # What is between the stars has a fixed length. To look for one part behind the other takes at most
        # the length of the key times that of the pattern; one expression for all of it might take forever.
        sources, self._lengths = [""], [0]
        beginning: list[str] = []
        literal = True
        for item in _ITEM.finditer(pattern):
            single = item["escaped"] or item["plain"]
            if single is None:
                literal = False
            elif literal:
                beginning.append(single)
            if item["star"]:
                sources.append("")
                self._lengths.append(0)
            else:
                sources[-1] += re.escape(single) if single else "." if item["any"] else _set(item)
                self._lengths[-1] += 1
        self._parts = [re.compile(source, re.DOTALL) for source in sources]
        self.beginning = "".join(beginning)
        self.everything = self._lengths == [0, 0]

    def matches(self, key: str) -> bool:
        """Whether the whole key matches."""
        if len(self._parts) == 1:
            return self._parts[0].fullmatch(key) is not None
        last = len(key) - self._lengths[-1]  # where the last part has to begin
        at = self._lengths[0]
        if at > last or self._parts[0].match(key) is None:
            return False
        for part in self._parts[1:-1]:
            found = part.search(key, at, last)
            if found is None:
                return False
            at = found.end()
        return self._parts[-1].match(key, last) is not None


def parse_pattern(pattern: str) -> Result[Pattern]:
    """Return the pattern; INVALID_KEY [VALIDATION] when it is no text, or longer than a key may be."""
    if not _is_short_text(pattern):
        return Failure(
            QiError.validation("INVALID_KEY", "a pattern must be a text of at most 4096 characters")
        )
    return Success(Pattern(pattern))


def _set(item: re.Match[str]) -> str:
    members: list[str] = []
    for member in _MEMBER.finditer(item["set"]):
        low, high = sorted((member["low"], member["high"] or member["low"]))
        members.append(f"{re.escape(low)}-{re.escape(high)}")
    return f"[{item['not']}{''.join(members)}]"


def _is_short_text(pattern: object) -> bool:
    return isinstance(pattern, str) and len(pattern) <= MAX_KEY_LENGTH
