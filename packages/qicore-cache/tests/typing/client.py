from collections.abc import Awaitable, Callable
from typing import Any, assert_type

from qicore.base import Failure, QiError, Result, Success
from qicore.cache import Cache, CacheConfig, CacheStatistics, MemoryCache

assert_type(Cache.create_memory(CacheConfig()), Result[MemoryCache[Any]])
assert_type(MemoryCache.create(), Result[MemoryCache[Any]])


def at_once(cache: MemoryCache[int]) -> str:
    assert_type(cache.set("a", 1, ttl=5), Result[None])
    assert_type(cache.remove("a"), Result[bool])
    assert_type(cache.get_many(["a"]), Result[dict[str, int]])
    assert_type(cache.get_or_set_sync("a", lambda: 1), Result[int])
    assert_type(cache.statistics(), CacheStatistics)
    match cache.get("a").variant:
        case Success(value):
            assert_type(value, int)
            return "hit"
        case Failure(error):
            assert_type(error, QiError)
            return error.code


async def plain() -> int:
    return 1


async def result() -> Result[int]:
    return Success(1)


def result_at_once() -> Result[int]:
    return Success(1)


async def awaited(cache: Cache[int], memory: MemoryCache[int], path: str) -> None:
    assert_type(await Cache.create_persistent(path), Result[Cache[Any]])
    assert_type(await cache.get("a"), Result[int])
    assert_type(await memory.get("a"), Result[int])
    assert_type(await cache.get_or_set("a", plain), Result[int])
    assert_type(await cache.get_or_set("a", result), Result[int])
    assert_type(await cache.get_or_set("a", result_at_once), Result[int])
    assert_type(await cache.get_or_set("a", lambda: 1), Result[int])
    assert_type(await cache.keys("user:*"), Result[list[str]])
    assert_type(await cache.close(), Result[None])
    async with memory as entered:
        assert_type(entered, MemoryCache[int])


# qicore-http takes a cache of bytes for its store, by shape.
def as_store(cache: Cache[bytes]) -> Callable[[str], Awaitable[Result[bytes]]]:
    return cache.get
