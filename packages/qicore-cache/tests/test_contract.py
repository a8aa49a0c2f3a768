"""What holds of every cache: in memory, in a file, on Redis, on a Cluster, on two levels."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import Cache, CacheConfig
from qicore_testkit.redis_server import redis_cluster

KINDS = ["memory", "file", "redis", "cluster", "tiered"]
_NUMBERS = itertools.count()

Opener = Callable[..., Awaitable[Cache[Any]]]


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    with redis_cluster() as nodes:
        yield "redis+cluster://" + ",".join(node.address for node in nodes)


@pytest.fixture(params=KINDS)
async def open_cache(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Open caches of one kind, of a namespace of their own unless one is given; closed at the end."""
    opened: list[Cache[Any]] = []
    kind: str = request.param

    async def opener(**options: Any) -> Cache[Any]:
        given: dict[str, Any] = {"namespace": f"test {next(_NUMBERS)}", **options}
        config = CacheConfig(**given)
        match kind:
            case "memory":
                result: Result[Cache[Any]] = Cache.create_memory(config).map(lambda cache: cache)
            case "file":
                result = await Cache.create_persistent(tmp_path / "cache.db", config)
            case "redis":
                result = await Cache.create_persistent(request.getfixturevalue("redis_url"), config)
            case "cluster":
                result = await Cache.create_persistent(request.getfixturevalue("cluster_url"), config)
            case _:
                result = await Cache.create_tiered(request.getfixturevalue("redis_url"), config)
        cache = assert_success(result)
        opened.append(cache)
        return cache

    yield opener
    for cache in opened:
        await cache.clear()
        assert_success(await cache.close())


@pytest.fixture
async def cache(open_cache: Opener) -> Cache[Any]:
    return await open_cache()


async def test_what_was_set_is_there(cache: Cache[Any]) -> None:
    assert_success(await cache.set("a", {"name": "Ada", "born": 1815}))
    assert assert_success(await cache.get("a")) == {"name": "Ada", "born": 1815}
    assert assert_success(await cache.has("a")) is True
    assert_success(await cache.set("a", "b"))
    assert assert_success(await cache.get("a")) == "b"


async def test_what_was_not_is_not_found(cache: Cache[Any]) -> None:
    error = assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
    assert error.category is ErrorCategory.CACHE
    assert error.context["key"] == "a"
    assert assert_success(await cache.has("a")) is False
    assert assert_success(await cache.remove("a")) is False


@pytest.mark.parametrize("value", [None, False, 0, "", b"", [], 1.5, "ü漢🙂", b"\x00\xff" * 5000])
async def test_a_value_is_a_value_none_included(cache: Cache[Any], value: object) -> None:
    assert_success(await cache.set("a", value))
    assert assert_success(await cache.get("a")) == value
    assert assert_success(await cache.get_or_set("a", lambda: "never")) == value


@pytest.mark.parametrize("key", ["ü漢🙂", "a b\n\t\0c", "{a}b%:*?[]\\", "x" * 4096, "a:b", "..", "'"])
async def test_any_text_is_a_key(cache: Cache[Any], key: str) -> None:
    assert_success(await cache.set(key, 1))
    assert assert_success(await cache.get(key)) == 1
    assert assert_success(await cache.keys()) == [key]
    assert assert_success(await cache.get_many([key, "other"])) == {key: 1}
    assert assert_success(await cache.get_or_set("to compute " + key[:9], lambda: 2)) == 2
    assert assert_success(await cache.remove(key)) is True


@pytest.mark.parametrize("key", ["", "x" * 4097, "\ud800", 7, None, b"a", [1]])
async def test_anything_else_is_none(cache: Cache[Any], key: Any) -> None:
    for result in (
        await cache.get(key),
        await cache.set(key, 1),
        await cache.remove(key),
        await cache.has(key),
        await cache.get_or_set(key, lambda: 1),
        await cache.get_many([key]),
    ):
        error = assert_failure(result, "INVALID_KEY")
        assert error.category is ErrorCategory.VALIDATION


