"""Values into columns and back, and rows as dataclasses, models and plain values."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr, field_validator
from qicore.base import QiError, Result
from qicore.database import Database

from .conftest import ddl


def error(result: Result[Any]) -> QiError:
    assert result.error is not None, f"{result!r} should be a Failure"
    return result.error


class Colour(Enum):
    RED = 1


class Size(StrEnum):
    BIG = "big"


@dataclass
class Everything:
    id: int
    text: str
    number: float
    flag: bool
    data: bytes
    at: datetime
    day: date
    hour: time
    span: timedelta
    key: UUID
    price: Decimal
    colour: Colour
    size: Size
    path: PurePosixPath
    tags: list[str]
    extra: dict[str, Any]
    pair: tuple[int, ...]
    maybe: date | None = None
    noted: Annotated[int | None, "a note"] = 3
    anything: Any = None


TABLE = (
    "CREATE TABLE e (id INTEGER PRIMARY KEY, text TEXT, number REAL, flag INT, data BLOB, at TEXT, day TEXT, "
    "hour TEXT, span REAL, key TEXT, price TEXT, colour INT, size TEXT, path TEXT, tags TEXT, extra TEXT, "
    "pair TEXT, maybe TEXT, noted INT, anything TEXT)"
)

NATIVE = (
    "CREATE TABLE e (id INTEGER PRIMARY KEY, text TEXT, number REAL, flag BOOLEAN, data BLOB, "
    "at TIMESTAMPTZ, day DATE, hour TIME, span INTERVAL, key UUID, price NUMERIC, colour INT, size TEXT, "
    "path TEXT, tags TEXT[], extra JSONB, pair JSONB, maybe DATE, noted INT, anything JSONB)"
)

THING = Everything(
    1,
    "é\t💥",
    2.0,
    True,
    b"\x00\xff",
    datetime(2026, 1, 2, 3, 4, 5, 6, UTC),
    date(2026, 1, 31),
    time(23, 59),
    timedelta(hours=1.5),
    uuid4(),
    Decimal("0.10"),
    Colour.RED,
    Size.BIG,
    PurePosixPath("a/b"),
    ["x", "y"],
    {"a": [1, None]},
    (1, 2),
)


async def test_a_dataclass_goes_in_and_comes_out_the_same(either: Database, either_target: str) -> None:
    table = TABLE if either_target == ":memory:" else NATIVE
    (await either.execute(ddl(either_target, table))).unwrap()
    assert (await either.create("e", THING, into=Everything)).unwrap() == THING
    assert (await either.read_one("e", {"id": 1}, into=Everything)).unwrap() == THING
    assert (await either.bulk_insert("e", [])).unwrap() == 0
    found = await either.read("e", {"key": THING.key, "colour": Colour.RED, "day": [date(2026, 1, 31)]})
    assert len(found.unwrap()) == 1


class Inner(BaseModel):
    n: int


class Account(BaseModel):
    id: int | None = None
    name: str
    since: datetime
    balance: Decimal = Decimal(0)
    tags: set[str] = Field(default_factory=set)
    inner: Inner | None = None


async def test_a_model_goes_in_and_comes_out_the_same(either: Database, either_target: str) -> None:
    (
        await either.execute(
            ddl(
                either_target,
                "CREATE TABLE a (id INTEGER PRIMARY KEY, name TEXT, since TEXT, balance TEXT, "
                'tags TEXT, "inner" TEXT)',
            )
        )
    ).unwrap()
    account = Account(
        name="Ann", since=datetime(2026, 1, 1), balance=Decimal("1.10"), tags={"x"}, inner=Inner(n=2)
    )
    if either_target != ":memory:":
        account.id = 1  # PostgreSQL numbers what is left out, not what is None
    created = (await either.create("a", account, into=Account)).unwrap()
    assert created == account.model_copy(update={"id": 1})
    more = [account.model_copy(update={"id": number}) for number in (2, 3)]
    assert (await either.bulk_insert("a", more)).unwrap() == 2
    assert (await either.read("a", into=Account, order_by="id", limit=1)).unwrap() == [created]


async def test_a_row_that_does_not_fit_its_class(either: Database) -> None:
    @dataclass
    class Number:
        n: int

    @dataclass
    class Missing:
        n: str
        nowhere: int

    class Secret(BaseModel):
        n: SecretStr

        @field_validator("n")
        @classmethod
        def refuse(cls, value: SecretStr) -> SecretStr:
            raise ValueError("too short")

    class Exploding(BaseModel):
        n: str

        @field_validator("n")
        @classmethod
        def explode(cls, value: str) -> str:
            raise LookupError(value)

    (await either.execute("CREATE TABLE t (n TEXT)")).unwrap()
    (await either.create("t", {"n": "hunter2"})).unwrap()
    kinds: list[type[Any]] = [Number, Missing, Secret, int, date, UUID, bool, Colour, list]
    for into in kinds:
        failed = error(await either.query("SELECT n FROM t", into=into))
        assert failed.code == "DB_BAD_QUERY"
        assert "hunter2" not in str(failed.to_structured_data())
        assert [error(row).code async for row in either.stream("SELECT n FROM t", into=into)] == [
            "DB_BAD_QUERY"
        ]
    assert error(await either.query("SELECT n FROM t", into=Exploding)).category == "UNKNOWN"
    assert error(await either.query("SELECT n, n AS m FROM t", into=str)).code == "DB_BAD_QUERY"


async def test_extra_columns_and_defaults(either: Database) -> None:
    @dataclass
    class Part:
        a: int
        b: list[int] = field(default_factory=list[int])
        c: int = field(default=9, init=False)

    assert (await either.query("SELECT 1 AS a, 2 AS z", into=Part)).unwrap() == [Part(1)]


async def test_a_class_that_no_row_can_become() -> None:
    async with (await Database.connect(":memory:")).unwrap() as db:
        with pytest.raises(TypeError, match="into must be"):
            await db.query("SELECT 1", into=object)


@pytest.mark.parametrize("count", [0, 1, 499, 500, 501, 2500])
async def test_many_rows_become_models(either: Database, count: int) -> None:
    (await either.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")).unwrap()
    (await either.bulk_insert("t", [{"n": n} for n in range(count)], batch=700)).unwrap()
    rows = (await either.read("t", into=Inner, order_by="n")).unwrap()
    assert [row.n for row in rows] == list(range(count))


plain = (
    st.none()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.binary()
    | st.text(st.characters(exclude_categories=["Cs"]))
)


@settings(max_examples=100, deadline=None)
@given(st.lists(plain, min_size=1, max_size=20))
def test_plain_values_come_back_as_they_were(values: list[Any]) -> None:
    async def main() -> None:
        async with (await Database.connect(":memory:")).unwrap() as db:
            columns = ", ".join(f"? AS c{index}" for index in range(len(values)))
            row = (await db.query_one(f"SELECT {columns}", values, into=tuple)).unwrap()
            assert list(row) == values
            assert [type(value) for value in row] == [type(value) for value in values]

    asyncio.run(main())


async def test_create_gives_what_is_stored(db: Database) -> None:
    (await db.execute("CREATE TABLE r (id INTEGER PRIMARY KEY, x REAL, s TEXT)")).unwrap()
    trigger = "CREATE TRIGGER up AFTER INSERT ON r BEGIN UPDATE r SET s = upper(s) WHERE id = new.id; END"
    (await db.execute(trigger)).unwrap()
    created = (await db.create("r", {"x": 10, "s": "abc"})).unwrap()
    assert created == {"id": 1, "x": 10.0, "s": "ABC"}
    assert type(created["x"]) is float
    (await db.execute("CREATE TABLE w (k TEXT PRIMARY KEY, n INT DEFAULT 4) WITHOUT ROWID")).unwrap()
    assert (await db.create("w", {"k": "a"})).unwrap() == {"k": "a", "n": 4}
    async with db.transaction() as tx:
        assert (await tx.create("w", {"k": "b", "n": 1}, into=tuple)).unwrap() == ("b", 1)
        assert error(await tx.create("w", {"k": "b"})).code == "DB_CONSTRAINT"
    assert (await db.query_one("SELECT count(*) FROM w", into=int)).unwrap() == 2
