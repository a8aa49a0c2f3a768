"""What a shared cache may store and reuse (RFC 9111), without any I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, TypeAlias

__all__ = ["Asked", "Directives", "Fields", "field_of", "kept_fields", "lifetime_of", "names_in_vary"]

Fields: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Header fields as ASGI has them: names in lower case, and values."""

_DIRECTIVE: Final = re.compile(rb'([^\s,=";]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?')
_LONGEST: Final = 2**31
# RFC 9110, section 15.1, without 206: parts of files are not stored here.
_STORABLE: Final = frozenset((200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501))
# Of this connection or of this request, not of the representation.
_PASSING: Final = frozenset(
    (
        b"age", b"connection", b"date", b"keep-alive", b"proxy-authenticate", b"proxy-connection",
        b"ratelimit", b"ratelimit-policy", b"te", b"trailer", b"transfer-encoding", b"upgrade",
        b"x-request-id",
    )
)  # fmt: skip
_MAX_NAMES: Final = 8
# `Authorization`, `X-Api-Key`, `X-Auth-User`, `X-Amzn-Oidc-Identity`, what proxies tell of a certificate.
# Fields that begin with `Sec-` are the browser's own.
_WHO: Final = re.compile(
    rb"^(?!sec-|idempotency-key$|user-agent$).*(?:auth|cert|identity|secret|session|token|user|key$)"
)


class Directives:
    """The directives of a Cache-Control field; of one that comes twice, the first holds.

    >>> told = Directives(b'max-age="60", Private')
    >>> told.seconds(b"max-age"), b"private" in told, told.seconds(b"s-maxage")
    (60.0, True, None)
    """

    __slots__ = ("_values",)

    def __init__(self, text: bytes) -> None:
        self._values: dict[bytes, bytes] = {}
        for match in _DIRECTIVE.finditer(text):
            self._values.setdefault(match[1].lower(), match[2] or match[3] or b"")

    def __contains__(self, name: bytes) -> bool:
        return name in self._values

    def seconds(self, name: bytes) -> float | None:
        """Return a directive's seconds; None without it, and 0 for what is no number (section 4.2.1)."""
        value = self._values.get(name)
        if value is None:
            return None
        return float(min(int(value[:12]), _LONGEST)) if value.isdigit() else 0.0


_NOTHING: Final = Directives(b"")


def field_of(fields: Fields, name: bytes) -> bytes | None:
    """Return the value of a field, several lines joined with a comma; None when it is not there."""
    values = [value for key, value in fields if key == name]
    return None if not values else values[0] if len(values) == 1 else b", ".join(values)


@dataclass(slots=True)
class Asked:
    """What a request says about caching.

    Attributes:
        directives: of its Cache-Control.
        identified: whether it says who asks: what it gets may be for nobody else.
        conditional: whether its client has a copy already.
        partial: whether it asks for a part.
        host: whom it asks.
    """

    directives: Directives = field(default=_NOTHING)
    identified: bool = False
    conditional: bool = False
    partial: bool = False
    host: bytes = b""

    @classmethod
    def read(cls, fields: Fields) -> Asked:
        """Read the header fields of a request."""
        asked = cls()
        for name, value in fields:
            meaning = _meaning(name)
            if meaning is None:
                continue
            if meaning == "host":
                asked.host = value.lower()
            elif meaning == "who":
                asked.identified = True
            elif meaning == "condition":
                asked.conditional = True
            elif meaning == "part":
                asked.partial = True
            else:
                asked.directives = Directives(field_of(fields, name) or b"")
        return asked

    def takes(self, age: float, lifetime: float, *, public: bool) -> bool:
        """Return whether a stored response of this age will do (section 5.2.1); a stale one never does."""
        directives = self.directives
        if age >= lifetime or (self.identified and not public) or b"no-cache" in directives:
            return False
        oldest, left = directives.seconds(b"max-age"), directives.seconds(b"min-fresh")
        return (oldest is None or age <= oldest) and (left is None or lifetime - age >= left)


@lru_cache(maxsize=512)
def _meaning(name: bytes) -> str | None:
    """Return what a request's field is about, as far as it matters here.

    >>> _meaning(b"x-api-key"), _meaning(b"x-csrf-token"), _meaning(b"idempotency-key"), _meaning(b"accept")
    ('who', 'who', None, None)
    """
    known = {b"host": "host", b"cache-control": "directives", b"range": "part", b"cookie": "who"}.get(name)
    if known is not None:
        return known
    if name.startswith(b"if-"):
        return "condition"
    return "who" if _WHO.search(name) else None


def lifetime_of(
    status: int, fields: Fields, asked: Asked, *, now: float, ttl: float | None
) -> tuple[float, bool] | None:
    """Return for how many seconds a response may be stored, and whether for everybody; None for not at all.

    Nothing is guessed: without a word from the handler, and without `ttl`, nothing is stored. What answers a
    request with Authorization is for everybody only when it says so (section 3.5). A cookie, a key and a
    token say as well who asks.
    """
    told = Directives(field_of(fields, b"cache-control") or b"")
    names = {name for name, _ in fields}
    public = b"public" in told or b"s-maxage" in told
    if (
        status not in _STORABLE
        or b"no-store" in told
        or b"private" in told
        or b"no-cache" in told  # it may not be used without asking the handler, so it is of no use
        or b"set-cookie" in names
        or b"www-authenticate" in names
        or b"no-store" in asked.directives
        or (asked.identified and not public)
        or names_in_vary(fields) is None
    ):
        return None
    seconds = told.seconds(b"s-maxage")
    if seconds is None:
        seconds = told.seconds(b"max-age")
    if seconds is None:
        expires = field_of(fields, b"expires")
        seconds = ttl if expires is None else _until(expires, now)
    return (seconds, public) if seconds is not None and seconds > 0 else None


def names_in_vary(fields: Fields) -> tuple[bytes, ...] | None:
    """Return the request fields on which a response depends, in order; None for `*` and for too many.

    >>> names_in_vary([(b"vary", b"Accept, Accept-Language"), (b"vary", b"accept")])
    (b'accept', b'accept-language')
    """
    found = field_of(fields, b"vary")
    if found is None:
        return ()
    names = sorted({name.strip().lower() for name in found.split(b",")} - {b""})
    return None if b"*" in names or len(names) > _MAX_NAMES else tuple(names)


def kept_fields(fields: Fields) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields of a response that are stored with it (section 3.1)."""
    return tuple((name, value) for name, value in fields if name not in _PASSING)


def _until(date: bytes, now: float) -> float:
    """Return the seconds until an HTTP date; 0 for what is none, such as "0" (section 5.3)."""
    try:
        return max(0.0, parsedate_to_datetime(date.decode("latin-1")).timestamp() - now)
    except (ValueError, OverflowError):
        return 0.0
