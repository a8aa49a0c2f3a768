import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from qicore.base import Result
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import CacheConfig
from qicore.cache.file import FileCache
from qicore.resilience import CircuitBreakerConfig

Open = Callable[..., Awaitable[FileCache[Any]]]


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def opened(tmp_path: Path, clock: Clock) -> AsyncIterator[Open]:
    caches: list[FileCache[Any]] = []

    async def open_cache(**options: Any) -> FileCache[Any]:
        config = CacheConfig(**options)
        cache = assert_success(await FileCache.open(tmp_path / "cache.db", config, clock=clock))
        caches.append(cache)
        return cache

    yield open_cache
    for cache in caches:
        assert_success(await cache.close())


async def test_what_was_written_is_there_when_it_is_opened_again(opened: Open) -> None:
    first = await opened()
    assert_success(await first.set("a", {"b": [1, None, b"\0"]}))
    assert_success(await first.close())
    assert assert_success(await (await opened()).get("a")) == {"b": [1, None, b"\0"]}


async def test_two_that_are_open_see_what_the_other_writes(opened: Open) -> None:
    one, other = await opened(), await opened()
    for number in range(20):
        assert_success(await one.set("a", number))
        assert assert_success(await other.get("a")) == number
        assert assert_success(await other.remove("a")) is True
        assert_failure(await one.get("a"), "KEY_NOT_FOUND")


async def test_the_directories_above_it_are_made(tmp_path: Path) -> None:
    async with assert_success(await FileCache.open(tmp_path / "x" / "y" / "cache.db")) as cache:
        assert_success(await cache.set("a", 1))
    assert (tmp_path / "x" / "y" / "cache.db").is_file()


async def test_a_name_that_sqlite_takes_for_something_else_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "file:cache.db?mode=memory"):
        async with assert_success(await FileCache.open(name)) as cache:
            assert_success(await cache.set("a", 1))
        assert (tmp_path / name).is_file()


async def test_a_value_lives_as_long_as_it_was_told(opened: Open, clock: Clock) -> None:
    cache = await opened(ttl=10.0)
    assert_success(await cache.set("default", 1))
    assert_success(await cache.set("short", 1, ttl=0.25))
    clock.now += 0.125
    assert_success(await cache.get("short"))
    clock.now += 0.125
    assert_failure(await cache.get("short"), "KEY_NOT_FOUND")
    clock.now += 9.5
    assert_success(await cache.get("default"))
    clock.now += 0.25
    assert_failure(await cache.get("default"), "KEY_NOT_FOUND")


async def test_lives_are_shortened_at_random(opened: Open, clock: Clock) -> None:
    cache = await opened(ttl=100.0, ttl_jitter=0.5)
    assert_success(await cache.set_many({str(number): number for number in range(200)}))
    clock.now += 49.9
    assert assert_success(await cache.size()) == 200
    clock.now += 25
    assert 50 < assert_success(await cache.size()) < 150
    clock.now += 25.2
    assert assert_success(await cache.size()) == 0


async def test_the_least_recently_used_goes_first_whoever_used_it(opened: Open) -> None:
    cache = await opened(max_entries=3)
    assert_success(await cache.set_many({"a": 1, "b": 2, "c": 3}))
    assert_success(await cache.get("a"))
    assert_success(await cache.get_or_set("b", lambda: 0))
    assert assert_success(await cache.has("c")) is True
    assert_success(await cache.set("d", 4))
    assert assert_success(await cache.keys()) == ["a", "b", "d"]
    assert_success(await cache.get("a"))
    assert_success(await cache.flush())
    other = await opened(max_entries=3)
    assert_success(await other.set("e", 5))
    assert assert_success(await cache.keys()) == ["a", "d", "e"]
    assert (cache.statistics().evictions, other.statistics().evictions) == (1, 1)


async def test_weight_is_serialised_bytes(opened: Open) -> None:
    cache = await opened(max_entries=None, max_weight=1000)
    for number in range(5):
        assert_success(await cache.set(str(number), b"x" * 297))  # MessagePack adds 3
    assert assert_success(await cache.keys()) == ["2", "3", "4"]
    error = assert_failure(await cache.set("a", b"x" * 998), "CACHE_WRITE_FAILED")
    assert error.cause is not None
    assert error.cause.code == "VALUE_TOO_HEAVY"
    assert assert_success(await cache.size()) == 3
    assert_success(await cache.set("a", b"x" * 997))
    assert assert_success(await cache.keys()) == ["a"]


async def test_a_value_may_be_huge_but_not_too_large(opened: Open) -> None:
    cache = await opened(max_value_size=20_000_005)
    huge = bytes(20_000_000)
    assert_success(await cache.set("a", huge))
    assert assert_success(await cache.get("a")) == huge
    assert assert_success(await cache.get_many(["a", "b"])) == {"a": huge}
    error = assert_failure(await cache.set("b", huge + b"x"), "CACHE_WRITE_FAILED")
    assert error.cause is not None
    assert error.cause.code == "VALUE_TOO_LARGE"
    smaller = await opened(max_value_size=1000)
    assert_failure(await smaller.get("a"), "KEY_NOT_FOUND")
    assert smaller.statistics().unreadable == 1


