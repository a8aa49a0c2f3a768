"""Values, names and texts that are hostile or do not fit, on their way to PostgreSQL and back."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qicore.base.testing import assert_failure, assert_success
from qicore.database import Database
from qicore_testkit.postgres_server import PostgresServer

from .conftest import on_postgres


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[Database]:
    async with on_postgres(postgres_url, connections=2) as database:
        yield database


KINDS = "i INT, b BIGINT, f DOUBLE PRECISION, n NUMERIC, t TEXT, x BYTEA, j JSONB, a INT[], d TIMESTAMPTZ"
UNFIT: list[tuple[str, Any]] = [
    ("i", 2**31),
    ("b", 2**63),
    ("i", 10**5000),
    ("i", "seven"),
    ("i", 1.5),
    ("i", b"7"),
    ("t", b"bytes"),
    ("j", b"{}"),
    ("a", [1, "x"]),
    ("a", [[1], [2, 3]]),
    ("j", {"k": object()}),
    ("j", {"k": "\ud800"}),
    ("j", {"k": "a\0b"}),
    ("t", "a\0b"),
    ("t", "\ud800"),
    ("t", object()),
    ("f", "NaNcy"),
    ("d", "yesterday's news"),
    ("n", "1e200000"),
    ("x", bytes(1_100_000_000)),
]


@pytest.mark.parametrize(("column", "value"), UNFIT, ids=[f"{c}-{n}" for n, (c, _) in enumerate(UNFIT)])
async def test_what_does_not_fit_is_refused_in_every_way(db: Database, column: str, value: Any) -> None:
    (await db.execute(f"CREATE TABLE v ({KINDS})")).unwrap()
    refused = [
        await db.create("v", {column: value}),
        await db.execute_many(f"INSERT INTO v ({column}) VALUES (?)", [(None,), (value,)]),
        await db.bulk_insert("v", [{column: None}, {column: value}]),
        await db.bulk_insert("v", [{column: value}]),
    ]
    for result in refused:
        assert_failure(result, "DB_BAD_QUERY")
    assert assert_success(await db.query_one("SELECT count(*) FROM v", into=int)) == 0
    assert assert_success(await db.pool()).open <= 2


def endless() -> list[Any]:
    holds_itself: list[Any] = []
    holds_itself.append(holds_itself)
    return holds_itself


async def test_containers_without_an_end(db: Database) -> None:
    (await db.execute(f"CREATE TABLE v ({KINDS})")).unwrap()
    for column in ("a", "j"):
        assert_failure(await db.create("v", {column: endless()}), "DB_BAD_QUERY")
        assert_failure(await db.bulk_insert("v", [{column: endless()}]), "DB_BAD_QUERY")
    assert_success(await db.create("v", {"a": [1]}))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("f", float("inf")),
        ("f", -float("inf")),
        ("n", Decimal("1e1000")),
        ("n", 10**1000),
        ("b", -(2**63)),
        ("t", "💥" * 100_000),
        ("x", bytes(range(256)) * 40_000),
        ("j", True),
        ("j", {"k": "\\ \" ' \t \n"}),
        ("a", [-(2**31), None]),
        ("d", datetime(1, 1, 2, tzinfo=UTC)),
        ("d", datetime(9999, 12, 30, tzinfo=UTC)),
    ],
)
async def test_what_is_large_or_odd_comes_back_as_it_was(db: Database, column: str, value: Any) -> None:
    (await db.execute(f"CREATE TABLE v ({KINDS})")).unwrap()
    assert assert_success(await db.create("v", {column: value}))[column] == value
    assert_success(await db.bulk_insert("v", [{column: value}, {column: None}]))
    rows = assert_success(await db.query(f"SELECT {column} FROM v", into=tuple))
    assert rows == [(value,), (value,), (None,)]


async def test_not_a_number_is_one_to_postgresql(db: Database) -> None:
    for sql in ("SELECT ?::float8", "SELECT ?::numeric"):
        found = assert_success(await db.query_one(sql, (float("nan"),), into=tuple))[0]
        assert found != found


async def test_stored_values_that_python_has_none_for(db: Database) -> None:
    """The server is well: it is no lost connection, and nothing that a circuit breaker counts."""
    for sql in ("SELECT 'infinity'::timestamptz", "SELECT '0044-03-15 BC'::date", "SELECT '24:00:00'::time"):
        assert_failure(await db.query(sql), "DB_BAD_QUERY")
        assert_failure(await anext(db.stream(sql)), "DB_BAD_QUERY")
    assert assert_success(await db.pool()).lent == 0


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "t": st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
                "b": st.none() | st.integers(-(2**63), 2**63 - 1),
                "f": st.none() | st.floats(allow_nan=False),
                "x": st.none() | st.binary(),
                "a": st.none() | st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=4),
                "s": st.none()
                | st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))),
            }
        ),
        min_size=1,
        max_size=8,
    )
)
def test_rows_come_back_as_they_went(bundled_postgres: PostgresServer, rows: list[dict[str, Any]]) -> None:
    async def main() -> None:
        async with on_postgres(bundled_postgres.url, connections=1) as db:
            columns = "id SERIAL, t TEXT, b BIGINT, f DOUBLE PRECISION, x BYTEA, a INT[], s TEXT[]"
            (await db.execute(f"CREATE TEMPORARY TABLE rows_ ({columns})")).unwrap()
            (await db.bulk_insert("rows_", rows)).unwrap()
            for row in rows:
                (await db.create("rows_", row)).unwrap()
            found = (await db.query("SELECT t, b, f, x, a, s FROM rows_ ORDER BY id")).unwrap()
            assert found == [*rows, *rows]

    asyncio.run(main())


async def test_a_database_of_another_encoding_and_taste(bundled_postgres: PostgresServer) -> None:
    async with on_postgres(bundled_postgres.url) as owner:
        sql = "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        (await owner.execute(sql)).unwrap()
        taste = "-c datestyle=German -c intervalstyle=sql_standard -c bytea_output=escape"
        url = f"{bundled_postgres.url_of('latin')}?options={quote(taste)}"
        async with on_postgres(url) as db:
            values = ("é", date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), timedelta(-1, 5), b"\0\xff")
            sql = "SELECT ?::text, ?::date, ?::timestamptz, ?::interval, ?::bytea"
            assert assert_success(await db.query_one(sql, values, into=tuple)) == values
            (await db.execute("CREATE TABLE t (s TEXT)")).unwrap()
            assert_success(await db.bulk_insert("t", [{"s": "é"}]))
            assert assert_success(await db.query_one("SELECT length(s) FROM t", into=int)) == 1
            assert_failure(await db.create("t", {"s": "€"}), "DB_BAD_QUERY")
        (await owner.execute("DROP DATABASE latin WITH (FORCE)")).unwrap()


async def test_no_literal_is_in_an_error(db: Database) -> None:
    body = "BEGIN RAISE EXCEPTION 'hunter2'; END"
    (await db.execute(f"CREATE FUNCTION fail() RETURNS INT LANGUAGE plpgsql AS $${body}$$")).unwrap()
    for sql in ("SELECT 1 1 'hunter2'", "SELECT 'hunter2'::int", "SELECT fail()", "SELECT 'hunter2' FROM x"):
        assert "hunter2" not in repr(assert_failure(await db.query(sql)).to_structured_data())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgresql://u:s3cret@[::1/db",
        "postgresql://u:s3cret@host:99999/db",
        "postgresql://u:s3cret@127.0.0.1:1/db?nonsense=1",
        "postgresql://u:s3cret@127.0.0.1:1/db?connect_timeout=soon",
        "postgresql://u:s3cret%zz@127.0.0.1:1/db",
        "postgresql://u:s3cret@127.0.0.1:1/\0",
        "postgresql://u:s3cret@127.0.0.1:1/\ud800",
        "postgresql://u:s3cret@127.0.0.1:1/" + "x" * 100_000,
        "postgresql://u:s3cret@127.0.0.1:1/db?sslmode=no",
        "postgresql:/u:s3cret@127.0.0.1/db",
        "POSTGRESQL://u:s3cret@127.0.0.1/db",
        "postgresql+asyncpg://u:s3cret@127.0.0.1/db",
    ],
)
async def test_urls_that_lead_nowhere(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("PGHOST", "PGHOSTADDR"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("PGPORT", "1")
    with caplog.at_level("DEBUG"):
        error = assert_failure(await Database.connect(url), "DB_CONNECT_FAILED")
    told = repr(error.to_structured_data()) + repr(error.__cause__) + caplog.text
    assert "s3cret" not in told


async def test_triggers_and_bodies_in_migrations(db: Database, tmp_path: Path) -> None:
    (tmp_path / "1_trigger.sql").write_text(
        "CREATE TABLE a (n INT);\n"
        "CREATE FUNCTION up() RETURNS trigger LANGUAGE plpgsql AS\n"
        "  $$ BEGIN NEW.n := NEW.n + 1; RETURN NEW; END $$;\n"
        "CREATE OR REPLACE TRIGGER up BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION up();\n"
        "CREATE FUNCTION twice(x INT) RETURNS INT\n"
        "  BEGIN ATOMIC SELECT 1; SELECT CASE WHEN x > 0 THEN x * 2 END; END;\n"
        "INSERT INTO a VALUES (twice(20) + 1);\n"
    )
    assert len(assert_success(await db.migrate(tmp_path))) == 1
    assert assert_success(await db.query_one("SELECT n FROM a", into=int)) == 42


async def test_a_user_who_may_not_create_tables_finds_nothing_to_migrate(
    bundled_postgres: PostgresServer, postgres_url: str, db: Database, tmp_path: Path
) -> None:
    (tmp_path / "1_a.sql").write_text("CREATE TABLE a (n INT);")
    assert len(assert_success(await db.migrate(tmp_path))) == 1
    async with on_postgres(postgres_url, read_only=True) as reader:
        assert assert_success(await reader.migrate(tmp_path)) == []
