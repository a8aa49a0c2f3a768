"""What is special about the cache in memory; what every cache does is in test_contract.py."""

import asyncio
import gc
import logging
import threading
import tracemalloc
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import Cache, CacheConfig, MemoryCache


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Value:
    """Something that can be seen to go."""


def memory(clock: Clock | None = None, **options: Any) -> MemoryCache[Any]:
    config = CacheConfig(**options)
    return assert_success(MemoryCache.create(config, clock=clock) if clock else MemoryCache.create(config))


def test_wrong_options_are_told() -> None:
    assert_failure(Cache.create_memory(CacheConfig(ttl=-1)), "INVALID_TTL")
    assert_failure(Cache.create_memory(CacheConfig(max_entries=0)), "CACHE_CREATION_FAILED")
    assert assert_success(Cache.create_memory()).config == CacheConfig()


async def test_every_operation_is_there_at_once_and_may_be_awaited() -> None:
    cache = memory()
    assert cache.set("a", 1) == await cache.set("a", 1) == Success(None)
    assert cache.get("a") == await cache.get("a") == Success(1)
    assert cache.get_or_set("a", lambda: 2) == Success(1)  # a hit takes no coroutine


def test_the_very_value_is_kept_in_one_result() -> None:
    cache, value = memory(), Value()
    cache.set("a", value)
    assert cache.get("a").unwrap() is value
    assert cache.get("a") is cache.get("a")


def test_the_least_recently_used_leaves_first_and_has_is_no_use() -> None:
    cache = memory(max_entries=3)
    cache.set_many({"a": 1, "b": 2, "c": 3})
    cache.get("a")
    cache.has("b")
    cache.keys()
    cache.set("d", 4)
    assert cache.keys() == Success(["a", "c", "d"])
    assert cache.statistics().evictions == 1


def test_what_has_expired_leaves_before_what_is_live_and_is_no_eviction() -> None:
    clock = Clock()
    cache = memory(clock, max_entries=3)
    cache.set("oldest", 1)
    cache.set("short", 2, ttl=1)
    cache.set("newest", 3)
    clock.now += 1
    cache.set("more", 4)
    assert cache.keys() == Success(["more", "newest", "oldest"])
    assert cache.statistics().evictions == 0


def test_a_value_lives_up_to_its_end_and_not_at_it() -> None:
    clock = Clock()
    cache = memory(clock, ttl=10)
    cache.set("a", 1)
    clock.now += 9.999
    assert cache.get("a") == Success(1)
    clock.now = 1010.0
    assert_failure(cache.get("a"), "KEY_NOT_FOUND")
    assert cache.statistics().misses == 1


def test_set_again_it_has_a_new_end() -> None:
    clock = Clock()
    cache = memory(clock)
    cache.set("later", 1, ttl=10)
    cache.set("later", 2, ttl=20)
    cache.set("never", 1, ttl=10)
    cache.set("never", 2)
    cache.set("earlier", 1, ttl=20)
    cache.set("earlier", 2, ttl=10)
    cache.set("again", 1)
    cache.set("again", 2, ttl=10)
    clock.now += 10
    assert cache.size() == Success(2)
    assert cache.keys() == Success(["later", "never"])
    clock.now += 10
    assert cache.size() == Success(1)
    # Noted anew, it is found in time when it ends earlier than it did.
    cache.set("later", 3, ttl=100)
    cache.set("later", 4, ttl=1)
    clock.now += 1
    assert cache.size() == Success(1)
    assert len(cache.raw) == 1


@given(share=st.floats(0, 1), ttl=st.floats(0.001, 1e6))
def test_jitter_only_shortens_and_never_below_its_share(share: float, ttl: float) -> None:
    clock = Clock()
    cache = memory(clock, ttl=ttl, ttl_jitter=share)
    cache.set("a", 1)
    clock.now = 1000.0 + ttl * (1 - share) * 0.999 - 1e-6
    assert cache.has("a") == Success(True)
    clock.now = 1000.0 + ttl * 1.000001 + 1e-6
    assert cache.has("a") == Success(False)


def test_jitter_spreads_the_ends() -> None:
    cache = memory(Clock(), ttl=100, ttl_jitter=0.5)
    cache.set_many(dict.fromkeys(map(str, range(50)), 1))
    ends = {entry[0] for entry in cache.raw.values()}
    assert len(ends) > 40
    assert all(1050 <= end <= 1100 for end in ends)


