# ruff: noqa: PTH208 - a test may look at its files without leaving the loop
"""Backups of a database in use."""

import asyncio
import os
from pathlib import Path

import pytest
from qicore.database import Database


async def test_a_backup_is_whole_while_others_write(db: Database, tmp_path: Path) -> None:
    (await db.execute("CREATE TABLE pairs (n INT, data BLOB)")).unwrap()

    async def write() -> None:
        n = 0
        while True:
            n += 1
            async with db.transaction() as tx:
                for _ in range(2):
                    (await tx.execute("INSERT INTO pairs VALUES (?, zeroblob(5000))", (n,))).unwrap()

    (await db.bulk_insert("pairs", [{"n": -n // 2, "data": bytes(5000)} for n in range(2, 1002)])).unwrap()
    writer = asyncio.create_task(write())
    target = tmp_path / "copy.db"
    for _ in range(3):
        (await db.backup(target)).unwrap()
        async with (await Database.connect(target)).unwrap() as copy:
            assert (await copy.query_one("PRAGMA integrity_check", into=str)).unwrap() == "ok"
            assert (await copy.query_one("SELECT count(*) FROM counter", into=int)).unwrap() == 1
            counts = await copy.query("SELECT count(*) FROM pairs WHERE n > 0 GROUP BY n", into=int)
            assert set(counts.unwrap()) <= {2}
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    assert sorted(name for name in os.listdir(tmp_path) if "copy" in name) == ["copy.db"]


async def test_a_database_in_memory_can_be_saved(memory: Database, tmp_path: Path) -> None:
    (await memory.execute("CREATE TABLE t (n)")).unwrap()
    (await memory.execute("INSERT INTO t VALUES (5)")).unwrap()
    (await memory.backup(str(tmp_path / "saved.db"))).unwrap()
    async with (await Database.connect(tmp_path / "saved.db")).unwrap() as copy:
        assert (await copy.query("SELECT n FROM t", into=int)).unwrap() == [5]


async def test_where_a_backup_can_not_go(db: Database, path: Path, tmp_path: Path) -> None:
    for target in ("", "a\0b", str(path), str(tmp_path), str(tmp_path / "no" / "x.db"), "x" * 5000):
        failed = (await db.backup(target)).error
        assert failed is not None
        assert failed.code == "DB_BAD_QUERY"
    assert (await db.query_one("SELECT count(*) FROM counter", into=int)).unwrap() == 1


async def test_a_cancelled_backup_leaves_the_older_one(db: Database, tmp_path: Path) -> None:
    (await db.execute("CREATE TABLE big (data BLOB)")).unwrap()
    (await db.execute("INSERT INTO big VALUES (zeroblob(60000000))")).unwrap()
    target = tmp_path / "copy.db"
    target.write_bytes(b"older")
    task = asyncio.create_task(db.backup(target))
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await db.close()).is_success
    assert sorted(name for name in os.listdir(tmp_path) if "copy" in name) == ["copy.db"]
