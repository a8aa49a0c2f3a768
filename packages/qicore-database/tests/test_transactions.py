"""A transaction is kept as a whole or not at all, whoever ends it and however."""

import asyncio
import gc
import logging
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.database import Database, DatabaseConfig, Transaction
from qicore_testkit.postgres_server import PostgresServer


@pytest.fixture
def db(each_db: Database) -> Database:
    return each_db


READ = "SELECT n FROM counter WHERE id = 1"
ODD = QiError.validation("ODD", "it is odd")


async def value(db: Database | Transaction) -> int:
    return (await db.query_one(READ, into=int)).unwrap()


async def put(db: Database | Transaction, n: int) -> None:
    assert (await db.update("counter", {"id": 1}, {"n": n})).unwrap() == 1


async def test_commit_keeps_and_rollback_undoes(db: Database) -> None:
    tx = (await db.begin()).unwrap()
    await put(tx, 5)
    assert await value(tx) == 5
    assert await value(db) == 0, "nobody else sees what is not committed"
    assert (await tx.commit()).is_success
    assert await value(db) == 5
    tx = (await db.begin()).unwrap()
    await put(tx, 6)
    assert (await tx.rollback()).is_success
    assert await value(db) == 5


async def test_a_function_commits_on_success_and_rolls_back_on_failure(db: Database) -> None:
    async def good(tx: Transaction) -> Result[str]:
        await put(tx, 1)
        return Success("done")

    async def bad(tx: Transaction) -> Result[str]:
        await put(tx, 2)
        return Failure(ODD)

    async def unwrapping(tx: Transaction) -> Result[int]:
        await put(tx, 3)
        return Success((await tx.query_one("SELECT 1 WHERE 1 = 0", into=int)).unwrap())

    async def raising(tx: Transaction) -> Result[int]:
        await put(tx, 4)
        raise LookupError("mine")

    assert await db.transaction(good) == Success("done")
    assert await db.transaction(bad) == Failure(ODD)
    found = await db.transaction(unwrapping)
    assert found.error is not None
    assert found.error.code == "DB_ROW_NOT_FOUND"
    with pytest.raises(LookupError, match="mine"):
        await db.transaction(raising)
    assert await value(db) == 1


async def test_a_function_need_not_be_async(db: Database) -> None:
    assert await db.transaction(lambda tx: Success(tx.is_open)) == Success(True)


async def test_a_block_commits_at_its_end_and_rolls_back_on_an_exception(db: Database) -> None:
    async with db.transaction() as tx:
        await put(tx, 1)
    with pytest.raises(QiError):
        async with db.transaction() as tx:
            await put(tx, 2)
            Failure(ODD).unwrap()
    async with db.transaction() as tx:
        await put(tx, 3)
        await tx.rollback()
    assert await value(db) == 1


async def test_a_commit_that_fails_rolls_back_and_raises_out_of_a_block(db: Database) -> None:
    (await db.execute("CREATE TABLE child (p INT REFERENCES counter DEFERRABLE INITIALLY DEFERRED)")).unwrap()
    with pytest.raises(QiError, match="DB_CONSTRAINT"):
        async with db.transaction() as tx:
            await put(tx, 9)
            (await tx.create("child", {"p": 77})).unwrap()
    assert await value(db) == 0
    assert (await db.query("SELECT * FROM child")).unwrap() == []


async def test_a_nested_transaction_is_kept_only_with_its_parent(db: Database) -> None:
    async with db.transaction() as tx:
        await put(tx, 1)
        nested = (await tx.begin()).unwrap()
        await put(nested, 2)
        await nested.rollback()
        assert await value(tx) == 1
        async with tx.transaction() as nested:
            await put(nested, 3)
            async with nested.transaction() as deeper:
                await put(deeper, 4)
        assert await value(tx) == 4
        assert await tx.transaction(lambda _: Failure(ODD)) == Failure(ODD)
        assert await value(tx) == 4
        await tx.rollback()
    assert await value(db) == 0


async def test_a_parent_waits_for_its_nested_transaction(db: Database) -> None:
    tx = (await db.begin()).unwrap()
    nested = (await tx.begin()).unwrap()
    for refused in (await tx.query(READ), await tx.execute(READ), await tx.begin(), await tx.commit()):
        assert refused.error is not None
        assert refused.error.code == "DB_BAD_QUERY"
    deeper = (await nested.begin()).unwrap()
    await tx.rollback()
    assert not nested.is_open
    assert not deeper.is_open
    assert (await deeper.query(READ)).is_failure


async def test_what_is_over_is_over(db: Database) -> None:
    tx = (await db.begin()).unwrap()
    await tx.commit()
    for refused in (
        await tx.query(READ),
        await tx.commit(),
        await tx.begin(),
        await tx.create("counter", {"n": 1}),
    ):
        assert refused.error is not None
        assert refused.error.code == "DB_BAD_QUERY"
    assert (await tx.rollback()).is_success
    assert (await tx.close()).is_success


@pytest.mark.parametrize(
    "sql",
    ["BEGIN", "commit", "END", "ROLLBACK", "SAVEPOINT x", "RELEASE x", "/* c */ COMMIT", ";;-- c\nCOMMIT"],
)
async def test_no_statement_ends_a_transaction(db: Database, sql: str) -> None:
    async with db.transaction() as tx:
        await put(tx, 1)
        for runner in (tx, db):
            for refused in (
                await runner.execute(sql),
                await runner.query(sql),
                await runner.execute_many(sql, [()]),
            ):
                assert refused.error is not None
                assert refused.error.code == "DB_BAD_QUERY"
        await tx.rollback()
    assert await value(db) == 0