@pytest.mark.parametrize(
    "ttl",
    [0, -1, float("nan"), float("inf"), "1", True, 1e13, sys.maxsize, 1e308, 10**400, 10**5000],
    ids=lambda ttl: str(ttl)[:9] if not isinstance(ttl, int) else f"{ttl.bit_length()} bits",
)
async def test_a_time_to_live_is_above_zero(cache: Cache[Any], ttl: Any) -> None:
    assert_failure(CacheConfig(ttl=ttl).check(), "INVALID_TTL")
    assert_success(await cache.set("there", 1))
    assert assert_success(await cache.get("there")) == 1
    assert_failure(await cache.get_or_set("there", lambda: 2, ttl), "INVALID_TTL")
    for result in (
        await cache.set("a", 1, ttl),
        await cache.set_many({"a": 1}, ttl),
        await cache.get_or_set("a", lambda: 1, ttl),
    ):
        assert assert_failure(result, "INVALID_TTL").category is ErrorCategory.VALIDATION
    assert_failure(await cache.get("a"), "KEY_NOT_FOUND")


async def test_what_expires_is_gone(open_cache: Opener) -> None:
    cache = await open_cache(ttl=0.05)
    assert_success(await cache.set("short", 1))
    assert_success(await cache.set("long", 2, ttl=600))
    assert_success(await cache.set_many({"many": 3}, ttl=600))
    await until_gone(cache, "short")
    assert assert_success(await cache.has("short")) is False
    assert assert_success(await cache.remove("short")) is False
    assert assert_success(await cache.keys()) == ["long", "many"]
    assert assert_success(await cache.size()) == 2
    assert assert_success(await cache.get_many(["short", "long"])) == {"long": 2}
    assert assert_success(await cache.get_or_set("short", lambda: 4)) == 4


async def until_gone(cache: Cache[Any], key: str) -> None:
    while (await cache.get(key)).is_success:  # noqa: ASYNC110 - time itself gives no event
        await asyncio.sleep(0.01)


async def test_many_at_once(cache: Cache[Any]) -> None:
    values = {f"key {number}": number for number in range(2500)}
    assert_success(await cache.set_many(values))
    assert assert_success(await cache.get_many([*values, "none"])) == values
    assert assert_success(await cache.size()) == 2500
    assert assert_success(await cache.get_many([])) == {}
    assert_success(await cache.set_many({}))


async def test_what_was_removed_is_gone_and_nothing_else(cache: Cache[Any]) -> None:
    for key in ("a", "b"):
        assert_success(await cache.set(key, key.upper()))
    assert assert_success(await cache.remove("a")) is True
    assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
    assert assert_success(await cache.has("a")) is False
    assert assert_success(await cache.keys()) == ["b"]
    assert assert_success(await cache.get("b")) == "B"
    assert assert_success(await cache.remove("a")) is False
    assert_success(await cache.set("a", "again"))
    assert assert_success(await cache.get("a")) == "again"


async def test_keys_by_pattern(cache: Cache[Any]) -> None:
    names = ["user:1", "user:2", "user:10", "item:1", "user*", "User:1"]
    assert_success(await cache.set_many(dict.fromkeys(names, 1)))
    for pattern, expected in {
        "*": sorted(names),
        "user:*": ["user:1", "user:10", "user:2"],
        "user:?": ["user:1", "user:2"],
        "*:1": ["User:1", "item:1", "user:1"],
        "user:[2-9]": ["user:2"],
        r"user\*": ["user*"],
        "": [],
        "none": [],
    }.items():
        assert assert_success(await cache.keys(pattern)) == expected, pattern


async def test_one_namespace_is_not_another(open_cache: Opener, request: pytest.FixtureRequest) -> None:
    one, other = await open_cache(namespace="a"), await open_cache(namespace="a:b")
    assert_success(await one.set("b:c", 1))
    assert_success(await other.set("c", 2))
    assert assert_success(await one.get("b:c")) == 1
    assert assert_success(await other.keys()) == ["c"]
    assert_success(await one.clear())
    assert assert_success(await one.size()) == 0
    assert assert_success(await other.get("c")) == 2


