"""The cache on Redis: one server, Sentinel or Cluster, with redis-py underneath."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final, TypeVar, cast

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.cache import Cache, Factory
from qicore.cache.config import CacheConfig
from qicore.cache.connection import Command, Link, RedisClient
from qicore.cache.errors import key_not_found, load_failed, write_failed
from qicore.cache.flight import Flights
from qicore.cache.keys import check_key, check_keys, check_values
from qicore.cache.keyspace import Keyspace
from qicore.cache.patterns import parse_pattern
from qicore.cache.redis_compute import Computations
from qicore.cache.redis_values import Found, Packed, Values
from qicore.cache.refresh import Refreshes
from qicore.cache.statistics import CacheStatistics
from qicore.cache.wire import Wire

__all__ = ["RedisCache"]

V = TypeVar("V")
_BATCH: Final = 1000  # keys that one command reads, or one pipeline writes or removes
_AS_THEY_ARE: Final = frozenset({"CACHE_CLOSED", "CIRCUIT_OPEN"})


class RedisCache(Cache[V]):
    """A cache that processes share, for the tasks of one event loop.

    It opens with `Cache.create_persistent`. No write is sent twice: one whose answer is lost is a Failure,
    and may have been done or not.
    """

    def __init__(
        self, wire: Wire, link: Link, config: CacheConfig, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._wire = wire
        self._link = link
        self._config = config
        self._space = Keyspace(config.namespace)
        self._values = Values(config, clock)
        self._flights = Flights()
        self._refreshes = Refreshes(self._flights)
        self._computations = Computations(wire, self._space, self._values, config)
        self._hits = self._misses = self._stale_hits = self._sets = self._removals = self._failures = 0

    @property
    def config(self) -> CacheConfig:
        """The options it was made with."""
        return self._config

    @property
    def wire(self) -> Wire:
        """What talks to Redis: for a level above this one."""
        return self._wire

    @property
    def link(self) -> Link:
        """What the wire leads to: for a level above this one."""
        return self._link

    @property
    def raw(self) -> RedisClient:
        """The client of redis-py."""
        return self._link.raw

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._wire.closed

    # ---- one key

    async def get(self, key: str) -> Result[V]:
        """Return the value; KEY_NOT_FOUND, CACHE_LOAD_FAILED [CACHE], CIRCUIT_OPEN [NETWORK]."""
        looked = await self.look(key)
        found = looked.data
        if found is None:
            return Failure(cast("QiError", looked.error))
        value: Result[V] = Failure(key_not_found(key)) if found.stale else found.value
        if isinstance(value, Success):
            self._hits += 1
        else:
            self._misses += 1
        return value

    async def look(self, key: str) -> Result[Found]:
        """Return what lies at a key, counting nothing: for `get_or_set`, and for a level above this one."""
        wrong = check_key(key)
        if wrong is not None:
            return Failure(wrong)
        name = self._space.name(key)
        answer = await self._wire.ask("GET", name)
        error = answer.error
        if error is None:
            return Success(self._values.open(key, name, answer.data))
        if error.context.get("redis") == "WRONGTYPE":
            self._values.unreadable += 1
            return Success(Found(Failure(key_not_found(key))))
        return Failure(self._unread(error))

    async def set(self, key: str, value: V, ttl: float | None = None) -> Result[None]:
        """Keep a value; CACHE_WRITE_FAILED [CACHE], CIRCUIT_OPEN [NETWORK]."""
        written = await self.write(key, value, ttl)
        return written.map(lambda _: None)

    async def write(self, key: str, value: V, ttl: float | None) -> Result[Packed]:
        """Keep a value, and return how it is kept: for a level above this one."""
        wrong = check_key(key) or self._values.wrong_ttl(ttl)
        if wrong is not None:
            return Failure(wrong)
        name = self._space.name(key)
        packed = self._values.pack(name, value, ttl)
        if isinstance(packed, Success):
            answer = await self._wire.tell(*_writing(name, packed.unwrap()))
            if answer.error is not None:
                return Failure(self._unwritten(answer.error))
            self._sets += 1
        return packed

    async def remove(self, key: str) -> Result[bool]:
        """Remove a value; True when there was one. Whoever computes it now will not put it back."""
        wrong = check_key(key)
        if wrong is not None:
            return Failure(wrong)
        name = self._space.name(key)
        # The lock first: between two commands another process may write what it has computed. Then the time
        # to live, for a stale value is none.
        answer = await self._wire.tell_all(
            [("UNLINK", self._space.lock(key)), ("PTTL", name), ("UNLINK", name)]
        )
        return self._done(answer).map(self._removed)

    def _removed(self, answers: list[Any]) -> bool:
        removed = self._is_live(answers[1])
        self._removals += removed
        return removed

    async def has(self, key: str) -> Result[bool]:
        """Whether there is a value. It is no use of it: what Redis evicts next stays the same."""
        wrong = check_key(key)
        if wrong is not None:
            return Failure(wrong)
        answer = await self._wire.ask("PTTL", self._space.name(key))
        return answer.map(self._is_live).map_error(self._unread)

    def _is_live(self, left: Any) -> bool:
        """Whether a key with so many milliseconds left (-1: without end, -2: none) has a fresh value."""
        return isinstance(left, int) and (left == -1 or left > self._config.stale_ttl * 1000)

    async def get_or_set(self, key: str, factory: Factory[V], ttl: float | None = None) -> Result[V]:
        """Return the value, or compute it, keep it and return it; see `Cache.get_or_set`.

        Among processes too one computes, under a lock in Redis; the others look for its value until it is
        there, or the lock is given up. A value that is set or removed meanwhile is not replaced by the
        computed one, which is still answered. One that can't be kept is answered too, and logged.
        """
        wrong = self._values.wrong_ttl(ttl)
        if wrong is not None:
            return Failure(wrong)
        looked = await self.look(key)
        found = looked.data
        if found is None:
            error = cast("QiError", looked.error)
            if self._config.on_failure == "fail" or not self._may_do_without(error):
                return Failure(error)
            return await self._flights.fly(key, lambda: self._computations.run(factory))
        if isinstance(found.value, Success):
            self._hits += 1
            if found.stale:
                self._stale_hits += 1
                self._refreshes.begin(
                    key, lambda: self._computations.compute(key, factory, ttl, found.header)
                )
            return found.value
        self._misses += 1
        return await self._flights.fly(
            key, lambda: self._computations.compute(key, factory, ttl, found.header)
        )

    def _may_do_without(self, error: QiError) -> bool:
        return error.code in ("CIRCUIT_OPEN", "CACHE_LOAD_FAILED")

    # ---- many keys

    async def get_many(self, keys: Iterable[str]) -> Result[dict[str, V]]:
        """Return the values that there are, by key, a thousand in one go."""
        checked = check_keys(keys)
        wanted = checked.data
        if wanted is None:
            return Failure(cast("QiError", checked.error))
        looked = await self.look_many(wanted)
        if looked.error is not None:
            return Failure(looked.error)
        values = {key: found.value.unwrap() for key, found in looked.unwrap().items()}
        self._hits += len(values)
        self._misses += len(wanted) - len(values)
        return Success(values)

    async def look_many(self, keys: list[str]) -> Result[dict[str, Found]]:
        """Return the fresh values that there are, counting nothing: for a level above this one."""
        fresh: dict[str, Found] = {}
        for batch in _batches(keys):
            names = [self._space.name(key) for key in batch]
            answer = await self._wire.ask_many(names)
            if answer.error is not None:
                return Failure(self._unread(answer.error))
            for key, name, data in zip(batch, names, answer.unwrap(), strict=True):
                found = self._values.open(key, name, data if isinstance(data, bytes) else None)
                if isinstance(found.value, Success) and not found.stale:
                    fresh[key] = found
        return Success(fresh)

    async def set_many(self, values: Mapping[str, V], ttl: float | None = None) -> Result[None]:
        """Keep many values, a thousand in one go; of a batch that fails some may have been written."""
        checked = check_values(values)
        wanted = checked.data
        wrong = checked.error or self._values.wrong_ttl(ttl)
        if wanted is None or wrong is not None:
            return Failure(cast("QiError", wrong))
        commands: list[Command] = []
        for key, value in wanted.items():
            name = self._space.name(key)
            packed = self._values.pack(name, value, ttl)
            if packed.error is not None:
                return Failure(packed.error)
            commands.append(_writing(name, packed.unwrap()))
        for batch in _batches(commands):
            answer = self._done(await self._wire.tell_all(batch))
            if answer.error is not None:
                return Failure(answer.error)
            self._sets += len(batch)
        return Success(None)

    async def keys(self, pattern: str = "*") -> Result[list[str]]:
        """Return the keys that match, sorted, by SCAN: it looks at all of Redis, but holds nobody up."""
        parsed = parse_pattern(pattern)
        wanted = parsed.data
        if wanted is None:
            return Failure(cast("QiError", parsed.error))
        found: set[str] = set()
        async for result in self._scan(wanted.beginning):
            if result.error is not None:
                return Failure(result.error)
            found.update(key for key in result.unwrap() if wanted.matches(key))
        return Success(sorted(found))

    async def size(self) -> Result[int]:
        """Return how many values there are, by SCAN."""
        return (await self.keys()).map(len)

    async def clear(self) -> Result[None]:
        """Remove all values of this namespace, by SCAN. Who computes one now will not put it back."""
        for pattern in (self._space.locks, self._space.pattern):
            async for result in self._wire.scan(pattern):
                if result.error is not None:
                    return Failure(self._unread(result.error))
                for batch in _batches(result.unwrap()):
                    answer = self._done(await self._wire.tell_all([("UNLINK", name) for name in batch]))
                    if answer.error is not None:
                        return Failure(answer.error)
                    if pattern == self._space.pattern:
                        self._removals += sum(answer.unwrap())
        return Success(None)

    async def _scan(self, beginning: str) -> AsyncIterator[Result[list[str]]]:
        async for result in self._wire.scan(self._space.matching(beginning)):
            names = result.data
            if names is not None and names and self._config.stale_ttl:
                left = await self._wire.ask_all([("PTTL", name) for name in names])
                if left.error is not None:
                    yield Failure(self._unread(left.error))
                    return
                names = [name for name, one in zip(names, left.unwrap(), strict=True) if self._is_live(one)]
            if names is None:
                yield Failure(self._unread(cast("QiError", result.error)))
                return
            yield Success([self._space.key(name) for name in names])

    # ---- all of it

    async def flush(self) -> Result[None]:
        """Do nothing: what was written is with Redis already."""
        error = self._wire.usable()
        return Success(None) if error is None else Failure(error)

    def statistics(self) -> CacheStatistics:
        """Return what this cache has counted."""
        return CacheStatistics(
            hits=self._hits,
            misses=self._misses,
            stale_hits=self._stale_hits,
            sets=self._sets + self._computations.sets,
            removals=self._removals,
            loads=self._computations.loads,
            load_failures=self._computations.load_failures,
            unreadable=self._values.unreadable,
            failures=self._failures + self._computations.failures,
        )

    async def close(self) -> Result[None]:
        """Close the connections, and end what computes in the background. A second call changes nothing."""
        if self._wire.usable() is None:
            await self._refreshes.close()
            await self._computations.close()
        return await self._wire.close()

    # ----

    def _done(self, answer: Result[list[Any]]) -> Result[list[Any]]:
        """Return the answers of a pipeline that writes, if none of them is an error."""
        if answer.error is not None:
            return Failure(self._unwritten(answer.error))
        wrong = self._wire.first_error(answer.unwrap())
        return answer if wrong is None else Failure(self._unwritten(wrong))

    def _unread(self, error: QiError) -> QiError:
        if error.code == "CACHE_CLOSED":
            return error
        self._failures += 1
        return error if error.code in _AS_THEY_ARE else load_failed(error)

    def _unwritten(self, error: QiError) -> QiError:
        if error.code == "CACHE_CLOSED":
            return error
        self._failures += 1
        return error if error.code in _AS_THEY_ARE else write_failed(error)


def _writing(name: str, packed: Packed) -> Command:
    if packed.milliseconds:
        return ("SET", name, packed.data, "PX", packed.milliseconds)
    return ("SET", name, packed.data)


T = TypeVar("T")


def _batches(items: list[T]) -> Iterable[list[T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))
