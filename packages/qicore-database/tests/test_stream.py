"""Streams: all rows, of one moment, without holding them, and nothing left behind."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from qicore.database import Database, DatabaseConfig, RowStream


@pytest.fixture
def db(each_db: Database) -> Database:
    return each_db


MANY = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < :count)"
    " SELECT x FROM n WHERE x <= :count"
)
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


async def lent(db: Database) -> int:
    return (await db.pool()).unwrap().lent


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("kind", ["file", "memory", "transaction"])
async def test_all_rows_come_in_order(db: Database, memory: Database, kind: str, count: int) -> None:
    if kind == "transaction":
        async with db.transaction() as tx:
            rows = [row.unwrap() async for row in tx.stream(MANY, {"count": count}, into=int)]
    else:
        runner = memory if kind == "memory" else db
        rows = [row.unwrap() async for row in runner.stream(MANY, {"count": count}, into=int)]
    assert rows == list(range(1, max(count, 0) + 1))
    assert await lent(db) == 0


async def test_a_stream_is_of_one_moment_and_holds_up_no_write(db: Database) -> None:
    (await db.bulk_insert("counter", ({"n": n} for n in range(2000)))).unwrap()
    seen = 0
    async for row in db.stream("SELECT id FROM counter ORDER BY id", into=int, batch=100):
        seen += 1
        if row.unwrap() % 100 == 0:
            (await db.create("counter", {"n": -1})).unwrap()
    assert seen == 2001
    assert (await db.query_one("SELECT count(*) FROM counter", into=int)).unwrap() == 2021


async def test_a_million_rows_take_little_memory(db: Database) -> None:
    tracemalloc.start()
    count = 0
    async for row in db.stream(MANY, {"count": 200_000}):
        count += row.is_success
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 200_000
    assert peak < 2_000_000


async def test_a_stream_that_is_left_gives_its_connection_back(db: Database) -> None:
    async def leave() -> None:
        async for _ in db.stream(MANY, {"count": 10_000}):
            break

    for _ in range(10):
        await leave()
    assert await lent(db) == 0
    async with db.stream(MANY, {"count": 10_000}) as stream:
        await anext(stream)
        assert await lent(db) == 1
    assert await lent(db) == 0
    assert [row async for row in stream] == []
    assert stream.close().is_success


async def test_an_error_is_the_last_item(db: Database) -> None:
    results = [row async for row in db.stream("SELECT nothing FROM counter")]
    assert [row.error.code for row in results if row.error is not None] == ["DB_BAD_QUERY"]
    sql = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT abs(CASE WHEN x > 1000 THEN "
    )
    sql += "-9223372036854775807 - 1 ELSE x END) FROM n"
    results = [row async for row in db.stream(sql, batch=100)]
    assert 100 <= sum(row.is_success for row in results) <= 1000
    assert results[-1].error is not None
    assert results[-1].error.code == "DB_BAD_QUERY"
    for bad in (db.stream("SELECT ?", "x"), db.stream("SELECT 1", batch=0), db.stream("DELETE FROM counter")):
        failed = await anext(bad)
        assert failed.is_failure
        with pytest.raises(StopAsyncIteration):
            await anext(bad)
    assert await lent(db) == 0
    assert (await db.query_one("SELECT count(*) FROM counter", into=int)).unwrap() == 1


async def test_cancelling_in_the_middle(db: Database) -> None:
    async def consume() -> None:
        async for _ in db.stream(MANY, {"count": 10_000}, batch=1):
            pass

    async def long_first_row() -> None:
        async for _ in db.stream(ENDLESS):
            pass

    for work in (consume, long_first_row) * 4:
        task = asyncio.create_task(work())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await lent(db) == 0
    assert (await db.query("SELECT 1")).is_success


async def test_more_streams_than_connections_wait_or_fail(path: Path) -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    config = DatabaseConfig(readers=3, pool_timeout=60)
    async with (await Database.connect(path, config, clock=clock)).unwrap() as db:
        streams: list[RowStream[int]] = [db.stream(MANY, {"count": 9999}, into=int) for _ in range(4)]
        assert [(await anext(stream)).unwrap() for stream in streams[:2]] == [1, 1]
        third, fourth = (asyncio.ensure_future(anext(stream)) for stream in streams[2:])
        await asyncio.sleep(0.03)
        assert not third.done()
        assert (await db.query_one("SELECT 1", into=int)).unwrap() == 1, (
            "one connection is kept for short reads"
        )
        streams[0].close()
        assert (await third).unwrap() == 1
        clock.now = 61
        failed = (await fourth).error
        assert failed is not None
        assert failed.code == "DB_POOL_EXHAUSTED"


async def test_bulk_insert_takes_any_iterable(memory: Database) -> None:
    (await memory.execute("CREATE TABLE t (a INT, b INT)")).unwrap()

    async def rows() -> AsyncIterator[dict[str, int]]:
        for n in range(25):
            await asyncio.sleep(0)
            yield {"a": n, "b": n}

    assert (await memory.bulk_insert("t", rows(), batch=10)).unwrap() == 25
    assert (await memory.bulk_insert("t", ({"b": n, "a": 0} for n in range(30)), batch=7)).unwrap() == 30
    async with memory.transaction() as tx:
        assert (await tx.bulk_insert("t", [{"a": 1}] * 21, batch=10)).unwrap() == 21
        assert (await tx.bulk_insert("t", [*({"a": n} for n in range(20)), {"c": 1}], batch=10)).is_failure
    assert (await memory.query_one("SELECT count(*) FROM t", into=int)).unwrap() == 76


async def test_bulk_insert_is_all_or_nothing(db: Database) -> None:
    def exploding() -> AsyncIterator[dict[str, int]]:
        async def rows() -> AsyncIterator[dict[str, int]]:
            for n in range(30):
                yield {"n": n}
            raise LookupError("the source broke")

        return rows()

    for batch in (5, 100):
        assert (
            await db.bulk_insert("counter", [{"id": n} for n in range(20, 0, -1)], batch=batch)
        ).is_failure
        broken = (await db.bulk_insert("counter", exploding(), batch=batch)).error
        assert broken is not None
        assert isinstance(broken.__cause__, LookupError)
    hanging = asyncio.Event()

    async def stuck() -> AsyncIterator[dict[str, int]]:
        for n in range(30):
            yield {"n": n}
        hanging.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(db.bulk_insert("counter", stuck(), batch=5))
    await hanging.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await db.query_one("SELECT count(*) FROM counter", into=int)).unwrap() == 1
    assert (await db.execute("UPDATE counter SET n = 1")).is_success


async def test_a_stream_does_not_outlive_its_transaction(db: Database, target: str) -> None:
    (await db.bulk_insert("counter", ({"n": n} for n in range(100)))).unwrap()
    kept: list[RowStream[int]] = []
    for end in ("commit", "rollback", "block"):
        async with db.transaction() as tx:
            stream = tx.stream("SELECT id FROM counter", into=int, batch=10)
            assert (await anext(stream)).unwrap() == 1
            kept.append(stream)
            if end != "block":
                (await (tx.commit() if end == "commit" else tx.rollback())).unwrap()
        # Somebody else writes: a snapshot that the stream kept open could not be written on.
        async with (await Database.connect(target)).unwrap() as other:
            (await other.execute("UPDATE counter SET n = n + 1")).unwrap()
        assert (await db.execute("UPDATE counter SET n = n + 1")).is_success
        async with db.transaction() as tx:
            results = [row async for row in stream]
            assert sum(row.is_success for row in results) == 9, "the rows that were there already"
            assert results[-1].error is not None
            assert results[-1].error.code == "DB_BAD_QUERY"


async def test_a_stream_of_a_closed_database_ends(db: Database) -> None:
    stream = db.stream(MANY, {"count": 10_000}, batch=10)
    await anext(stream)
    await db.close()
    results = [row async for row in stream]
    assert results[-1].error is not None
    assert results[-1].error.code == "DB_CONNECT_FAILED"
