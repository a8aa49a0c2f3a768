"""What surrounds a value in Redis: a version, a checksum and when it expires."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from zlib import crc32

__all__ = ["HEADER_SIZE", "Envelope", "pack", "unpack", "unpack_header"]

# One byte of version, a CRC-32 of all the rest, the moment of expiry in epoch milliseconds (0: never).
_HEADER: Final = struct.Struct(">BIQ")
_REST: Final = struct.Struct(">BQ")
HEADER_SIZE: Final = _HEADER.size
_PLAIN: Final = 0xC1
# Redis keeps it for longer than it is good: after its moment it only serves while a new one is computed.
_STALE_LATER: Final = 0xC2


class Envelope(NamedTuple):
    """A value as it lies in Redis.

    Attributes:
        payload: the serialised value; empty when only the header was read.
        expires: the moment when it expires, in epoch milliseconds by the clock of its writer, or 0.
        stale_later: whether Redis keeps it beyond that moment.
    """

    payload: bytes
    expires: int
    stale_later: bool

    def stale(self, now: float) -> bool:
        """Whether it is beyond its moment; `now` is in epoch seconds.

        Without a time to be stale Redis itself lets the value expire, by its own clock, and no other counts.
        """
        return self.stale_later and now * 1000 >= self.expires


def pack(payload: bytes, expires: int, *, stale_later: bool) -> bytes:
    """Return what is written to Redis.

    >>> unpack(pack(b"value", 1_000, stale_later=False))
    Envelope(payload=b'value', expires=1000, stale_later=False)
    """
    version = _STALE_LATER if stale_later else _PLAIN
    return _HEADER.pack(version, crc32(payload, crc32(_REST.pack(version, expires))), expires) + payload


def unpack(data: bytes) -> Envelope | None:
    """Return what was packed, or None when the bytes are truncated, damaged or none of ours."""
    envelope = unpack_header(data)
    if envelope is None:
        return None
    payload = data[HEADER_SIZE:]
    version, checksum, expires = _HEADER.unpack_from(data)
    if crc32(payload, crc32(_REST.pack(version, expires))) != checksum:
        return None
    return Envelope(payload, envelope.expires, envelope.stale_later)


def unpack_header(data: bytes) -> Envelope | None:
    """Return what the first `HEADER_SIZE` bytes tell, which can't be checked for damage, or None."""
    if len(data) < HEADER_SIZE:
        return None
    version, _, expires = _HEADER.unpack_from(data)
    if version != _PLAIN and version != _STALE_LATER:
        return None
    return Envelope(b"", expires, version == _STALE_LATER)