async def test_a_task_is_told_when_it_would_wait_for_itself(file_db: Database) -> None:
    db = file_db
    async with db.transaction() as tx:
        for refused in (
            await db.execute("UPDATE counter SET n = 9"),
            await db.create("counter", {"n": 9}),
            await db.begin(),
            await db.transaction(lambda _: Success(None)),
            await db.bulk_insert("counter", [{"n": 1}]),
        ):
            assert refused.error is not None
            assert refused.error.code == "DB_BAD_QUERY"
            assert "wait for itself" in refused.error.message
        await put(tx, 1)
    assert await value(db) == 1


async def test_a_statement_that_takes_the_transaction_with_it_is_not_survived(
    db: Database, target: str
) -> None:
    tx = (await db.begin()).unwrap()
    await put(tx, 5)
    # To PostgreSQL every statement that fails is one.
    conflict = "" if target.startswith("postgres") else "OR ROLLBACK "
    failed = await tx.execute(f"INSERT {conflict}INTO counter VALUES (1, 1)")
    assert failed.error is not None
    assert failed.error.code == "DB_CONSTRAINT"
    for lost in (await tx.execute("UPDATE counter SET n = 8"), await tx.query(READ), await tx.commit()):
        assert lost.error is not None
        assert "rolled back" in lost.error.message
    assert await value(db) == 0
    await put(db, 1)


async def test_a_forgotten_transaction_is_rolled_back(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    async def forget() -> None:
        tx = (await db.begin()).unwrap()
        await put(tx, 5)

    with caplog.at_level(logging.WARNING, "qicore.database"):
        await asyncio.create_task(forget())
        gc.collect()
        await put(db, 1)
    assert await value(db) == 1
    assert "forgotten" in caplog.text


@pytest.mark.parametrize("keep", [True, False])
async def test_a_cancelled_task_leaves_no_open_transaction(db: Database, keep: bool) -> None:
    kept: list[Transaction] = []
    began = asyncio.Event()

    async def work() -> None:
        tx = (await db.begin()).unwrap()
        if keep:
            kept.append(tx)
        await put(tx, 5)
        began.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    await put(db, 1)
    assert await value(db) == 1
    assert all(not tx.is_open for tx in kept)


async def test_cancelling_at_any_moment_leaves_no_open_transaction(db: Database) -> None:
    async def work() -> None:
        async with db.transaction() as tx:
            before = await value(tx)
            await put(tx, before + 1)
            async with tx.transaction() as nested:
                await put(nested, before + 1)
            await put(tx, before + 1)

    for turns in range(60):
        task = asyncio.create_task(work())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    status = (await db.pool()).unwrap()
    assert not status.in_transaction
    await put(db, 1)
    assert await value(db) == 1


async def test_a_waiting_begin_that_is_cancelled_takes_nothing(db: Database) -> None:
    tx = (await db.begin()).unwrap()
    waiting = [asyncio.create_task(db.begin()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await tx.commit()
    await put(db, 1)


# The law: a random tree of transactions on a table equals the same tree on a dict that each begin copies.


@dataclass(frozen=True)
class Put:
    key: int
    number: int


@dataclass(frozen=True)
class Delete:
    key: int


@dataclass(frozen=True)
class Nest:
    keep: bool
    steps: "list[Step]"


Step = Put | Delete | Nest
PUT = "INSERT INTO t VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET n = excluded.n"
writes = st.builds(Put, st.integers(0, 3), st.integers(0, 9)) | st.builds(Delete, st.integers(0, 3))
steps = st.recursive(
    writes, lambda inner: st.builds(Nest, st.booleans(), st.lists(inner, max_size=4)), max_leaves=12
)
transactions_strategy = st.lists(st.builds(Nest, st.booleans(), st.lists(steps, max_size=5)), max_size=4)


async def apply(tx: Transaction, todo: list[Step], model: dict[int, int]) -> dict[int, int]:
    for step in todo:
        match step:
            case Put(key, number):
                (await tx.execute(PUT, (key, number))).unwrap()
                model[key] = number
            case Delete(key):
                (await tx.delete("t", {"k": key})).unwrap()
                model.pop(key, None)
            case Nest(keep, inner):
                nested = (await tx.begin()).unwrap()
                changed = await apply(nested, inner, dict(model))
                (await (nested.commit() if keep else nested.rollback())).unwrap()
                model = changed if keep else model
    return model


@pytest.mark.parametrize("kind", ["memory", "postgresql"])
@settings(max_examples=60, deadline=None)
@given(transactions_strategy)
def test_all_or_nothing(bundled_postgres: PostgresServer, kind: str, transactions: list[Nest]) -> None:
    async def main() -> None:
        where = ":memory:" if kind == "memory" else bundled_postgres.url
        async with (await Database.connect(where, DatabaseConfig(connections=1))).unwrap() as db:
            await db.execute("CREATE TEMPORARY TABLE t (k INTEGER PRIMARY KEY, n INT)")
            model: dict[int, int] = {}
            for transaction in transactions:
                tx = (await db.begin()).unwrap()
                changed = await apply(tx, transaction.steps, dict(model))
                (await (tx.commit() if transaction.keep else tx.rollback())).unwrap()
                model = changed if transaction.keep else model
            async with db.transaction() as tx:
                rows = (await tx.query("SELECT k, n FROM t", into=tuple)).unwrap()
            assert dict(rows) == model

    asyncio.run(main())
