"""The cache in a file, which the processes of one machine share, on SQLite."""

from __future__ import annotations

import sqlite3
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeVar

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.cache import Cache, Factory
from qicore.cache.config import CacheConfig
from qicore.cache.errors import key_not_found, load_failed
from qicore.cache.file_compute import Computations
from qicore.cache.file_store import SHORT, Entry, FileStore, Row
from qicore.cache.file_values import Found, Values
from qicore.cache.file_way import Way
from qicore.cache.file_worker import LATER, FileWorker
from qicore.cache.flight import Flights
from qicore.cache.keys import check_key, check_keys, check_values
from qicore.cache.patterns import parse_pattern
from qicore.cache.refresh import Refreshes
from qicore.cache.statistics import CacheStatistics
from qicore.cache.times import invalid_ttl, ttl_is_wrong

__all__ = ["FileCache"]

V = TypeVar("V")
_BATCH: Final = 1000  # keys that are looked at in one go
_FEW: Final = 64  # keys that are read at once, without the thread
_OVERHEAD: Final = 256  # what an entry is worth beside its bytes, where it matters how long to write it takes


class FileCache(Cache[V]):
    """A cache in a file, for any number of processes on one machine, and for tasks of any event loop in each.

    It opens with `Cache.create_persistent`. What was written is there after a crash of the process; after one
    of the machine the last writes may be missing. The file has to be on a local disk, for the write-ahead log
    of SQLite needs memory that the processes share. After a fork the child finds the cache closed: it opens
    its own.
    """

    def __init__(self, worker: FileWorker, config: CacheConfig, clock: Callable[[], float]) -> None:
        self._worker = worker
        self._config = config
        self._values = Values(config, clock)
        self._way = Way(worker, config)
        self._flights = Flights()
        self._refreshes = Refreshes(self._flights)
        self._computations = Computations(
            self._way,
            self._values,
            lease=config.lock_timeout,
            fall_through=config.on_failure == "fall_through",
        )
        self._hits = self._misses = self._stale_hits = self._sets = self._removals = 0
        # For one that is forgotten without `close`. When the interpreter exits, its thread is ended anyway.
        weakref.finalize(self, worker.stop).atexit = False

    @classmethod
    async def open(
        cls,
        path: str | PathLike[str],
        config: CacheConfig | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> Result[FileCache[Any]]:
        """Open the file, or make it with the directories above it; `clock` gives epoch seconds.

        CACHE_LOAD_FAILED [CACHE] when it can't be opened, or is no cache; INVALID_TTL, CACHE_CREATION_FAILED
        [VALIDATION].

        >>> import asyncio, tempfile
        >>> async def main() -> None:
        ...     with tempfile.TemporaryDirectory() as folder:
        ...         cache = (await FileCache.open(f"{folder}/cache.db")).unwrap()
        ...         async with cache:
        ...             await cache.set("user:7", {"name": "Ada"})
        ...             print(await cache.get("user:7"))
        >>> asyncio.run(main())
        Success({'name': 'Ada'})
        """
        checked = (config or CacheConfig()).check().variant
        if isinstance(checked, Failure):
            return checked
        options = checked.data

        def open_store() -> FileStore:
            # Made absolute: SQLite means something else by names like ":memory:".
            file = Path(path).absolute()
            file.parent.mkdir(parents=True, exist_ok=True)
            return FileStore(
                file,
                options.namespace,
                max_entries=options.max_entries,
                max_weight=options.max_weight,
                timeout=options.timeout,
                clock=clock,
            )

        worker = await FileWorker.start(open_store, patience=options.timeout)
        return worker.map(lambda worker: cls(worker, options, clock)).map_error(load_failed)

    @property
    def config(self) -> CacheConfig:
        """The options it was made with."""
        return self._config

    @property
    def raw(self) -> sqlite3.Connection:
        """The connection of SQLite: to look at while nothing else uses the cache."""
        return self._worker.store.raw

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._worker.stopped

    # ---- one key

    async def get(self, key: str) -> Result[V]:
        """Return the value; KEY_NOT_FOUND, CACHE_LOAD_FAILED [CACHE], CIRCUIT_OPEN [NETWORK]."""
        wrong = check_key(key)
        if wrong is not None:
            return Failure(wrong)
        answer = self._way.ask_now(lambda store: store.get(key, True))
        row = answer.data
        if answer is LATER or (row is not None and row[0] is None):
            answer = await self._way.ask(lambda store: store.get(key), short=False)
            row = answer.data
        if row is not None:
            value: Result[V] = self._values.read(key, row)
            if value.error is None:
                self._hits += 1
                return value
        elif answer.error is not None:
            return Failure(answer.error)
        self._misses += 1
        return Failure(key_not_found(key))

    async def _look(self, key: str) -> Result[Found | None]:
        """Return what lies at a key, stale or not, or None when there is nothing."""
        answer = await self._way.ask(lambda store: store.get(key, True, True))
        if answer.data is not None and answer.data[0] is None:
            answer = await self._way.ask(lambda store: store.get(key, False, True), short=False)
        return answer.map(lambda row: None if row is None else self._values.open(key, row))

    async def set(self, key: str, value: V, ttl: float | None = None) -> Result[None]:
        """Keep a value; CACHE_WRITE_FAILED [CACHE], CIRCUIT_OPEN [NETWORK]."""
        wrong = check_key(key) or _wrong_ttl(ttl)
        if wrong is not None:
            return Failure(wrong)
        packed = self._values.pack(key, value, ttl).variant
        if isinstance(packed, Failure):
            return packed
        entry = packed.data
        written = await self._way.tell(lambda store: store.set(entry), weight=len(entry.value))
        if written.error is None:
            self._sets += 1
        return written

    async def remove(self, key: str) -> Result[bool]:
        """Remove a value; True when there was one. Whoever computes it now will not put it back."""
        wrong = check_key(key)
        if wrong is not None:
            return Failure(wrong)
        removed = await self._way.tell(lambda store: store.remove(key))
        self._removals += removed.data is True
        return removed

    async def has(self, key: str) -> Result[bool]:
        """Whether there is a value. It is no use of it: what is evicted next stays the same."""
        wrong = check_key(key)
        if wrong is not None:
            return Failure(wrong)
        return await self._way.ask(lambda store: store.has(key))

    async def get_or_set(self, key: str, factory: Factory[V], ttl: float | None = None) -> Result[V]:
        """Return the value, or compute it, keep it and return it; see `Cache.get_or_set`.

        Among processes too one computes, under a lock in the file; the others look for its value until it is
        there, or the lock is given up. A value that is set or removed meanwhile is not replaced by the
        computed one, which is still answered. One that can't be kept is answered too, and logged.
        """
        wrong = check_key(key) or _wrong_ttl(ttl)
        if wrong is not None:
            return Failure(wrong)
        looked = await self._look(key)
        error, found = looked.error, looked.data
        if error is not None:
            if error.code not in ("CACHE_LOAD_FAILED", "CIRCUIT_OPEN"):
                return Failure(error)
            return await self._flights.fly(key, lambda: self._computations.without(error, factory))
        header = None if found is None else found.header

        async def compute() -> Result[V]:
            return await self._computations.compute(key, factory, ttl, header)

        if found is not None and isinstance(found.value, Success):
            self._hits += 1
            if found.stale:
                self._stale_hits += 1
                self._refreshes.begin(key, compute)
            return found.value
        self._misses += 1
        return await self._flights.fly(key, compute)

    # ---- many keys

    async def get_many(self, keys: Iterable[str]) -> Result[dict[str, V]]:
        """Return the values that there are, by key."""
        checked = check_keys(keys).variant
        if isinstance(checked, Failure):
            return checked
        wanted = checked.data
        few = len(wanted) <= _FEW
        values: dict[str, V] = {}
        large: list[str] = []
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            reading = partial(FileStore.get_many, keys=batch, short=few)
            answer = (await self._way.ask(reading, short=few)).variant
            if isinstance(answer, Failure):
                return answer
            for key, row in answer.data.items():
                if row[0] is None:
                    large.append(key)
                else:
                    self._take(key, row, values)
        for key in large:
            looked = (await self._way.ask(partial(FileStore.get, key=key), short=False)).variant
            if isinstance(looked, Failure):
                return looked
            if looked.data is not None:
                self._take(key, looked.data, values)
        self._hits += len(values)
        self._misses += len(wanted) - len(values)
        return Success(values)

    def _take(self, key: str, row: Row, values: dict[str, V]) -> None:
        value = self._values.read(key, row)
        if isinstance(value, Success):
            values[key] = value.data

    async def set_many(self, values: Mapping[str, V], ttl: float | None = None) -> Result[None]:
        """Keep many values, in one transaction: all of them, or when something is wrong with one, none."""
        checked = check_values(values).variant
        if isinstance(checked, Failure):
            return checked
        wrong = _wrong_ttl(ttl)
        if wrong is not None:
            return Failure(wrong)
        entries: list[Entry] = []
        weight = 0
        for key, value in checked.data.items():
            packed = self._values.pack(key, value, ttl).variant
            if isinstance(packed, Failure):
                return packed
            entries.append(packed.data)
            weight += len(packed.data.value) + _OVERHEAD
        written = await self._way.tell(lambda store: store.set_many(entries), weight=weight)
        if written.error is None:
            self._sets += len(entries)
        return written

    async def keys(self, pattern: str = "*") -> Result[list[str]]:
        """Return the keys that match, sorted. Others go on in between: a thousand are looked at in one go."""
        parsed = parse_pattern(pattern).variant
        if isinstance(parsed, Failure):
            return parsed
        wanted = parsed.data
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            looking = partial(_keys, beginning=wanted.beginning, after=after)
            answer = (await self._way.ask(looking, short=False)).variant
            if isinstance(answer, Failure):
                return answer
            keys, after = answer.data
            found += keys if wanted.everything else filter(wanted.matches, keys)
        return Success(found)

    async def size(self) -> Result[int]:
        """Return how many values there are, without those that have expired."""
        return await self._way.ask(FileStore.size, short=False)

    async def clear(self) -> Result[None]:
        """Remove all values of this namespace. Who computes one now will not put it back."""
        cleared = await self._way.tell(FileStore.clear, weight=SHORT + 1)
        self._removals += cleared.data or 0
        return cleared.map(lambda _: None)

    # ---- all of it

    async def flush(self) -> Result[None]:
        """Write down what was used last, and bring all that was written to the disk."""
        touched = await self._way.tell(FileStore.touch)
        if touched.error is not None:
            return touched
        return await self._way.ask(FileStore.bring_in, short=False)

    def statistics(self) -> CacheStatistics:
        """Return what this cache has counted."""
        computed = self._computations
        return CacheStatistics(
            hits=self._hits,
            misses=self._misses,
            stale_hits=self._stale_hits,
            sets=self._sets + computed.sets,
            removals=self._removals,
            evictions=self._worker.store.evicted,
            loads=computed.loads,
            load_failures=computed.load_failures,
            unreadable=self._values.unreadable,
            failures=self._way.failures + computed.unkept,
        )

    async def close(self) -> Result[None]:
        """Close the file, and end what computes in the background. A second call changes nothing."""
        await self._refreshes.close()
        await self._worker.close()
        return Success(None)


def _wrong_ttl(ttl: float | None) -> QiError | None:
    return invalid_ttl(ttl) if ttl is not None and ttl_is_wrong(ttl) else None


def _keys(store: FileStore, *, beginning: str, after: str) -> tuple[list[str], str | None]:
    return store.keys(beginning, after, _BATCH)
