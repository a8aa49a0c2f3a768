"""What lies in the store for one URL: its responses, one for each choice of the fields named by Vary."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any, Final

from qicore.http.freshness import Fields, field_value

__all__ = ["Entry", "pack", "unpack", "vary_choice"]

_MAGIC: Final = b"QHC1"
_HEAD: Final = struct.Struct(">4s16s")  # format, digest of all that follows
_SIZE: Final = struct.Struct(">I")  # of the description


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored response."""

    method: str
    status: int
    fields: Fields
    """Its header fields, names in lower case."""
    body: bytes
    """Decompressed, whatever the fields say."""
    born: float
    """Epoch seconds at which its origin sent it or last confirmed it, corrected for the time on the way."""
    lifetime: float
    """Seconds after `born` for which it is fresh."""
    choice: str | None
    """Digest of the request's values of the fields that Vary names, see `vary_choice`."""


def vary_choice(response: Fields, request: Fields) -> str | None:
    """Return what the request chose among the variants of a response; None for `Vary: *`: nothing matches.

    It is a digest, so that a token named by Vary does not get into the store.
    """
    named = (field_value(response, "vary") or "").lower()
    names = sorted({name.strip() for name in named.split(",")} - {""})
    if "*" in names:
        return None
    chosen = [(name, _normal(field_value(request, name))) for name in names]
    return hashlib.blake2b(json.dumps(chosen).encode(), digest_size=16).hexdigest()


def _normal(value: str | None) -> str | None:
    return None if value is None else ",".join(part.strip() for part in value.split(","))


def pack(entries: list[Entry]) -> bytes:
    """Return the bytes to store."""
    described = [
        [entry.method, entry.status, entry.fields, len(entry.body), entry.born, entry.lifetime, entry.choice]
        for entry in entries
    ]
    description = json.dumps(described, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    content = _SIZE.pack(len(description)) + description + b"".join(entry.body for entry in entries)
    return _HEAD.pack(_MAGIC, _digest(content)) + content


def unpack(data: object) -> list[Entry] | None:
    """Return the entries in what a store gave back; None if it is not, or no longer, what `pack` made."""
    if not isinstance(data, bytes) or len(data) < _HEAD.size:
        return None
    magic, digest = _HEAD.unpack_from(data)
    content = data[_HEAD.size :]
    if magic != _MAGIC or digest != _digest(content):
        return None
    try:
        start = _SIZE.size + _SIZE.unpack_from(content)[0]
        described: Any = json.loads(content[_SIZE.size : start])
        entries: list[Entry] = []
        for method, status, fields, length, born, lifetime, choice in described:
            pairs = tuple((str(name), str(value)) for name, value in fields)
            body = content[start : start + length]
            entries.append(Entry(str(method), int(status), pairs, body, float(born), float(lifetime), choice))
            start += length
    except (ValueError, TypeError, struct.error):  # another version of this format, with its digest
        return None
    return entries


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
