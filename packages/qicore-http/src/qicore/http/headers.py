"""Which headers can be sent: those that stay one header on the wire."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_token", "wrong_header"]

# RFC 9110, section 5.6.2.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_BROKEN: Final = re.compile(r"[\x00\r\n]")


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
