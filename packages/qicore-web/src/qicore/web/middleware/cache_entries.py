"""What lies in a response cache: a response, or the names of the request fields that choose one."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["Item", "Kept", "Names", "entity_tag", "pack", "unpack"]

_MAGIC: Final = b"QWC1"
_HEAD: Final = struct.Struct(">4s16s")  # format, digest of all that follows
_SIZE: Final = struct.Struct(">I")  # of the description


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored response.

    Attributes:
        status: its status.
        fields: its header fields.
        body: its bytes.
        born: epoch seconds at which the handler gave it.
        lifetime: seconds after that for which it is fresh.
        public: whether it is for requests that say who asks, too.
    """

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
    born: float
    lifetime: float
    public: bool

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return len(self.body) + sum(len(name) + len(value) + 150 for name, value in self.fields) + 500


@dataclass(frozen=True, slots=True)
class Names:
    """The request fields that choose among the responses of one URL (Vary).

    Attributes:
        names: of the fields.
        salt: part of the keys of those responses. When these names are forgotten, for something was written
            at the URL, the next have another salt: what was chosen by the old ones is never found again.
    """

    names: tuple[bytes, ...]
    salt: str

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return 500


Item: TypeAlias = Kept | Names


def pack(item: Item) -> bytes:
    """Return the bytes to store."""
    if isinstance(item, Names):
        described: list[object] = [_text(item.names), item.salt]
        body = b""
    else:
        flat = _text(part for pair in item.fields for part in pair)
        described = [flat, item.status, item.born, item.lifetime, item.public]
        body = item.body
    description = json.dumps(described, separators=(",", ":")).encode("ascii")
    content = _SIZE.pack(len(description)) + description + body
    return _HEAD.pack(_MAGIC, _digest(content)) + content


def unpack(data: object) -> Item | None:
    """Return what was stored; None if it is not, or no longer, what `pack` made.

    >>> unpack(pack(Names((b"accept",), "7")))
    Names(names=(b'accept',), salt='7')
    >>> unpack(b"something else") is None
    True
    """
    if not isinstance(data, bytes) or len(data) < _HEAD.size:
        return None
    magic, digest = _HEAD.unpack_from(data)
    content = data[_HEAD.size :]
    if magic != _MAGIC or digest != _digest(content):
        return None
    try:
        start = _SIZE.size + _SIZE.unpack_from(content)[0]
        described: Any = json.loads(content[_SIZE.size : start])
        texts = [str(text).encode("latin-1") for text in described[0]]
        if len(described) == 2:
            return Names(tuple(texts), str(described[1]))
        _, status, born, lifetime, public = described
        fields = tuple(zip(texts[::2], texts[1::2], strict=True))
        return Kept(int(status), fields, content[start:], float(born), float(lifetime), public is True)
    except (
        ValueError,
        TypeError,
        LookupError,
        struct.error,
    ):  # another version of this format, with its digest
        return None


def _text(values: Any) -> list[str]:
    return [value.decode("latin-1") for value in values]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def entity_tag(body: bytes) -> bytes:
    """Return a strong entity tag: other bytes have another one (RFC 9110, section 8.8.3).

    >>> entity_tag(b"hello") == entity_tag(b"hello"), entity_tag(b"hello") == entity_tag(b"hallo")
    (True, False)
    """
    return b'"' + base64.urlsafe_b64encode(hashlib.blake2b(body, digest_size=15).digest()) + b'"'
