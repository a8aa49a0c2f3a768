"""Components that know nothing of each other, put together as their users do."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import Cache, CacheConfig
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient
from qicore.resilience import (
    CircuitBreaker,
    CircuitBreakerConfig,
    Fallback,
    RateLimiter,
    Retry,
    RetryConfig,
    Timeout,
    compose,
)
from qicore.resilience import protect as protected_by
from qicore_testkit.redis_server import RedisServer
from qicore_testkit.site import Answer, Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as served:
        served.html("/fresh", "for an hour", Cache_Control="max-age=3600")
        served.html("/asked", "only after asking", Cache_Control="no-cache")
        yield served


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


async def opened(kind: str, folder: Path, redis: RedisServer) -> Cache[Any]:
    config = CacheConfig(namespace=f"responses of {folder.name}")
    match kind:
        case "memory":
            return assert_success(Cache.create_memory(config))
        case "file":
            return assert_success(await Cache.create_persistent(folder / "cache.db", config))
        case "redis":
            return assert_success(await Cache.create_persistent(redis.url, config))
        case _:
            return assert_success(await Cache.create_tiered(redis.url, config))


@pytest.mark.parametrize("kind", ["memory", "file", "redis", "tiered"])
async def test_responses_are_kept_in_any_cache(
    kind: str, site: Site, tmp_path: Path, redis: RedisServer
) -> None:
    async with await opened(kind, tmp_path, redis) as cache:
        for _ in range(2):  # the second client finds what the first has kept
            async with assert_success(
                HTTPClient.create(HTTPConfig(base_url=site.url, cache=cache))
            ) as client:
                for _ in range(3):
                    assert "for an hour" in assert_success(await client.get("fresh")).text
                    assert "only after asking" in assert_success(await client.get("asked")).text
        assert site.answers("/fresh") == [200]
        assert site.answers("/asked") == [200, 304, 304, 304, 304, 304]
        assert assert_success(await cache.size()) > 0


async def test_a_cache_that_fails_costs_no_answer(site: Site, tmp_path: Path) -> None:
    with RedisServer() as redis:
        async with await opened("redis", tmp_path, redis) as cache:
            config = HTTPConfig(base_url=site.url, cache=cache)
            async with assert_success(HTTPClient.create(config)) as client:
                assert_success(await client.get("fresh"))
                redis.kill()
                for _ in range(10):
                    assert_success(await client.get("fresh"))
    assert site.answers("/fresh") == [200] * 11


def test_a_blocking_client_keeps_responses_in_memory(site: Site) -> None:
    cache = assert_success(Cache.create_memory())
    with assert_success(SyncHTTPClient.create(HTTPConfig(base_url=site.url, cache=cache))) as client:
        for _ in range(3):
            assert "for an hour" in assert_success(client.get("fresh")).text
    assert site.answers("/fresh") == [200]


async def test_policies_stand_around_a_client(site: Site) -> None:
    """The last good answer stands in while the service is down, and the circuit keeps it from being asked."""
    site.pages["/price"] = Answer(b"7", "text/plain")
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=4))
    last = assert_success(Cache.create_memory())
    async with assert_success(HTTPClient.create(HTTPConfig(base_url=site.url, retry=None))) as client:
        policy = compose(
            Fallback(lambda error: last.get("price")),
            Timeout(10),
            Retry(RetryConfig(attempts=2, wait_initial=0)),
            breaker,
            RateLimiter(),
        )

        @protected_by(policy)
        async def price() -> Any:
            got = await client.get("price")
            return got.map(lambda response: response.text).tap(lambda text: last.set("price", text))

        assert assert_success(await price()) == "7"
        site.pages["/price"] = Answer(b"down", status=503)
        for _ in range(5):
            assert assert_success(await price()) == "7"
        assert site.answers("/price") == [200, 503, 503, 503, 503]
        site.pages["/price"] = Answer(b"8", "text/plain")
        assert assert_success(await price()) == "7"
        breaker.close()  # in a minute it would try by itself
        assert assert_success(await price()) == "8"


async def test_two_processes_worth_of_clients_compute_once(site: Site, redis: RedisServer) -> None:
    """`get_or_set` around a request: one request for all that ask, whichever cache object they hold."""
    config = CacheConfig(namespace="computed", ttl=60)
    async with (
        assert_success(HTTPClient.create(HTTPConfig(base_url=site.url))) as client,
        assert_success(await Cache.create_persistent(redis.url, config)) as one,
        assert_success(await Cache.create_tiered(redis.url, config)) as other,
    ):

        async def fetch() -> Any:
            return (await client.get("asked")).map(lambda response: response.text)

        results = await asyncio.gather(
            *(cache.get_or_set("page", fetch) for cache in (one, other) for _ in range(20))
        )
        assert len({assert_success(result) for result in results}) == 1
        assert site.answers("/asked") == [200]
        assert_failure(await one.get_or_set("none", lambda: client.get("none")), "HTTP_ERROR")
