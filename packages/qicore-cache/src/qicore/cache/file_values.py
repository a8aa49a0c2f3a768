"""Values as they lie in the file: serialised, with a checksum, for a time."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.config import CacheConfig
from qicore.cache.errors import key_not_found, write_failed
from qicore.cache.file_store import Entry, Row
from qicore.cache.keyspace import Keyspace
from qicore.cache.times import jittered

__all__ = ["Found", "Header", "Values"]

_TIMES: Final = Struct("<dd")

Header: TypeAlias = tuple[int, float | None, float | None]
"""What tells a value that was written from another one: its checksum and its times."""


class Found(NamedTuple):
    """What lay at a key.

    Attributes:
        value: the value, stale or not, or KEY_NOT_FOUND.
        header: of what the file holds, readable or not; None when it holds nothing.
        stale: whether the value is over, and only serves while a new one is computed.
    """

    value: Result[Any]
    header: Header | None = None
    stale: bool = False


class Values:
    """Makes entries of values and values of rows, as the options say.

    Attributes:
        unreadable: how many were damaged, foreign, or none that the serializer accepts.
    """

    __slots__ = ("_clock", "_config", "_dumps", "_loads", "_most", "_name", "_seed", "unreadable")

    def __init__(self, config: CacheConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._most = config.max_value_size
        self._name = Keyspace(config.namespace).name
        self._dumps = config.serializer.dumps
        self._loads = config.serializer.loads
        self._seed = crc32(config.namespace.encode())
        self.unreadable = 0

    def pack(self, key: str, value: object, ttl: float | None) -> Result[Entry]:
        """Return what is to be written; CACHE_WRITE_FAILED when the serializer can't, or it is too large."""
        config = self._config
        try:
            data = self._dumps(value, key=self._name(key))
            if type(data) is not bytes:
                raise TypeError(f"a serializer has to give bytes, not {type(data).__name__}")
        except Exception as exception:  # noqa: BLE001 - a serializer may raise anything
            return Failure(write_failed(QiError.from_exception(exception, code="SERIALIZATION_FAILED")))
        size = len(data)
        if size > self._most:
            message = f"it has {size:,} bytes of at most {self._most:,}"
            return Failure(write_failed(QiError.validation("VALUE_TOO_LARGE", message)))
        if config.max_weight is not None and size > config.max_weight:
            message = f"it weighs {size:,} of at most {config.max_weight:,}"
            return Failure(write_failed(QiError.cache("VALUE_TOO_HEAVY", message)))
        if ttl is None:
            ttl = config.ttl
            if ttl is None:
                return Success(Entry(key, data, self._checksum(key, data, None, None)))
        expires = self._clock() + jittered(ttl, config.ttl_jitter)
        until = expires + config.stale_ttl
        return Success(Entry(key, data, self._checksum(key, data, expires, until), expires, until))

    def open(self, key: str, row: Row) -> Found:
        """Return the value in a row. What can't be read is not there, and is counted."""
        value = self.read(key, row)
        expires = row[2]
        stale = isinstance(value, Success) and expires is not None and expires <= self._clock()
        return Found(value, row[1:], stale)

    def read(self, key: str, row: Row) -> Result[Any]:
        """Return the value in a row, stale or not, or KEY_NOT_FOUND."""
        data, checksum, expires, until = row
        try:
            if (
                data is not None
                and len(data) <= self._most
                and self._checksum(key, data, expires, until) == checksum
            ):
                return Success(self._loads(data, key=self._name(key)))
        except Exception:  # noqa: BLE001, S110 - what is damaged may be of any type, and a serializer raise anything
            pass
        self.unreadable += 1
        return Failure(key_not_found(key))

    def _checksum(self, key: str, data: bytes, expires: float | None, until: float | None) -> int:
        # Of the key too: the damaged index of a database leads to the value of another.
        checksum = crc32(key.encode(), self._seed)
        if expires is not None:
            checksum = crc32(_TIMES.pack(expires, until), checksum)
        return crc32(data, checksum)
