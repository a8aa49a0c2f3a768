# ruff: noqa: ASYNC240, PTH208, PTH112 - a test may look at its files without leaving the loop
"""Whatever is wrong with a file, a name, a value or the moment: a clear Failure with a code."""

import asyncio
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from qicore.base import QiError, Result
from qicore.database import Compare, Database, DatabaseConfig, EveryRow

from .conftest import ddl


def error(result: Result[Any]) -> QiError:
    assert result.error is not None, f"{result!r} should be a Failure"
    return result.error


HOSTILE = [
    "",
    '"',
    "a\0b",
    'users"; DROP TABLE users; --',
    "a;b",
    "a\nb",
    "1st",
    "é\u202e",
    "x" * 200,
    "a.b.c",
    "'",
]


@pytest.mark.parametrize(
    "target",
    ["", "no/such/directory/x.db", "a\0b", "/", "postgresql://u:secret@host/db", "sqlite:x.db", "x" * 5000],
)
async def test_what_is_nowhere_is_not_connected(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    failed = error(await Database.connect(target))
    assert failed.code == "DB_CONNECT_FAILED"
    assert "secret" not in str(failed.to_structured_data())


@pytest.mark.parametrize("target", [None, 5, b"x.db"])
async def test_a_target_that_is_no_path(target: Any) -> None:
    assert error(await Database.connect(target)).code == "DB_CONNECT_FAILED"


@pytest.mark.parametrize(
    "config",
    [
        DatabaseConfig(readers=1),
        DatabaseConfig(readers=True),
        DatabaseConfig(busy_timeout=-1),
        DatabaseConfig(pool_timeout=float("nan")),
        DatabaseConfig(statement_timeout=0),
        DatabaseConfig(synchronous="off"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # meant
        DatabaseConfig(pragmas={"a; DROP": 1}),
        DatabaseConfig(pragmas={"cache_size": "1; DROP"}),
    ],
)
async def test_options_are_checked(config: DatabaseConfig) -> None:
    assert error(await Database.connect(":memory:", config)).code == "DB_INVALID_CONFIG"


async def test_urls_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd = tmp_path / "a b%20c?mode=ro#x é.db"
    for target in (
        "sqlite:///one.db",
        f"sqlite:///{tmp_path}/two.db",
        str(odd),
        odd,
        "sqlite://",
        "sqlite:///:memory:",
    ):
        async with (await Database.connect(target)).unwrap() as db:
            (await db.execute("CREATE TABLE IF NOT EXISTS t (n)")).unwrap()
    assert sorted(os.listdir(tmp_path)) == sorted(["one.db", "two.db", odd.name])


async def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"This is not a database, but it is long enough to be taken for one." * 50)
    assert error(await Database.connect(path)).code == "DB_CONNECT_FAILED"


async def test_a_corrupted_file(path: Path) -> None:
    async with (await Database.connect(path)).unwrap() as db:
        (await db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")).unwrap()
        (await db.bulk_insert("t", [{"data": os.urandom(3000)} for _ in range(50)])).unwrap()
    content = bytearray(path.read_bytes())
    content[4096:60000] = b"\xff" * (60000 - 4096)
    path.write_bytes(content)
    async with (await Database.connect(path)).unwrap() as db:
        failed = error(await db.query("SELECT * FROM t"))
        assert failed.code == "DB_CONNECT_FAILED"
        assert failed.context["sqlite"] == "SQLITE_CORRUPT"


async def test_a_read_only_database(path: Path) -> None:
    config = DatabaseConfig(read_only=True)
    assert error(await Database.connect(path, config)).code == "DB_CONNECT_FAILED", "it does not exist"
    async with (await Database.connect(path)).unwrap() as db:
        (await db.execute("CREATE TABLE t (n INT)")).unwrap()
        (await db.create("t", {"n": 1})).unwrap()
    async with (await Database.connect(path, config)).unwrap() as db:
        assert (await db.read("t")).unwrap() == [{"n": 1}]
        for refused in (
            await db.create("t", {"n": 2}),
            await db.execute("DELETE FROM t"),
            await db.query("WITH x(n) AS (VALUES (1)) INSERT INTO t SELECT n FROM x"),
            await db.bulk_insert("t", [{"n": 2}]),
            await db.transaction(lambda tx: tx.delete("t", EveryRow)),
        ):
            assert str(error(refused)).startswith("PERMISSION/DB_READ_ONLY: ")
        assert (await db.read("t")).unwrap() == [{"n": 1}]


async def test_a_database_locked_while_it_is_opened(path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE t (n)")
    other.execute("BEGIN EXCLUSIVE")
    assert error(await Database.connect(path, DatabaseConfig(busy_timeout=0.01))).code == "DB_BUSY"
    other.close()
    await (await Database.connect(path)).unwrap().close()


async def test_a_full_disk_loses_nothing_and_says_so(path: Path) -> None:
    async with (await Database.connect(path, DatabaseConfig(pragmas={"max_page_count": 12}))).unwrap() as db:
        (await db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data BLOB)")).unwrap()
        (await db.create("t", {"data": b"kept"})).unwrap()
        rows = [{"data": bytes(4000)} for _ in range(100)]
        for failed in (await db.bulk_insert("t", rows), await db.bulk_insert("t", rows, batch=3)):
            assert error(failed).code == "DB_CONNECT_FAILED"
            assert error(failed).context["sqlite"] == "SQLITE_FULL"
        async with db.transaction() as tx:
            (await tx.update("t", {"n": 1}, {"data": b"changed"})).unwrap()
            assert (await tx.execute("INSERT INTO t (data) VALUES (zeroblob(99999))")).is_failure
            await tx.rollback()
        assert (await db.read("t")).unwrap() == [{"n": 1, "data": b"kept"}]


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_names_never_reach_a_statement(either: Database, either_target: str, name: str) -> None:
    table = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)"
    (await either.execute(ddl(either_target, table))).unwrap()
    (await either.create("users", {"name": "Ann"})).unwrap()
    for refused in (
        await either.read(name),
        await either.create(name, {"name": "x"}),
        await either.create("users", {name: "x"}),
        await either.update("users", {name: 1}, {"name": "x"}),
        await either.update("users", {"id": 1}, {name: "x"}),
        await either.delete(name, EveryRow),
        await either.delete("users", {name: name}),
        await either.read("users", columns=[name]),
        await either.read("users", order_by=[name]),
        await either.bulk_insert(name, [{"name": "x"}]),
        await either.bulk_insert("users", [{name: "x"}]),
    ):
        assert error(refused).code == "DB_BAD_QUERY"
    assert (await either.read("users")).unwrap() == [{"id": 1, "name": "Ann"}]


@pytest.mark.parametrize("value", [*HOSTILE, "Robert'); DROP TABLE users;--", "\0", "%", "💥" * 1000])
async def test_hostile_values_are_only_values(either: Database, either_target: str, value: str) -> None:
    table = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)"
    (await either.execute(ddl(either_target, table))).unwrap()
    if "\0" in value and either_target != ":memory:":
        assert error(await either.create("users", {"name": value})).code == "DB_BAD_QUERY"
        return  # PostgreSQL has no such texts
    (await either.create("users", {"name": value})).unwrap()
    (await either.create("users", {"name": "other"})).unwrap()
    assert (await either.read("users", {"name": value})).unwrap() == [{"id": 1, "name": value}]
    assert (await either.read("users", {"name": Compare("IN", [value])})).unwrap()[0]["id"] == 1
    assert (await either.update("users", {"name": value}, {"name": value + value})).unwrap() == 1
    assert (await either.delete("users", {"name": value + value})).unwrap() == 1
    assert (await either.query_one("SELECT count(*) FROM users", into=int)).unwrap() == 1


async def test_a_misspelt_column_is_no_string(either: Database, either_target: str) -> None:
    """SQLite takes a quoted name that it does not know for a string, unless it is written with its table."""
    (await either.execute("CREATE TABLE users (name TEXT)")).unwrap()
    (await either.create("users", {"name": "Ann"})).unwrap()
    for refused in (
        await either.delete("users", {"nmae": "nmae"}),
        await either.update("users", {"nmae": "nmae"}, {"name": "x"}),
        await either.update("users", EveryRow, {"nmae": "x"}),
        await either.read("users", {"nmae": "nmae"}),
        await either.read("users", columns=["nmae"]),
        await either.read("users", order_by="nmae"),
    ):
        assert error(refused).code == "DB_BAD_QUERY"
    schema = (
        "main"
        if either_target == ":memory:"
        else (await either.query_one("SELECT current_schema()", into=str)).unwrap()
    )
    assert (await either.read(f"{schema}.users")).unwrap() == [{"name": "Ann"}]


async def test_bad_clauses(either: Database) -> None:
    (await either.execute("CREATE TABLE t (n INT)")).unwrap()
    anything: Any = "OR 1=1"
    for refused in (
        await either.delete("t", {}),
        await either.update("t", {}, {"n": 1}),
        await either.update("t", {"n": 1}, {}),
        await either.delete("t", anything),
        await either.delete("t", None),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # meant
        await either.delete("t", {"n": Compare(anything, 1)}),
        await either.delete("t", {"n": Compare("IN", "abc")}),
        await either.delete("t", {"n": Compare("BETWEEN", (1, 2, 3))}),
        await either.delete("t", {"n": Compare("<", None)}),
        await either.read("t", limit=-1),
        await either.read("t", offset=anything),
        await either.read("t", columns=[]),
        await either.read(anything and 5),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # meant
        await either.create("t", anything),
        await either.bulk_insert("t", anything),
        await either.bulk_insert("t", [{"n": 1}, {"m": 1}]),
        await either.bulk_insert("t", [{"n": 1}], batch=0),
        await either.bulk_insert("t", [{"n": 1}, 7]),
    ):
        assert error(refused).code == "DB_BAD_QUERY", refused
    assert (await either.read("t")).unwrap() == []


async def test_bad_statements_and_parameters(db: Database) -> None:
    anything: Any = {"a": 1}
    cases: list[tuple[str, Any]] = [
        ("", ()),
        ("SELEC 1", ()),
        ("SELECT 1; SELECT 2", ()),
        ("SELECT \0 1", ()),
        ("SELECT ?", ()),
        ("SELECT ?", (1, 2)),
        ("SELECT ?", "a"),
        ("SELECT ?", 5),
        ("SELECT :b", anything),
        ("SELECT ?", (object(),)),
        ("SELECT ?", (1 << 70,)),
        ("SELECT ?", ("\ud800",)),
        ("SELECT ?", (float("nan"),)),
        ("SELECT ?", ({"a": object()},)),
        ("SELECT 1 AS a, 2 AS a", ()),
        ("SELECT nothing FROM counter", ()),
        ("SELECT CAST(x'ff' AS TEXT)", ()),
        ("SELECT '\ud800'", ()),
    ]
    for sql, params in cases:
        failed = error(await db.query(sql, params)) if sql else None
        assert failed is None or failed.code == "DB_BAD_QUERY", sql
        assert failed is None or "\ud800" not in str(failed)
    failures = [
        await db.execute("INSERT INTO counter VALUES (?)", (object(),)),
        await db.execute_many("SELEC", [()]),
    ]
    assert {error(failed).code for failed in failures} == {"DB_BAD_QUERY"}
    assert (await db.query_one("SELECT 7", into=int)).unwrap() == 7


async def test_no_value_is_in_an_error(either: Database) -> None:
    (await either.execute("CREATE TABLE s (token TEXT UNIQUE CHECK (length(token) > 3))")).unwrap()
    (await either.create("s", {"token": "hunter2"})).unwrap()
    for failed in (
        await either.create("s", {"token": "hunter2"}),
        await either.execute("INSERT INTO s VALUES ('hunter2')"),
        await either.query("SELECT 'hunter2' FROM nowhere"),
        await either.query_one("SELECT token FROM s", into=int),
    ):
        assert "hunter2" not in str(error(failed).to_structured_data())
        assert "hunter2" not in repr(error(failed).__cause__)


async def test_a_huge_blob_comes_back(each_db: Database, target: str) -> None:
    (await each_db.execute(ddl(target, "CREATE TABLE b (data BLOB)"))).unwrap()
    data = os.urandom(1000) * 50_000
    (await each_db.execute("INSERT INTO b VALUES (?)", (data,))).unwrap()
    assert (await each_db.query_one("SELECT data FROM b", into=bytes)).unwrap() == data
    too_big = error(
        await each_db.query(
            "SELECT zeroblob(2000000000)"
            if not target.startswith("postgres")
            else "SELECT repeat('x', 2000000000)"
        )
    )
    assert too_big.code == "DB_BAD_QUERY"


async def test_a_closed_database(each_db: Database) -> None:
    tx = (await each_db.begin()).unwrap()
    (await tx.execute("UPDATE counter SET n = 9")).unwrap()
    assert (await each_db.close()).is_success
    assert (await each_db.close()).is_success
    for refused in (
        await each_db.query("SELECT 1"),
        await each_db.execute("DELETE FROM counter"),
        await each_db.create("counter", {"n": 1}),
        await each_db.execute_many("DELETE FROM counter", [()]),
        await each_db.bulk_insert("counter", [{"n": 1}]),
        await each_db.begin(),
        await each_db.transaction(lambda tx: tx.query("SELECT 1")),
        await each_db.migrate("."),
        await each_db.backup("x.db"),
        await each_db.pool(),
        await each_db.health(),
        await anext(each_db.stream("SELECT 1")),
    ):
        assert error(refused).code == "DB_CONNECT_FAILED"
        assert "closed" in error(refused).message
    assert (await tx.commit()).is_failure


async def test_closing_finishes_writes_and_interrupts_reads(path: Path) -> None:
    db = (await Database.connect(path)).unwrap()
    (await db.execute("CREATE TABLE t (n)")).unwrap()
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
    reads = [asyncio.create_task(db.query(endless)) for _ in range(6)]
    await asyncio.sleep(0.05)
    writes = [asyncio.create_task(db.execute("INSERT INTO t VALUES (1)")) for _ in range(100)]
    begun = [asyncio.create_task(db.begin()) for _ in range(2)]
    await asyncio.sleep(0)
    closings = await asyncio.gather(*(db.close() for _ in range(5)))
    assert all(closing.is_success for closing in closings)
    assert all(result.is_success for result in await asyncio.gather(*writes))
    assert {error(result).code for result in await asyncio.gather(*reads)} == {"DB_CONNECT_FAILED"}
    for result in await asyncio.gather(*begun):
        assert result.is_failure or not (await result.unwrap().commit()).is_success
    assert not path.with_name("test.db-wal").exists(), "the last connection tidied up"
    async with (await Database.connect(path)).unwrap() as again:
        assert (await again.query_one("SELECT count(*) FROM t", into=int)).unwrap() == 100


async def test_no_thread_and_no_file_stays_behind(path: Path) -> None:
    def ours() -> set[str]:
        return {thread.name for thread in threading.enumerate() if thread.name.startswith("qicore-database")}

    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        async with (await Database.connect(path)).unwrap() as db:
            await asyncio.gather(*(db.query("SELECT 1") for _ in range(10)))
            assert ours()
    for thread in threading.enumerate():
        if thread.name.startswith("qicore-database"):
            await asyncio.to_thread(thread.join)
    assert not ours()
    if files:
        assert len(os.listdir("/proc/self/fd")) <= files + 1


async def test_a_forgotten_database_warns_and_lets_go(path: Path) -> None:
    db = (await Database.connect(path)).unwrap()
    (await db.execute("CREATE TABLE t (n)")).unwrap()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("qicore-database")]
    files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.warns(ResourceWarning, match="never closed"):
        del db
    for thread in threads:
        await asyncio.to_thread(thread.join)
    await asyncio.sleep(0.1)
    assert not files or len(os.listdir("/proc/self/fd")) < files


