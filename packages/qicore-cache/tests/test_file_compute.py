"""Values that are computed: once among tasks, caches and processes, whoever is cancelled or killed."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import CacheConfig
from qicore.cache.file import FileCache

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
    """Open caches on one file, each as another process would."""
    caches: list[FileCache[Any]] = []

    async def open_cache(**options: Any) -> FileCache[Any]:
        config = CacheConfig(**options)
        cache = assert_success(await FileCache.open(tmp_path / "cache.db", config, clock=clock))
        caches.append(cache)
        return cache

    yield open_cache
    for cache in caches:
        assert_success(await cache.close())


class Computing:
    """A factory that goes on when it is told to."""

    def __init__(self, value: Any = 1, error: QiError | None = None) -> None:
        self.calls = 0
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.answer: Result[Any] = Success(value) if error is None else Failure(error)

    async def __call__(self) -> Result[Any]:
        self.calls += 1
        self.began.set()
        await self.go_on.wait()
        return self.answer


async def test_one_computes_for_all(opened: Open) -> None:
    caches = [await opened() for _ in range(4)]
    computing = Computing()
    asking = [asyncio.create_task(cache.get_or_set("a", computing)) for cache in caches for _ in range(5)]
    await computing.began.wait()
    await asyncio.sleep(0.05)
    computing.go_on.set()
    assert [assert_success(one) for one in await asyncio.gather(*asking)] == [1] * 20
    assert computing.calls == 1
    assert sum(cache.statistics().loads for cache in caches) == 1


async def test_keys_and_namespaces_do_not_wait_for_each_other(opened: Open) -> None:
    one, other = await opened(namespace="one"), await opened(namespace="other")
    computing = Computing()
    asking = asyncio.create_task(one.get_or_set("a", computing))
    await computing.began.wait()
    assert assert_success(await one.get_or_set("b", lambda: 2)) == 2
    assert assert_success(await other.get_or_set("a", lambda: 3)) == 3
    computing.go_on.set()
    assert assert_success(await asking) == 1


async def test_a_failure_is_the_answer_of_all_that_wait_here_and_is_not_kept(opened: Open) -> None:
    one, other = await opened(), await opened()
    computing = Computing(error=QiError.network("DOWN", "it is down"))
    asking = [asyncio.create_task(one.get_or_set("a", computing)) for _ in range(3)]
    await computing.began.wait()
    elsewhere = asyncio.create_task(other.get_or_set("a", lambda: 2))
    await asyncio.sleep(0.01)
    computing.go_on.set()
    for result in await asyncio.gather(*asking):
        assert_failure(result, "DOWN")
    assert computing.calls == 1
    assert assert_success(await elsewhere) == 2  # another process tries itself


async def test_when_one_is_cancelled_another_computes(opened: Open) -> None:
    one, other = await opened(), await opened()
    first = Computing()
    asking = asyncio.create_task(one.get_or_set("a", first))
    await first.began.wait()
    here = asyncio.create_task(one.get_or_set("a", lambda: 2))
    elsewhere = asyncio.create_task(other.get_or_set("a", lambda: 2))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (assert_success(await here), assert_success(await elsewhere)) == (2, 2)
    counted = one.statistics()
    assert counted.load_failures == 1
    assert counted.loads + other.statistics().loads == 1


async def test_cancelled_at_any_moment_it_leaves_no_lock(opened: Open) -> None:
    cache = await opened()
    for turns in range(12):
        asking = asyncio.create_task(cache.get_or_set(f"a{turns}", lambda: asyncio.sleep(0, 1)))
        for _ in range(turns):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert assert_success(await cache.get_or_set(f"a{turns}", lambda: 1)) == 1
    assert cache.raw.execute("SELECT count(*) FROM locks").fetchone() == (0,)


async def test_what_is_set_meanwhile_stays(opened: Open) -> None:
    one, other = await opened(), await opened()
    computing = Computing("computed")
    asking = asyncio.create_task(one.get_or_set("a", computing))
    await computing.began.wait()
    assert_success(await other.set("a", "set"))
    computing.go_on.set()
    assert assert_success(await asking) == "computed"
    assert assert_success(await one.get("a")) == "set"


@pytest.mark.parametrize("how", ["remove", "clear"])
async def test_what_is_removed_meanwhile_does_not_come_back(opened: Open, how: str) -> None:
    one, other = await opened(), await opened()
    computing = Computing()
    asking = asyncio.create_task(one.get_or_set("a", computing))
    await computing.began.wait()
    assert (await (other.remove("a") if how == "remove" else other.clear())).is_success
    computing.go_on.set()
    assert assert_success(await asking) == 1
    assert_failure(await other.get("a"), "KEY_NOT_FOUND")
    assert one.statistics().sets == 0


async def test_who_lost_the_lock_does_not_overwrite(opened: Open, clock: Clock) -> None:
    one, other = await opened(lock_timeout=30.0), await opened(lock_timeout=30.0)
    slow = Computing("slow")
    asking = asyncio.create_task(one.get_or_set("a", slow))
    await slow.began.wait()
    clock.now += 31  # the process was stopped
    assert assert_success(await other.get_or_set("a", lambda: "fast")) == "fast"
    slow.go_on.set()
    assert assert_success(await asking) == "slow"
    assert assert_success(await one.get("a")) == "fast"


async def test_a_lock_is_kept_for_as_long_as_it_takes(tmp_path: Path) -> None:
    config = CacheConfig(lock_timeout=0.15)
    one = assert_success(await FileCache.open(tmp_path / "cache.db", config))
    other = assert_success(await FileCache.open(tmp_path / "cache.db", config))
    computing = Computing()
    asking = asyncio.create_task(one.get_or_set("a", computing))
    await computing.began.wait()
    elsewhere = asyncio.create_task(other.get_or_set("a", computing))
    await asyncio.sleep(0.6)
    computing.go_on.set()
    assert (assert_success(await asking), assert_success(await elsewhere)) == (1, 1)
    assert computing.calls == 1
    await one.close()
    await other.close()


async def test_a_stale_value_serves_while_one_computes(opened: Open, clock: Clock) -> None:
    one = await opened(ttl=10.0, stale_ttl=10.0)
    other = await opened(ttl=10.0, stale_ttl=10.0)
    assert_success(await one.set("a", "old"))
    clock.now += 10
    assert_failure(await one.get("a"), "KEY_NOT_FOUND")
    assert assert_success(await one.has("a")) is False
    assert assert_success(await one.keys()) == []
    assert assert_success(await one.get_many(["a"])) == {}
    computing = Computing("new")
    for _ in range(3):
        for cache in (one, other):
            assert assert_success(await cache.get_or_set("a", computing)) == "old"
    await computing.began.wait()
    await asyncio.sleep(0.02)
    computing.go_on.set()
    while (await other.get("a")).data != "new":  # noqa: ASYNC110 - the other cache gives no event
        await asyncio.sleep(0.005)
    assert computing.calls == 1
    assert one.statistics().stale_hits == 3
    while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - to ask sooner is to share the computation
        await asyncio.sleep(0.005)
    clock.now += 20
    assert assert_success(await one.get_or_set("a", lambda: "newest")) == "newest"


async def test_a_stale_value_stays_when_the_new_one_fails(
    opened: Open, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cache = await opened(ttl=10.0, stale_ttl=10.0)
    assert_success(await cache.set("a", "old"))
    clock.now += 10
    for _ in range(2):
        assert assert_success(await cache.get_or_set("a", lambda: 1 // 0)) == "old"
        while not caplog.records:  # noqa: ASYNC110 - a log gives no event
            await asyncio.sleep(0.001)
        caplog.clear()
    assert cache.statistics().load_failures == 2


async def test_a_value_that_can_not_be_read_is_computed_again(opened: Open) -> None:
    cache = await opened()
    assert_success(await cache.set("a", "good"))
    cache.raw.execute("UPDATE entries SET checksum = 1")
    assert assert_success(await cache.get_or_set("a", lambda: "new")) == "new"
    assert assert_success(await cache.get("a")) == "new"
    assert cache.statistics().unreadable == 1


async def test_a_value_that_got_damaged_while_it_was_waited_for(opened: Open) -> None:
    one, other = await opened(), await opened()
    computing = Computing("good")
    asking = asyncio.create_task(one.get_or_set("a", computing))
    await computing.began.wait()
    elsewhere = asyncio.create_task(other.get_or_set("a", lambda: "again"))
    await asyncio.sleep(0.01)
    one.raw.execute("CREATE TRIGGER spoil AFTER INSERT ON entries BEGIN UPDATE entries SET checksum = 1; END")
    computing.go_on.set()
    assert assert_success(await asking) == "good"
    assert assert_success(await elsewhere) == "again"
    assert other.statistics().unreadable == 1


async def test_a_factory_that_asks_for_its_own_key_is_told_so(opened: Open) -> None:
    cache = await opened()
    assert_failure(await cache.get_or_set("a", lambda: cache.get_or_set("a", lambda: 1)), "CACHE_REENTRANT")
    assert assert_success(await cache.get_or_set("a", lambda: cache.get_or_set("b", lambda: 1))) == 1


async def test_closed_while_it_computes_it_answers_and_keeps_nothing(opened: Open) -> None:
    cache = await opened()
    computing = Computing()
    asking = asyncio.create_task(cache.get_or_set("a", computing))
    await computing.began.wait()
    assert_success(await cache.close())
    computing.go_on.set()
    assert assert_success(await asking) == 1
    assert_failure(await (await opened()).get("a"), "KEY_NOT_FOUND")


PROCESS = """
import asyncio, os, sys
from qicore.cache import CacheConfig
from qicore.cache.file import FileCache

