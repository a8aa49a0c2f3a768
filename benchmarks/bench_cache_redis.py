"""The cache on Redis against bare redis-py, in one run: a call at a time, 50 at once, many keys, two levels.

The server is a real one, on another core. Bare redis-py reads and writes bytes; ours serialises too, wraps
them in an envelope, counts, asks the circuit breaker and keeps a deadline.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

from harness import Suite, run
from qicore.cache import Cache, CacheConfig
from qicore_testkit.redis_server import RedisServer
from redis.asyncio import ConnectionPool, Redis

VALUE = b"x" * 100
KEYS = [f"key {number}" for number in range(100)]
VALUES = dict.fromkeys(KEYS, VALUE)


def at_once(call: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    async def many() -> None:
        await asyncio.gather(*(call() for _ in range(50)))

    return many


async def measure(url: str, suite: Suite) -> None:
    bare: Any = Redis.from_pool(ConnectionPool.from_url(url, protocol=3, max_connections=50))
    # Closed before the two levels open: what they hear of every write would be counted as the write's.
    async with (await Cache.create_persistent(url, CacheConfig(namespace="one"))).unwrap() as ours:
        await bare.mset(VALUES)
        await ours.set_many(VALUES)
        one: dict[str, Callable[[], Awaitable[object]]] = {
            "redis-py": lambda: bare.get("key 0"),
            "qicore": lambda: ours.get("key 0"),
        }
        await suite.compare_async("get", one, target="within 1.05")
        writing: dict[str, Callable[[], Awaitable[object]]] = {
            "redis-py": lambda: bare.set("key 0", VALUE, px=60_000),
            "qicore": lambda: ours.set("key 0", VALUE, 60),
        }
        await suite.compare_async("set for a minute", writing, target="within 1.05")
        for name, calls in (("get", one), ("set for a minute", writing)):
            many = {contender: at_once(call) for contender, call in calls.items()}
            await suite.compare_async(f"{name}, 50 at once", many, calls=50)

        async def one_by_one() -> None:
            for key in KEYS:
                await ours.get(key)

        async def set_one_by_one() -> None:
            for key in KEYS:
                await ours.set(key, VALUE)

        await suite.compare_async(
            "100 values",
            {
                "qicore get_many": lambda: ours.get_many(KEYS),
                "qicore 100 gets": one_by_one,
                "redis-py mget": lambda: bare.mget(KEYS),
            },
            target="get_many 10 times as fast as 100 gets",
        )
        await suite.compare_async(
            "100 values written",
            {"qicore set_many": lambda: ours.set_many(VALUES), "qicore 100 sets": set_one_by_one},
        )
    async with (await Cache.create_tiered(url, CacheConfig(namespace="one"))).unwrap() as tiered:
        await tiered.get("key 0")
        await suite.compare_async(
            "a hot read",
            {
                "qicore two levels": lambda: tiered.get("key 0"),
                "redis-py get": lambda: bare.get("key 0"),
            },
            target="two levels 30 times as fast as Redis",
        )
    await bare.aclose()


async def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    with RedisServer() as server:
        os.sched_setaffinity(server.pid, {cores[0]})
        suite = Suite("cache-redis", ("qicore-cache", "redis"))
        await measure(server.url, suite)
        suite.save()


if __name__ == "__main__":
    run(main)