class TestWeight:
    def test_the_sum_is_bounded(self) -> None:
        cache = memory(max_entries=None, max_weight=10, weigh=len)
        cache.set("a", "xxxx")
        cache.set("b", "xxxx")
        cache.get("a")
        cache.set("c", "xxx")
        assert cache.keys() == Success(["a", "c"])
        cache.set("c", "xxxxxxx")  # a heavier value at the same key pushes others out too
        assert cache.keys() == Success(["c"])
        assert cache.statistics().evictions == 2

    def test_without_a_scale_each_value_weighs_one(self) -> None:
        cache = memory(max_entries=None, max_weight=2)
        cache.set_many({"a": 1, "b": 2, "c": 3})
        assert cache.keys() == Success(["b", "c"])

    def test_a_value_too_heavy_is_not_kept_and_replaces_nothing(self) -> None:
        cache = memory(max_weight=3, weigh=len)
        cache.set("a", "old")
        error = assert_failure(cache.set("a", "much too heavy"), "CACHE_WRITE_FAILED")
        assert error.cause is not None
        assert error.cause.code == "VALUE_TOO_HEAVY"
        assert_failure(cache.set_many({"b": "x", "c": "much too heavy"}), "CACHE_WRITE_FAILED")
        assert cache.get_many(["a", "b", "c"]) == Success({"a": "old"})

    def test_computed_it_is_answered_though_not_kept(self) -> None:
        cache = memory(max_weight=3, weigh=len)
        assert cache.get_or_set_sync("a", lambda: "much too heavy") == Success("much too heavy")
        assert cache.keys() == Success([])
        assert (cache.statistics().loads, cache.statistics().sets, cache.statistics().failures) == (1, 0, 1)

    @pytest.mark.parametrize("weight", [-1, 1.5, None, True])
    def test_a_weight_is_a_whole_number(self, weight: Any) -> None:
        def weigh(_: object) -> Any:
            return weight

        cache = memory(max_weight=3, weigh=weigh)
        error = assert_failure(cache.set("a", 1), "CACHE_WRITE_FAILED")
        assert error.cause is not None
        assert error.cause.code == "INVALID_WEIGHT"

    def test_a_scale_that_breaks_is_a_failure(self) -> None:
        cache = memory(max_weight=3, weigh=len)
        error = assert_failure(cache.set("a", 7), "CACHE_WRITE_FAILED")
        assert error.cause is not None
        assert error.cause.code == "TYPE_ERROR"


class TestNothingIsKeptOfWhatLeft:
    @pytest.mark.parametrize("how", ["set", "remove", "clear", "evict", "expire", "get", "size", "close"])
    def test_a_value_goes_with_its_entry(self, how: str) -> None:
        clock = Clock()
        cache = memory(clock, max_entries=2)
        value = Value()
        gone = weakref.ref(value)
        cache.set("a", value, ttl=10)
        del value
        match how:
            case "set":
                cache.set("a", 1)
            case "remove":
                cache.remove("a")
            case "clear":
                cache.clear()
            case "evict":
                cache.set_many({"b": 1, "c": 1})
            case "close":
                cache.close()
            case _:
                clock.now += 10
                if how == "expire":
                    cache.set("b", 1)
                elif how == "get":
                    cache.get("a")
                else:
                    cache.size()
        gc.collect()
        assert gone() is None

    @pytest.mark.parametrize("how", ["set", "remove"])
    def test_ends_do_not_pile_up(self, how: str) -> None:
        clock = Clock()
        cache = memory(clock, ttl=1e6)

        def use(count: int) -> None:
            for number in range(count):
                clock.now += 1e-3
                key = str(number % 10)
                if how == "remove":
                    cache.remove(key)
                cache.set(key, 1)

        use(1000)
        tracemalloc.start()
        try:
            use(20_000)
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert grown < 50_000

    def test_a_write_sweeps_away_no_more_than_some(self) -> None:
        clock = Clock()
        cache = memory(clock, max_entries=None)
        cache.set_many(dict.fromkeys(map(str, range(1000)), 1), ttl=1)
        clock.now += 1
        cache.set("a", 1)
        assert 900 < len(cache.raw) < 1000
        for number in range(100):
            cache.set(f"b{number}", 1)
        assert len(cache.raw) == 101


class Finalised:
    """A value that uses its cache when it goes."""

    def __init__(self, cache: MemoryCache[Any]) -> None:
        self.cache = cache

    def __del__(self) -> None:
        gc.collect()
        self.cache.get("b")
        self.cache.set("finalised", 1)


@pytest.mark.parametrize("how", ["set", "remove", "clear", "evict", "expire", "set_many"])
def test_a_value_may_use_its_cache_as_it_goes(how: str) -> None:
    clock = Clock()
    cache = memory(clock, max_entries=3)
    cache.set("a", Finalised(cache), ttl=10)
    match how:
        case "set":
            cache.set("a", 1)
        case "remove":
            cache.remove("a")
        case "clear":
            cache.clear()
        case "evict":
            for key in "bcd":
                cache.set(key, 1)
        case "expire":
            clock.now += 10
            cache.set("b", 1)
        case _:
            cache.set_many({"a": 1, "b": 2})
    assert cache.get("finalised") == Success(1)
    assert cache.size().unwrap() <= 3


