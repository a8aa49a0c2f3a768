"""Type-checked, never run."""

from dataclasses import dataclass
from typing import Any, assert_type

from qicore.base import Failure, Result, Success
from qicore.database import Database, Outcome, Row, Transaction


@dataclass
class User:
    id: int
    name: str


async def rows(db: Database) -> None:
    assert_type(await db.query("SELECT 1"), Result[list[Row]])
    assert_type(await db.query("SELECT 1", into=User), Result[list[User]])
    assert_type(await db.query("SELECT 1", into=int), Result[list[int]])
    assert_type(await db.query("SELECT 1", into=tuple), Result[list[tuple[Any, ...]]])
    assert_type(await db.query_one("SELECT 1"), Result[Row])
    assert_type(await db.query_one("SELECT 1", into=int), Result[int])
    assert_type(await db.read("users", {"id": 1}), Result[list[Row]])
    assert_type(await db.read("users", into=User, limit=1), Result[list[User]])
    assert_type(await db.read_one("users", {"id": 1}, into=User), Result[User])
    assert_type(await db.create("users", User(1, "Ann")), Result[Row])
    assert_type(await db.create("users", {"name": "Ann"}, into=User), Result[User])
    assert_type(await db.update("users", {"id": 1}, {"name": "Bob"}), Result[int])
    assert_type(await db.execute("DELETE FROM users"), Result[Outcome])
    async for pair in db.stream("SELECT 1, 2", into=tuple):
        assert_type(pair, Result[tuple[Any, ...]])
    async for row in db.stream("SELECT 1", into=User):
        assert_type(row, Result[User])
        match row.variant:
            case Success(user):
                assert_type(user, User)
            case Failure(error):
                assert_type(error.code, str)


async def transactions(db: Database) -> None:
    async def fn(tx: Transaction) -> Result[int]:
        return await tx.query_one("SELECT 1", into=int)

    assert_type(await db.transaction(fn), Result[int])
    assert_type(await db.begin(), Result[Transaction])
    async with db.transaction() as tx:
        assert_type(tx, Transaction)
        assert_type(await tx.begin(), Result[Transaction])
        async with tx.transaction() as nested:
            assert_type(nested, Transaction)
