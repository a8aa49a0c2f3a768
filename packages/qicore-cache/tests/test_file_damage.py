"""What goes wrong with files is a Failure that says why, or a value that is not found; never an exception."""

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qicore.base import Result
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import CacheConfig, MessagePackSerializer
from qicore.cache.file import FileCache


async def refused(path: str | Path) -> str:
    """Return why the cache can't be opened there."""
    error = assert_failure(await FileCache.open(path), "CACHE_LOAD_FAILED")
    assert error.category.value == "CACHE"
    assert error.cause is not None
    return f"{error.cause.category.value} {error.cause.code}"


async def test_no_file_can_be_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert await refused(tmp_path) == "FILESYSTEM FILE_UNREADABLE"
    assert await refused("") == "FILESYSTEM FILE_UNREADABLE"
    assert await refused(tmp_path / "file" / "cache.db") == "FILESYSTEM FILE_UNREADABLE"
    assert await refused(tmp_path / ("x" * 300)) == "FILESYSTEM FILE_UNREADABLE"
    assert await refused(tmp_path / ("x" * 300) / "cache.db") == "FILESYSTEM FILE_UNREADABLE"
    assert await refused(str(tmp_path / "a\0b")) == "UNKNOWN FILE_UNREADABLE"


async def test_an_empty_file_becomes_a_cache(tmp_path: Path) -> None:
    (tmp_path / "cache.db").write_bytes(b"")
    async with assert_success(await FileCache.open(tmp_path / "cache.db")) as cache:
        assert_success(await cache.set("a", 1))


async def test_the_file_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    text, other = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_bytes(b"notes " * 1000)
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE theirs (a)")
    database.close()
    before = other.read_bytes()
    assert await refused(text) == "FILESYSTEM FILE_FOREIGN"
    assert await refused(other) == "FILESYSTEM FILE_FOREIGN"
    assert text.read_bytes() == b"notes " * 1000
    assert other.read_bytes() == before


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A directory that everybody may enter, and this process as somebody who is not root."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    before = os.geteuid()
    yield folder
    os.seteuid(before)
    shutil.rmtree(folder)


async def test_what_may_not_be_written_is_not_opened(nobodys: Path) -> None:
    async with assert_success(await FileCache.open(nobodys / "cache.db")) as cache:
        assert_success(await cache.set("a", 1))
    (nobodys / "cache.db").chmod(0o444)
    os.chmod(nobodys, 0o555)  # noqa: PTH101 - one call, in a test that does nothing else
    if os.geteuid() == 0:
        os.seteuid(65534)
    assert await refused(nobodys / "cache.db") in (
        "PERMISSION FILE_READ_ONLY",
        "FILESYSTEM FILE_UNREADABLE",  # the files of the log can't be made
    )
    assert await refused(nobodys / "new.db") == "FILESYSTEM FILE_UNREADABLE"
    assert await refused(nobodys / "new" / "cache.db") == "PERMISSION FILE_UNREADABLE"


async def test_a_value_that_was_tampered_with_is_not_found_and_counted(tmp_path: Path) -> None:
    async with assert_success(await FileCache.open(tmp_path / "cache.db")) as cache:
        for number, change in enumerate(
            (
                "value = substr(value, 1, 3)",
                "value = x''",
                "value = value || x'00'",
                "value = x'A16162'",
                "checksum = checksum + 1",
                "weight = 100000, value = zeroblob(100000)",
                "value = 'no bytes at all'",
                "checksum = 'x'",
            )
        ):
            assert_success(await cache.set("a", "the value"))
            assert_success(await cache.set("b", "another"))
            cache.raw.execute(f"UPDATE entries SET {change} WHERE key = 'a'")
            assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
            assert assert_success(await cache.get_many(["a", "b"])) == {"b": "another"}
            assert cache.statistics().unreadable == 3 * number + 2
            assert assert_success(await cache.get_or_set("a", lambda: "new")) == "new"
            assert cache.statistics().unreadable == 3 * number + 3
        assert cache.statistics().failures == 0


async def test_times_that_were_tampered_with_raise_nothing(tmp_path: Path) -> None:
    async with assert_success(await FileCache.open(tmp_path / "cache.db", CacheConfig(ttl=60))) as cache:
        for change in ("expires = 'x'", "expires = x'00', until = x'00'", "until = NULL", "used = 'x'"):
            assert_success(await cache.set("a", "the value"))
            cache.raw.execute(f"UPDATE entries SET {change}")
            results: list[Result[Any]] = [
                await cache.get("a"),
                await cache.has("a"),
                await cache.keys(),
                await cache.size(),
                await cache.get_or_set("a", lambda: 1),
            ]
            assert all(isinstance(result, Result) for result in results)
            assert_success(await cache.set("a", 2))
            assert assert_success(await cache.get("a")) == 2


