"""The cache on Redis: one server, Sentinel or Cluster, with redis-py underneath."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.cache import Cache
from qicore.cache.config import CacheConfig
from qicore.cache.connection import RedisClient
from qicore.cache.envelope import HEADER_SIZE, pack, unpack, unpack_header
from qicore.cache.keyspace import Keyspace
from qicore.cache.wire import Command, Wire

__all__ = ["Found", "RedisCache"]

V = TypeVar("V")
_BATCH: Final = 1000  # names that one SCAN looks at, and that one command reads or removes


class Found(NamedTuple):
    """What lay at a key.

    Attributes:
        value: the value, or KEY_NOT_FOUND.
        header: the first bytes of what Redis holds, readable or not; empty when it holds nothing.
        stale: whether the value is beyond its time, and only serves while a new one is computed.
        expires: the moment in epoch seconds when the value expires; infinity for never.
    """

    value: Result[Any]
    header: bytes = b""
    stale: bool = False
    expires: float = math.inf


class RedisCache(Cache[V]):
    """A cache that processes share."""

    def __init__(self, wire: Wire, config: CacheConfig, *, clock: Callable[[], float] = time.time) -> None:
        self._wire = wire
        self._config = config
        self._clock = clock
        self._space = Keyspace(config.namespace)

    # ---- one key

    async def get(self, key: str) -> Result[V]:
        answer = await self._wire.ask("GET", self._space.name(key))
        if type(answer) is Failure:
            return self._unread(key, answer.error)
        return self._open(key, answer.data).value

    async def look(self, key: str) -> Result[Found]:
        """Return what lies at a key, with when it expires: for a level above this one."""

    async def set(self, key: str, value: V, ttl: float | None = None) -> Result[None]:
        packed = self._pack(value, ttl)
        if type(packed) is Failure:
            return packed
        answer = await self._wire.tell(*self._writing(self._space.name(key), *packed.unwrap()))
        return Success(None) if type(answer) is Success else self._unwritten(answer.error)

    async def remove(self, key: str) -> Result[bool]:
        """Remove a value. Whoever computes it at this moment will not put it back."""
        names = (self._space.name(key), self._space.lock(key))
        answer = await self._wire.tell_all([("UNLINK", name) for name in names])
