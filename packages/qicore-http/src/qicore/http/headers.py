"""Which headers can be sent: those that stay one on the wire. And headers that need no check any more."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import httpx

__all__ = ["FRAMING", "Headers", "is_token", "wrong_header"]

# RFC 9110, section 5.6.2.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
FRAMING: Final = frozenset(("content-length", "transfer-encoding"))
"""They say where a body ends, and belong to it."""
_BROKEN: Final = re.compile(r"[\x00\r\n]")


class Headers(httpx.Headers):
    """The headers of httpx, of bytes that were checked or came from a server: made in a third of the time.

    >>> Headers([(b"Content-Type", b"text/plain")])["content-type"]
    'text/plain'
    """

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._list = [(name, name.lower(), value) for name, value in pairs]
        self._encoding = None

    def has(self, name: bytes) -> bool:
        """Return whether there is such a header; the name in lower case. `in` would look for the encoding."""
        return any(key == name for _, key, _ in self._list)


def is_token(text: str) -> bool:
    """Return whether this may be the name of a method, a header or a cookie."""
    return _TOKEN.match(text) is not None


def wrong_header(name: object, value: object) -> str | None:
    r"""Return what is wrong with a header, without its value, or None.

    >>> wrong_header("X-Key", "abc\nX-Other: 1")
    'the value of X-Key has a line break or NUL in it'
    """
    if not (isinstance(name, str) and isinstance(value, str)):
        return "name and value must be text"
    if not is_token(name):
        return f"{name[:40]!r} is no name of a header"
    if _BROKEN.search(value):
        return f"the value of {name} has a line break or NUL in it"
    return None
