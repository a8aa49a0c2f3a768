"""qicore-cache against its peers, in one run: in memory, in a file, on Redis, and in memory over Redis.

Each is used in its fastest way that keeps the promise: in memory an entry has a time to live, the number of
entries is bounded, and threads may share it; cachetools needs a lock for that. What is bare (cachebox,
redis-py) gives a value where qicore gives a Result that was checked, counted and made of bytes.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiocache as untyped_aiocache  # pyright: ignore[reportMissingTypeStubs]
import aiosqlite
import cachebox
import cachetools
import cashews
import diskcache as untyped_diskcache  # pyright: ignore[reportMissingTypeStubs]
import redis.asyncio
import theine
from harness import Suite, Timing
from qicore.cache import Cache, CacheConfig
from qicore_testkit.redis_server import RedisServer

aiocache: Any = untyped_aiocache
diskcache: Any = untyped_diskcache

TTL = 300
SIZE = 10_000
KEYS = [f"user:{number}" for number in range(1000)]
BATCH = KEYS[:100]
VALUE = {"name": "Ada", "born": 1815}
BYTES = b"x" * 100
CONFIG = CacheConfig(ttl=TTL, max_entries=SIZE)


class Ordered:
    """What one writes by hand: an OrderedDict, a lock and the time."""

    def __init__(self) -> None:
        self.entries: OrderedDict[str, tuple[object, float]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: str) -> object:
        with self.lock:
            entry = self.entries.get(key)
            if entry is None:
                return None
            if entry[1] <= time.monotonic():
                del self.entries[key]
                return None
            self.entries.move_to_end(key)
            return entry[0]

    def set(self, key: str, value: object, ttl: float) -> None:
        with self.lock:
            self.entries[key] = (value, time.monotonic() + ttl)
            self.entries.move_to_end(key)
            if len(self.entries) > SIZE:
                self.entries.popitem(last=False)


def memory(suite: Suite) -> None:
    ours = Cache.create_memory(CONFIG).unwrap()
    bare: cachebox.LRUCache[str, object] = cachebox.LRUCache(SIZE)
    timed: cachebox.VTTLCache[str, object] = cachebox.VTTLCache(SIZE)
    ordered = Ordered()
    tools: cachetools.TTLCache[str, object] = cachetools.TTLCache(SIZE, TTL)
    lock = threading.RLock()
    rusty: theine.Cache[str, object] = theine.Cache(SIZE)
    lifetime = timedelta(seconds=TTL)

    def bare_set() -> None:
        for key in BATCH:
            bare[key] = VALUE

    def timed_set() -> None:
        for key in BATCH:
            timed.insert(key, VALUE, TTL)

    def qicore_set() -> None:
        for key in BATCH:
            ours.set(key, VALUE)

    def ordered_set() -> None:
        for key in BATCH:
            ordered.set(key, VALUE, TTL)

    def tools_set() -> None:
        for key in BATCH:
            with lock:
                tools[key] = VALUE

    def rusty_set() -> None:
        for key in BATCH:
            rusty.set(key, VALUE, lifetime)

    def tools_get(key: str) -> object:
        with lock:
            return tools.get(key)

    def get(fn: Callable[[str], object], keys: list[str]) -> Callable[[], None]:
        def calls() -> None:
            for key in keys:
                fn(key)

        return calls

    sets: dict[str, Callable[[], object]] = {
        "bare cachebox, LRU, no expiry": bare_set,
        "bare cachebox, VTTL, no recency": timed_set,
        "qicore": qicore_set,
        "OrderedDict, lock and time": ordered_set,
        "cachetools TTLCache with lock": tools_set,
        "theine": rusty_set,
    }
    gets: dict[str, Callable[[str], object]] = {
        "bare cachebox, LRU, no expiry": bare.get,
        "bare cachebox, VTTL, no recency": timed.get,
        "qicore": ours.get,
        "OrderedDict, lock and time": ordered.get,
        "cachetools TTLCache with lock": tools_get,
        "theine": rusty.get,
    }
    for fn in sets.values():
        fn()
    row = suite.compare(
        "memory: hit",
        {name: get(fn, BATCH) for name, fn in gets.items()},
        calls=len(BATCH),
        target="qicore under 350 ns on CPython 3.11, ahead of all but bare cachebox",
    )
    print(f"  a hit through the whole contract: {row['qicore'].median * 1e9:.0f} ns")
    suite.compare(
        "memory: set", sets, calls=len(BATCH), target="ahead of cachetools, theine, cashews and aiocache"
    )
    missing = [f"missing:{number}" for number in range(100)]
    suite.compare(
        "memory: miss (qicore makes an error that says which key)",
        {name: get(fn, missing) for name, fn in gets.items()},
        calls=len(missing),
    )


async def memory_awaited(suite: Suite) -> None:
    ours = Cache.create_memory(CONFIG).unwrap()
    theirs = cashews.Cache()
    theirs.setup(f"mem://?size={SIZE}&check_interval=60")
    aio = aiocache.SimpleMemoryCache()
    for key in KEYS:
        await ours.set(key, VALUE)
        await theirs.set(key, VALUE, expire=TTL)

    async def qicore_get() -> None:
        for key in BATCH:
            await ours.get(key)

    async def cashews_get() -> None:
        for key in BATCH:
            await theirs.get(key)

    async def aiocache_get() -> None:
        for key in BATCH:
            await aio.get(key)

    async def qicore_set() -> None:
        for key in BATCH:
            await ours.set(key, VALUE)

    async def cashews_set() -> None:
        for key in BATCH:
            await theirs.set(key, VALUE, expire=TTL)

    async def aiocache_set() -> None:
        # Without a time to live: with one it makes a timer for each call, and keeps the old ones.
        for key in BATCH:
            await aio.set(key, VALUE)

    async def compute() -> object:
        return VALUE

    async def qicore_compute() -> None:
        for key in BATCH:
            await ours.get_or_set(key, compute)

    await aiocache_set()
    await suite.compare_async(
        "memory: hit, awaited",
        {
            "qicore": qicore_get,
            "qicore, get_or_set": qicore_compute,
            "cashews": cashews_get,
            "aiocache": aiocache_get,
        },
        calls=len(BATCH),
        target="ahead of the others",
    )
    await suite.compare_async(
        "memory: set, awaited",
        {"qicore": qicore_set, "cashews": cashews_set, "aiocache, no expiry": aiocache_set},
        calls=len(BATCH),
        target="ahead of the others",
    )
    await theirs.close()
    ours.close()


async def file(suite: Suite) -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = (await Cache.create_persistent(folder / "ours.db", CONFIG)).unwrap()
        stack.push_async_callback(ours.close)
        disk = diskcache.Cache(folder / "disk", timeout=60)
        stack.callback(disk.close)
        lite = await aiosqlite.connect(folder / "lite.db", isolation_level=None)
        stack.push_async_callback(lite.close)
        await lite.execute("PRAGMA journal_mode = WAL")
        await lite.execute("PRAGMA synchronous = NORMAL")
        await lite.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB, expires REAL)")
        turn = 0

        def key() -> str:
            nonlocal turn
            turn += 1
            return KEYS[turn % len(KEYS)]

        async def lite_get() -> object:
            query = "SELECT value FROM entries WHERE key = ? AND expires > ?"
            async with lite.execute(query, (key(), time.time())) as cursor:
                return await cursor.fetchone()

        async def lite_set() -> None:
            statement = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?)"
            async with lite.execute(statement, (key(), BYTES, time.time() + TTL)):
                pass

        async def qicore_get() -> object:
            return await ours.get(key())

        async def qicore_set() -> object:
            return await ours.set(key(), BYTES)

        async def disk_get() -> object:
            return disk.get(key())

        async def disk_set() -> object:
            return disk.set(key(), BYTES, TTL)

        async def thread_get() -> object:
            return await asyncio.to_thread(disk.get, key())

        async def thread_set() -> object:
            return await asyncio.to_thread(disk.set, key(), BYTES, TTL)

        gets = {
            "diskcache, blocking the loop": disk_get,
            "diskcache in a thread": thread_get,
            "aiosqlite by hand": lite_get,
            "qicore": qicore_get,
        }
        sets = {
            "diskcache, blocking the loop": disk_set,
            "diskcache in a thread": thread_set,
            "aiosqlite by hand": lite_set,
            "qicore": qicore_set,
        }
        for _ in KEYS:
            await asyncio.gather(qicore_set(), disk_set(), lite_set())
        await suite.compare_async("file: hit", gets, target="ahead of diskcache")
        await suite.compare_async("file: set", sets, target="ahead of diskcache")
        for what, contenders in (("hits", gets), ("sets", sets)):
            await suite.compare_async(
                f"file: {what} of 64 tasks at once",
                {name: _together(fn, 64) for name, fn in contenders.items()},
                calls=64,
            )


def _together(fn: Callable[[], Awaitable[object]], count: int) -> Callable[[], Awaitable[object]]:
    async def calls() -> None:
        await asyncio.gather(*(fn() for _ in range(count)))

    return calls


async def on_redis(suite: Suite, url: str) -> None:
    async with AsyncExitStack() as stack:
        ours = (await Cache.create_persistent(url, CONFIG)).unwrap()
        stack.push_async_callback(ours.close)
        client: Any = redis.asyncio.Redis  # its from_url takes arguments of any type
        bare = client.from_url(url)
        stack.push_async_callback(bare.aclose)
        for key in BATCH:
            await ours.set(key, BYTES)
            await bare.set(key, BYTES, px=TTL * 1000)
        key = BATCH[0]

        async def bare_get() -> object:
            return await bare.get(key)

        async def qicore_get() -> object:
            return await ours.get(key)

        async def bare_set() -> object:
            return await bare.set(key, BYTES, px=TTL * 1000)

        async def qicore_set() -> object:
            return await ours.set(key, BYTES)

        async def qicore_gets() -> None:
            for one in BATCH:
                await ours.get(one)

        async def qicore_get_many() -> object:
            return await ours.get_many(BATCH)

        async def bare_mget() -> object:
            return await bare.mget(BATCH)

        await suite.compare_async(
            "Redis: hit", {"redis-py": bare_get, "qicore": qicore_get}, target="within 1.05 of bare redis-py"
        )
        await suite.compare_async(
            "Redis: set", {"redis-py": bare_set, "qicore": qicore_set}, target="within 1.05 of bare redis-py"
        )
        row = await suite.compare_async(
            "Redis: 100 values",
            {
                "qicore, 100 gets": qicore_gets,
                "qicore get_many(100)": qicore_get_many,
                "redis-py mget": bare_mget,
            },
            target="get_many(100) at least 10 times as fast as 100 gets",
        )
        _say_times(row, "qicore, 100 gets", "qicore get_many(100)")
        # Only now: what the two levels hear of each write would be counted as the write's.
        tiered = (await Cache.create_tiered(url, CONFIG)).unwrap()
        stack.push_async_callback(tiered.close)
        await tiered.get_many(BATCH)

        async def tiered_gets() -> None:
            for one in BATCH:
                await tiered.get(one)

        row = await suite.compare_async(
            "Redis: hot reads through two levels",
            {"qicore, Redis": qicore_gets, "qicore, memory over Redis": tiered_gets},
            calls=len(BATCH),
            target="at least 30 times as fast as a read from Redis",
        )
        _say_times(row, "qicore, Redis", "qicore, memory over Redis")


def _say_times(row: dict[str, Timing], slow: str, fast: str) -> None:
    print(f"  {fast} is {1 / (row[fast].ratio / row[slow].ratio):.1f} times as fast as {slow}")


def main() -> None:
    # The server starts first: what starts later shares the one core that the suite keeps to.
    with RedisServer() as server:
        suite = Suite(
            "cache",
            (
                "qicore-cache", "cachebox", "cachetools", "theine", "cashews", "aiocache", "diskcache",
                "aiosqlite", "redis",
            ),
        )  # fmt: skip
        logging.disable()
        memory(suite)
        asyncio.run(memory_awaited(suite))
        asyncio.run(file(suite))
        asyncio.run(on_redis(suite, server.url))
        suite.save()


if __name__ == "__main__":
    main()