async def test_a_value_of_another_type_is_not_found(tmp_path: Path) -> None:
    async with assert_success(await FileCache.open(tmp_path / "cache.db")) as cache:
        assert_success(await cache.set("a", {"text": "no number"}))
    numbers = CacheConfig(serializer=MessagePackSerializer(dict[str, int]))
    async with assert_success(await FileCache.open(tmp_path / "cache.db", numbers)) as cache:
        assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
        assert cache.statistics().unreadable == 1
        assert assert_success(await cache.get_or_set("a", lambda: {"number": 1})) == {"number": 1}


def value(key: str) -> str:
    return f"{key}:" * 50


async def use(path: Path) -> set[str]:
    """Use what may be damaged, and return the codes of the errors; a value that is answered is whole."""
    codes: set[str] = set()

    def note(result: Result[Any]) -> None:
        error = result.error
        while error is not None:
            codes.add(error.code)
            error = error.cause

    opened = await FileCache.open(path, CacheConfig(circuit_breaker=None, max_entries=150))
    note(opened)
    if opened.is_success:
        async with opened.unwrap() as cache:
            for number in range(100):
                got = await cache.get(f"k{number}")
                note(got)
                assert got.data in (None, value(f"k{number}"))
            for number in range(90, 200):
                note(await cache.set(f"k{number}", value(f"k{number}")))
            note(await cache.keys())
            note(await cache.size())
            note(await cache.get_many([f"k{number}" for number in range(200)]))
            note(await cache.get_or_set("computed", lambda: 1))
            note(await cache.remove("k5"))
            note(await cache.clear())
            note(await cache.flush())
    return codes


@pytest.mark.parametrize("seed", range(12))
async def test_a_file_that_was_overwritten_gives_no_wrong_value(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "cache.db"
    async with assert_success(await FileCache.open(path)) as cache:
        for number in range(100):
            assert_success(await cache.set(f"k{number}", value(f"k{number}")))
    dice = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice((1, 5, 50))):
        start = dice.randrange(len(content))
        length = dice.choice((1, 16, 4096))
        content[start : start + length] = dice.randbytes(len(content[start : start + length]))
    if seed % 4 == 3:
        del content[dice.randrange(len(content)) :]
    path.write_bytes(content)
    known = {"CACHE_LOAD_FAILED", "CACHE_WRITE_FAILED", "KEY_NOT_FOUND", "CACHE_UNFORESEEN"}
    known |= {"FILE_DAMAGED", "FILE_FOREIGN", "FILE_UNREADABLE", "FILE_FULL"}
    assert await use(path) <= known


WRITER = """
import asyncio, sys
from qicore.cache.file import FileCache
async def main():
    cache = (await FileCache.open(sys.argv[1])).unwrap()
    for number in range(100):
        await cache.set(f"k{number}", f"k{number}:" * 50)
    print("done", flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


def write_and_be_killed(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "done\n"
        writer.kill()


@pytest.mark.parametrize("seed", range(4))
async def test_a_log_that_was_overwritten_gives_no_wrong_value(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "cache.db"
    await asyncio.to_thread(write_and_be_killed, path)
    log = tmp_path / "cache.db-wal"
    content = bytearray(log.read_bytes())
    assert len(content) > 4096
    dice = random.Random(seed)
    start = dice.randrange(len(content))
    if seed % 2:
        del content[start:]
    else:
        content[start : start + 64] = dice.randbytes(len(content[start : start + 64]))
    log.write_bytes(content)
    assert await use(path) <= {"KEY_NOT_FOUND", "CACHE_LOAD_FAILED", "FILE_FOREIGN"}


async def test_a_file_that_is_deleted_beneath_it_raises_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    async with assert_success(await FileCache.open(path)) as cache:
        assert_success(await cache.set("a", 1))
        for name in ("cache.db", "cache.db-wal", "cache.db-shm"):
            (tmp_path / name).unlink()
        for _ in range(10):
            results: list[Result[Any]] = [
                await cache.get("a"),
                await cache.set("b", b"x" * 10_000),
                await cache.get_or_set("c", lambda: 1),
                await cache.keys(),
                await cache.flush(),
            ]
            assert all(isinstance(result, Result) for result in results)
    async with assert_success(await FileCache.open(path)) as cache:
        assert_failure(await cache.get("a"), "KEY_NOT_FOUND")
        assert_success(await cache.set("a", 2))
        assert assert_success(await cache.get("a")) == 2


async def test_a_file_that_is_overwritten_beneath_it_raises_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    opened = await FileCache.open(path, CacheConfig(circuit_breaker=None))
    async with assert_success(opened) as cache:
        assert_success(await cache.set_many({f"k{number}": value(f"k{number}") for number in range(100)}))
        assert_success(await cache.flush())
        path.write_bytes(b"something else" * 1000)
        for number in range(100):
            got = await cache.get(f"k{number}")
            assert got.data in (None, value(f"k{number}"))
            assert isinstance(await cache.set(f"k{number}", 1), Result)
        assert isinstance(await cache.keys(), Result)
        assert isinstance(await cache.clear(), Result)
        assert isinstance(await cache.flush(), Result)
    await asyncio.sleep(0)
