"""Redis that is stopped, stalled, killed or holds what is none of ours."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from qicore.base import ErrorCategory, QiError, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import Cache, CacheConfig
from qicore.cache.locks import KeyLock
from qicore.resilience import CircuitBreakerConfig
from qicore_testkit.redis_server import RedisServer

PATIENT = CircuitBreakerConfig(failure_threshold=1000)


async def opened(url: str, **options: Any) -> Cache[Any]:
    given: dict[str, Any] = {"namespace": "shop", "circuit_breaker": PATIENT, **options}
    config = CacheConfig(**given)
    return assert_success(await Cache.create_persistent(url, config))


@pytest.fixture
async def cache(redis_server: RedisServer) -> AsyncIterator[Cache[Any]]:
    async with await opened(redis_server.url, timeout=5) as cache:
        yield cache


def reason(error: QiError) -> str:
    return str(error.to_structured_data())


class TestOpening:
    async def test_nobody_there(self, redis_server: RedisServer) -> None:
        redis_server.stop()
        error = assert_failure(await Cache.create_persistent(redis_server.url), "CACHE_LOAD_FAILED")
        assert error.category is ErrorCategory.CACHE
        assert "REDIS_UNREACHABLE" in reason(error)

    async def test_a_wrong_password_is_told_and_never_shown(self) -> None:
        with RedisServer(password="correct") as server:
            url = f"redis://:hunter2@{server.address}"
            for config in (CacheConfig(), CacheConfig(on_failure="fall_through")):
                error = assert_failure(await Cache.create_persistent(url, config), "CACHE_LOAD_FAILED")
                assert "REDIS_DENIED" in reason(error)
                assert "hunter2" not in reason(error) + repr(error)
            async with await opened(server.url) as cache:
                assert_success(await cache.set("a", 1))

    @pytest.mark.parametrize(
        "url", ["redis://:hunter2@host:port", "http://hunter2", "redis://a/x", "redis://a?hunter2=1"]
    )
    async def test_no_url(self, url: str) -> None:
        for create in (Cache.create_persistent, Cache.create_tiered):
            error = assert_failure(await create(url), "CACHE_CREATION_FAILED")
            assert "hunter2" not in reason(error)

    async def test_wrong_options(self, redis_url: str) -> None:
        for create in (Cache.create_persistent, Cache.create_tiered):
            assert_failure(await create(redis_url, CacheConfig(timeout=0)), "CACHE_CREATION_FAILED")
            assert_failure(await create(redis_url, CacheConfig(ttl=0)), "INVALID_TTL")

    async def test_two_levels_over_a_cluster_are_refused(self) -> None:
        with RedisServer("--cluster-enabled", "yes") as server:
            slots = server.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            assert slots == "OK"
            while "cluster_state:ok" not in server.call("CLUSTER", "INFO"):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.02)
            result = await Cache.create_tiered(f"redis+cluster://{server.address}")
            assert_failure(result, "CACHE_CREATION_FAILED")


class TestGoingAndComingBack:
    async def test_after_a_restart_it_goes_on(self, cache: Cache[Any], redis_server: RedisServer) -> None:
        assert_success(await cache.set("a", 1))
        redis_server.restart()
        # A read may be repeated, so it finds the new server at once; a write may meet the dead connection.
        assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
        assert_success(await cache.set("a", 2))
        assert assert_success(await cache.get("a")) == 2

    async def test_while_it_is_away_every_operation_fails_with_a_reason(
        self, cache: Cache[Any], redis_server: RedisServer
    ) -> None:
        redis_server.kill()
        for result in (
            await cache.get("a"),
            await cache.has("a"),
            await cache.keys(),
            await cache.size(),
            await cache.get_many(["a"]),
            await cache.get_or_set("a", lambda: 1),
        ):
            error = assert_failure(result, "CACHE_LOAD_FAILED")
            assert "REDIS_UNREACHABLE" in reason(error)
        for written in (await cache.set("a", 1), await cache.set_many({"a": 1}), await cache.remove("a")):
            assert_failure(written, "CACHE_WRITE_FAILED")
        assert cache.statistics().failures == 9

    async def test_the_circuit_opens_and_closes(self, redis_server: RedisServer) -> None:
        breaker = CircuitBreakerConfig(failure_threshold=3, reset_timeout=0.05, half_open_requests=1)
        async with await opened(redis_server.url, circuit_breaker=breaker) as cache:
            redis_server.stop()
            codes = [assert_failure(await cache.get("a")).code for _ in range(5)]
            assert codes == ["CACHE_LOAD_FAILED"] * 3 + ["CIRCUIT_OPEN"] * 2
            redis_server.start()
            await asyncio.sleep(0.06)
            assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
            assert_success(await cache.set("a", 1))

    async def test_without_a_breaker_each_call_is_tried(self, redis_server: RedisServer) -> None:
        async with await opened(redis_server.url, circuit_breaker=None) as cache:
            redis_server.stop()
            codes = {assert_failure(await cache.get("a")).code for _ in range(20)}
            assert codes == {"CACHE_LOAD_FAILED"}

    async def test_falling_through_to_the_factory(self, redis_server: RedisServer) -> None:
        async with await opened(redis_server.url, on_failure="fall_through") as cache:
            redis_server.stop()
            calls: list[int] = []

            async def compute() -> int:
                calls.append(1)
                await asyncio.sleep(0.01)
                return 7

            results = await asyncio.gather(*(cache.get_or_set("a", compute) for _ in range(20)))
            assert all(result == Success(7) for result in results)
            assert len(calls) < 20  # those that ask at once still share
            assert_failure(await cache.get("a"), "CACHE_LOAD_FAILED")

    async def test_it_may_be_away_from_the_beginning(
        self, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        redis_server.stop()
        with caplog.at_level(logging.WARNING, "qicore.cache"):
            cache = await opened(redis_server.url, on_failure="fall_through")
        assert "can't be reached" in caplog.text
        async with cache:
            assert assert_success(await cache.get_or_set("a", lambda: 1)) == 1
            redis_server.start()
            assert assert_success(await cache.get_or_set("a", lambda: 2)) == 2
            assert assert_success(await cache.get("a")) == 2


class TestStalling:
    async def test_a_stalled_server_is_waited_for_only_so_long(self, redis_server: RedisServer) -> None:
        async with await opened(redis_server.url, timeout=0.2) as cache:
            assert_success(await cache.set("a", 1))
            redis_server.pause()
            error = assert_failure(await cache.get("a"), "CACHE_LOAD_FAILED")
            assert "REDIS_TIMEOUT" in reason(error)
            assert_failure(await cache.set("a", 2), "CACHE_WRITE_FAILED")
            redis_server.resume()
            assert assert_success(await cache.get("a")) in (1, 2)  # it may have been done, and once at most

    async def test_no_write_is_sent_twice(self, redis_server: RedisServer) -> None:
        async with await opened(redis_server.url, timeout=0.2) as cache:
            assert_success(await cache.set("a", 1))
            before = {name: redis_server.calls(name) for name in ("SET", "UNLINK", "EVAL")}
            redis_server.pause()
            assert_failure(await cache.set("a", 2), "CACHE_WRITE_FAILED")
            assert_failure(await cache.remove("b"), "CACHE_WRITE_FAILED")
            assert_failure(await cache.set_many({"c": 1, "d": 2}), "CACHE_WRITE_FAILED")
            redis_server.resume()
            assert_success(await cache.get("a"))
            after = {name: redis_server.calls(name) for name in before}
            assert after["SET"] - before["SET"] <= 3
            assert after["UNLINK"] - before["UNLINK"] <= 2

    async def test_cancelled_in_mid_command_no_answer_goes_to_another(
        self, cache: Cache[Any], redis_server: RedisServer
    ) -> None:
        assert_success(await cache.set_many({f"key {number}": number for number in range(50)}))
        for _ in range(20):
            redis_server.pause()
            tasks = [asyncio.ensure_future(cache.get(f"key {number}")) for number in range(10)]
            await asyncio.sleep(0.005)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            redis_server.resume()
            results = await asyncio.gather(*(cache.get(f"key {number}") for number in range(50)))
            assert [assert_success(result) for result in results] == list(range(50))

    async def test_more_tasks_than_connections_wait_for_their_turn(self, redis_server: RedisServer) -> None:
        async with await opened(redis_server.url, max_connections=2) as cache:
            results = await asyncio.gather(*(cache.set(f"key {number}", number) for number in range(200)))
            assert all(result.is_success for result in results)
            clients = redis_server.call("CLIENT", "LIST").splitlines()
            assert len([line for line in clients if "cmd=client" not in line]) <= 2

    @pytest.mark.parametrize(
        "options", [{}, {"timeout": 0.1}, {"timeout": 0.1, "on_failure": "fall_through"}]
    )
    async def test_a_lock_that_nobody_waits_for_any_more_is_given_back(
        self, redis_server: RedisServer, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin = KeyLock.begin

        async def stalled(lock: KeyLock, seen: bytes) -> Any:
            redis_server.pause()
            asyncio.get_running_loop().call_later(0.5, redis_server.resume)
            return await begin(lock, seen)

        async with await opened(redis_server.url, lock_timeout=600, **options) as cache:
            monkeypatch.setattr(KeyLock, "begin", stalled)
            asking = asyncio.ensure_future(cache.get_or_set("a", lambda: 1))
            await asyncio.wait([asking], timeout=0.2)
            asking.cancel()
            await asyncio.wait([asking])
            monkeypatch.undo()
            while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - what gives it back tells nobody
                await asyncio.sleep(0.01)
            raw: Any = cache.raw
            assert await raw.keys("*") == []
            assert assert_success(await cache.get_or_set("a", lambda: 2)) == 2

    async def test_closing_waits_no_longer_than_for_an_operation(self, redis_server: RedisServer) -> None:
        async with await opened(redis_server.url, timeout=0.1, lock_timeout=600) as cache:
            assert_success(await cache.set("b", 1))
            release = asyncio.Event()
            asking = asyncio.ensure_future(cache.get_or_set("a", release.wait))
            while not redis_server.call("KEYS", "*a*"):  # noqa: ASYNC110 - Redis gives no event
                await asyncio.sleep(0.01)
            redis_server.pause()
            asking.cancel()
            await asyncio.wait([asking])
            await cache.close()
            assert len(asyncio.all_tasks()) == 1
            redis_server.resume()

    async def test_nothing_begins_after_it_is_closed(self, redis_server: RedisServer) -> None:
        async with await opened(redis_server.url, max_connections=1) as cache:
            assert_success(await cache.set("a", 1))
            redis_server.call("CLIENT", "PAUSE", "300", "WRITE")
            writing = [asyncio.ensure_future(cache.set("a", number)) for number in (2, 3)]
            await asyncio.sleep(0.05)
            assert_success(await cache.close())
            assert_failure(await writing[1], "CACHE_CLOSED")
            await asyncio.wait(writing)
            redis_server.call("CLIENT", "UNPAUSE")


async def test_a_refresh_that_outlives_the_stale_value_is_kept(redis_url: str) -> None:
    async with await opened(redis_url, namespace="outlived", ttl=0.1, stale_ttl=0.2) as cache:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> str:
            begun.set()
            await go_on.wait()
            return "new"

        assert_success(await cache.set("a", "old"))
        await asyncio.sleep(0.15)
        while not begun.is_set():
            await cache.get_or_set("a", slow)  # the stale one, unless the machine is very slow
            await asyncio.sleep(0)
        raw: Any = cache.raw
        while await raw.exists("outlived:a"):  # noqa: ASYNC110 - Redis gives no event
            await asyncio.sleep(0.01)
        go_on.set()
        while cache.statistics().loads == 0 or len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert cache.statistics().sets == 2
        await cache.clear()


class TestWhatIsNoneOfOurs:
    @pytest.mark.parametrize(
        "stored", [b"", b"plain", b"\xc1", b"\xc1" + b"\0" * 12, b"\xc1" + b"\xff" * 40, b"x" * 3000]
    )
    async def test_foreign_bytes_are_not_found_and_counted(self, cache: Cache[Any], stored: bytes) -> None:
        raw: Any = cache.raw
        await raw.set("shop:a", stored)
        assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
        assert assert_success(await cache.get_many(["a"])) == {}
        assert cache.statistics().unreadable == 2
        assert assert_success(await cache.get_or_set("a", lambda: 7)) == 7
        assert assert_success(await cache.get("a")) == 7

    async def test_a_key_of_another_type_too(self, cache: Cache[Any]) -> None:
        raw: Any = cache.raw
        await raw.rpush("shop:a", "one", "two")
        assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
        assert assert_success(await cache.get_many(["a"])) == {}
        assert assert_success(await cache.get_or_set("a", lambda: 7)) == 7
        assert assert_success(await cache.get("a")) == 7

    async def test_each_byte_that_was_changed_is_noticed(self, cache: Cache[Any]) -> None:
        raw: Any = cache.raw
        assert_success(await cache.set("a", {"name": "Ada"}, ttl=600))
        good = await raw.get("shop:a")
        for place in range(len(good)):
            bad = good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :]
            await raw.set("shop:a", bad)
            assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
        for length in range(len(good)):
            await raw.set("shop:a", good[:length])
            assert_failure(await cache.get("a"), "KEY_NOT_FOUND")

    async def test_no_room_left(self) -> None:
        with RedisServer("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server:
            async with await opened(server.url) as cache:
                results = [await cache.set(f"key {number}", "x" * 200_000) for number in range(30)]
                error = assert_failure(results[-1], "CACHE_WRITE_FAILED")
                assert "OOM" in reason(error)
                assert assert_success(await cache.get_or_set("more", lambda: "y" * 200_000))[0] == "y"
                assert_failure(await cache.set_many({"p": "x" * 200_000}), "CACHE_WRITE_FAILED")


async def test_another_event_loop_is_told_so(redis_url: str) -> None:
    cache = await opened(redis_url)

    def elsewhere() -> Any:
        return asyncio.run(_get(cache))

    async with cache:
        error = assert_failure(await asyncio.to_thread(elsewhere), "CACHE_CLOSED")
        assert "another event loop" in error.message
        assert_failure(await cache.get("a"), "KEY_NOT_FOUND")


async def _get(cache: Cache[Any]) -> Any:
    return await cache.get("a")


async def test_times_to_live_are_spread(redis_server: RedisServer) -> None:
    async with await opened(redis_server.url, ttl=1000, ttl_jitter=0.5) as cache:
        assert_success(await cache.set_many({str(number): number for number in range(200)}))
        left = [int(redis_server.call("PTTL", f"shop:{number}")) / 1000 for number in range(200)]
        assert 490 < min(left) < 600
        assert 900 < max(left) <= 1000


async def test_nothing_is_left_open(redis_server: RedisServer) -> None:
    before = asyncio.all_tasks()
    for create in (Cache.create_persistent, Cache.create_tiered):
        async with assert_success(await create(redis_server.url)) as cache:
            await asyncio.gather(*(cache.set(str(number), number) for number in range(20)))
            await cache.get_or_set("a", lambda: 1)
    deadline = time.monotonic() + 10
    while len(redis_server.call("CLIENT", "LIST").splitlines()) > 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == before