class TestGetOrSet:
    async def test_a_coroutine_that_dies_is_counted_and_frees_the_key(self) -> None:
        cache = memory()
        begun = asyncio.Event()

        async def hangs() -> int:
            begun.set()
            await asyncio.Event().wait()
            return 1

        task = asyncio.ensure_future(cache.get_or_set("a", hangs))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cache.statistics().load_failures == 1
        assert await cache.get_or_set("a", lambda: 2) == Success(2)

    def test_threads_compute_once(self) -> None:
        cache = memory()
        calls: list[int] = []
        all_here = threading.Barrier(8)

        def compute() -> int:
            calls.append(1)
            return 7

        def ask(_: int) -> Result[int]:
            all_here.wait()
            return cache.get_or_set_sync("a", compute)

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(8))) == [Success(7)] * 8
        assert len(calls) == 1

    def test_blocking_it_takes_no_coroutine(self) -> None:
        async def compute() -> int:
            return 1

        cache: MemoryCache[Any] = memory()
        assert_failure(cache.get_or_set_sync("a", compute), "INVALID_FACTORY")
        assert_failure(cache.get_or_set_sync("a", lambda: 1, ttl=0), "INVALID_TTL")
        assert_failure(cache.get_or_set_sync("", lambda: 1), "INVALID_KEY")
        assert cache.get_or_set_sync("a", lambda: Success(1)) == Success(1)

    def test_blocking_it_fails_as_the_factory_does(self) -> None:
        cache = memory()
        error = QiError.network("DOWN", "it is down")
        assert cache.get_or_set_sync("a", lambda: Failure(error)) == Failure(error)

        def exits() -> int:
            raise SystemExit

        with pytest.raises(SystemExit):
            cache.get_or_set_sync("a", exits)
        assert cache.statistics().load_failures == 2
        assert cache.get_or_set_sync("a", lambda: 1) == Success(1)

    async def test_asking_for_its_own_key_is_told(self) -> None:
        cache = memory()

        async def own() -> Result[Any]:
            return await cache.get_or_set("a", own)

        assert_failure(await cache.get_or_set("a", own), "CACHE_REENTRANT")

    async def test_what_was_cleared_meanwhile_is_not_put_back(self) -> None:
        cache = memory()

        async def clears() -> int:
            cache.clear()
            return 1

        async def closes() -> int:
            cache.close()
            return 2

        assert await cache.get_or_set("a", clears) == Success(1)
        assert cache.keys() == Success([])
        assert await cache.get_or_set("a", closes) == Success(2)
        assert len(cache.raw) == 0


class TestStaleValues:
    async def test_one_task_computes_a_new_one(self) -> None:
        clock = Clock()
        cache = memory(clock, ttl=10, stale_ttl=5)
        gate = asyncio.Event()
        calls: list[int] = []

        async def compute() -> str:
            calls.append(1)
            await gate.wait()
            return "new"

        cache.set("a", "old")
        clock.now += 12
        assert_failure(cache.get("a"), "KEY_NOT_FOUND")
        assert cache.has("a") == Success(False)
        assert cache.size() == Success(0)
        assert cache.remove("other") == Success(False)
        for _ in range(3):
            assert await cache.get_or_set("a", compute) == Success("old")
            await asyncio.sleep(0)
        gate.set()
        while cache.get("a").is_failure:  # noqa: ASYNC110 - another task's work gives no event
            await asyncio.sleep(0)
        assert len(calls) == 1
        assert cache.get("a") == Success("new")
        assert cache.statistics().stale_hits == 3

    async def test_beyond_that_time_it_is_computed_first(self) -> None:
        clock = Clock()
        cache = memory(clock, ttl=10, stale_ttl=5)
        cache.set("a", "old")
        clock.now += 15
        assert await cache.get_or_set("a", lambda: "new") == Success("new")
        assert cache.statistics().stale_hits == 0

    async def test_one_that_fails_is_logged_and_tried_again(self, caplog: pytest.LogCaptureFixture) -> None:
        clock = Clock()
        cache = memory(clock, ttl=10, stale_ttl=5)
        cache.set("a", "old")
        clock.now += 10

        def fails() -> str:
            raise ValueError("it is down")

        with caplog.at_level(logging.WARNING, logger="qicore.cache"):
            assert await cache.get_or_set("a", fails) == Success("old")
            while not caplog.records:  # noqa: ASYNC110 - another task's work gives no event
                await asyncio.sleep(0)
        assert "it is down" in caplog.text
        assert "'a'" in caplog.text
        while cache.get("a").is_failure:
            assert (await cache.get_or_set("a", lambda: "new")).is_success
            await asyncio.sleep(0)
        assert cache.get("a") == Success("new")

    async def test_closing_ends_it(self) -> None:
        clock = Clock()
        ended = asyncio.Event()

        async def hangs() -> str:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return "never"

        async with memory(clock, ttl=10, stale_ttl=5) as cache:
            cache.set("a", "old")
            clock.now += 10
            assert await cache.get_or_set("a", hangs) == Success("old")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert ended.is_set()

    async def test_closing_without_awaiting_ends_it_too(self) -> None:
        clock = Clock()
        cache = memory(clock, ttl=10, stale_ttl=5)
        begun, ended = asyncio.Event(), asyncio.Event()

        async def hangs() -> str:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return "never"

        cache.set("a", "old")
        clock.now += 10
        assert await cache.get_or_set("a", hangs) == Success("old")
        await begun.wait()
        cache.close()
        await ended.wait()

    def test_a_thread_computes_for_threads(self) -> None:
        clock = Clock()
        cache = memory(clock, ttl=10, stale_ttl=5)
        done = threading.Event()

        def compute() -> str:
            done.wait()
            return "new"

        cache.set("a", "old")
        clock.now += 10
        for _ in range(3):
            assert cache.get_or_set_sync("a", compute) == Success("old")
        done.set()
        while cache.get("a").is_failure:
            pass
        assert cache.get("a") == Success("new")
        assert cache.statistics().loads == 1

    def test_for_want_of_room_stale_values_leave_before_live_ones(self) -> None:
        clock = Clock()
        cache = memory(clock, ttl=10, stale_ttl=50, max_entries=2)
        cache.set("live", 1, ttl=30)
        cache.set("stale", 2)
        clock.now += 10
        cache.set("new", 3)
        assert cache.keys() == Success(["live", "new"])
        assert cache.statistics().evictions == 0


