"""Byte ranges: what a `Range` field asks for, and how several ranges are sent (RFC 9110, section 14)."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Part", "multipart", "ranges_of"]

_SPEC: Final = re.compile(r"([0-9]*)-([0-9]*)")
_MOST: Final = 32
"""Ranges in one request that are answered; more are a mistake or an attack (section 17.15): all is sent."""
_GAP: Final = 80
"""Bytes between two ranges that cost less than the head of another part."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some text, and after it a piece of a file: from `start` up to, without, `end`."""

    head: bytes
    start: int
    end: int

    @property
    def size(self) -> int:
        """The number of its bytes."""
        return len(self.head) + self.end - self.start


def ranges_of(field: str, size: int) -> list[tuple[int, int]] | None:
    """Return the ranges of a file of `size` bytes that a `Range` field asks for, the ends excluded.

    None means that the field has no say, and all is sent: it follows no grammar, names another unit or too
    many ranges. An empty list means that none of the ranges is in the file: a 416. Ranges that overlap or
    nearly touch become one; the order is the client's otherwise.

    >>> ranges_of("bytes=0-4, -2", 100), ranges_of("bytes=100-", 100), ranges_of("bytes=5-1", 100)
    ([(0, 5), (98, 100)], [], None)
    """
    unit, equals, specs = field.partition("=")
    # Some clients ask for the first part of everything. An empty file has none, but that is no mistake.
    if not equals or unit.strip().lower() != "bytes" or size == 0:
        return None
    entries = [entry.strip(" \t") for entry in specs.split(",") if entry.strip(" \t")]
    if not entries or len(entries) > _MOST:
        return None
    found: list[tuple[int, int]] = []
    for entry in entries:
        match = _SPEC.fullmatch(entry)
        if match is None or entry == "-":
            return None
        first, last = (_number(digits) if digits else None for digits in match.groups())
        if first is None:
            start, end = max(size - (last or 0), 0), size
        elif last is None:
            start, end = first, size
        elif first > last:
            return None
        else:
            start, end = first, min(last + 1, size)
        if start < min(end, size):
            _add(found, start, end)
    return found


def _number(digits: str) -> int:
    """Return the number, at most the size of the largest file: Python converts no endless ones."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) < len(str(sys.maxsize)) else sys.maxsize


def _add(found: list[tuple[int, int]], start: int, end: int) -> None:
    """Add a range, made one with all that it touches."""
    place = len(found)
    for index in range(len(found) - 1, -1, -1):
        other_start, other_end = found[index]
        if start <= other_end + _GAP and other_start <= end + _GAP:
            start, end, place = min(start, other_start), max(end, other_end), index
            del found[index]
    found.insert(place, (start, end))


def multipart(
    ranges: Sequence[tuple[int, int]], size: int, content_type: str
) -> tuple[str, tuple[Part, ...], bytes]:
    """Return the content type, the parts and the end for ranges of a file of `size` bytes (section 14.6).

    >>> kind, parts, end = multipart([(0, 5), (98, 100)], 100, "text/plain")
    >>> parts[1].head.decode().splitlines()[2:4]
    ['Content-Type: text/plain', 'Content-Range: bytes 98-99/100']
    """
    # A boundary that nobody can foresee can't be in the file on purpose.
    boundary = secrets.token_hex(16)
    parts = tuple(
        Part(
            f"{before}--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: bytes {start}-{end - 1}/{size}\r\n\r\n".encode("latin-1"),
            start,
            end,
        )
        for before, (start, end) in zip(("", *["\r\n"] * len(ranges)), ranges, strict=False)
    )
    return f"multipart/byteranges; boundary={boundary}", parts, f"\r\n--{boundary}--\r\n".encode()
