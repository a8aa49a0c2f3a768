"""Values as they lie in Redis: serialised, in an envelope, for a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.config import CacheConfig
from qicore.cache.envelope import HEADER_SIZE, pack, unpack
from qicore.cache.errors import key_not_found, write_failed
from qicore.cache.times import invalid_ttl, jittered, ttl_is_wrong

__all__ = ["Found", "Packed", "Values"]

V = TypeVar("V")
_FOREVER: Final = math.inf


class Packed(NamedTuple):
    """What is written to Redis.

    Attributes:
        data: the bytes.
        milliseconds: how long Redis keeps them; 0 for ever.
        expires: when the value expires, in epoch seconds; infinity for never.
    """

    data: bytes
    milliseconds: int
    expires: float


class Found(NamedTuple):
    """What lay at a key.

    Attributes:
        value: the value, stale or not, or KEY_NOT_FOUND.
        header: the first bytes of what Redis holds, readable or not; empty when it holds nothing.
        stale: whether the value is beyond its time, and only serves while a new one is computed.
        expires: when the value expires, in epoch seconds; infinity for never.
    """

    value: Result[Any]
    header: bytes = b""
    stale: bool = False
    expires: float = _FOREVER


class Values:
    """Makes bytes of values and values of bytes, as the options say.

    Attributes:
        unreadable: how many were damaged, foreign, or none that the serializer accepts.
    """

    __slots__ = ("_clock", "_config", "unreadable")

    def __init__(self, config: CacheConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self.unreadable = 0

    def wrong_ttl(self, ttl: float | None) -> QiError | None:
        """Return INVALID_TTL, or None."""
        return invalid_ttl(ttl) if ttl is not None and ttl_is_wrong(ttl) else None

    def pack(self, name: str, value: object, ttl: float | None) -> Result[Packed]:
        """Return what is to be written; CACHE_WRITE_FAILED when the serializer can't, or it is too large."""
        config = self._config
        try:
            payload = config.serializer.dumps(value, key=name)
        except Exception as exception:  # noqa: BLE001 - a serializer may raise anything
            cause = QiError.from_exception(exception, code="SERIALIZATION_FAILED")
            return Failure(write_failed(cause))
        if len(payload) > config.max_value_size:
            message = f"it has {len(payload):,} bytes of at most {config.max_value_size:,}"
            return Failure(write_failed(QiError.validation("VALUE_TOO_LARGE", message)))
        ttl = config.ttl if ttl is None else ttl
        if ttl is None:
            return Success(Packed(pack(payload, 0, stale_later=False), 0, _FOREVER))
        life = jittered(ttl, config.ttl_jitter)
        expires = math.ceil((self._clock() + life) * 1000)
        milliseconds = max(1, math.ceil((life + config.stale_ttl) * 1000))
        data = pack(payload, expires, stale_later=config.stale_ttl > 0)
        return Success(Packed(data, milliseconds, expires / 1000))

    def open(self, key: str, name: str, data: bytes | None) -> Found:
        """Return the value in these bytes. What can't be read is not there, and is counted."""
        if data is None:
            return Found(Failure(key_not_found(key)))
        envelope = unpack(data) if len(data) <= self._config.max_value_size + HEADER_SIZE else None
        if envelope is None:
            return self._unreadable(key, data)
        try:
            value = self._config.serializer.loads(envelope.payload, key=name)
        except Exception:  # noqa: BLE001 - a serializer may raise anything, for the bytes may be anything
            return self._unreadable(key, data)
        expires = envelope.expires / 1000 if envelope.expires else _FOREVER
        return Found(Success(value), data[:HEADER_SIZE], envelope.stale(self._clock()), expires)

    def _unreadable(self, key: str, data: bytes) -> Found:
        self.unreadable += 1
        return Found(Failure(key_not_found(key)), data[:HEADER_SIZE])
