"""Many tasks at once: nothing lost, nothing mixed up, nobody held up."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from qicore.database import Database, DatabaseConfig

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


async def test_fifty_tasks_of_two_hundred_increments_make_ten_thousand(db: Database) -> None:
    async def work() -> None:
        for _ in range(200):
            async with db.transaction() as tx:
                n = (await tx.query_one("SELECT n FROM counter WHERE id = 1", into=int)).unwrap()
                (await tx.update("counter", {"id": 1}, {"n": n + 1})).unwrap()

    await asyncio.gather(*(work() for _ in range(50)))
    assert (await db.read_one("counter", {"id": 1})).unwrap()["n"] == 10_000


async def test_statements_between_transactions_get_their_turn(db: Database) -> None:
    async def transactions() -> None:
        for _ in range(50):
            async with db.transaction() as tx:
                await tx.execute("UPDATE counter SET n = n + 1")

    async def statements() -> None:
        for _ in range(50):
            (await db.execute("UPDATE counter SET n = n + 1")).unwrap()

    await asyncio.gather(*(transactions() for _ in range(5)), *(statements() for _ in range(5)))
    assert (await db.query_one("SELECT n FROM counter", into=int)).unwrap() == 500


async def test_many_writes_share_commits_and_each_fails_alone(db: Database) -> None:
    (await db.execute("CREATE TABLE u (n INT UNIQUE CHECK (n >= 0))")).unwrap()
    before = (await db.pool()).unwrap().commits
    results = await asyncio.gather(
        *(db.execute("INSERT INTO u VALUES (?)", (n % 40 - 3,)) for n in range(120)),
        *(db.execute("INSERT INTO nowhere VALUES (1)") for _ in range(3)),
        *(db.create("u", {"n": n}) for n in (100, 100)),
    )
    commits = (await db.pool()).unwrap().commits - before
    failed = [result.error.code for result in results if result.error is not None]
    assert failed.count("DB_CONSTRAINT") == 120 - 37 + 1
    assert failed.count("DB_BAD_QUERY") == 3
    assert (await db.query_one("SELECT count(*) FROM u", into=int)).unwrap() == 38
    assert commits < 20


async def test_one_that_rolls_the_group_back_takes_nobody_with_it(db: Database) -> None:
    (await db.execute("CREATE TABLE u (n INT PRIMARY KEY)")).unwrap()
    sql = "INSERT OR ROLLBACK INTO u VALUES (?)"
    numbers = [1, 2, 3, 2, 4, 5, 1, 6]
    results = await asyncio.gather(*(db.execute(sql, (n,)) for n in numbers))
    assert sum(result.is_failure for result in results) == 2
    assert (await db.query("SELECT n FROM u ORDER BY n", into=int)).unwrap() == [1, 2, 3, 4, 5, 6]


async def test_one_that_breaks_the_commit_fails_alone(db: Database) -> None:
    (await db.execute("CREATE TABLE c (p INT REFERENCES counter DEFERRABLE INITIALLY DEFERRED)")).unwrap()
    parents = [1, 1, 99, 1]
    results = await asyncio.gather(*(db.execute("INSERT INTO c VALUES (?)", (p,)) for p in parents))
    assert [result.is_success for result in results] == [True, True, False, True]
    assert results[2].error is not None
    assert results[2].error.code == "DB_CONSTRAINT"
    assert (await db.query_one("SELECT count(*) FROM c", into=int)).unwrap() == 3


async def test_a_step_of_many_rows_fails_as_a_whole_and_alone(db: Database) -> None:
    (await db.execute("CREATE TABLE u (n INT PRIMARY KEY)")).unwrap()
    sql = "INSERT INTO u VALUES (?)"
    results = await asyncio.gather(
        db.execute(sql, (1,)),
        db.execute_many(sql, [(10,), (11,), (1,)]),
        db.execute_many(sql, [(20,), (21,)]),
        db.execute(sql, (2,)),
    )
    assert [result.is_success for result in results] == [True, False, True, True]
    assert (await db.query("SELECT n FROM u ORDER BY n", into=int)).unwrap() == [1, 2, 20, 21]


async def test_when_the_commit_fails_all_of_them_fail(path: Path) -> None:
    config = DatabaseConfig(pragmas={"max_page_count": 20})
    async with (await Database.connect(path, config)).unwrap() as db:
        (await db.execute("CREATE TABLE b (data BLOB)")).unwrap()
        results = await asyncio.gather(
            *(db.execute("INSERT INTO b VALUES (zeroblob(30000))") for _ in range(10))
        )
        full = [result.error for result in results if result.error is not None]
        assert {error.code for error in full} == {"DB_CONNECT_FAILED"}
        assert {str(error.context["sqlite"]) for error in full} == {"SQLITE_FULL"}
        stored = (await db.query_one("SELECT count(*) FROM b", into=int)).unwrap()
        assert stored == len(results) - len(full), "what was reported as stored is there, and nothing else"
        assert (await db.execute("CREATE TABLE tiny (n)")).is_success or stored


async def test_a_task_reads_what_it_wrote(db: Database) -> None:
    async def work(task: int) -> None:
        (await db.execute("INSERT INTO counter VALUES (?, 0)", (task,))).unwrap()
        for n in range(1, 30):
            (await db.execute("UPDATE counter SET n = ? WHERE id = ?", (n, task))).unwrap()
            assert (await db.read_one("counter", {"id": task})).unwrap()["n"] == n

    await asyncio.gather(*(work(task) for task in range(100, 130)))


async def test_long_reads_hold_up_nobody(db: Database) -> None:
    long = [asyncio.create_task(db.query(ENDLESS)) for _ in range(3)]
    await asyncio.sleep(0.05)
    for _ in range(20):
        assert (await db.query_one("SELECT 1", into=int)).unwrap() == 1
        assert (await db.execute("UPDATE counter SET n = n + 1")).is_success
    assert not any(task.done() for task in long)
    for task in long:
        task.cancel()
    await asyncio.gather(*long, return_exceptions=True)


async def test_short_reads_in_one_batch_with_a_long_one_are_answered(db: Database) -> None:
    long = asyncio.create_task(db.query(ENDLESS))
    short = await asyncio.gather(*(db.query_one("SELECT 1", into=int) for _ in range(50)))
    assert all(result.is_success for result in short)
    assert not long.done()
    long.cancel()


@pytest.mark.parametrize("sql", [ENDLESS, f"INSERT INTO counter (n) {ENDLESS}"])
async def test_a_cancelled_statement_is_interrupted(db: Database, sql: str) -> None:
    # All connections that there may be are kept busy; each new statement needs one of them back.
    for _ in range(8):
        task = asyncio.create_task(db.query(sql))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await db.query_one("SELECT count(*) FROM counter", into=int)).unwrap() == 1
    assert (await db.execute("UPDATE counter SET n = 1")).is_success


async def test_a_cancelled_write_takes_no_other_with_it(db: Database) -> None:
    tx = (await db.begin()).unwrap()  # holds the writer, so that all wait together
    endless = asyncio.create_task(db.execute(f"INSERT INTO counter (n) {ENDLESS}"))
    others = [asyncio.create_task(db.execute("UPDATE counter SET n = n + 1")) for _ in range(10)]
    await asyncio.sleep(0)
    await tx.rollback()
    await asyncio.sleep(0.03)
    endless.cancel()
    results = await asyncio.gather(*others)
    assert all(result.is_success for result in results)
    assert (await db.query_one("SELECT n FROM counter", into=int)).unwrap() == 10


async def test_a_cancelled_statement_in_a_transaction_loses_no_rollback(db: Database) -> None:
    async def work() -> None:
        async with db.transaction() as tx:
            await tx.execute("UPDATE counter SET n = 5")
            await tx.execute(f"INSERT INTO counter (n) {ENDLESS}")

    task = asyncio.create_task(work())
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await db.query("SELECT n FROM counter", into=int)).unwrap() == [0]
    assert (await db.execute("UPDATE counter SET n = 1")).is_success


@pytest.mark.parametrize("sql", [ENDLESS, f"INSERT INTO counter (n) {ENDLESS}"])
async def test_a_statement_that_runs_too_long_times_out(path: Path, sql: str) -> None:
    async with (await Database.connect(path, DatabaseConfig(statement_timeout=0.05))).unwrap() as db:
        (await db.execute("CREATE TABLE counter (id INTEGER PRIMARY KEY, n INT)")).unwrap()
        results = await asyncio.gather(db.query(sql), db.execute("INSERT INTO counter (n) VALUES (1)"))
        assert results[0].error is not None
        assert results[0].error.code == "DB_TIMEOUT"
        assert results[0].error.category.is_retryable
        assert results[1].is_success
        assert (await db.query("SELECT n FROM counter", into=int)).unwrap() == [1]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_lock_of_another_process_is_waited_for(db: Database, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE counter SET n = 100")
    waiting = [asyncio.create_task(db.execute("UPDATE counter SET n = n + 1")) for _ in range(10)]
    waiting_transaction = asyncio.create_task(db.begin())
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in waiting)
    other.execute("COMMIT")
    other.close()
    assert all(result.is_success for result in await asyncio.gather(*waiting))
    await (await waiting_transaction).unwrap().rollback()
    assert (await db.query_one("SELECT n FROM counter", into=int)).unwrap() == 110


async def test_a_lock_that_stays_is_busy_after_the_timeout(path: Path) -> None:
    clock = Clock()
    async with (await Database.connect(path, DatabaseConfig(busy_timeout=3600), clock=clock)).unwrap() as db:
        (await db.execute("CREATE TABLE t (n)")).unwrap()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = [asyncio.create_task(db.execute("INSERT INTO t VALUES (1)")) for _ in range(3)]
        await asyncio.sleep(0.03)
        assert not any(task.done() for task in waiting)
        clock.now = 3601
        await asyncio.wait(waiting)
        waiting.append(asyncio.create_task(db.execute("INSERT INTO t VALUES (1)")))
        await asyncio.sleep(0.02)
        clock.now = 9999
        for result in await asyncio.gather(*waiting):
            assert result.error is not None
            assert result.error.code == "DB_BUSY"
        other.close()
        assert (await db.execute("INSERT INTO t VALUES (1)")).is_success


async def test_a_task_that_waits_for_a_lock_can_be_cancelled(db: Database, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for coroutine in (db.execute("UPDATE counter SET n = 7"), db.begin()):
        task = asyncio.ensure_future(coroutine)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    other.execute("COMMIT")
    other.close()
    assert (await db.query_one("SELECT n FROM counter", into=int)).unwrap() == 0
    assert (await db.execute("UPDATE counter SET n = 8")).is_success


async def test_no_snapshot_is_too_old_to_write(db: Database, path: Path) -> None:
    """A transaction that reads first and writes later would be SQLITE_BUSY_SNAPSHOT if it began deferred."""
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    async with db.transaction() as tx:
        n = (await tx.query_one("SELECT n FROM counter", into=int)).unwrap()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("UPDATE counter SET n = 50")
        (await tx.execute("UPDATE counter SET n = ?", (n + 1,))).unwrap()
    other.execute("UPDATE counter SET n = n + 1")
    other.close()
    assert (await db.query_one("SELECT n FROM counter", into=int)).unwrap() == 2


async def test_waiting_for_the_writer_ends_in_time(path: Path) -> None:
    clock = Clock()
    async with (await Database.connect(path, DatabaseConfig(pool_timeout=60), clock=clock)).unwrap() as db:
        (await db.execute("CREATE TABLE t (n)")).unwrap()
        tx = (await db.begin()).unwrap()
        waiting = asyncio.gather(db.begin(), db.execute("INSERT INTO t VALUES (1)"))
        await asyncio.sleep(0.03)
        assert not waiting.done()
        clock.now = 61
        for result in await waiting:
            assert result.error is not None
            assert result.error.code == "DB_POOL_EXHAUSTED"
        await tx.commit()
        assert (await db.query("SELECT * FROM t")).unwrap() == []
