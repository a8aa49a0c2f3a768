"""Checks on the options of middleware: what is wrong is wrong when the application is put together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, cast

__all__ = ["check_count", "check_seconds", "check_texts", "header_name", "header_value"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_LONGEST: Final = 1e9
"""Seconds: more than thirty years, and timers can still reckon with them."""


def header_name(option: str, name: object) -> bytes:
    """Return the name of a header field in lower case, as ASGI has it; raise ValueError for what is none.

    >>> header_name("header", "X-Request-ID")
    b'x-request-id'
    """
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise ValueError(f"{option} must be the name of a header field")
    return name.lower().encode("ascii")


def header_value(option: str, value: object) -> bytes:
    r"""Return the value of a header field; raise ValueError where it would break out of its line.

    >>> header_value("frame", "DENY\r\nSet-Cookie: a=b")
    Traceback (most recent call last):
    ValueError: frame must be one line of printable ASCII
    """
    if not isinstance(value, str) or not value.strip() or not (value.isascii() and value.isprintable()):
        raise ValueError(f"{option} must be one line of printable ASCII")
    return value.strip().encode("ascii")


def check_seconds(option: str, value: object) -> float:
    """Return seconds above 0, or raise ValueError."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= _LONGEST:
        raise ValueError(f"{option} must be a number of seconds above 0")
    return float(value)


def check_count(option: str, value: object, *, least: int = 1) -> int:
    """Return a whole number from `least` on, or raise ValueError."""
    if type(value) is not int or value < least:
        raise ValueError(f"{option} must be a whole number of at least {least}")
    return value


def check_texts(option: str, values: object) -> tuple[str, ...]:
    """Return several texts, or raise ValueError; one text alone is none, for it would be taken for letters.

    >>> check_texts("origins", "https://example.org")
    Traceback (most recent call last):
    ValueError: origins must be several texts, in a list or a tuple
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{option} must be several texts, in a list or a tuple")
    found = tuple(cast("Iterable[object]", values))
    if not all(isinstance(value, str) and value for value in found):
        raise ValueError(f"{option} must be several texts, in a list or a tuple")
    return cast("tuple[str, ...]", found)
