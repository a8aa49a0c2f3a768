"""The operations of a database, on a file and in memory alike."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from qicore.database import Compare, Database, EveryRow, Outcome

from .conftest import ddl

TABLE = (
    "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, age INT, note TEXT DEFAULT '-')"
)


@pytest.fixture
async def db(any_target: str) -> AsyncIterator[Database]:
    async with (await Database.connect(any_target)).unwrap() as database:
        (await database.execute(ddl(any_target, TABLE))).unwrap()
        yield database


async def fill(db: Database) -> None:
    rows = [{"name": "Ann", "age": 30}, {"name": "Bob", "age": None}, {"name": "Cid", "age": 50}]
    assert (await db.bulk_insert("users", rows)).unwrap() == 3


def names(rows: list[dict[str, object]]) -> list[object]:
    return [row["name"] for row in rows]


async def test_create_returns_the_stored_row_with_its_id_and_defaults(db: Database) -> None:
    created = await db.create("users", {"name": "Ann", "age": 30})
    assert created.unwrap() == {"id": 1, "name": "Ann", "age": 30, "note": "-"}
    assert (await db.read("users")).unwrap() == [created.unwrap()]


async def test_create_takes_a_row_of_nothing_but_defaults(db: Database, any_target: str) -> None:
    table = "CREATE TABLE d (id INTEGER PRIMARY KEY, n INT DEFAULT 7)"
    (await db.execute(ddl(any_target, table))).unwrap()
    assert (await db.create("d", {})).unwrap() == {"id": 1, "n": 7}


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (None, ["Ann", "Bob", "Cid"]),
        ({}, ["Ann", "Bob", "Cid"]),
        ({"name": "Bob"}, ["Bob"]),
        ({"age": None}, ["Bob"]),
        ({"age": [30, 50]}, ["Ann", "Cid"]),
        ({"age": (None, 50)}, ["Bob", "Cid"]),
        ({"age": []}, []),
        ({"age": 30, "name": "Bob"}, []),
        ({"age": Compare(">=", 30)}, ["Ann", "Cid"]),
        ({"age": Compare("!=", None)}, ["Ann", "Cid"]),
        ({"age": Compare("=", None)}, ["Bob"]),
        ({"age": Compare("BETWEEN", (40, 60))}, ["Cid"]),
        ({"name": Compare("LIKE", "%n%")}, ["Ann"]),
        ({"name": Compare("NOT IN", ["Ann", "Bob"])}, ["Cid"]),
        ({"age": Compare("NOT IN", [30, None])}, ["Cid"]),
        ({"age": Compare("NOT IN", [])}, ["Ann", "Bob", "Cid"]),
    ],
)
async def test_where_clauses(db: Database, where: dict[str, object] | None, found: list[str]) -> None:
    await fill(db)
    assert names((await db.read("users", where, order_by="name")).unwrap()) == found


async def test_order_limit_offset_and_columns(db: Database) -> None:
    await fill(db)
    assert names((await db.read("users", order_by="-name", limit=2)).unwrap()) == ["Cid", "Bob"]
    present = {"age": Compare("!=", None)}  # NULL is the least to SQLite, the greatest to PostgreSQL
    assert names((await db.read("users", present, order_by=["age", "name"], offset=1)).unwrap()) == ["Cid"]
    assert (await db.read("users", {"id": 1}, columns=["name"])).unwrap() == [{"name": "Ann"}]


async def test_update_and_delete_count_what_they_touch(db: Database) -> None:
    await fill(db)
    assert (await db.update("users", {"age": None}, {"age": 1, "note": "x"})).unwrap() == 1
    assert (await db.delete("users", {"age": Compare("<", 40)})).unwrap() == 2
    assert (await db.delete("users", {"age": 99})).unwrap() == 0
    assert (await db.update("users", EveryRow, {"age": 2})).unwrap() == 1
    assert (await db.delete("users", EveryRow)).unwrap() == 1


async def people(db: Database) -> list[tuple[object, ...]]:
    return (await db.query("SELECT name, age, note FROM users ORDER BY name", into=tuple)).unwrap()


async def test_update_changes_what_matches_and_nothing_else(db: Database) -> None:
    await fill(db)
    assert (await db.update("users", {"name": "Bob"}, {"age": 7, "note": "x"})).unwrap() == 1
    assert await people(db) == [("Ann", 30, "-"), ("Bob", 7, "x"), ("Cid", 50, "-")]
    assert (await db.update("users", {"age": Compare(">", 10)}, {"note": None})).unwrap() == 2
    assert await people(db) == [("Ann", 30, None), ("Bob", 7, "x"), ("Cid", 50, None)]
    taken = (await db.update("users", {"name": "Bob"}, {"name": "Ann", "age": 8})).error
    assert taken is not None
    assert taken.code == "DB_CONSTRAINT"
    assert (await db.update("users", {"name": "Eve"}, {"age": 1})).unwrap() == 0
    assert await people(db) == [("Ann", 30, None), ("Bob", 7, "x"), ("Cid", 50, None)]


async def test_delete_removes_what_matches_and_nothing_else(db: Database) -> None:
    await fill(db)
    assert (await db.delete("users", {"name": "Eve"})).unwrap() == 0
    assert (await db.delete("users", {"age": None})).unwrap() == 1
    assert await people(db) == [("Ann", 30, "-"), ("Cid", 50, "-")]
    assert (await db.delete("users", {"name": ["Ann", "Bob"]})).unwrap() == 1
    assert await people(db) == [("Cid", 50, "-")]
    assert (await db.delete("users", EveryRow)).unwrap() == 1
    assert await people(db) == []


async def test_one_row_where_one_is_demanded(db: Database) -> None:
    await fill(db)
    assert (await db.read_one("users", {"name": "Ann"})).unwrap()["age"] == 30
    for none in (await db.read_one("users", {"name": "Eve"}), await db.query_one("SELECT 1 WHERE 1 = 0")):
        assert none.error is not None
        assert none.error.code == "DB_ROW_NOT_FOUND"
    several = (await db.read_one("users", {"age": [30, 50]})).error
    assert several is not None
    assert several.code == "DB_BAD_QUERY"


async def test_execute_tells_what_it_did(db: Database, any_target: str) -> None:
    row_id = None if any_target.startswith("postgres") else 1
    sql = "INSERT INTO users (name) VALUES (:name) ON CONFLICT DO NOTHING"
    assert (await db.execute(sql, {"name": "Ann"})).unwrap() == Outcome(1, row_id)
    assert (await db.execute(sql, {"name": "Ann"})).unwrap() == Outcome(0, None)
    assert (await db.execute("UPDATE users SET age = ?", (3,))).unwrap() == Outcome(1, None)


async def test_statements_that_write_and_give_rows(db: Database) -> None:
    sql = "INSERT INTO users (name) VALUES (?) RETURNING id"
    assert (await db.query_one(sql, ("Ann",), into=int)).unwrap() == 1
    with_sql = "WITH n(x) AS (VALUES ('Bob')) INSERT INTO users (name) SELECT x FROM n RETURNING name"
    assert (await db.query_one(with_sql, into=str)).unwrap() == "Bob"
    assert (await db.query_one("WITH n(x) AS (VALUES (5)) SELECT x FROM n", into=int)).unwrap() == 5


async def test_full_text_search(memory: Database) -> None:
    db = memory
    (await db.execute("CREATE VIRTUAL TABLE docs USING fts5(title, body)")).unwrap()
    (
        await db.bulk_insert(
            "docs", [{"title": "a", "body": "red fox"}, {"title": "b", "body": "red red hen"}]
        )
    ).unwrap()
    (await db.create("docs", {"title": "c", "body": "blue fox"})).unwrap()
    found = await db.query(
        "SELECT title, bm25(docs) AS score FROM docs WHERE docs MATCH ? ORDER BY score", ("red",)
    )
    assert [row["title"] for row in found.unwrap()] == ["b", "a"]
    matched = await db.read("docs", {"docs": Compare("MATCH", "fox")}, order_by="rank")
    assert {row["title"] for row in matched.unwrap()} == {"a", "c"}


@dataclass
class User:
    id: int
    name: str
    age: int | None = None


async def test_rows_become_dataclasses_and_plain_values(db: Database) -> None:
    await fill(db)
    assert (await db.read("users", {"id": 2}, into=User)).unwrap() == [User(2, "Bob", None)]
    assert (await db.query("SELECT name FROM users ORDER BY id", into=str)).unwrap() == ["Ann", "Bob", "Cid"]
    assert (await db.query("SELECT id, name FROM users LIMIT 1", into=tuple)).unwrap() == [(1, "Ann")]
