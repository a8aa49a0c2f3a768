"""Conditional requests: whether the client has it already, or has another one (RFC 9110, section 13)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from enum import Enum
from typing import Final

from starlette.datastructures import Headers

__all__ = ["Answer", "Validators", "judge", "range_applies", "validators_of"]

_SETTLED: Final = 2.0
"""Seconds after which a file's times tell any later change apart: FAT counts in twos, others are finer."""

_TAG: Final = re.compile(r'[, \t]*((?:W/)?"[^"]*")')


class Answer(Enum):
    """What the preconditions of a request come to."""

    PERFORM = "perform"
    NOT_MODIFIED = "not modified"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells two versions of a representation apart.

    Attributes:
        etag: the entity tag, in its quotes; `W/` before it when two versions could share it.
        modified: when it was modified, in whole epoch seconds.
    """

    etag: str
    modified: int

    @property
    def last_modified(self) -> str:
        """The value of `Last-Modified`."""
        return formatdate(self.modified, usegmt=True)

    @property
    def is_strong(self) -> bool:
        """Whether the same validators mean the same bytes."""
        return not self.etag.startswith("W/")


def validators_of(status: os.stat_result, now: float) -> Validators:
    """Return the validators of a file at the time `now` (epoch seconds).

    The tag holds the time of the last change of the inode too: reproducible builds give every version of a
    file the same modification time, and an `index.html` that names its scripts by their hash keeps its size.
    A file that changed just now could change once more within the same tick of the clock: its tag is weak
    (section 8.8.1). `Last-Modified` is never in the future (section 8.8.2.1).
    """
    tag = f'"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ctime_ns:x}"'
    settled = max(status.st_mtime, status.st_ctime) + _SETTLED <= now
    return Validators(tag if settled else f"W/{tag}", max(int(min(status.st_mtime, now)), 0))


def judge(headers: Headers, current: Validators) -> Answer:
    """Return what the preconditions of a GET or HEAD come to, in the order of section 13.2.2.

    >>> current = Validators('"7"', 1_000_000_000)
    >>> judge(Headers({"if-none-match": 'W/"7"'}), current)
    <Answer.NOT_MODIFIED: 'not modified'>
    >>> judge(Headers({"if-match": '"6"'}), current)
    <Answer.FAILED: 'failed'>
    """
    if (match := _joined(headers, "if-match")) is not None:
        if match != "*" and not (current.is_strong and current.etag in _tags(match)):
            return Answer.FAILED
    elif (date := _date(headers.get("if-unmodified-since"))) is not None and current.modified > date:
        return Answer.FAILED
    if (match := _joined(headers, "if-none-match")) is not None:
        ours = current.etag.removeprefix("W/")
        if match == "*" or any(tag.removeprefix("W/") == ours for tag in _tags(match)):
            return Answer.NOT_MODIFIED
    elif (date := _date(headers.get("if-modified-since"))) is not None and current.modified <= date:
        return Answer.NOT_MODIFIED
    return Answer.PERFORM


def range_applies(headers: Headers, current: Validators) -> bool:
    """Return whether `If-Range` lets a range be sent: the client's part is certainly of the same bytes.

    >>> range_applies(Headers({"if-range": '"7"'}), Validators('"7"', 0))
    True
    >>> range_applies(Headers({"if-range": 'W/"7"'}), Validators('W/"7"', 0))
    False
    """
    condition = _joined(headers, "if-range")
    if condition is None:
        return True
    return current.is_strong and condition.strip() in (current.etag, current.last_modified)


def _joined(headers: Headers, name: str) -> str | None:
    lines = headers.getlist(name)
    return ", ".join(lines).strip() if lines else None


def _tags(field: str) -> Iterator[str]:
    """Yield the entity tags of a list, as far as it follows the grammar. A comma may be inside of a tag."""
    place = 0
    while (found := _TAG.match(field, place)) is not None:
        yield found[1]
        place = found.end()


def _date(field: str | None) -> float | None:
    """Return epoch seconds, or None for what is no date: it counts as not sent (section 13.1.3)."""
    if field is None:
        return None
    try:
        return parsedate_to_datetime(field).timestamp()
    except (ValueError, OverflowError):
        return None
