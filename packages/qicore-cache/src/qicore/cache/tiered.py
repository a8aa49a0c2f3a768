"""Memory over Redis: what is read often is read here, and forgotten as soon as anybody changes it."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.cache import Cache, Factory
from qicore.cache.config import CacheConfig
from qicore.cache.connection import RedisClient
from qicore.cache.errors import key_not_found
from qicore.cache.invalidation import Listener
from qicore.cache.keys import check_key, check_keys
from qicore.cache.keyspace import Keyspace
from qicore.cache.memory import MemoryCache
from qicore.cache.redis_cache import RedisCache
from qicore.cache.redis_values import Found
from qicore.cache.statistics import CacheStatistics
from qicore.cache.times import invalid_ttl, ttl_is_wrong

__all__ = ["TieredCache"]

V = TypeVar("V")


class _Reading:
    """Reads of one key that are on their way; `dirty` when the key has changed since they began."""

    __slots__ = ("count", "dirty")

    def __init__(self) -> None:
        self.count = 0
        self.dirty = False


class TieredCache(Cache[V]):
    """A cache in memory over one on Redis, for the tasks of one event loop.

    It opens with `Cache.create_tiered`. A value in memory is answered without awaiting anything, as long as
    the connection that tells of changes is known to work. Memory keeps the values themselves, not copies: who
    changes one changes it for all in this process.
    """

    def __init__(self, redis: RedisCache[V], config: CacheConfig, connect: Callable[[], Any]) -> None:
        self._redis = redis
        self._config = config
        self._space = Keyspace(config.namespace)
        near = dataclasses.replace(config, ttl=None, ttl_jitter=0.0, stale_ttl=0.0)
        self._memory: MemoryCache[V] = MemoryCache.create(near).unwrap()
        self._reads: dict[str, _Reading] = {}
        self._misses = self._far_hits = 0
        self._clock = time.monotonic
        self._listener = Listener(
            connect,
            self._space.prefix.encode(),
            max_staleness=config.max_staleness,
            clock=time.monotonic,
            on_keys=self._changed,
            on_reset=self._forget,
        )

    @classmethod
    async def open(cls, redis: RedisCache[Any], config: CacheConfig) -> Result[TieredCache[Any]]:
        """Begin to listen; CACHE_CREATION_FAILED [VALIDATION] for a Cluster, whose servers are many."""
        connect = redis.link.spare
        if connect is None:
            return Failure(
                QiError.validation("CACHE_CREATION_FAILED", "memory over a Cluster can't be kept true")
            )
        cache: TieredCache[Any] = TieredCache(redis, config, connect)
        # While it can't be heard nothing is answered from memory, and the listener tries on.
        await cache._listener.start(config.timeout)
        return Success(cache)

    @property
    def config(self) -> CacheConfig:
        """The options it was made with."""
        return self._config

    @property
    def raw(self) -> RedisClient:
        """The client of redis-py."""
        return self._redis.raw

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._redis.closed

    # ---- what the listener tells

    def _changed(self, names: Sequence[bytes]) -> None:
        for name in names:
            self._drop(self._space.key(name))

    def _forget(self) -> None:
        self._memory.clear()
        for reading in self._reads.values():
            reading.dirty = True
        self._reads.clear()

    def _drop(self, key: str) -> None:
        """Forget a key, and what is being read of it."""
        if self._memory.remove(key).is_failure:
            return  # it is no key
        reading = self._reads.pop(key, None)
        if reading is not None:
            reading.dirty = True

    # ---- one key

    def get(self, key: str) -> Awaitable[Result[V]]:
        """Return the value, from memory at once; else as Redis has it."""
        if self._clock() < self._listener.trusted_until:
            near = self._memory.get(key)
            if isinstance(near, Success):
                return near
        return self._get(key)

    async def _get(self, key: str) -> Result[V]:
        looked = await self._look(key)
        found = looked.data
        if found is None:
            return Failure(cast("QiError", looked.error))
        if isinstance(found.value, Success) and not found.stale:
            self._far_hits += 1
            return found.value
        self._misses += 1
        return Failure(key_not_found(key))

    async def _look(self, key: str) -> Result[Found]:
        """Ask Redis, and keep what it answers unless it has changed meanwhile."""
        wrong = check_key(key)
        if wrong is not None:
            return Failure(wrong)
        reading = self._reads.setdefault(key, _Reading())
        reading.count += 1
        try:
            looked = await self._redis.look(key)
        finally:
            self._has_read(key, reading)
        if looked.data is not None:
            self._keep(key, looked.data, reading)
        return looked

    def _has_read(self, key: str, reading: _Reading) -> None:
        reading.count -= 1
        if not reading.count and self._reads.get(key) is reading:
            del self._reads[key]

    def _keep(self, key: str, found: Found, reading: _Reading) -> None:
        if reading.dirty or found.stale or not isinstance(found.value, Success):
            return
        left = found.expires - time.time()
        if left > 0 and self._clock() < self._listener.trusted_until:
            self._memory.set(key, found.value.data, None if left == math.inf else left)

    async def set(self, key: str, value: V, ttl: float | None = None) -> Result[None]:
        """Keep a value; see `RedisCache.set`. From here on everybody reads it, this process at once."""
        try:
            return await self._redis.set(key, value, ttl)
        finally:
            # Also when it failed, or was cancelled: it may have been written.
            self._drop(key)

    async def remove(self, key: str) -> Result[bool]:
        """Remove a value; True when there was one."""
        try:
            return await self._redis.remove(key)
        finally:
            self._drop(key)

    def has(self, key: str) -> Awaitable[Result[bool]]:
        """Whether Redis has a value."""
        return self._redis.has(key)

    def get_or_set(self, key: str, factory: Factory[V], ttl: float | None = None) -> Awaitable[Result[V]]:
        """Return the value, from memory at once; else as `RedisCache.get_or_set`."""
        if ttl is not None and ttl_is_wrong(ttl):
            return Failure(invalid_ttl(ttl))
        if self._clock() < self._listener.trusted_until:
            near = self._memory.get(key)
            if isinstance(near, Success):
                return near
        return self._get_or_set(key, factory, ttl)

    async def _get_or_set(self, key: str, factory: Factory[V], ttl: float | None) -> Result[V]:
        found = (await self._look(key)).data
        if found is not None and isinstance(found.value, Success) and not found.stale:
            self._far_hits += 1
            return found.value
        # It looks again, for another may have computed it since, and knows what to do when Redis fails.
        return await self._redis.get_or_set(key, factory, ttl)

    # ---- many keys

    async def get_many(self, keys: Iterable[str]) -> Result[dict[str, V]]:
        """Return the values that there are, by key: from memory, and the others from Redis in one go."""
        checked = check_keys(keys)
        wanted = checked.data
        if wanted is None:
            return Failure(cast("QiError", checked.error))
        values: dict[str, V] = {}
        if self._clock() < self._listener.trusted_until:
            values = self._memory.get_many(wanted).data or {}
        missing = [key for key in wanted if key not in values]
        if not missing:
            return Success(values)
        readings = {key: self._reads.setdefault(key, _Reading()) for key in missing}
        for reading in readings.values():
            reading.count += 1
        try:
            looked = await self._redis.look_many(missing)
        finally:
            for key, reading in readings.items():
                self._has_read(key, reading)
        if looked.error is not None:
            return Failure(looked.error)
        for key, found in looked.unwrap().items():
            self._keep(key, found, readings[key])
            values[key] = found.value.unwrap()
        self._far_hits += len(looked.unwrap())
        self._misses += len(missing) - len(looked.unwrap())
        return Success({key: values[key] for key in wanted if key in values})

    async def set_many(self, values: Mapping[str, V], ttl: float | None = None) -> Result[None]:
        """Keep many values; see `RedisCache.set_many`."""
        try:
            return await self._redis.set_many(values, ttl)
        finally:
            for key in list(values) if isinstance(cast("object", values), Mapping) else ():
                self._drop(key)

    def keys(self, pattern: str = "*") -> Awaitable[Result[list[str]]]:
        """Return the keys in Redis that match, sorted."""
        return self._redis.keys(pattern)

    def size(self) -> Awaitable[Result[int]]:
        """Return how many values Redis has."""
        return self._redis.size()

    async def clear(self) -> Result[None]:
        """Remove all values of this namespace."""
        try:
            return await self._redis.clear()
        finally:
            self._forget()

    # ---- all of it

    def flush(self) -> Awaitable[Result[None]]:
        """Do nothing: what was written is with Redis already."""
        return self._redis.flush()

    def statistics(self) -> CacheStatistics:
        """Return what both levels have counted; `evictions` are the memory's."""
        near, far = self._memory.statistics(), self._redis.statistics()
        return dataclasses.replace(
            far,
            hits=far.hits + near.hits + self._far_hits,
            misses=far.misses + self._misses,
            evictions=near.evictions,
        )

    async def close(self) -> Result[None]:
        """Close the connections. A second call changes nothing."""
        if self._redis.wire.usable() is None:
            await self._listener.close()
            self._memory.close()
        return await self._redis.close()
