"""Migrations: ordered, checksummed, all or nothing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from qicore.base import QiError, Result
from qicore.database import Database


def error(result: Result[Any]) -> QiError:
    assert result.error is not None, f"{result!r} should be a Failure"
    return result.error


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    directory = tmp_path / "migrations"
    directory.mkdir()
    return directory


def write(folder: Path, **files: str) -> None:
    for name, script in files.items():
        (folder / f"{name.removeprefix('m')}.sql").write_text(script, encoding="utf-8")


TRIGGER = """
-- A script; with a semicolon in its comment.
CREATE TABLE a (n INT, s TEXT DEFAULT ';');
CREATE TABLE log (n INT);
CREATE TRIGGER watch AFTER INSERT ON a BEGIN
    INSERT INTO log VALUES (CASE WHEN new.n > 1 THEN 1 ELSE 0 END);
    INSERT INTO log VALUES (9); /* END; */
END;
INSERT INTO a (n) VALUES (5)
"""


async def test_pending_files_are_applied_in_order_and_once(memory: Database, folder: Path) -> None:
    write(folder, m2_second="INSERT INTO a (n) VALUES (6);", m0001_first=TRIGGER, m10_third="DROP TABLE log")
    (folder / "README.md").write_text("not a migration")
    applied = (await memory.migrate(folder)).unwrap()
    assert [(migration.version, migration.name) for migration in applied] == [
        (1, "first"),
        (2, "second"),
        (10, "third"),
    ]
    assert (await memory.query("SELECT n, s FROM a", into=tuple)).unwrap() == [(5, ";"), (6, ";")]
    assert (await memory.migrate(folder)).unwrap() == []
    write(folder, m11_fourth="CREATE TABLE b (n INT)")
    assert [migration.version for migration in (await memory.migrate(str(folder))).unwrap()] == [11]


async def test_all_or_nothing(each_db: Database, folder: Path) -> None:
    write(
        folder,
        m1_good="CREATE TABLE good (n INT);",
        m2_bad="CREATE TABLE better (n INT);\n\nINSERT INTO nowhere VALUES (1);",
    )
    failed = error(await each_db.migrate(folder))
    assert failed.code == "DB_BAD_QUERY"
    assert failed.context["migration"] == "2_bad"
    assert failed.context["line"] == 3
    for table in ("good", "_qicore_migrations"):
        assert error(await each_db.read(table)).code == "DB_BAD_QUERY", "it was never there"
    write(folder, m2_bad="CREATE TABLE better (n INT);")
    assert len((await each_db.migrate(folder)).unwrap()) == 2


async def test_every_contradiction_is_named(either: Database, folder: Path) -> None:
    write(folder, m1_a="CREATE TABLE a (n INT)", m3_b="CREATE TABLE b (n INT)", m5_c="CREATE TABLE c (n INT)")
    (await either.migrate(folder)).unwrap()
    write(folder, m1_a="CREATE TABLE a (n INT, m INT)", m4_late="CREATE TABLE d (n INT)")
    (folder / "3_b.sql").unlink()
    failed = error(await either.migrate(folder))
    assert failed.code == "DB_MIGRATION_MISMATCH"
    problems = str(failed.context["problems"])
    assert "1_a was changed" in problems
    assert "3_b was applied" in problems
    assert "4_late is out of order" in problems


async def test_line_ends_are_no_change(either: Database, folder: Path) -> None:
    (folder / "1_a.sql").write_bytes(b"CREATE TABLE a (\nn INT);\n")
    (await either.migrate(folder)).unwrap()
    (folder / "1_a.sql").write_bytes(b"\xef\xbb\xbfCREATE TABLE a (\r\nn INT);\r\n")
    assert (await either.migrate(folder)).unwrap() == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("first.sql", b"SELECT 1"),
        ("1_a.sql", b"\xff\xfe\x00"),
        ("01_twin.sql", b"SELECT 1"),
        ("1_a.sql", b"CREATE TABLE a (n);\nCOMMIT;"),
        ("1_a.sql", b"BEGIN; CREATE TABLE a (n INT)"),
    ],
)
async def test_files_that_are_no_migrations(
    either: Database, folder: Path, name: str, content: bytes
) -> None:
    write(folder, m1_zzz="SELECT 1")
    (folder / name).write_bytes(content)
    failed = error(await either.migrate(folder))
    assert failed.code == "DB_MIGRATION_MISMATCH"
    assert name in failed.message or "version 1" in failed.message


async def test_a_directory_that_is_not_there(either: Database, folder: Path) -> None:
    assert error(await either.migrate(folder / "nowhere")).code == "DB_MIGRATION_MISMATCH"
    assert (await either.migrate(folder)).unwrap() == []


async def test_a_table_with_children_can_be_rebuilt_but_not_left_broken(db: Database, folder: Path) -> None:
    rebuild = """
    CREATE TABLE child (p INT REFERENCES counter (id));
    INSERT INTO child VALUES (1);
    CREATE TABLE counter2 (id INTEGER PRIMARY KEY, n INT NOT NULL, extra TEXT);
    INSERT INTO counter2 (id, n) SELECT id, n FROM counter;
    DROP TABLE counter;
    ALTER TABLE counter2 RENAME TO counter;
    """
    write(folder, m1_rebuild=rebuild)
    (await db.migrate(folder)).unwrap()
    assert (await db.execute("INSERT INTO child VALUES (99)")).is_failure, "foreign keys are enforced again"
    write(folder, m2_break="DELETE FROM counter")
    failed = error(await db.migrate(folder))
    assert failed.code == "DB_CONSTRAINT"
    assert "child" in failed.message
    assert (await db.query_one("SELECT count(*) FROM counter", into=int)).unwrap() == 1


async def test_a_cancelled_migration_leaves_nothing(each_db: Database, folder: Path) -> None:
    endless = (
        "INSERT INTO a WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    )
    write(folder, m1_slow=f"CREATE TABLE a (n INT); {endless};")
    task = asyncio.create_task(each_db.migrate(folder))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await each_db.execute("UPDATE counter SET n = 3")).is_success
    assert error(await each_db.read("a")).code == "DB_BAD_QUERY"


async def test_writers_wait_for_a_migration(each_db: Database, folder: Path) -> None:
    write(folder, m1_a="ALTER TABLE counter ADD COLUMN m INT DEFAULT 7")
    migrated, written = await asyncio.gather(
        each_db.migrate(folder), each_db.execute("UPDATE counter SET n = 5")
    )
    assert migrated.is_success
    assert written.is_success
    assert (await each_db.query_one("SELECT n, m FROM counter", into=tuple)).unwrap() == (5, 7)
