"""The HTTP client keeps its responses in every cache of qicore-cache: neither package knows the other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qicore.cache import Cache, CacheConfig
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient
from qicore_testkit.fault_server import FaultServer
from qicore_testkit.faults import answer, reset
from qicore_testkit.redis_server import bundled_redis, redis_url

__all__ = ["bundled_redis", "redis_url"]

KEPT = {"Cache-Control": "max-age=60", "ETag": '"v"', "Content-Type": "text/plain"}


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


async def caches(tmp_path: Path, url: str) -> list[Cache[Any]]:
    small = CacheConfig(namespace="responses", max_entries=100)
    return [
        Cache.create_memory(small).unwrap(),
        (await Cache.create_persistent(tmp_path / "responses.db", small)).unwrap(),
        (await Cache.create_persistent(url, small)).unwrap(),
    ]


async def test_responses_come_from_any_cache(server: FaultServer, tmp_path: Path, redis_url: str) -> None:
    body = bytes(range(256)) * 100
    for number, cache in enumerate(await caches(tmp_path, redis_url)):
        url = server.on(f"/{number}", answer(200, body, KEPT), reset())
        async with cache, HTTPClient.create(HTTPConfig(cache=cache)).unwrap() as client:
            assert (await client.get(url)).unwrap().content == body
            for _ in range(3):
                hit = (await client.get(url)).unwrap()
                assert (hit.content, hit.extensions["cache"]) == (body, "hit")
            assert (await cache.size()).unwrap() == 1
            # What is changed is untrue: the next request leaves, and meets a server that is gone.
            server.on(f"/{number}", answer(200), reset())
            (await client.put(url, content=b"new")).unwrap()
            assert (await client.get(url, retry=None)).is_failure
            assert (await cache.size()).unwrap() == 0


def test_the_blocking_client_keeps_them_in_memory(server: FaultServer) -> None:
    url = server.on("/", answer(200, b"tea", KEPT), reset())
    cache = Cache.create_memory().unwrap()
    with SyncHTTPClient.create(HTTPConfig(cache=cache)).unwrap() as client:
        for _ in range(3):
            assert client.get(url).unwrap().content == b"tea"
    assert server.count("/") == 1
    cache.close()


async def test_the_blocking_client_needs_one_that_answers_at_once(tmp_path: Path) -> None:
    async with (await Cache.create_persistent(tmp_path / "responses.db")).unwrap() as cache:
        error = SyncHTTPClient.create(HTTPConfig(cache=cache)).error
        assert error is not None
        assert error.code == "INVALID_HTTP_CONFIG"


async def test_a_cache_that_is_closed_is_passed_by(server: FaultServer) -> None:
    url = server.on("/", answer(200, b"tea", KEPT))
    cache = Cache.create_memory().unwrap()
    cache.close()
    async with HTTPClient.create(HTTPConfig(cache=cache)).unwrap() as client:
        for _ in range(2):
            assert (await client.get(url)).unwrap().content == b"tea"
    assert server.count("/") == 2