async def test_what_can_not_be_serialised_is_not_written(opened: Open) -> None:
    cache = await opened()
    for result in (await cache.set("a", object()), await cache.set_many({"b": 1, "a": object()})):
        error = assert_failure(result, "CACHE_WRITE_FAILED")
        assert error.cause is not None
        assert error.cause.code == "SERIALIZATION_FAILED"
    assert assert_success(await cache.keys()) == []


async def test_ten_thousand_keys(opened: Open) -> None:
    cache = await opened(max_entries=None)
    values = {f"key {number:05}": number for number in range(10_000)}
    assert_success(await cache.set_many(values))
    assert assert_success(await cache.keys()) == sorted(values)
    assert len(assert_success(await cache.keys("key 01???"))) == 1000
    assert assert_success(await cache.keys("key 012[3-4]5")) == ["key 01235", "key 01245"]
    assert assert_success(await cache.get_many(values)) == values
    assert assert_success(await cache.size()) == 10_000
    assert_success(await cache.clear())
    assert assert_success(await cache.size()) == 0
    assert cache.statistics().removals == 10_000


async def test_it_counts(opened: Open, clock: Clock) -> None:
    cache = await opened(ttl=10.0, stale_ttl=10.0)
    assert_success(await cache.set("a", 1))
    assert_success(await cache.set_many({"b": 2, "c": 3}))
    assert_success(await cache.get("a"))
    assert_failure(await cache.get("d"), "KEY_NOT_FOUND")
    assert_success(await cache.get_many(["a", "b", "e"]))
    assert_success(await cache.get_or_set("f", lambda: 4))
    assert_failure(await cache.get_or_set("g", lambda: 1 // 0), "ZERO_DIVISION_ERROR")
    clock.now += 10
    assert assert_success(await cache.get_or_set("a", lambda: 5)) == 1
    assert_success(await cache.remove("b"))
    counted = cache.statistics()
    assert (counted.hits, counted.misses, counted.stale_hits) == (4, 4, 1)
    assert (counted.sets, counted.loads, counted.load_failures) == (4, 1, 1)
    assert (counted.removals, counted.unreadable, counted.failures) == (0, 0, 0)


async def test_after_close_everything_is_a_failure(opened: Open) -> None:
    cache = await opened()
    closed = [cache.closed]
    for _ in range(2):
        assert_success(await cache.close())
        closed.append(cache.closed)
    assert closed == [False, True, True]
    for result in (
        await cache.get("a"),
        await cache.set("a", 1),
        await cache.remove("a"),
        await cache.has("a"),
        await cache.get_or_set("a", lambda: 1),
        await cache.get_many(["a"]),
        await cache.set_many({"a": 1}),
        await cache.keys(),
        await cache.size(),
        await cache.clear(),
        await cache.flush(),
    ):
        assert_failure(result, "CACHE_CLOSED")
    assert cache.statistics().failures == 0


async def test_event_loops_and_threads_share_one(opened: Open) -> None:
    cache = await opened()
    calls = 0

    async def factory() -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.05)
        return 7

    async def work(name: int) -> list[Result[int]]:
        for number in range(30):
            assert_success(await cache.set(f"{name} {number}", number))
            assert assert_success(await cache.get(f"{name} {number}")) == number
        return list(await asyncio.gather(*(cache.get_or_set("computed", factory) for _ in range(5))))

    def run(name: int) -> list[Result[int]]:
        return asyncio.run(work(name))

    answers = await asyncio.gather(*(asyncio.to_thread(run, name) for name in range(4)))
    assert [assert_success(one) for some in answers for one in some] == [7] * 20
    assert calls == 1
    assert assert_success(await cache.size()) == 121


async def test_a_cancelled_operation_harms_nobody(opened: Open) -> None:
    cache = await opened()
    for turns in range(6):
        tasks = [
            asyncio.create_task(operation)
            for operation in (
                cache.set("a", turns),
                cache.set("large", b"x" * 200_000),
                cache.get("a"),
                cache.get("large"),
                cache.get_or_set(f"b{turns}", lambda: 1),
                cache.keys(),
                cache.set_many({f"c{number}": 1 for number in range(1000)}),
            )
        ]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert_success(await cache.set("a", "still there"))
    assert assert_success(await cache.get("a")) == "still there"
    for turns in range(6):
        assert assert_success(await cache.get_or_set(f"b{turns}", lambda: 1)) == 1


async def test_one_that_is_forgotten_closes_its_file(tmp_path: Path) -> None:
    async def use() -> tuple[weakref.ref[FileCache[Any]], list[threading.Thread]]:
        before = set(threading.enumerate())
        cache = assert_success(await FileCache.open(tmp_path / "cache.db"))
        assert_success(await cache.set("a", 1))
        threads = [
            thread
            for thread in threading.enumerate()
            if thread not in before and thread.name == "qicore-cache-file"
        ]
        return weakref.ref(cache), threads

    forgotten, threads = await use()
    gc.collect()
    assert forgotten() is None
    assert len(threads) == 1
    await asyncio.to_thread(threads[0].join)
    assert not (tmp_path / "cache.db-wal").exists()


SCRIPTS = {
    "not closed": """
cache = asyncio.run(opened())
print(asyncio.run(cache.set("a", 1)))
""",
    "while it computes": """
async def main():
    cache = await opened()
    asyncio.create_task(cache.get_or_set("b", lambda: asyncio.sleep(60)))
    print(await cache.set("a", 1))
asyncio.run(main())
""",
    "with an exception": """
async def main():
    cache = await opened()
    print(await cache.set("a", 1))
    sys.exit(0)
asyncio.run(main())
""",
    "with a child": """
cache = asyncio.run(opened())
print(asyncio.run(cache.set("a", 1)), flush=True)
async def in_child():
    assert (await cache.get("a")).error.code == "CACHE_CLOSED"
    assert (await cache.set("a", 2)).error.code == "CACHE_CLOSED"
    assert (await cache.close()).is_success
    own = await opened()
    assert (await own.get("a")).data == 1
    await own.set("child", 2)
child = os.fork()
if child == 0:
    asyncio.run(in_child())
else:
    assert os.waitpid(child, 0)[1] == 0
    assert asyncio.run(cache.get("child")).data == 2
""",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_an_interpreter_exits_quietly(tmp_path: Path, script: str) -> None:
    head = (
        "import asyncio, os, sys\nfrom qicore.cache.file import FileCache\n"
        "async def opened():\n    return (await FileCache.open(sys.argv[1])).unwrap()\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [
            *(sys.executable, "-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning"),
            *("-c", head + script, str(tmp_path / "cache.db")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("Success(None)\n", "", 0)
    assert not (tmp_path / "cache.db-wal").exists()
    async with assert_success(await FileCache.open(tmp_path / "cache.db")) as cache:
        assert assert_success(await cache.get("a")) == 1


async def test_bad_options_are_told_before_anything_is_made(tmp_path: Path) -> None:
    path = tmp_path / "x" / "cache.db"
    assert_failure(await FileCache.open(path, CacheConfig(ttl=0)), "INVALID_TTL")
    assert_failure(await FileCache.open(path, CacheConfig(timeout=0)), "CACHE_CREATION_FAILED")
    assert not (tmp_path / "x").exists()


async def test_a_circuit_opens_when_the_disk_is_full_and_reads_fall_through(opened: Open) -> None:
    breaker = CircuitBreakerConfig(failure_threshold=2, reset_timeout=600.0)
    cache = await opened(circuit_breaker=breaker, on_failure="fall_through")
    assert_success(await cache.set("a", 1))
    pages = cache.raw.execute("PRAGMA page_count").fetchone()[0]
    cache.raw.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(2):
        error = assert_failure(await cache.set("b", b"x" * 100_000), "CACHE_WRITE_FAILED")
        assert error.cause is not None
        assert error.cause.code == "FILE_FULL"
    assert_failure(await cache.get("a"), "CIRCUIT_OPEN")
    assert_failure(await cache.set("a", 1), "CIRCUIT_OPEN")
    assert assert_success(await cache.get_or_set("a", lambda: "computed")) == "computed"
    assert_failure(await cache.get_or_set("a", lambda: 1 // 0), "ZERO_DIVISION_ERROR")
    assert cache.statistics().failures == 6


async def test_a_circuit_stays_closed_for_what_is_no_fault_of_the_file(opened: Open) -> None:
    cache = await opened(circuit_breaker=CircuitBreakerConfig(failure_threshold=1))
    assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
    assert_failure(await cache.set("a", object()), "CACHE_WRITE_FAILED")
    assert_failure(await cache.get_or_set("a", lambda: 1 // 0), "ZERO_DIVISION_ERROR")
    assert_success(await cache.set("a", 1))


async def test_without_a_circuit_every_operation_is_tried(opened: Open) -> None:
    cache = await opened(circuit_breaker=None)
    pages = cache.raw.execute("PRAGMA page_count").fetchone()[0]
    cache.raw.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(10):
        error = assert_failure(await cache.set("b", b"x" * 100_000), "CACHE_WRITE_FAILED")
        assert error.cause is not None
        assert error.cause.code == "FILE_FULL"
    cache.raw.execute("PRAGMA max_page_count = 1000000")
    assert_success(await cache.set("b", b"x" * 100_000))


async def test_a_value_that_can_not_be_kept_is_answered_nevertheless(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    cache = await opened(max_value_size=10)
    assert assert_success(await cache.get_or_set("a", lambda: b"x" * 100)) == b"x" * 100
    pages = cache.raw.execute("PRAGMA page_count").fetchone()[0]
    cache.raw.execute(f"PRAGMA max_page_count = {pages}")
    assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
    assert [record.name for record in caplog.records] == ["qicore.cache"]
    counted = cache.statistics()
    assert (counted.loads, counted.sets, counted.failures) == (1, 0, 1)
