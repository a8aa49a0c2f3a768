"""The cache in this process's memory, on cachebox."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, TypeGuard, TypeVar

from cachebox import LRUCache
from qicore.base import Failure, QiError, Result, Success
from qicore.cache.cache import Cache, Factory
from qicore.cache.config import CacheConfig
from qicore.cache.errors import closed, invalid_key, key_not_found, write_failed
from qicore.cache.factory import run_factory, run_factory_sync
from qicore.cache.flight import Flights
from qicore.cache.keys import MAX_KEY_LENGTH, check_key, check_keys, check_values
from qicore.cache.memory_store import Entry, MemoryStore
from qicore.cache.patterns import parse_pattern
from qicore.cache.refresh import Refreshes
from qicore.cache.statistics import CacheStatistics
from qicore.cache.times import invalid_ttl, jittered, ttl_is_wrong

__all__ = ["MemoryCache"]

V = TypeVar("V")
_DONE: Final[Result[None]] = Success(None)


class MemoryCache(Cache[V]):
    """A cache in memory, for tasks and threads alike. Every operation answers its Result at once.

    The values themselves are kept, not copies: who changes one changes it for all. A hit costs neither a lock
    nor a new object.

    >>> cache = MemoryCache.create(CacheConfig(ttl=60, max_entries=1000)).unwrap()
    >>> cache.set("user:7", {"name": "Ada"})
    Success(None)
    >>> cache.get("user:7")
    Success({'name': 'Ada'})
    >>> cache.get("user:8").error.code
    'KEY_NOT_FOUND'
    """

    def __init__(self, config: CacheConfig, clock: Callable[[], float]) -> None:
        self._config = config
        self._clock = clock
        self._store = MemoryStore(config.max_entries, config.max_weight, config.stale_ttl)
        self._find = self._store.find
        self._peek = self._store.peek
        self._put = self._store.put
        self._ttl = config.ttl
        self._jitter = config.ttl_jitter
        self._weigh = config.weigh
        self._flights = Flights()
        self._refreshes = Refreshes(self._flights)
        # Counted without a lock: between the read and the write of `+=` with a plain number CPython changes
        # no thread. So what is added is a name or a literal, never a call.
        self._hits = self._misses = self._stale_hits = self._sets = self._removals = 0
        self._loads = self._load_failures = self._failures = 0

    @classmethod
    def create(
        cls, config: CacheConfig | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> Result[MemoryCache[Any]]:
        """Return a cache; INVALID_TTL, CACHE_CREATION_FAILED [VALIDATION]. `clock` gives seconds."""
        return (config or CacheConfig()).check().map(lambda checked: MemoryCache(checked, clock))

    @property
    def config(self) -> CacheConfig:
        """The options it was made with."""
        return self._config

    @property
    def raw(self) -> LRUCache[str, Entry]:
        """The LRUCache of cachebox: to look at, not to change."""
        return self._store.lru

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._store.closed

    # ---- one key

    def get(self, key: str) -> Result[V]:
        """Return the value, or KEY_NOT_FOUND [CACHE]."""
        try:
            entry = self._find(key)
        except TypeError:  # it has no hash, so it is no text
            return Failure(invalid_key(key))
        if entry is not None:
            ends = entry[0]
            if ends is None or ends > self._clock():
                self._hits += 1
                found: Success[V] | None = entry[4]
                if found is None:
                    found = entry[4] = Success(entry[1])
                return found
        return self._missed(key, entry)

    def _missed(self, key: str, entry: Entry | None) -> Result[V]:
        if type(key) is not str or not 0 < len(key) <= MAX_KEY_LENGTH or not key.isascii():
            wrong = check_key(key)
            if wrong is not None:
                return Failure(wrong)
        if self._store.closed:
            return Failure(closed())
        if entry is not None and entry[0] is not None and entry[0] + self._config.stale_ttl <= self._clock():
            self._store.drop_if(key, entry)
        self._misses += 1
        return Failure(key_not_found(key))

    def set(self, key: str, value: V, ttl: float | None = None) -> Result[None]:
        """Keep a value, for `ttl` seconds or as long as the options say."""
        if type(key) is not str or not 0 < len(key) <= MAX_KEY_LENGTH or not key.isascii():
            wrong = check_key(key)
            if wrong is not None:
                return Failure(wrong)
        if ttl is None:
            ttl = self._ttl
        elif ttl_is_wrong(ttl):
            return Failure(invalid_ttl(ttl))
        weight = 1
        if self._weigh is not None:
            weighed = self._weighed(value)
            if isinstance(weighed, QiError):
                return Failure(weighed)
            weight = weighed
        now = self._clock()
        ends = None if ttl is None else now + (jittered(ttl, self._jitter) if self._jitter else ttl)
        if not self._put(key, value, ends, weight, now):
            return Failure(closed())
        self._sets += 1
        return _DONE

    def remove(self, key: str) -> Result[bool]:
        """Remove a value; True when there was one. Whoever computes it now will not put it back."""
        wrong = self._unusable(key)
        if wrong is not None:
            return Failure(wrong)
        removed = _is_live(self._store.take(key), self._clock())
        self._removals += removed
        return Success(removed)

    def has(self, key: str) -> Result[bool]:
        """Whether there is a value. It is no use of it: what is evicted next stays the same."""
        wrong = self._unusable(key)
        if wrong is not None:
            return Failure(wrong)
        return Success(_is_live(self._peek(key), self._clock()))

    # ---- computed values

    def get_or_set(self, key: str, factory: Factory[V], ttl: float | None = None) -> Awaitable[Result[V]]:
        """Return the value, or compute it, keep it and return it.

        Of all that ask at once, tasks of any event loop and threads, one computes; see `Cache.get_or_set`. A
        value that was set or removed meanwhile is not replaced by the computed one, which is still answered.
        """
        found = self._ready(key, ttl)
        return self._computed(key, factory, ttl) if found is None else found

    async def _computed(self, key: str, factory: Factory[V], ttl: float | None) -> Result[V]:
        async def compute() -> Result[V]:
            entry = self._peek(key)
            if _is_live(entry, self._clock()):
                return _answer(entry)
            token = self._store.begin(key)
            try:
                made = await run_factory(factory)
            except BaseException:
                self._not_made(key, token)
                raise
            return self._kept(key, made, ttl, token)

        stale = self._stale_hit(key)
        if stale is None:
            return await self._flights.fly(key, compute)
        self._refreshes.begin(key, compute)
        return stale

    def get_or_set_sync(
        self, key: str, factory: Callable[[], Result[V] | V], ttl: float | None = None
    ) -> Result[V]:
        """Return the value as `get_or_set`, for threads: it blocks while the value is computed.

        A factory whose value has to be awaited is INVALID_FACTORY [VALIDATION]. To block an event loop for
        what one of its own tasks computes is CACHE_REENTRANT [CACHE].
        """
        found = self._ready(key, ttl)
        if found is not None:
            return found

        def compute() -> Result[V]:
            entry = self._peek(key)
            if _is_live(entry, self._clock()):
                return _answer(entry)
            token = self._store.begin(key)
            try:
                made = run_factory_sync(factory)
            except BaseException:
                self._not_made(key, token)
                raise
            return self._kept(key, made, ttl, token)

        stale = self._stale_hit(key)
        if stale is None:
            return self._flights.fly_sync(key, compute)
        self._refreshes.begin_sync(key, compute)
        return stale

    def _ready(self, key: str, ttl: float | None) -> Result[V] | None:
        """Return the value if it is there, or what is wrong with the question, or None."""
        if ttl is not None and ttl_is_wrong(ttl):
            return Failure(invalid_ttl(ttl))
        try:
            entry = self._find(key)
        except TypeError:  # it has no hash, so it is no text
            return Failure(invalid_key(key))
        if _is_live(entry, self._clock()):
            self._hits += 1
            return _answer(entry)
        wrong = self._unusable(key)
        return None if wrong is None else Failure(wrong)

    def _stale_hit(self, key: str) -> Result[V] | None:
        """Return the value that has expired, but may still be answered, or None, and count which."""
        entry = self._peek(key)
        if entry is not None and entry[0] is not None and self._clock() < entry[0] + self._config.stale_ttl:
            self._hits += 1
            self._stale_hits += 1
            return _answer(entry)
        self._misses += 1
        return None

    def _kept(self, key: str, made: Result[V], ttl: float | None, token: object) -> Result[V]:
        """Keep what a factory made, and return it; what can't be kept is answered nevertheless."""
        if not isinstance(made, Success):
            self._not_made(key, token)
            return made
        self._loads += 1
        weight = 1 if self._weigh is None else self._weighed(made.data)
        if isinstance(weight, QiError):
            self._store.end(key, token)
            self._failures += 1
        else:
            now = self._clock()
            if self._put(key, made.data, self._end(ttl, now), weight, now, token):
                self._sets += 1
        return made

    def _not_made(self, key: str, token: object) -> None:
        self._store.end(key, token)
        self._load_failures += 1

    # ---- many keys

    def get_many(self, keys: Iterable[str]) -> Result[dict[str, V]]:
        """Return the values that there are, by key."""
        checked = check_keys(keys).variant
        if isinstance(checked, Failure):
            return checked
        if self._store.closed:
            return Failure(closed())
        now = self._clock()
        found: dict[str, V] = {}
        for key in checked.data:
            entry = self._find(key)
            if _is_live(entry, now):
                found[key] = entry[1]
        hits, misses = len(found), len(checked.data) - len(found)
        self._hits += hits
        self._misses += misses
        return Success(found)

    def set_many(self, values: Mapping[str, V], ttl: float | None = None) -> Result[None]:
        """Keep many values, or when something is wrong with one, none of them."""
        checked = check_values(values).variant
        if isinstance(checked, Failure):
            return checked
        if ttl is not None and ttl_is_wrong(ttl):
            return Failure(invalid_ttl(ttl))
        now = self._clock()
        entries: dict[str, tuple[object, float | None, int]] = {}
        for key, value in checked.data.items():
            weight = 1 if self._weigh is None else self._weighed(value)
            if isinstance(weight, QiError):
                return Failure(weight)
            entries[key] = (value, self._end(ttl, now), weight)
        if not self._store.put_all(entries, now):
            return Failure(closed())
        count = len(entries)
        self._sets += count
        return _DONE

    def keys(self, pattern: str = "*") -> Result[list[str]]:
        """Return the keys that match, sorted: `*` any text, `?` one character, `[a-c]` one of these."""
        parsed = parse_pattern(pattern).variant
        if isinstance(parsed, Failure):
            return parsed
        if self._store.closed:
            return Failure(closed())
        now, wanted = self._clock(), parsed.data
        live = (key for key, entry in self._store.entries() if _is_live(entry, now))
        return Success(sorted(key for key in live if wanted.everything or wanted.matches(key)))

    def size(self) -> Result[int]:
        """Return how many values there are, without those that have expired."""
        return Failure(closed()) if self._store.closed else Success(self._store.size(self._clock()))

    def clear(self) -> Result[None]:
        """Remove all values."""
        if self._store.closed:
            return Failure(closed())
        removed = self._store.clear(self._clock())
        self._removals += removed
        return _DONE

    def flush(self) -> Result[None]:
        """Do nothing: in memory nothing waits to be written."""
        return Failure(closed()) if self._store.closed else _DONE

    def statistics(self) -> CacheStatistics:
        """Return what this cache has counted."""
        return CacheStatistics(
            hits=self._hits,
            misses=self._misses,
            stale_hits=self._stale_hits,
            sets=self._sets,
            removals=self._removals,
            evictions=self._store.evictions,
            loads=self._loads,
            load_failures=self._load_failures,
            failures=self._failures,
        )

    def close(self) -> Result[None]:
        """Forget all values, and cancel the tasks that refresh stale ones. A second call changes nothing.

        A computation that somebody waits for goes on; its value is answered, and not kept.
        """
        self._store.clear(self._clock(), close=True)
        self._refreshes.stop()
        return _DONE

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, and wait for the tasks that were cancelled."""
        self.close()
        await self._refreshes.close()

    # ----

    def _unusable(self, key: object) -> QiError | None:
        return check_key(key) or (closed() if self._store.closed else None)

    def _end(self, ttl: float | None, now: float) -> float | None:
        wanted = self._ttl if ttl is None else ttl
        return None if wanted is None else now + jittered(wanted, self._jitter)

    def _weighed(self, value: V) -> int | QiError:
        """Return the weight of a value, or why it can't be kept."""
        weigh, most = self._config.weigh, self._config.max_weight
        if weigh is None or most is None:
            return 1
        try:
            weight: object = weigh(value)
        except Exception as exception:  # noqa: BLE001 - it is the caller's function
            return write_failed(QiError.from_exception(exception))
        if type(weight) is not int or weight < 0:
            return write_failed(
                QiError.validation("INVALID_WEIGHT", "weigh must give a whole number of 0 or more")
            )
        if weight > most:
            return write_failed(QiError.cache("VALUE_TOO_HEAVY", f"it weighs {weight} of at most {most}"))
        return weight


def _answer(entry: Entry) -> Success[Any]:
    """Return the value as a Result, which is made once."""
    found: Success[Any] | None = entry[4]
    if found is None:
        found = entry[4] = Success(entry[1])
    return found


def _is_live(entry: Entry | None, now: float) -> TypeGuard[Entry]:
    return entry is not None and (entry[0] is None or entry[0] > now)