class TestGetOrSet:
    async def test_it_computes_once_and_keeps_it(self, cache: Cache[Any]) -> None:
        calls: list[int] = []

        async def compute() -> Result[str]:
            calls.append(1)
            await asyncio.sleep(0.02)
            return Success("computed")

        results = await asyncio.gather(*(cache.get_or_set("a", compute) for _ in range(50)))
        assert all(result == Success("computed") for result in results)
        assert len(calls) == 1
        assert assert_success(await cache.get("a")) == "computed"

    async def test_a_factory_gives_what_it_likes(self, cache: Cache[Any]) -> None:
        async def later(value: Any) -> Any:
            return value

        factories: list[Callable[[], Any]] = [
            lambda: 1,
            lambda: Success(1),
            lambda: later(1),
            lambda: later(Success(1)),
        ]
        for number, factory in enumerate(factories):
            assert assert_success(await cache.get_or_set(str(number), factory)) == 1
            assert assert_success(await cache.get(str(number))) == 1

    async def test_one_that_fails_keeps_nothing_and_all_that_wait_hear_of_it(self, cache: Cache[Any]) -> None:
        calls: list[int] = []
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def fails() -> Result[int]:
            calls.append(1)
            begun.set()
            await go_on.wait()
            return Failure(QiError.network("NETWORK_ERROR", "connection refused"))

        async def ask() -> Result[Any]:
            return await cache.get_or_set("a", fails)

        asked = [asyncio.create_task(ask()) for _ in range(10)]
        await begun.wait()
        # What is asked after them is answered after them: then all of them wait.
        for _ in range(3):
            await asyncio.gather(*(cache.get(f"other {number}") for number in range(50)))
        go_on.set()
        for task in asked:
            assert_failure(await task, "NETWORK_ERROR")
        assert len(calls) == 1
        assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
        assert assert_success(await cache.get_or_set("a", lambda: 1)) == 1
        assert cache.statistics().load_failures == 1

    async def test_one_that_raises_is_a_failure(self, cache: Cache[Any]) -> None:
        def breaks() -> int:
            raise KeyError("x")

        assert_failure(await cache.get_or_set("a", breaks), "KEY_ERROR")
        assert_failure(await cache.get("a"), "KEY_NOT_FOUND")

    async def test_cancelled_it_frees_those_that_wait_and_one_of_them_computes(
        self, cache: Cache[Any]
    ) -> None:
        begun = asyncio.Event()

        async def hangs() -> int:
            begun.set()
            await asyncio.sleep(60)
            return 1

        async def computes() -> int:
            return 2

        leader = asyncio.ensure_future(cache.get_or_set("a", hangs))
        await begun.wait()
        waiting = [asyncio.ensure_future(cache.get_or_set("a", computes)) for _ in range(5)]
        await asyncio.sleep(0.02)
        leader.cancel()
        assert [assert_success(result) for result in await asyncio.gather(*waiting)] == [2] * 5
        with pytest.raises(asyncio.CancelledError):
            await leader

    async def test_a_stale_value_serves_while_a_new_one_is_computed(self, open_cache: Opener) -> None:
        cache = await open_cache(stale_ttl=600)
        gate = asyncio.Event()

        async def compute() -> str:
            await gate.wait()
            return "new"

        assert_success(await cache.set("a", "old", ttl=0.02))
        await until_gone(cache, "a")
        assert assert_success(await cache.has("a")) is False
        assert assert_success(await cache.keys()) == []
        assert assert_success(await cache.get_many(["a"])) == {}
        for _ in range(3):
            assert assert_success(await cache.get_or_set("a", compute)) == "old"
        gate.set()
        while (await cache.get("a")).is_failure:  # noqa: ASYNC110 - another task's work gives no event
            await asyncio.sleep(0.005)
        assert assert_success(await cache.get("a")) == "new"
        statistics = cache.statistics()
        assert (statistics.stale_hits, statistics.loads) == (3, 1)

    async def test_what_was_removed_meanwhile_is_not_put_back(self, cache: Cache[Any]) -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def compute() -> int:
            begun.set()
            await go.wait()
            return 1

        task = asyncio.ensure_future(cache.get_or_set("a", compute))
        await begun.wait()
        assert_success(await cache.remove("a"))
        go.set()
        assert assert_success(await task) == 1
        assert_failure(await cache.get("a"), "KEY_NOT_FOUND")

    async def test_what_was_set_meanwhile_stays(self, cache: Cache[Any]) -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def compute() -> int:
            begun.set()
            await go.wait()
            return 1

        task = asyncio.ensure_future(cache.get_or_set("a", compute))
        await begun.wait()
        assert_success(await cache.set("a", 2))
        go.set()
        assert assert_success(await task) == 1
        assert assert_success(await cache.get("a")) == 2


