"""How long a stored response may be used: the arithmetic of RFC 9111, section 4.2, and of RFC 5861.

hishel 2.0 judges what may be stored and how a stored response is validated. How old a response is it reads
from the Date field alone (one without Date never grows old, one that aged in another cache is taken for
new), and it reads no max-age, min-fresh or max-stale of a request, nor stale-if-error and
stale-while-revalidate. So these are judged here.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.utils import parsedate_tz
from typing import Final, TypeAlias

__all__ = ["Directives", "Fields", "field_value", "freshness", "http_date", "initial_age"]

Fields: TypeAlias = tuple[tuple[str, str], ...]
"""Header fields: names in lower case and values, in order."""

_DIRECTIVE: Final = re.compile(r'([^\s,=";]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?')
_LONGEST: Final = 2**31
_HEURISTIC_SHARE: Final = 0.1  # of the time since the last modification, as section 4.2.2 suggests
_HEURISTIC_MAX: Final = 86_400.0
# RFC 9110, section 15.1; a partial response (206) is never stored here.
_HEURISTIC_STATUS: Final = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))


def field_value(fields: Iterable[tuple[str, str]], name: str) -> str | None:
    """Return the value of a field, several lines joined with a comma; None when it is not there."""
    values = [value for key, value in fields if key == name]
    return ", ".join(values) if values else None


@dataclass(frozen=True, slots=True)
class Directives:
    """The directives of a Cache-Control field.

    >>> directives = Directives.parse('max-age="60", no-cache="set-cookie, x", private')
    >>> directives.seconds("max-age"), directives.has("private"), directives.has("no-cache")
    (60.0, True, False)
    """

    values: dict[str, str | None]

    @classmethod
    def parse(cls, text: str | None) -> Directives:
        """Read the value of the field; of a directive that comes twice, the first one holds."""
        values: dict[str, str | None] = {}
        for match in _DIRECTIVE.finditer(text or ""):
            quoted, plain = match[2], match[3]
            values.setdefault(match[1].lower(), quoted if quoted is not None else plain)
        return cls(values)

    def has(self, name: str) -> bool:
        """Tell whether the directive is there and applies to the whole message, not to named fields."""
        return name in self.values and not self.values[name]

    def seconds(self, name: str) -> float | None:
        """Return a directive's seconds; None without it, and 0 for what is no number (section 4.2.1)."""
        if name not in self.values:
            return None
        text = self.values[name] or ""
        if not (text.isascii() and text.isdigit()):
            return 0.0
        return float(min(int(text[:12]), _LONGEST))


def http_date(text: str | None) -> float | None:
    """Return the epoch seconds of an HTTP date, None for what is none."""
    try:
        parsed = parsedate_tz(text or "")
        # mktime_tz would read a date without a zone as local time; HTTP's are always GMT.
        return None if parsed is None else calendar.timegm(parsed[:6]) - (parsed[9] or 0)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def initial_age(fields: Fields, *, asked: float, received: float) -> float:
    """Return how old a response was when it arrived (section 4.2.3); the times are epoch seconds."""
    date = http_date(field_value(fields, "date"))
    apparent = 0.0 if date is None else max(0.0, received - date)
    text = (field_value(fields, "age") or "").split(",")[0].strip()
    told = float(min(int(text[:12]), _LONGEST)) if text.isascii() and text.isdigit() else 0.0
    return max(apparent, told + max(0.0, received - asked))


def freshness(status: int, fields: Fields, *, received: float, shared: bool) -> float | None:
    """Return for how many seconds after its origin sent it a response is fresh; None if nothing tells."""
    directives = Directives.parse(field_value(fields, "cache-control"))
    if shared and (seconds := directives.seconds("s-maxage")) is not None:
        return seconds
    if (seconds := directives.seconds("max-age")) is not None:
        return seconds
    date = http_date(field_value(fields, "date"))
    start = received if date is None else date
    expires = field_value(fields, "expires")
    if expires is not None:
        end = http_date(expires)
        return 0.0 if end is None else max(0.0, end - start)  # "0" and the like: in the past
    modified = http_date(field_value(fields, "last-modified"))
    if modified is None or status not in _HEURISTIC_STATUS or modified > start:
        return None
    return min(_HEURISTIC_MAX, _HEURISTIC_SHARE * (start - modified))
