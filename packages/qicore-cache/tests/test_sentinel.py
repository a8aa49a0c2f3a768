"""Sentinels: what the cache answers while a replica takes the primary's place, and after it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qicore.base import Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import Cache, CacheConfig
from qicore.cache.connection import open_link, parse_target
from qicore.resilience import CircuitBreakerConfig
from qicore_testkit.redis_server import Failover, RedisServer, free_port, redis_sentinel
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from .cache_processes import Worker, computed

PATIENT = CircuitBreakerConfig(failure_threshold=100_000)
# The deadline, and what a slow machine may add to it before it wakes who waits.
TIMEOUT, SLACK = 0.5, 5.0


@pytest.fixture
def servers() -> Iterator[Failover]:
    with redis_sentinel() as servers:
        yield servers


def options(**given: Any) -> CacheConfig:
    chosen: dict[str, Any] = {"namespace": "shop", "timeout": TIMEOUT, "circuit_breaker": PATIENT, **given}
    return CacheConfig(**chosen)


async def opened(servers: Failover, **given: Any) -> Cache[Any]:
    return assert_success(await Cache.create_persistent(servers.url, options(**given)))


@pytest.fixture
async def cache(servers: Failover) -> AsyncIterator[Cache[Any]]:
    async with await opened(servers) as cache:
        yield cache


async def replicated(servers: Failover) -> None:
    """Wait until the replica has what was written."""

    def offset(server: RedisServer, name: str) -> str:
        lines = server.call("INFO", "replication").splitlines()
        return next(line.split(":")[1] for line in lines if line.startswith(name))

    while offset(servers.primary, "master_repl_offset") != offset(servers.replica, "slave_repl_offset"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def until_success(operation: Callable[[], Awaitable[Result[Any]]]) -> Any:
    """Call it until it succeeds; each time it must answer within the deadline."""
    while True:
        began = time.monotonic()
        result = await operation()
        assert time.monotonic() - began < TIMEOUT + SLACK
        if isinstance(result, Success):
            return result.unwrap()
        assert assert_failure(result).code in ("CACHE_LOAD_FAILED", "CACHE_WRITE_FAILED")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_it_fails_within_its_deadline_and_recovers_on_the_new_primary(
    cache: Cache[Any], servers: Failover, how: str
) -> None:
    assert_success(await cache.set_many({str(number): number for number in range(20)}))
    # So that there are several connections to the one that goes.
    await asyncio.gather(*(cache.get(str(number)) for number in range(20)))
    await replicated(servers)
    getattr(servers.primary, how)()
    await until_success(lambda: cache.set("later", 1))
    await asyncio.to_thread(servers.wait)
    assert await until_success(lambda: cache.get("7")) == 7
    assert await until_success(lambda: cache.get_or_set("8", lambda: "never")) == 8
    assert len(await until_success(cache.keys)) == 21
    assert await until_success(lambda: cache.remove("7")) is True


async def test_while_there_is_no_primary_it_falls_through_to_the_factory(servers: Failover) -> None:
    async with await opened(servers, on_failure="fall_through") as cache:
        assert_success(await cache.set("a", 1))
        for sentinel in servers.sentinels:
            sentinel.kill()
        servers.primary.kill()
        began = time.monotonic()
        assert assert_success(await cache.get_or_set("a", lambda: 2)) == 2
        assert_failure(await cache.get("a"), "CACHE_LOAD_FAILED")
        assert_failure(await cache.set("a", 3), "CACHE_WRITE_FAILED")
        assert time.monotonic() - began < 4 * TIMEOUT + SLACK


async def test_one_sentinel_of_three_is_enough_to_find_the_primary(servers: Failover) -> None:
    servers.sentinels[0].kill()
    servers.sentinels[1].pause()
    async with await opened(servers) as cache:
        assert_success(await cache.set("a", 1))
        assert assert_success(await cache.get("a")) == 1


async def test_a_server_that_is_no_primary_is_not_read_from() -> None:
    """A Sentinel that has slept through the fail-over names the old primary, which has become a replica."""
    with RedisServer() as primary, RedisServer("--replicaof", "127.0.0.1", str(primary.port)) as replica:
        late = f"sentinel monitor main 127.0.0.1 {replica.port} 3\n"
        with RedisServer(sentinel=True, config=late) as sentinel:
            result = await Cache.create_persistent(
                f"redis+sentinel://{sentinel.address}/main", CacheConfig(timeout=TIMEOUT)
            )
            error = assert_failure(result, "CACHE_LOAD_FAILED")
            assert "REDIS_UNREACHABLE" in str(error.to_structured_data())


async def test_passwords_of_the_servers_and_of_the_sentinels() -> None:
    with RedisServer(password="open sesame") as primary:
        config = f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
        config += 'sentinel auth-pass main "open sesame"\n'
        with RedisServer(sentinel=True, config=config, password="sentinels") as sentinel:
            login, place = ":open%20sesame", f"{sentinel.address}/main/3"
            url = f"redis+sentinel://{login}@{place}?sentinel_password=sentinels"
            async with assert_success(await Cache.create_persistent(url, options())) as cache:
                assert_success(await cache.set("a", 1))
                assert "db3" in primary.call("INFO", "keyspace")
            for wrong in (f"redis+sentinel://{login}@{place}", f"redis+sentinel://{place}"):
                error = assert_failure(await Cache.create_persistent(wrong, options()), "CACHE_LOAD_FAILED")
                assert "sesame" not in str(error.to_structured_data()) + repr(error)


# ---- single flight


async def test_tasks_compute_once_through_the_failover(cache: Cache[Any], servers: Failover) -> None:
    computing, failed_over = asyncio.Event(), asyncio.Event()
    running: list[int] = []

    async def compute() -> str:
        running.append(1)
        computing.set()
        await failed_over.wait()
        return "value"

    asking = [asyncio.ensure_future(cache.get_or_set("a", compute)) for _ in range(20)]
    await computing.wait()
    # All of them have looked, and wait for the one that computes.
    while cache.statistics().misses < 20:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.01)
    servers.primary.kill()
    await until_success(lambda: cache.set("b", 1))
    failed_over.set()
    assert [assert_success(result) for result in await asyncio.gather(*asking)] == ["value"] * 20
    assert len(running) == 1


async def test_processes_compute_once_when_the_lock_has_reached_the_replica(
    servers: Failover, tmp_path: Path
) -> None:
    workers = [Worker(servers.url, tmp_path, seconds=60, lease=30.0) for _ in range(3)]
    try:
        workers[0].go()
        while not computed(tmp_path):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
        await replicated(servers)
        async with await opened(servers) as cache:
            servers.primary.kill()
            await until_success(lambda: cache.set("b", 1))
            await asyncio.to_thread(servers.wait)
            for worker in workers[1:]:
                worker.go()
            # The others ask the new primary, and find the lock.
            while servers.replica.calls("eval") < 4:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
            assert computed(tmp_path) == 1
            workers[0].finish()
            assert [worker.answer() for worker in workers] == [["value"] * 10] * 3
            assert computed(tmp_path) == 1
            assert await until_success(lambda: cache.get("a")) == "value"
    finally:
        for worker in workers:
            worker.kill()


# ---- two levels


async def test_sentinels_that_many_ask_at_once_are_all_kept(servers: Failover) -> None:
    link = open_link(parse_target(servers.url), timeout=30, max_connections=50)
    sentinels: Any = link.closers[1]
    everyone = set(sentinels.sentinels)
    assert len(everyone) > 1
    sentinels.sentinels.insert(0, Redis(host="127.0.0.1", port=free_port(), retry=Retry(NoBackoff(), 0)))
    everyone.add(sentinels.sentinels[0])
    found = await asyncio.gather(*(sentinels.discover_master("main") for _ in range(20)))
    assert len(set(found)) == 1
    assert set(sentinels.sentinels) == everyone
    await link.close()


async def test_memory_forgets_at_the_failover_and_hears_of_changes_on_the_new_primary(
    servers: Failover,
) -> None:
    url, config = servers.url, options(max_staleness=1.0)
    async with (
        assert_success(await Cache.create_tiered(url, config)) as one,
        assert_success(await Cache.create_tiered(url, config)) as other,
    ):
        assert_success(await one.set("a", 1))
        assert assert_success(await other.get("a")) == 1
        assert at_once(other, "a")
        await replicated(servers)
        servers.primary.kill()
        while at_once(other, "a"):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.002)
        await until_success(lambda: one.set("a", 2))
        await asyncio.to_thread(servers.wait)
        assert await until_success(lambda: other.get("a")) == 2
        while not at_once(other, "a"):  # it listens again, to the new primary
            await until_success(lambda: other.get("a"))
        await until_success(lambda: one.set("a", 3))
        while at_once(other, "a"):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.002)
        assert await until_success(lambda: other.get("a")) == 3


async def test_nothing_is_served_beyond_its_bound_while_the_primary_hangs(servers: Failover) -> None:
    """A value that was replaced may be read for `max_staleness` seconds and no longer, fail-over or not."""
    staleness = 0.6
    config = options(max_staleness=staleness)
    async with (
        assert_success(await Cache.create_tiered(servers.url, config)) as reader,
        await opened(servers) as writer,
    ):
        assert_success(await writer.set("a", 0))
        assert assert_success(await reader.get("a")) == 0
        await replicated(servers)
        servers.primary.pause()  # its connections stay, and tell nothing
        await until_success(lambda: writer.set("a", 1))
        written = time.monotonic()
        while True:
            began = time.monotonic()
            result = await reader.get("a")
            if isinstance(result, Success) and result.unwrap() == 1:
                break
            assert not result.is_success or began < written + staleness
            await asyncio.sleep(0.01)
        servers.primary.resume()
        # It comes back as it was, and is made a replica: nobody reads the old value from it.
        while "role:slave" not in servers.primary.call("INFO", "replication"):
            result = await reader.get("a")
            assert not result.is_success or result.unwrap() == 1
            await asyncio.sleep(0.01)
        assert await until_success(lambda: reader.get("a")) == 1


def at_once(cache: Cache[Any], key: str) -> bool:
    """Whether memory answers, without anything to await."""
    answer: Any = cache.get(key)
    if isinstance(answer, Success):
        return True
    answer.close()
    return False
