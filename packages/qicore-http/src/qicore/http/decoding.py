"""Undo gzip and deflate step by step, each step bounded, so that a small body can't become a huge one.

httpx inflates whatever arrived in one go: 94 KB of gzip become 100 MB before anybody can object.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

from qicore.http.errors import parse_error

__all__ = ["ACCEPTED", "Decoder", "make_decoder"]

ACCEPTED: Final = "gzip, deflate"
"""What is asked for with Accept-Encoding. An encoding that nobody asked for is handed on as it came."""
_STEP: Final = 64 * 1024
_MAX_LAYERS: Final = 4
_EITHER: Final = 32 + zlib.MAX_WBITS


class Decoder:
    """Undoes one encoding: `decode` what arrives, and `finish` at the end."""

    def __init__(self, *, raw_allowed: bool) -> None:
        self._object = zlib.decompressobj(_EITHER)
        # "deflate" is the zlib format (RFC 9110, section 8.4.1.2), yet some servers leave out its header.
        self._raw_allowed = raw_allowed
        self._held: bytes = b""
        self._started = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what the data hold, in pieces of at most 64 KiB; QiError (PARSE_ERROR) if they are broken."""
        if self._raw_allowed and not self._started:
            # It takes the two bytes of the header to tell.
            data = self._held + data
            if len(data) < 2:
                self._held = data
                return
        while data:
            if self._object.eof:
                # A gzip body may have several members, one after the other (RFC 1952, section 2.2).
                self._object = zlib.decompressobj(_EITHER)
            try:
                piece = self._object.decompress(data, _STEP)
            except zlib.error as error:
                if not self._raw_allowed or self._started:
                    raise parse_error(f"the body is not compressed as it says: {error}") from None
                self._raw_allowed = False
                self._object = zlib.decompressobj(-zlib.MAX_WBITS)
                continue
            self._started = True
            data = self._object.unconsumed_tail or self._object.unused_data
            if piece:
                yield piece
            while len(piece) == _STEP and not data and not self._object.eof:
                # The step may have ended inside what zlib holds back.
                piece = self._object.decompress(b"", _STEP)
                if piece:
                    yield piece

    def finish(self) -> None:
        """Check that the compressed data ended; QiError (PARSE_ERROR) if they did not."""
        if (self._started and not self._object.eof) or (self._held and not self._started):
            raise parse_error("the compressed body ends in the middle")


class _Stack:
    """Several encodings, undone one after the other."""

    def __init__(self, decoders: list[Decoder]) -> None:
        self._decoders = decoders

    def decode(self, data: bytes) -> Iterator[bytes]:
        return self._through(data, len(self._decoders) - 1)

    def _through(self, data: bytes, layer: int) -> Iterator[bytes]:
        if layer < 0:
            yield data
            return
        for piece in self._decoders[layer].decode(data):
            yield from self._through(piece, layer - 1)

    def finish(self) -> None:
        for decoder in self._decoders:
            decoder.finish()


def make_decoder(headers: list[tuple[bytes, bytes]]) -> Any:
    """Return what undoes the Content-Encoding of these headers, or None when there is nothing to undo."""
    values = [value for name, value in headers if name.lower() == b"content-encoding"]
    if not values:
        return None
    names = [name.strip().lower() for name in b",".join(values).split(b",")]
    names = [name for name in names if name not in (b"", b"identity")]
    if not names or any(name not in (b"gzip", b"x-gzip", b"deflate") for name in names):
        return None
    if len(names) > _MAX_LAYERS:
        raise parse_error(f"the body is encoded {len(names)} times over")
    decoders = [Decoder(raw_allowed=name == b"deflate") for name in names]
    return decoders[0] if len(decoders) == 1 else _Stack(decoders)