def test_another_event_loop_is_refused(path: Path) -> None:
    async def use(db: Database) -> Result[Any]:
        return await db.query("SELECT 1")

    with asyncio.Runner() as first:
        db = first.run(Database.connect(path)).unwrap()
        assert error(asyncio.run(use(db))).code == "DB_BAD_QUERY"
        assert first.run(use(db)).is_success
        assert first.run(db.close()).is_success


async def test_the_pool_can_be_resized_and_tells_its_state(db: Database) -> None:
    status = (await db.pool(readers=2, pool_timeout=1.5)).unwrap()
    assert (status.readers, status.lent, status.in_transaction) == (2, 0, False)
    assert error(await db.pool(readers=0)).code == "DB_INVALID_CONFIG"
    assert error(await db.pool(pool_timeout=-1)).code == "DB_INVALID_CONFIG"
    async with db.transaction():
        assert (await db.health()).unwrap().in_transaction
    assert (await db.health()).unwrap().served > status.served


async def test_aiosqlite_is_within_reach(db: Database, memory: Database) -> None:
    async with db.raw as raw, raw.execute("SELECT n FROM counter") as cursor:
        assert [tuple(row) for row in await cursor.fetchall()] == [(0,)]
    (await memory.execute("CREATE TABLE t (n)")).unwrap()
    (await memory.execute("INSERT INTO t VALUES (5)")).unwrap()
    async with memory.raw as raw:
        assert [tuple(row) for row in await raw.execute_fetchall("SELECT n FROM t")] == [(5,)]
        await raw.execute("INSERT INTO t VALUES (6)")
    assert (await memory.query("SELECT n FROM t", into=int)).unwrap() == [5, 6]


def test_closing_from_another_event_loop_lets_go(path: Path) -> None:
    async def open_it() -> Database:
        db = (await Database.connect(path)).unwrap()
        (await db.execute("CREATE TABLE t (n)")).unwrap()
        return db

    db = asyncio.run(open_it())
    assert asyncio.run(db.close()).is_success
    assert asyncio.run(db.close()).is_success
    for thread in threading.enumerate():
        if thread.name.startswith("qicore-database"):
            thread.join()