class Odd(Mapping[str, int]):
    """A mapping that breaks when it is read."""

    def __getitem__(self, key: str) -> int:
        raise RuntimeError("odd")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def test_hostile_arguments_are_failures() -> None:
    cache = memory()
    wrongs: list[Any] = [[1], dict[str, int](), set[int](), 1.5, object()]
    for wrong in wrongs:
        assert_failure(cache.get(wrong), "INVALID_KEY")
        assert_failure(cache.set(wrong, 1), "INVALID_KEY")
        assert_failure(cache.keys(wrong), "INVALID_KEY")
    wrongs = ["text", b"bytes", 7, [7], ["a", ""]]
    for wrong in wrongs:
        assert cache.get_many(wrong).is_failure
    wrongs = [Odd(), 7, [1], {"": 1}, {7: 1}]
    for wrong in wrongs:
        assert cache.set_many(wrong).is_failure
    assert len(cache.raw) == 0


def test_any_kind_of_text_is_a_key() -> None:
    class Name(StrEnum):
        ADA = "ada"

    cache = memory()
    cache.set(Name.ADA, 1)
    assert cache.get("ada") == cache.get(Name.ADA) == Success(1)
    assert cache.keys("a*") == Success(["ada"])


def test_errors_show_only_the_beginning_of_a_key() -> None:
    error = assert_failure(memory().get("k" * 4096), "KEY_NOT_FOUND")
    assert error.context["key"] == "k" * 200


def test_threads_use_it_all_at_once() -> None:
    cache = memory(max_entries=50, max_weight=2000, weigh=int, ttl=0.005, stale_ttl=0.005)
    reads: list[int] = []

    def work(seed: int) -> None:
        dice = Random(seed)
        read = 0
        for _ in range(3000):
            key = f"key {dice.randrange(100)}"
            match dice.randrange(9):
                case 0 | 1:
                    assert cache.set(key, dice.randrange(100)).is_success
                case 2 | 3 | 4:
                    read += 1
                    value = cache.get(key)
                    assert value.is_success or value.error is not None
                case 5:
                    read += 1
                    assert cache.get_or_set_sync(key, lambda: 1).is_success
                case 6:
                    assert cache.remove(key).is_success
                case 7:
                    read += 3
                    assert cache.get_many([key, "other", "more"]).is_success
                case _:
                    assert len(cache.keys("key ?").unwrap()) <= 50
                    assert cache.size().unwrap() <= 50
        reads.append(read)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    statistics = cache.statistics()
    assert statistics.hits + statistics.misses == sum(reads)
    kept = list(cache.raw.values())
    assert len(kept) <= 50
    assert sum(entry[2] for entry in kept) <= 2000
    # The books are right too: what is weighed anew fits exactly.
    cache.clear()
    cache.set_many({str(number): 50 for number in range(40)}, ttl=600)
    assert cache.size() == Success(40)
