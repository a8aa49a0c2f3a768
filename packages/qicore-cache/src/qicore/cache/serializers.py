"""How values become bytes, for a file or Redis."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from hashlib import blake2b
from hmac import compare_digest
from typing import Any, Final, Protocol

import msgspec

__all__ = ["JSONSerializer", "MessagePackSerializer", "PickleSerializer", "Serializer"]


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

    None, bool, int (of 64 bits), float, str, bytes, lists, dicts, datetimes, UUIDs, dataclasses, msgspec
    structs and enums can be written. Without a `type` they are read as the plain ones of these (a tuple as a
    list, a dataclass as a dict, a UUID as text); with it as values of that type, and what does not fit it is
    KEY_NOT_FOUND.

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


class JSONSerializer:
    """JSON, by msgspec: for a cache that programs in other languages read too.

    It reads and writes what `MessagePackSerializer` does, but JSON has fewer types: without a `type` bytes
    and datetimes are read as text, the keys of a dict too, and NaN and the infinities are written as null.

    >>> serializer = JSONSerializer(tuple[int, ...])
    >>> serializer.dumps((1, 2), key=""), serializer.loads(b"[1,2]", key="")
    (b'[1,2]', (1, 2))
    """

    __slots__ = ("_decoder", "_encoder")

    def __init__(self, type: Any = Any) -> None:  # noqa: A002 - msgspec's own name for it
        self._encoder = msgspec.json.Encoder()
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(type)

    def dumps(self, value: Any, /, *, key: str) -> bytes:  # noqa: ARG002 - bound to no place
        """Return the bytes of a value."""
        return self._encoder.encode(value)

    def loads(self, data: bytes, /, *, key: str) -> Any:  # noqa: ARG002 - bound to no place
        """Return the value of the bytes."""
        return self._decoder.decode(data)


_LEAST_KEY: Final = 32  # bytes
_MAC: Final = 32  # bytes
# It stands before every value and is a part of the MAC. There is one algorithm to it: nothing that lies in
# the cache has a say in how it is checked.
_FORMAT: Final = b"\x01"
_PURPOSE: Final = b"qicore-pickle-1"  # BLAKE2's personalisation: a MAC for anything else is none here


class PickleSerializer:
    """Pickle, for values of any class, signed with a secret key, and read only when the signature is right.

    To unpickle what a stranger wrote is to execute it. So before a byte is unpickled its MAC is checked
    (keyed BLAKE2b over format, place and value): what was changed, cut off, written without the key, or
    copied here from another key is KEY_NOT_FOUND, and counted. Who has the key can still execute anything:
    keep it out of reach of those who only may use the cache. To change the key, name the old one in
    `previous_keys` until all that it has signed has expired.

    Raises ValueError for a key of less than 32 bytes; `secrets.token_bytes(32)` makes one.

    >>> serializer = PickleSerializer(b"a secret of at least 32 bytes ....")
    >>> data = serializer.dumps({1, 2}, key="qicore:a")
    >>> serializer.loads(data, key="qicore:a")
    {1, 2}
    >>> serializer.loads(data, key="qicore:b")
    Traceback (most recent call last):
    ValueError: the value is not signed with the key of this cache, or not for this place
    """

    __slots__ = ("_macs",)

    def __init__(self, key: bytes, previous_keys: Sequence[bytes] = ()) -> None:
        keys: list[object] = [key, *previous_keys]
        if not all(isinstance(one, bytes) and len(one) >= _LEAST_KEY for one in keys):
            raise ValueError(f"a key of PickleSerializer must have at least {_LEAST_KEY} bytes")
        # Only what is made of the keys is kept, and can be neither shown nor pickled.
        self._macs = [_keyed(one) for one in (key, *previous_keys)]

    def dumps(self, value: Any, /, *, key: str) -> bytes:
        """Return the bytes of a value, signed for this place."""
        payload = pickle.dumps(value, protocol=5)
        return b"".join((_FORMAT, self._sign(0, payload, key), payload))

    def loads(self, data: bytes, /, *, key: str) -> Any:
        """Return the value of the bytes, once their signature is checked; else ValueError."""
        start = len(_FORMAT) + _MAC
        mac, payload = data[len(_FORMAT) : start], data[start:]
        signed = data[: len(_FORMAT)] == _FORMAT and any(
            compare_digest(mac, self._sign(which, payload, key)) for which in range(len(self._macs))
        )
        if not signed:
            raise ValueError("the value is not signed with the key of this cache, or not for this place")
        return pickle.loads(payload)  # noqa: S301 - who signed it has the key

    def _sign(self, which: int, payload: bytes, key: str) -> bytes:
        mac = self._macs[which].copy()
        place = key.encode("utf-8", "surrogatepass")
        # With its length before it the place can't run into the value.
        mac.update(len(place).to_bytes(4, "big") + place)
        mac.update(payload)
        return mac.digest()


def _keyed(key: bytes) -> blake2b:
    # BLAKE2b takes keys of up to 64 bytes, so a key of any length becomes one.
    short = blake2b(key, digest_size=64, person=_PURPOSE).digest()
    mac = blake2b(key=short, digest_size=_MAC, person=_PURPOSE)
    mac.update(_FORMAT)
    return mac
