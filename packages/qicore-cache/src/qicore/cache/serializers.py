"""How values become bytes, for a file or Redis."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

__all__ = ["MessagePackSerializer", "Serializer"]


class Serializer(Protocol):
    """Makes bytes of a value, and the value of the bytes.

    Either may raise: then the value is not written (CACHE_WRITE_FAILED), or not found (KEY_NOT_FOUND), and
    counted. `key` is the key with its namespace, for serializers that bind a value to its place.
    """

    def dumps(self, value: Any, /, *, key: str) -> bytes:
        """Return the bytes of a value."""
        ...

    def loads(self, data: bytes, /, *, key: str) -> Any:
        """Return the value of the bytes, which may be anything at all."""
        ...


class MessagePackSerializer:
    """MessagePack, by msgspec: data only, so whatever lies in the cache, reading it executes nothing.

    None, bool, int, float, str, bytes, lists, dicts, datetimes, UUIDs, dataclasses, msgspec structs and enums
    can be written. Without a `type` they are read as the plain ones of these (a tuple as a list, a dataclass
    as a dict); with it as values of that type, and what does not fit it is KEY_NOT_FOUND.

    >>> MessagePackSerializer(dict[str, int]).loads(MessagePackSerializer().dumps({"a": 1}, key=""), key="")
    {'a': 1}
    """

    __slots__ = ("_decoder", "_encoder")

    def __init__(self, type: Any = Any) -> None:  # noqa: A002 - msgspec's own name for it
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(type)

    def dumps(self, value: Any, /, *, key: str) -> bytes:  # noqa: ARG002 - bound to no place
        """Return the bytes of a value."""
        return self._encoder.encode(value)

    def loads(self, data: bytes, /, *, key: str) -> Any:  # noqa: ARG002 - bound to no place
        """Return the value of the bytes."""
        return self._decoder.decode(data)
