"""Memory over Redis: quick, and never older than it says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from qicore.base import Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import Cache, CacheConfig
from qicore.resilience import CircuitBreakerConfig
from qicore_testkit.redis_server import RedisServer

PATIENT = CircuitBreakerConfig(failure_threshold=1000)


async def tiered(url: str, **options: Any) -> Cache[Any]:
    given: dict[str, Any] = {"namespace": "shop", "circuit_breaker": PATIENT, **options}
    config = CacheConfig(**given)
    return assert_success(await Cache.create_tiered(url, config))


@pytest.fixture(params=["tcp", "unix"])
async def pair(
    request: pytest.FixtureRequest, redis_server: RedisServer
) -> AsyncIterator[tuple[Cache[Any], Cache[Any]]]:
    """Two caches, as two processes would have them."""
    url = redis_server.url if request.param == "tcp" else redis_server.unix_url
    async with await tiered(url) as one, await tiered(url) as other:
        yield one, other


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - it looks at what a server in another process does
        await asyncio.sleep(0.002)


def at_once(cache: Cache[Any], key: str) -> bool:
    """Whether memory answers, without anything to await."""
    answer = cache.get(key)
    if isinstance(answer, Success):
        return True
    answer.close()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # a coroutine
    return False


async def test_a_second_read_asks_nobody(
    pair: tuple[Cache[Any], Cache[Any]], redis_server: RedisServer
) -> None:
    one, other = pair
    assert_success(await one.set("a", 1))
    assert assert_success(await other.get("a")) == 1
    asked = redis_server.calls("GET")
    for _ in range(100):
        assert assert_success(await other.get("a")) == 1
        assert assert_success(await other.get_or_set("a", lambda: 2)) == 1
        assert assert_success(await other.get_many(["a"])) == {"a": 1}
    assert redis_server.calls("GET") == asked
    assert other.statistics().hits == 301


@pytest.mark.parametrize("change", ["set", "remove", "clear", "set_many", "by hand", "expiry", "flushdb"])
async def test_what_another_changes_is_forgotten(
    pair: tuple[Cache[Any], Cache[Any]], redis_server: RedisServer, change: str
) -> None:
    one, other = pair
    assert_success(await one.set("a", 1, ttl=0.1 if change == "expiry" else None))
    assert assert_success(await other.get("a")) == 1
    match change:
        case "set":
            assert_success(await one.set("a", 2))
        case "remove":
            assert_success(await one.remove("a"))
        case "clear":
            assert_success(await one.clear())
        case "set_many":
            assert_success(await one.set_many({"a": 2}))
        case "by hand":
            redis_server.call("SET", "shop:a", "nonsense")
        case "flushdb":
            redis_server.call("FLUSHDB")
        case _:
            pass
    await until(lambda: not at_once(other, "a"))
    if change == "expiry":
        await asyncio.sleep(0.02)  # memory lets it go by this clock, Redis by its own
    result = await other.get("a")
    if change.startswith("set"):
        assert assert_success(result) == 2
    else:
        assert_failure(result, "KEY_NOT_FOUND")


async def test_ones_own_writes_are_seen_at_once(pair: tuple[Cache[Any], Cache[Any]]) -> None:
    one, _ = pair
    for number in range(200):
        assert_success(await one.set("a", number))
        assert assert_success(await one.get("a")) == number
    assert_success(await one.remove("a"))
    assert_failure(await one.get("a"), "KEY_NOT_FOUND")


async def test_what_changes_while_it_is_read_is_not_kept(pair: tuple[Cache[Any], Cache[Any]]) -> None:
    """Readers and writers race: in the end both caches have what Redis has."""
    one, other = pair

    async def write(cache: Cache[Any], first: int) -> None:
        for number in range(first, first + 100):
            assert_success(await cache.set(f"key {number % 3}", number))

    async def read(cache: Cache[Any]) -> None:
        for number in range(300):
            await cache.get(f"key {number % 3}")

    for _ in range(5):
        await asyncio.gather(write(one, 0), write(other, 1000), *(read(cache) for cache in pair * 3))
        # What was heard up to here is worked off; then memory must agree with Redis.
        assert_success(await one.set("mark", 1))
        assert assert_success(await other.get("mark")) == 1
        await asyncio.sleep(0.02)
        for key in ("key 0", "key 1", "key 2"):
            assert await one.get(key) == await other.get(key)


async def test_memory_is_bounded(redis_server: RedisServer) -> None:
    async with await tiered(redis_server.url, max_entries=10) as cache:
        assert_success(await cache.set_many({str(number): number for number in range(100)}))
        for number in range(100):
            assert assert_success(await cache.get(str(number))) == number
        assert sum(at_once(cache, str(number)) for number in range(100)) <= 10
        assert cache.statistics().evictions >= 90


async def test_when_redis_is_gone_memory_is_not_trusted_for_longer_than_it_says(
    redis_server: RedisServer,
) -> None:
    async with await tiered(redis_server.url, max_staleness=0.3, timeout=0.3) as cache:
        assert_success(await cache.set("a", 1))
        assert assert_success(await cache.get("a")) == 1
        redis_server.pause()  # not a sign that the connection is lost
        try:
            assert at_once(cache, "a")
            await until(lambda: not at_once(cache, "a"))
            assert_failure(await cache.get("a"), "CACHE_LOAD_FAILED")
        finally:
            redis_server.resume()
        assert assert_success(await cache.get("a")) == 1
        await until(lambda: at_once(cache, "a") or asyncio.ensure_future(_touch(cache)))
        redis_server.kill()
        await until(lambda: not at_once(cache, "a"))
        redis_server.start()
        while (await cache.get("a")).is_success:  # noqa: ASYNC110 - it looks at a server
            await asyncio.sleep(0.01)
        assert_failure(await cache.get("a"), "KEY_NOT_FOUND")


async def _touch(cache: Cache[Any]) -> None:
    await cache.get("a")


async def test_a_value_in_memory_expires_with_that_in_redis(redis_server: RedisServer) -> None:
    async with await tiered(redis_server.url) as cache:
        assert_success(await cache.set("a", 1, ttl=0.2))
        assert assert_success(await cache.get("a")) == 1
        redis_server.pause()  # so that it can't be told
        try:
            await until(lambda: not at_once(cache, "a"))
        finally:
            redis_server.resume()
