"""The names of values: `db.host` for people, `("db", "host")` inside."""

from __future__ import annotations

import re
from typing import Final, TypeAlias

__all__ = ["Key", "Path", "parse_key", "show_path"]

Key: TypeAlias = "str | tuple[str | int, ...]"
Path: TypeAlias = "tuple[str | int, ...]"

_PLAIN: Final = re.compile(r"[^\s.\"']+")


def parse_key(key: Key) -> Path:
    """Return the parts of a key: text is split at its dots; a tuple is taken as it is, dots and all."""
    if isinstance(key, tuple):
        return key
    return tuple(key.split("."))


def show_path(path: Path) -> str:
    """Return a path for people; a part that has dots or blanks in it stands in quotes.

    >>> show_path(("servers", 0, "a.b"))
    'servers.0."a.b"'
    """
    return ".".join(
        part
        if isinstance(part, str) and _PLAIN.fullmatch(part)
        else f'"{part}"'
        if isinstance(part, str)
        else str(part)
        for part in path
    )