async def main(path, name, how):
    cache = (await FileCache.open(path, CacheConfig(lock_timeout=0.3))).unwrap()

    async def factory():
        print("computing", name, flush=True)
        await asyncio.sleep(3600 if how == "hang" else 0.2)
        return name

    print((await cache.get_or_set("a", factory)).unwrap(), flush=True)
    await cache.close()

asyncio.run(main(*sys.argv[1:]))
"""


def process(path: Path, name: str, how: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(path / "cache.db"), name, how], stdout=subprocess.PIPE, text=True
    )


def test_one_process_computes_for_all(tmp_path: Path) -> None:
    processes = [process(tmp_path, str(number)) for number in range(4)]
    said = [one.communicate()[0].splitlines() for one in processes]
    computed = [line for lines in said for line in lines if line.startswith("computing")]
    assert len(computed) == 1
    assert {lines[-1] for lines in said} == {computed[0].removeprefix("computing ")}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_when_a_process_is_killed_or_stopped_another_takes_over(tmp_path: Path, end: signal.Signals) -> None:
    holder = process(tmp_path, "holder", "hang")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "computing holder\n"
    waiting = process(tmp_path, "waiting")
    assert waiting.stdout is not None
    holder.send_signal(end)
    assert waiting.communicate()[0] == "computing waiting\nwaiting\n"
    holder.kill()
    holder.communicate()