async def test_statistics_count(cache: Cache[Any]) -> None:
    await cache.set("a", 1)
    await cache.get("a")
    await cache.get("b")
    await cache.remove("a")
    statistics = cache.statistics()
    assert (statistics.hits, statistics.misses, statistics.sets, statistics.removals) == (1, 1, 1, 1)
    assert statistics.hit_rate == 0.5


async def test_closed_it_answers_nothing(cache: Cache[Any]) -> None:
    before = cache.closed
    async with cache:
        assert_success(await cache.flush())
    assert (before, cache.closed) == (False, True)
    for result in (
        await cache.get("a"),
        await cache.set("a", 1),
        await cache.remove("a"),
        await cache.has("a"),
        await cache.keys(),
        await cache.size(),
        await cache.get_many(["a"]),
        await cache.set_many({"a": 1}),
        await cache.get_or_set("a", lambda: 1),
        await cache.flush(),
    ):
        assert_failure(result, "CACHE_CLOSED")
    assert_success(await cache.close())


async def test_values_too_large_are_not_written(open_cache: Opener, request: pytest.FixtureRequest) -> None:
    cache = await open_cache(max_value_size=1000)
    if cache.raw.__class__.__module__.startswith("cachebox"):
        assert_success(await cache.set("a", "x" * 2000))  # memory keeps the value itself, not its bytes
        return
    error = assert_failure(await cache.set("a", "x" * 2000), "CACHE_WRITE_FAILED")
    assert "VALUE_TOO_LARGE" in str(error.to_structured_data())
    assert assert_success(await cache.get_or_set("a", lambda: "x" * 2000)) == "x" * 2000
    assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
    assert_failure(await cache.set("a", object()), "CACHE_WRITE_FAILED")


async def test_fifty_tasks_at_once(cache: Cache[Any]) -> None:
    async def work(number: int) -> None:
        for step in range(10):
            key = f"key {(number + step) % 7}"
            assert_success(await cache.set(key, [number, step]))
            value = await cache.get(key)
            assert value.is_success or value.error is not None
            assert_success(await cache.get_or_set(key, lambda: [0, 0]))
            if step == 5:
                assert_success(await cache.remove(key))

    await asyncio.gather(*map(work, range(50)))
    assert assert_success(await cache.size()) <= 7


async def test_the_longest_time_to_live(open_cache: Opener) -> None:
    cache = await open_cache(ttl=1e12, stale_ttl=1e12)
    assert_success(await cache.set("a", 1))
    assert assert_success(await cache.get_or_set("b", lambda: 2, 1e12)) == 2
    assert assert_success(await cache.get_many(["a", "b"])) == {"a": 1, "b": 2}


async def test_arguments_of_wrong_types_raise_nothing(cache: Cache[Any]) -> None:
    wrong: Any = 5
    for result in (
        await cache.get_many(wrong),
        await cache.set_many(wrong),
        await cache.get_or_set("a", wrong),
    ):
        assert_failure(result, "TYPE_ERROR")


@pytest.mark.parametrize("target", [5, None, b"cache.db", object()])
async def test_what_is_no_path_and_no_url_opens_nothing(target: Any) -> None:
    for create in (Cache.create_persistent, Cache.create_tiered):
        error = assert_failure(await create(target), "CACHE_CREATION_FAILED")
        assert type(target).__name__ in error.message
