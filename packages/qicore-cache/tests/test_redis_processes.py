"""One computation for all processes, whatever happens to the one that computes."""

import asyncio
import signal
from pathlib import Path

import pytest
from qicore.base.testing import assert_success
from qicore.cache import Cache, CacheConfig
from qicore_testkit.redis_server import RedisServer

from .cache_processes import Worker, computed


def test_of_many_processes_one_computes(redis_server: RedisServer, tmp_path: Path) -> None:
    workers = [Worker(redis_server.url, tmp_path, seconds=0.3) for _ in range(5)]
    for worker in workers:
        worker.go()
    assert [worker.answer() for worker in workers] == [["value"] * 10] * 5
    assert computed(tmp_path) == 1


def test_a_computation_longer_than_its_lease_keeps_the_lock(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    workers = [Worker(redis_server.url, tmp_path, seconds=1.0, lease=0.3) for _ in range(3)]
    for worker in workers:
        worker.go()
    assert [worker.answer() for worker in workers] == [["value"] * 10] * 3
    assert computed(tmp_path) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_when_the_one_that_computes_dies_or_stalls_another_takes_over(
    redis_server: RedisServer, tmp_path: Path, number: signal.Signals
) -> None:
    first = Worker(redis_server.url, tmp_path, seconds=60, lease=0.5)
    second = Worker(redis_server.url, tmp_path, seconds=0, lease=0.5)
    try:
        first.go()
        while not computed(tmp_path):
            pass
        first.process.send_signal(number)
        second.go()
        assert second.answer() == ["value"] * 10
        assert computed(tmp_path) == 2
    finally:
        first.kill()


async def test_cancelled_it_gives_the_lock_back_at_once(redis_server: RedisServer) -> None:
    config = CacheConfig(namespace="shop", lock_timeout=600)
    begun = asyncio.Event()

    async def hangs() -> int:
        begun.set()
        await asyncio.sleep(600)
        return 1

    async with (
        assert_success(await Cache.create_persistent(redis_server.url, config)) as one,
        assert_success(await Cache.create_persistent(redis_server.url, config)) as other,
    ):
        task = asyncio.ensure_future(one.get_or_set("a", hangs))
        await begun.wait()
        waiting = asyncio.ensure_future(other.get_or_set("a", lambda: 2))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert assert_success(await waiting) == 2
    assert int(redis_server.call("DBSIZE")) == 1  # the value, and no lock


async def test_a_failure_in_one_process_does_not_hold_up_another(redis_server: RedisServer) -> None:
    config = CacheConfig(namespace="shop", lock_timeout=600)

    def fails() -> int:
        raise KeyError("x")

    async with (
        assert_success(await Cache.create_persistent(redis_server.url, config)) as one,
        assert_success(await Cache.create_persistent(redis_server.url, config)) as other,
    ):
        for _ in range(10):
            assert (await one.get_or_set("a", fails)).is_failure
        assert assert_success(await other.get_or_set("a", lambda: 2)) == 2
