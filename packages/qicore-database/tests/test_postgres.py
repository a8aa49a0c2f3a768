"""What PostgreSQL adds: many statements on one connection, conflicts, channels; and servers that go away."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from qicore.base import Result
from qicore.base.testing import assert_failure, assert_success
from qicore.database import Database, DatabaseConfig, Notification, Transaction
from qicore_testkit.postgres_server import PostgresServer


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[Database]:
    async with (await Database.connect(postgres_url)).unwrap() as database:
        (await database.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL, s TEXT)")).unwrap()
        (await database.create("t", {"id": 1, "n": 0})).unwrap()
        yield database


async def opened(url: str, **options: Any) -> Database:
    return (await Database.connect(url, DatabaseConfig(circuit_breaker=None, **options))).unwrap()


async def count(db: Database) -> int:
    return (await db.query_one("SELECT count(*) FROM t", into=int)).unwrap()


class Colour(Enum):
    RED = "red"


VALUES: list[tuple[str, Any, Any]] = [
    ("INT", 7, 7),
    ("INT", None, None),
    ("BIGINT", 2**62, 2**62),
    ("DOUBLE PRECISION", 0.1, 0.1),
    ("DOUBLE PRECISION", float("inf"), float("inf")),
    ("NUMERIC", Decimal("1.50"), Decimal("1.50")),
    ("BOOLEAN", True, True),
    ("TEXT", 'it\'s \\ "quoted" \u20ac \U0001f600', 'it\'s \\ "quoted" \u20ac \U0001f600'),
    ("TEXT", "", ""),
    ("TEXT", Colour.RED, "red"),
    ("TEXT", Path("a/b"), "a/b"),
    ("BYTEA", b"\0\xff\\", b"\0\xff\\"),
    ("DATE", date(2026, 1, 31), date(2026, 1, 31)),
    ("TIMESTAMPTZ", datetime(2026, 1, 31, 12, tzinfo=UTC), datetime(2026, 1, 31, 12, tzinfo=UTC)),
    ("INTERVAL", timedelta(days=1, microseconds=-5), timedelta(days=1, microseconds=-5)),
    ("UUID", UUID(int=5), UUID(int=5)),
    ("JSONB", {"a": [1, None, "x"]}, {"a": [1, None, "x"]}),
    ("JSONB", [1, "b"], [1, "b"]),
    ("INT[]", [1, None, 3], [1, None, 3]),
    ("TEXT[]", ["a,b", 'c"d', "e\\f", "", "NULL"], ["a,b", 'c"d', "e\\f", "", "NULL"]),
    ("INT[]", [[1, 2], [3, 4]], [[1, 2], [3, 4]]),
    ("INT[]", [], []),
]


@pytest.mark.parametrize(
    ("kind", "value", "stored"), VALUES, ids=[f"{k}-{n}" for n, (k, _, _) in enumerate(VALUES)]
)
async def test_values_go_and_come(db: Database, kind: str, value: Any, stored: Any) -> None:
    (await db.execute(f"CREATE TABLE v (id INT GENERATED ALWAYS AS IDENTITY, x {kind})")).unwrap()
    assert assert_success(await db.create("v", {"x": value}))["x"] == stored
    assert_success(await db.bulk_insert("v", [{"x": value}] * 3))
    async with db.transaction() as tx:
        assert_success(await tx.execute_many("INSERT INTO v (x) VALUES (?)", [(value,), (value,)]))
    rows = assert_success(await db.query("SELECT x FROM v", into=tuple))
    assert rows == [(stored,)] * 6


async def test_typed_rows_take_what_the_driver_gives(db: Database) -> None:
    at = datetime(2026, 1, 31, tzinfo=UTC)
    assert assert_success(await db.query("SELECT ?::timestamptz", (at,), into=datetime)) == [at]
    assert assert_success(await db.query("SELECT true", into=bool)) == [True]
    assert assert_success(await db.query("SELECT 1.5::numeric", into=Decimal)) == [Decimal("1.5")]
    assert assert_success(await db.query("SELECT '[1, 2]'::jsonb", into=list[int])) == [[1, 2]]
    assert_failure(await db.query("SELECT 'x'", into=int), "DB_BAD_QUERY")


@pytest.mark.parametrize(
    ("sql", "params", "rows"),
    [
        ("SELECT :a::text || :b", {"a": "x", "b": "y"}, [("xy",)]),
        ("SELECT :a::int + :a::int", {"a": 2}, [(4,)]),
        ("SELECT '?', \"c\", ? FROM (SELECT 1 AS c) x -- ?", ("v",), [("?", 1, "v")]),
        ("SELECT $$it's ?$$, $x$ :a $x$, ?::int", (1,), [("it's ?", " :a ", 1)]),
        ("SELECT E'a\\'?', ?::int", (1,), [("a'?", 1)]),
        ("SELECT '{\"k\": 1}'::jsonb ?? ?", ("k",), [(True,)]),
        ("SELECT '{\"k\": 1}'::jsonb ? 'k'", (), [(True,)]),
        ("SELECT $1::int", (5,), [(5,)]),
        ("SELECT 1 WHERE 2 = ANY(?)", ([1, 2],), [(1,)]),
        ("/* ? */ SELECT 1", (), [(1,)]),
    ],
)
async def test_marks(db: Database, sql: str, params: Any, rows: Any) -> None:
    assert assert_success(await db.query(sql, params, into=tuple)) == rows


@pytest.mark.parametrize(
    ("sql", "params", "code"),
    [
        ("SELEC 1", (), "DB_BAD_QUERY"),
        ("SELECT nothing FROM t", (), "DB_BAD_QUERY"),
        ("SELECT ?", (1, 2), "DB_BAD_QUERY"),
        ("SELECT :a", {"b": 1}, "DB_BAD_QUERY"),
        ("SELECT ?::int", ("s3cret",), "DB_BAD_QUERY"),
        ("SELECT ?::text", ("a\0b",), "DB_BAD_QUERY"),
        ("SELECT ?::text", ("\ud800",), "DB_BAD_QUERY"),
        ("SELECT ?::int", (object(),), "DB_BAD_QUERY"),
        ("SELECT 1\0", (), "DB_BAD_QUERY"),
        ("SELECT 1/0", (), "DB_BAD_QUERY"),
        ("INSERT INTO t VALUES (1, 1)", (), "DB_CONSTRAINT"),
        ("INSERT INTO t VALUES (2, NULL)", (), "DB_CONSTRAINT"),
        ("BEGIN", (), "DB_BAD_QUERY"),
        ("SELECT 1; SELECT 2", (), "DB_BAD_QUERY"),
        ("SELECT pg_read_file('/etc/nothing')", (), "DB_CONNECT_FAILED"),
    ],
)
async def test_what_the_server_refuses(db: Database, sql: str, params: Any, code: str) -> None:
    error = assert_failure(await db.query(sql, params), code)
    assert "s3cret" not in repr(error.to_structured_data())
    assert assert_success(await db.query_one("SELECT 1", into=int)) == 1


async def test_the_constraint_is_named_and_the_row_is_not(db: Database) -> None:
    error = assert_failure(await db.create("t", {"id": 1, "n": 1, "s": "s3cret"}), "DB_CONSTRAINT")
    assert (error.context["constraint"], error.context["table"]) == ("t_pkey", "t")
    assert "s3cret" not in repr(error.to_structured_data())


class TestManyAtOnce:
    async def test_each_statement_fails_alone(self, db: Database) -> None:
        ids = [*range(2, 200), *range(50, 60)]
        results = await asyncio.gather(*(db.create("t", {"id": i, "n": i}) for i in ids))
        assert sum(result.is_failure for result in results) == 10
        assert await count(db) == 199

    async def test_no_more_connections_than_allowed(self, postgres_url: str) -> None:
        async with await opened(postgres_url, connections=3) as db:
            slow = [db.query("SELECT pg_sleep(0.05)") for _ in range(6)]
            quick = [db.query("SELECT 1") for _ in range(200)]
            for result in await asyncio.gather(*slow, *quick):
                assert_success(result)
            assert assert_success(await db.pool()).open == 3

    async def test_none_is_sent_behind_a_slow_one(self, postgres_url: str) -> None:
        async with await opened(postgres_url, connections=2) as db:
            await asyncio.gather(*(db.query("SELECT pg_sleep(0.01)") for _ in range(2)))
            slow = asyncio.ensure_future(db.query("SELECT pg_sleep(1)"))
            await asyncio.sleep(0.1)
            for _ in range(50):
                assert_success(await db.query("SELECT 1"))
            assert not slow.done()
            assert_success(await slow)

    async def test_a_changed_table_is_prepared_for_anew(self, db: Database) -> None:
        for column in ("a", "b"):
            assert_success(await db.query("SELECT * FROM t"))
            assert_success(await db.execute(f"ALTER TABLE t ADD COLUMN {column} INT"))
        assert "b" in assert_success(await db.query("SELECT * FROM t"))[0]

    async def test_thousands_of_different_statements(self, postgres_url: str) -> None:
        async with await opened(postgres_url, connections=1) as db:
            for number in range(600):
                assert assert_success(await db.query_one(f"SELECT {number}", into=int)) == number
            prepared = await db.query_one("SELECT count(*) FROM pg_prepared_statements", into=int)
            assert assert_success(prepared) <= 257

    async def test_a_pool_that_is_taken(self, postgres_url: str) -> None:
        async with await opened(postgres_url, connections=1, pool_timeout=0.1) as db:
            async with db.transaction():
                assert_failure(await db.query("SELECT 1"), "DB_POOL_EXHAUSTED")
                assert_failure(await db.begin(), "DB_POOL_EXHAUSTED")
            assert_success(await db.query("SELECT 1"))

    async def test_cancelled_tasks_leave_nothing(self, postgres_url: str) -> None:
        async with await opened(postgres_url, connections=3) as db:
            for _ in range(5):
                tasks: list[asyncio.Future[Any]] = [
                    asyncio.ensure_future(db.query("SELECT pg_sleep(0.02)")),
                    asyncio.ensure_future(db.transaction(self.slow)),
                    asyncio.ensure_future(db.begin()),
                ]
                await asyncio.sleep(0.03)
                for task in tasks:
                    task.cancel()
                ended: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
                if not isinstance(ended[2], BaseException):
                    await ended[2].unwrap().rollback()
            results = await asyncio.gather(*(db.query("SELECT 1") for _ in range(20)))
            assert all(result.is_success for result in results)
            assert assert_success(await db.pool()).lent == 0

    async def slow(self, tx: Transaction) -> Result[None]:
        return (await tx.query("SELECT pg_sleep(10)")).map(lambda _: None)


class TestWaiting:
    async def test_a_statement_that_takes_too_long(self, postgres_url: str) -> None:
        async with await opened(postgres_url, statement_timeout=0.1) as db:
            error = assert_failure(await db.query("SELECT pg_sleep(5)"), "DB_TIMEOUT")
            assert "statement timeout" in error.message
            assert_success(await db.query("SELECT 1"))

    async def test_a_lock_that_is_held(self, postgres_url: str, db: Database) -> None:
        async with await opened(postgres_url, busy_timeout=0.1) as other, db.transaction() as tx:
            assert_success(await tx.update("t", {"id": 1}, {"n": 1}))
            assert_failure(await other.update("t", {"id": 1}, {"n": 2}), "DB_BUSY")
            assert_success(await other.query("SELECT 1"))

    async def test_reading_only(self, postgres_url: str, db: Database) -> None:
        async with await opened(postgres_url, read_only=True) as reader:
            assert await count(reader) == 1
            assert_failure(await reader.update("t", {"id": 1}, {"n": 2}), "DB_READ_ONLY")


class TestConflicts:
    async def test_transactions_that_conflict_are_run_again(self, db: Database) -> None:
        runs = 0
        both_have_read = asyncio.Barrier(2)

        async def increment(tx: Transaction) -> Result[int]:
            nonlocal runs
            runs += 1
            n = (await tx.query_one("SELECT n FROM t WHERE id = 1", into=int)).unwrap()
            if runs <= 2:
                await both_have_read.wait()
            return await tx.update("t", {"id": 1}, {"n": n + 1})

        patient = [db.transaction(increment, isolation="serializable") for _ in range(2)]
        for result in await asyncio.gather(*patient):
            assert_success(result)
        assert runs > 2
        assert assert_success(await db.query_one("SELECT n FROM t", into=int)) == 2

    async def test_one_attempt_tells_of_the_conflict(self, postgres_url: str, db: Database) -> None:
        async with await opened(postgres_url, attempts=1, isolation="repeatable read") as other:
            inner = (await other.begin()).unwrap()
            assert_success(await inner.query("SELECT n FROM t"))
            assert_success(await db.update("t", {"id": 1}, {"n": 5}))
            error = assert_failure(await inner.update("t", {"id": 1}, {"n": 6}), "DB_BUSY")
            assert error.context["sqlstate"] == "40001"
            assert_failure(await inner.commit(), "DB_BAD_QUERY")

    async def test_a_wrong_level(self, db: Database) -> None:
        error = assert_failure(await db.begin(isolation="chaos"), "DB_BAD_QUERY")  # type: ignore[arg-type]  # what is wrong with it
        assert "serializable" in error.message


class TestChannels:
    async def test_what_is_said_is_heard(self, db: Database) -> None:
        async with assert_success(await db.listen("news", "sport")) as heard:
            async with db.transaction() as tx:
                assert_success(await tx.query("SELECT pg_notify('news', ?)", ("tea",)))
                assert_success(await tx.query("SELECT pg_notify('other', 'x')"))
            assert_success(await db.execute("NOTIFY sport"))
            assert assert_success(await anext(heard)) == Notification("news", "tea")
            assert assert_success(await anext(heard)) == Notification("sport", "")
        assert [item async for item in heard] == []

    async def test_names_that_are_none(self, db: Database) -> None:
        assert_failure(await db.listen(), "DB_BAD_QUERY")
        assert_failure(await db.listen('a"; DROP TABLE t; --'), "DB_BAD_QUERY")

    async def test_a_listener_of_a_closed_database(self, db: Database) -> None:
        heard = assert_success(await db.listen("news"))
        waiting = asyncio.ensure_future(anext(heard, None))
        await asyncio.sleep(0.05)
        assert_success(await db.close())
        last = await waiting
        assert last is None or last.is_failure
        assert_failure(await db.listen("news"), "DB_CONNECT_FAILED")

    async def test_sqlite_has_none(self, memory: Database) -> None:
        assert_failure(await memory.listen("news"), "DB_BAD_QUERY")


class TestServersThatGo:
    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["shutdown", "crash"])
    async def test_what_is_in_flight_fails_and_it_comes_back(
        self, postgres_server: PostgresServer, how: signal.Signals
    ) -> None:
        async with await opened(postgres_server.url) as db:
            (await db.execute("CREATE TABLE t (id INT PRIMARY KEY)")).unwrap()
            transaction = (await db.begin()).unwrap()
            assert_success(await transaction.create("t", {"id": 99}))
            streaming = db.stream("SELECT generate_series(1, 1000000)", batch=10)
            assert_success(await anext(streaming))
            waiting = [asyncio.ensure_future(db.query("SELECT pg_sleep(60)")) for _ in range(3)]
            heard = assert_success(await db.listen("news"))
            await asyncio.sleep(0.1)
            await asyncio.to_thread(postgres_server.stop, how)
            for result in await asyncio.gather(*waiting):
                assert_failure(result, "DB_CONNECT_FAILED")
            assert_failure(await transaction.commit(), "DB_CONNECT_FAILED")
            rest = [row async for row in streaming]
            assert_failure(rest[-1], "DB_CONNECT_FAILED")
            assert_failure(await anext(heard), "DB_CONNECT_FAILED")
            assert_failure(await db.query("SELECT 1"), "DB_CONNECT_FAILED")
            await asyncio.to_thread(postgres_server.start)
            assert_success(await db.query("SELECT 1"))
            assert await count(db) == 0
            assert assert_success(await db.pool()).lent == 0

    async def test_what_was_reported_is_there_and_nothing_else_that_was_refused(
        self, postgres_server: PostgresServer
    ) -> None:
        async with await opened(postgres_server.url, connections=4) as db:
            (await db.execute("CREATE TABLE t (id INT PRIMARY KEY)")).unwrap()
            reported: list[int] = []
            refused: list[int] = []
            unknown: list[int] = []

            async def write(numbers: Iterator[int]) -> None:
                for number in numbers:
                    tx = await db.begin()
                    if tx.error is not None:
                        refused.append(number)
                        await asyncio.sleep(0.005)
                        continue
                    made = await tx.unwrap().create("t", {"id": number})
                    if made.error is not None:
                        refused.append(number)
                        await tx.unwrap().rollback()
                        continue
                    committed = await tx.unwrap().commit()
                    (reported if committed.is_success else unknown).append(number)

            numbers = iter(range(100_000))
            alive = True

            def bounded() -> Iterator[int]:
                while alive:
                    yield next(numbers)

            writers = [asyncio.ensure_future(write(bounded())) for _ in range(8)]
            for _ in range(3):
                await asyncio.sleep(0.3)
                await asyncio.to_thread(postgres_server.stop, signal.SIGINT)
                await asyncio.to_thread(postgres_server.start)
            await asyncio.sleep(0.2)
            alive = False
            await asyncio.gather(*writers)
            there = set(assert_success(await db.query("SELECT id FROM t", into=int)))
            assert len(reported) > 100
            assert set(reported) <= there, "a commit that was reported is lost"
            assert not set(refused) & there, "what was refused is there"
            assert there <= set(reported) | set(unknown)

    async def test_nobody_there_and_wrong_names(self, bundled_postgres: PostgresServer) -> None:
        for url in (
            "postgresql://u:s3cret@127.0.0.1:1/x",
            f"{bundled_postgres.url}_nowhere",
            "postgresql://u:s3cret@host:notaport/x",
            "postgresql://u:s3cret@no-such-host.invalid/x",
        ):
            error = assert_failure(await Database.connect(url), "DB_CONNECT_FAILED")
            assert "s3cret" not in repr(error.to_structured_data())

    async def test_a_server_that_says_nothing(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = f"postgresql://u@127.0.0.1:{mute.getsockname()[1]}/x"
            opening = Database.connect(url, DatabaseConfig(connect_timeout=0.2))
            error = assert_failure(await opening, "DB_CONNECT_FAILED")
        assert "in time" in error.message

    async def test_closing_lets_what_was_sent_finish(self, postgres_url: str, db: Database) -> None:
        other = await opened(postgres_url)
        writes = [asyncio.ensure_future(other.create("t", {"id": i, "n": i})) for i in range(2, 12)]
        await asyncio.sleep(0)
        left = (await other.begin()).unwrap()
        await other.close()
        assert_success(await other.close())
        kept = sum(result.is_success for result in await asyncio.gather(*writes))
        assert await count(db) == kept + 1
        assert_failure(await left.query("SELECT 1"))
        assert_failure(await other.query("SELECT 1"), "DB_CONNECT_FAILED")


async def test_functions_with_bodies_migrate(db: Database, tmp_path: Path) -> None:
    (tmp_path / "1_f.sql").write_text(
        "CREATE FUNCTION twice(x INT) RETURNS INT LANGUAGE plpgsql AS "
        "$$\nBEGIN\n  RETURN x * 2; -- ;\nEND;\n$$;\n"
        "CREATE TABLE made (n INT DEFAULT twice(21));\n"
    )
    assert len(assert_success(await db.migrate(tmp_path))) == 1
    assert assert_success(await db.create("made", {})) == {"n": 42}
    assert assert_success(await db.migrate(tmp_path)) == []
    (tmp_path / "2_bad.sql").write_text("CREATE TABLE more (n INT);\nSELECT nothing;\n")
    error = assert_failure(await db.migrate(tmp_path), "DB_BAD_QUERY")
    assert (error.context["migration"], error.context["line"]) == ("2_bad", 2)
    assert_failure(await db.query("SELECT * FROM more"), "DB_BAD_QUERY")


async def test_one_migrator_at_a_time(postgres_url: str, tmp_path: Path) -> None:
    (tmp_path / "1_slow.sql").write_text("CREATE TABLE a (n INT); SELECT pg_sleep(0.2);")
    databases = [await opened(postgres_url) for _ in range(3)]
    applied = await asyncio.gather(*(database.migrate(tmp_path) for database in databases))
    assert sorted(len(assert_success(each)) for each in applied) == [0, 0, 1]
    for database in databases:
        await database.close()


async def test_psycopg_is_within_reach(db: Database) -> None:
    async with await db.raw as connection:
        cursor = await connection.execute("SELECT 1")
        assert await cursor.fetchone() == (1,)


async def test_no_backup_of_a_server(db: Database, tmp_path: Path) -> None:
    error = assert_failure(await db.backup(tmp_path / "x"), "DB_BAD_QUERY")
    assert "pg_dump" in error.message
