"""Answers of servers, as JSON that may hold anything: what is none gets an error that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from qicore.ai.errors import no_json, unreadable

__all__ = ["arguments_of", "as_object", "count_of", "entries_of", "parse_object", "readable"]


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Return the object that a text holds, or bytes, which are UTF-8 as all JSON (RFC 8259, 8.1).

    >>> parse_object('{"done": true}')
    {'done': True}
    """
    try:
        return as_object(json.loads(text))
    except (ValueError, RecursionError) as error:  # too long a number, and too deep, are these
        raise no_json() from error


def as_object(given: object) -> dict[str, Any]:
    """Return what was given, if it is an object."""
    if type(given) is not dict:
        raise unreadable("something that is no object")
    return cast("dict[str, Any]", given)


def readable(text: str) -> str:
    r"""Return a text that can be shown and sent: what JSON can write and UTF-8 can't becomes U+FFFD.

    >>> readable("\ud83d\ude00 \ud83d") == "\U0001f600 \ufffd"
    True
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def arguments_of(given: object) -> dict[str, Any]:
    """Return the arguments of a call, if they are an object that can be sent back as it came."""
    if type(given) is not dict:
        raise unreadable("a tool call that is none")
    try:
        json.dumps(given, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise unreadable("a tool call that is none") from None
    return cast("dict[str, Any]", given)


def entries_of(answer: Mapping[str, Any], name: str) -> list[object]:
    """Return the list of this name; null is an empty one, as servers in Go write it."""
    entries = answer.get(name, 0)
    if entries is not None and not isinstance(entries, list):
        raise unreadable(f"no {name}")
    return cast("list[object]", entries or [])


def count_of(holder: object, name: str) -> int:
    """Return the whole number of this name, or 0."""
    value = cast("dict[str, object]", holder).get(name) if type(holder) is dict else None
    return value if isinstance(value, int) else 0
