"""Many processes on one file at once, some of them killed in the middle."""

import asyncio
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

from qicore.base.testing import assert_success
from qicore.cache import CacheConfig
from qicore.cache.file import FileCache

HAMMER = """
import asyncio, random, sys
from qicore.cache import CacheConfig
from qicore.cache.file import FileCache

def value(key, number):
    return {"key": key, "text": f"{key}:{number}:" * (number % 400)}

async def main(path, seed):
    dice = random.Random(int(seed))
    config = CacheConfig(max_entries=60, timeout=60.0, lock_timeout=0.5, ttl=30.0, circuit_breaker=None)
    cache = (await FileCache.open(path, config)).unwrap()

    async def step(number):
        key = f"k{dice.randrange(90)}"
        match dice.randrange(8):
            case 0 | 1:
                (await cache.set(key, value(key, number))).unwrap()
            case 2:
                keys = [f"k{dice.randrange(90)}" for _ in range(5)]
                (await cache.set_many({one: value(one, number) for one in keys})).unwrap()
            case 3:
                got = (await cache.get_or_set(key, lambda: asyncio.sleep(0.001, value(key, number)))).unwrap()
                assert got["key"] == key
            case 4:
                (await cache.remove(key)).unwrap()
            case 5:
                (await cache.keys("k1*")).unwrap()
            case 6 if dice.randrange(40) == 0:
                (await cache.clear()).unwrap()
            case _:
                got = (await cache.get(key)).data
                assert got is None or got["key"] == key

    number = 0
    while True:
        number += 8
        await asyncio.gather(*(step(number + one) for one in range(8)))
        assert cache.statistics().unreadable == 0
        print(number, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


def hammer(path: Path) -> None:
    """Let processes work at random, and kill one of them again and again."""
    dice = random.Random(7)
    running: list[subprocess.Popen[str]] = []
    for round_ in range(5):
        while len(running) < 3:
            command = [sys.executable, "-c", HAMMER, str(path), str(len(running) + 10 * round_)]
            running.append(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            )
        for one in running:
            assert one.stdout is not None
            for _ in range(dice.randrange(5, 20)):
                assert one.stdout.readline(), one.communicate()[1]
        victim = running.pop(dice.randrange(len(running)))
        victim.kill()
        assert "Error" not in victim.communicate()[1]
    for one in running:
        one.kill()
        assert "Error" not in one.communicate()[1]


async def test_hammered_and_killed_it_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    await asyncio.to_thread(hammer, path)
    config = CacheConfig(max_entries=60, lock_timeout=0.5)
    async with assert_success(await FileCache.open(path, config)) as cache:
        keys = assert_success(await cache.keys())
        assert len(keys) <= 60
        for key, value in assert_success(await cache.get_many(keys)).items():
            assert value["key"] == key
        assert cache.statistics().unreadable == 0
        for key in (f"k{number}" for number in range(90)):  # no lock is left for ever
            assert_success(await cache.get_or_set(key, lambda: {"key": "new"}))
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    counted = database.execute("SELECT count(*), sum(length(value)) FROM entries").fetchone()
    assert database.execute("SELECT entries, weight FROM spaces").fetchall() == [counted]
    database.close()


WRITER = """
import asyncio, sys
from qicore.cache import CacheConfig
from qicore.cache.file import FileCache

async def main(path, name):
    async with (await FileCache.open(path, CacheConfig(timeout=60.0))).unwrap() as cache:
        for number in range(0, 300, 10):
            keys = [f"{name} {number + one}" for one in range(10)]
            for result in await asyncio.gather(*(cache.set(key, key) for key in keys)):
                result.unwrap()
            for key in keys:
                assert (await cache.get(key)).unwrap() == key

asyncio.run(main(*sys.argv[1:]))
"""


def write_at_once(path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(name)], stderr=subprocess.PIPE, text=True
        )
        for name in range(4)
    ]
    for one in running:
        assert one.communicate()[1] == ""


async def test_no_write_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    await asyncio.to_thread(write_at_once, path)
    async with assert_success(await FileCache.open(path)) as cache:
        assert len(assert_success(await cache.keys())) == 4 * 300
