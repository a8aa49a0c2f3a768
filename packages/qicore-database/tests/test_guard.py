"""The circuit breaker before a database: what opens it, whom it turns away, and whom it never does."""

import asyncio
import contextlib
import gc
import logging
import sqlite3
import subprocess
import sys
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from qicore.base import QiError, Result
from qicore.database import Database, DatabaseConfig, Transaction
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, CircuitChange, CircuitState

BREAKER = CircuitBreakerConfig(
    failure_threshold=3, monitoring_period=600, reset_timeout=1000, half_open_requests=2
)
ENDLESS = "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
# Holds the lock for writing until its input ends.
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
connection.close()
"""

Open = Callable[..., Awaitable[Database]]


class Clock:
    """The machine's, put forward at will."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def connect(path: Path, clock: Clock) -> AsyncIterator[Open]:
    # Prepared by hand, so that no option of a test holds for it.
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (n INT UNIQUE)")
    async with AsyncExitStack() as stack:

        async def opened(breaker: CircuitBreakerConfig | None = BREAKER, **options: Any) -> Database:
            options = {"busy_timeout": 0.05} | options
            config = DatabaseConfig(circuit_breaker=breaker, **options)
            db = (await Database.connect(path, config, clock=clock)).unwrap()
            return await stack.enter_async_context(db)

        yield opened


class Holder:
    """Another process that holds the lock for writing."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"locked\n"

    def let_go(self) -> None:
        self.process.communicate(b"")
        assert self.process.returncode == 0


def code(result: Result[Any]) -> str:
    assert result.error is not None, f"{result!r} should be a Failure"
    return result.error.code


def breaker(db: Database) -> CircuitBreaker:
    assert db.circuit_breaker is not None
    return db.circuit_breaker


async def first_row(db: Database) -> Result[Any]:
    async for row in db.stream("SELECT 1"):
        return row
    raise AssertionError("a stream gives a row, or a Failure")


async def test_a_database_that_another_process_locks_opens_it_and_a_free_one_closes_it(
    connect: Open, path: Path, clock: Clock, tmp_path: Path
) -> None:
    db = await connect()
    holder = Holder(path)
    for n in range(3):
        assert code(await db.create("t", {"n": n})) == "DB_BUSY"
    assert breaker(db).state is CircuitState.OPEN
    nothing = tmp_path / "migrations"
    nothing.mkdir()
    turned_away: list[Result[Any]] = [
        await db.query("SELECT 1"),
        await db.execute("DELETE FROM t"),
        await db.create("t", {"n": 1}),
        await db.execute_many("INSERT INTO t VALUES (?)", [(1,), (2,)]),
        await db.bulk_insert("t", [{"n": 1}, {"n": 2}]),
        await db.bulk_insert("t", [{"n": 1}, {"n": 2}], batch=1),
        await db.begin(),
        await first_row(db),
        await db.migrate(nothing),
        await db.backup(tmp_path / "copy.db"),
        await db.health(),
    ]
    assert [code(result) for result in turned_away] == ["CIRCUIT_OPEN"] * len(turned_away)
    error = turned_away[0].error
    assert error is not None
    assert error.context["name"] == "test.db"
    assert error.context["retry_after"] == pytest.approx(1000, abs=100)
    assert (await db.pool()).unwrap().circuit is CircuitState.OPEN

    clock.ahead += 1000
    assert code(await db.create("t", {"n": 1})) == "DB_BUSY", "a probe finds it locked still"
    assert code(await db.query("SELECT 1")) == "CIRCUIT_OPEN"

    holder.let_go()
    clock.ahead += 1000
    assert (await db.create("t", {"n": 1})).is_success
    assert breaker(db).state is CircuitState.HALF_OPEN
    assert (await db.query("SELECT n FROM t", into=int)).unwrap() == [1]
    assert breaker(db).state is CircuitState.CLOSED
    assert (await db.health()).unwrap().circuit is CircuitState.CLOSED


async def test_a_group_that_waits_for_one_lock_fails_and_counts_one_by_one(connect: Open, path: Path) -> None:
    db = await connect()
    holder = Holder(path)
    results = await asyncio.gather(*(db.create("t", {"n": n}) for n in range(20)))
    assert {code(result) for result in results} == {"DB_BUSY"}
    assert code(await db.query("SELECT 1")) == "CIRCUIT_OPEN"
    holder.let_go()


async def test_a_breaker_that_others_use_too(path: Path) -> None:
    breaker = CircuitBreaker(BREAKER, name="orders")
    breaker.open()
    config = DatabaseConfig(circuit_breaker=breaker)
    async with (await Database.connect(path, config)).unwrap() as db:
        assert db.circuit_breaker is breaker
        assert code(await db.query("SELECT 1")) == "CIRCUIT_OPEN"
        breaker.close()
        assert (await db.query("SELECT 1")).is_success
        breaker.open()
        assert code(await db.query("SELECT 1")) == "CIRCUIT_OPEN"
    gone = weakref.ref(db)
    del db
    gc.collect()
    assert gone() is None, "the breaker, which lives on, does not keep what was closed"


async def test_a_storm_of_the_callers_own_errors_leaves_it_closed(connect: Open) -> None:
    db = await connect()
    (await db.create("t", {"n": 1})).unwrap()

    async def doubled(tx: Transaction) -> Result[Any]:
        return await tx.create("t", {"n": 1})

    async def storm() -> list[str]:
        return [
            code(await db.create("t", {"n": 1})),
            code(await db.execute("INSERT INTO t VALUES (1)")),
            code(await db.execute_many("INSERT INTO t VALUES (?)", [(1,)])),
            code(await db.transaction(doubled)),
            code(await db.query("SELEKT 1")),
            code(await db.query("SELECT no_such_column FROM t")),
            code(await db.read_one("t", {"n": 5})),
            code(await db.query_one("SELECT 'one'", into=int)),
            code(await first_row_of(db, "SELECT broken")),
        ]

    for codes in await asyncio.gather(*(storm() for _ in range(20))):
        assert (
            codes
            == ["DB_CONSTRAINT"] * 4 + ["DB_BAD_QUERY"] * 2 + ["DB_ROW_NOT_FOUND"] + ["DB_BAD_QUERY"] * 2
        )
    assert breaker(db).state is CircuitState.CLOSED
    assert breaker(db).statistics().failed == 0


async def first_row_of(db: Database, sql: str) -> Result[Any]:
    return await anext(db.stream(sql))


async def test_half_open_lets_exactly_so_many_through(connect: Open, path: Path, clock: Clock) -> None:
    db = await connect(busy_timeout=0.5)
    holder = Holder(path)
    await asyncio.gather(*(db.create("t", {"n": n}) for n in range(3)))
    clock.ahead += 1000
    codes = [code(result) for result in await asyncio.gather(*(db.create("t", {"n": n}) for n in range(50)))]
    assert sorted(codes) == ["CIRCUIT_OPEN"] * 48 + ["DB_BUSY"] * 2
    holder.let_go()


async def test_a_transaction_that_runs_is_never_turned_away(connect: Open) -> None:
    db = await connect()
    kept = (await db.begin()).unwrap()
    breaker(db).open()
    assert (await kept.create("t", {"n": 1})).is_success
    assert (await kept.execute("UPDATE t SET n = 2")).is_success
    assert (await kept.execute_many("INSERT INTO t VALUES (?)", [(3,), (4,)])).unwrap() == 2
    nested = (await kept.begin()).unwrap()
    assert (await nested.create("t", {"n": 5})).is_success
    assert (await nested.rollback()).is_success
    assert [row.unwrap() async for row in kept.stream("SELECT n FROM t", into=int)] == [2, 3, 4]
    assert (await kept.commit()).is_success
    assert code(await db.begin()) == "CIRCUIT_OPEN"

    breaker(db).close()
    assert (await db.query("SELECT n FROM t", into=int)).unwrap() == [2, 3, 4]
    undone = (await db.begin()).unwrap()
    (await undone.execute("DELETE FROM t")).unwrap()
    breaker(db).open()
    assert (await undone.rollback()).is_success
    breaker(db).close()
    assert (await db.query_one("SELECT count(*) FROM t", into=int)).unwrap() == 3


async def test_a_begin_that_finds_the_lock_taken_counts(connect: Open, path: Path) -> None:
    db = await connect()
    holder = Holder(path)
    assert [code(await db.begin()) for _ in range(4)] == ["DB_BUSY"] * 3 + ["CIRCUIT_OPEN"]
    holder.let_go()


async def test_what_fails_within_a_transaction_counts(connect: Open) -> None:
    db = await connect(statement_timeout=0.05)
    async with db.transaction() as tx:
        assert code(await tx.query(ENDLESS)) == "DB_TIMEOUT"
        assert code(await tx.query("SELEKT 1")) == "DB_BAD_QUERY"
        assert code(await anext(tx.stream(ENDLESS))) == "DB_TIMEOUT"
        assert breaker(db).statistics().failed == 2
        assert code(await tx.query(ENDLESS)) == "DB_TIMEOUT"
        assert breaker(db).state is CircuitState.OPEN
        assert code(await tx.query(ENDLESS)) == "DB_TIMEOUT", "and it goes on"
    seen = breaker(db).statistics()
    assert (seen.failed, seen.rejected) == (3, 0), "what is told to an open circuit is no call"


@pytest.mark.parametrize("way", ["all", "break", "closed"])
async def test_a_stream_is_one_probe_and_gives_its_permit_back(connect: Open, clock: Clock, way: str) -> None:
    db = await connect(CircuitBreakerConfig(failure_threshold=1, half_open_requests=1, reset_timeout=9))
    (await db.execute_many("INSERT INTO t VALUES (?)", [(n,) for n in range(10)])).unwrap()
    breaker(db).admit().unwrap().failure(QiError.timeout("DB_TIMEOUT", "it took too long"))
    clock.ahead += 9

    async def consume() -> None:
        stream = db.stream("SELECT n FROM t", into=int, batch=3)
        assert breaker(db).state is CircuitState.HALF_OPEN, "a stream that is not begun asks nothing"
        async for row in stream:
            assert row.is_success
            assert breaker(db).state is CircuitState.CLOSED, "it answered"
            if way == "break":
                break
            if way == "closed":
                stream.close()

    await consume()
    seen = breaker(db).statistics()
    assert (seen.succeeded, seen.failed, seen.released, seen.rejected, seen.late) == (1, 1, 0, 0, 0)
    assert (await db.pool()).unwrap().lent == 0


async def test_a_stream_that_is_cancelled_before_it_answers_gives_its_permit_back(
    connect: Open, clock: Clock
) -> None:
    db = await connect(CircuitBreakerConfig(failure_threshold=1, half_open_requests=1, reset_timeout=9))
    breaker(db).admit().unwrap().failure(QiError.timeout("DB_TIMEOUT", "it took too long"))
    changes: list[CircuitChange] = []
    breaker(db).add_listener(changes.append)
    clock.ahead += 9
    probe = asyncio.ensure_future(first_row_of(db, ENDLESS))
    while not changes:  # noqa: ASYNC110 - a listener is no coroutine
        await asyncio.sleep(0)
    assert changes[0].after is CircuitState.HALF_OPEN
    assert code(await db.query("SELECT 1")) == "CIRCUIT_OPEN"
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    assert breaker(db).statistics().released == 1
    assert (await db.query_one("SELECT 1", into=int)).unwrap() == 1
    assert breaker(db).state is CircuitState.CLOSED


async def test_a_stream_that_breaks_off_later_counts_once(connect: Open) -> None:
    db = await connect(statement_timeout=0.5)
    late = "SELECT n FROM t UNION ALL SELECT x FROM n WHERE x < 0"
    slow = ENDLESS.replace("SELECT count(*) FROM n", late)
    (await db.execute_many("INSERT INTO t VALUES (?)", [(1,), (2,)])).unwrap()
    # The sqlite3 module is always one row ahead.
    answers = [row async for row in db.stream(slow, into=int, batch=1)]
    assert [answer.is_success for answer in answers] == [True, False]
    assert code(answers[-1]) == "DB_TIMEOUT"
    seen = breaker(db).statistics()
    assert (seen.succeeded, seen.failed) == (1, 1)


async def test_statements_that_are_cancelled_count_as_neither(connect: Open) -> None:
    db = await connect()
    for _ in range(5):
        task = asyncio.ensure_future(db.query(ENDLESS))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await db.query("SELECT 1")).is_success
    assert breaker(db).statistics().failed == 0


async def test_too_few_connections_of_our_own_count_as_neither(connect: Open) -> None:
    db = await connect()
    async with db.transaction():
        (await db.pool(pool_timeout=0.02)).unwrap()
        for _ in range(5):
            assert code(await asyncio.create_task(db.begin())) == "DB_POOL_EXHAUSTED"
            assert code(await asyncio.create_task(db.execute("DELETE FROM t"))) == "DB_POOL_EXHAUSTED"
            assert code(await db.execute("DELETE FROM t")) == "DB_BAD_QUERY", "it would wait for itself"
    seen = breaker(db).statistics()
    assert (seen.state, seen.failed) == (CircuitState.CLOSED, 0)


async def test_a_database_that_is_out_of_reach_opens_it(
    connect: Open, path: Path, tmp_path: Path, clock: Clock
) -> None:
    folder = tmp_path / "mounted"
    folder.mkdir()
    config = DatabaseConfig(circuit_breaker=BREAKER)
    async with (await Database.connect(folder / "x.db", config, clock=clock)).unwrap() as db:
        folder.rename(tmp_path / "elsewhere")  # before the first reader opens
        assert [code(await db.query("SELECT 1")) for _ in range(4)] == ["DB_CONNECT_FAILED"] * 3 + [
            "CIRCUIT_OPEN"
        ]
        (tmp_path / "elsewhere").rename(folder)
        clock.ahead += 1000
        assert [(await db.query_one("SELECT 1", into=int)).unwrap() for _ in range(2)] == [1, 1]
        assert breaker(db).state is CircuitState.CLOSED


async def test_a_full_disk_leaves_the_reads(connect: Open) -> None:
    db = await connect(pragmas={"max_page_count": 4})
    (await db.execute("CREATE TABLE big (b BLOB)")).unwrap()
    for _ in range(5):
        failed = await db.execute("INSERT INTO big VALUES (zeroblob(100000))")
        assert failed.error is not None
        assert (failed.error.code, failed.error.context["sqlite"]) == ("DB_CONNECT_FAILED", "SQLITE_FULL")
    assert (await db.query("SELECT b FROM big")).unwrap() == []


async def test_closing_is_never_refused_and_opens_nothing(
    connect: Open, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "qicore.resilience"):
        db = await connect(readers=8)
        reads = [asyncio.ensure_future(db.query(ENDLESS)) for _ in range(6)]
        await asyncio.sleep(0.1)
        assert (await db.close()).is_success
        assert {code(await read) for read in reads} == {"DB_CONNECT_FAILED"}
        assert breaker(db).state is CircuitState.CLOSED
        assert not caplog.records
    another = await connect()
    breaker(another).open()
    assert (await another.close()).is_success
    assert code(await another.query("SELECT 1")) == "DB_CONNECT_FAILED", "closed, not only turned away"
    assert code(await another.begin()) == "DB_CONNECT_FAILED"


async def test_a_backup_that_can_not_be_written_says_nothing_of_the_database(
    connect: Open, tmp_path: Path
) -> None:
    db = await connect()
    target = tmp_path / ("x" * 250)  # its partial file would have too long a name
    for _ in range(4):
        assert (await db.backup(target)).is_failure
    assert (await db.backup(tmp_path / "copy.db")).is_success
    seen = breaker(db).statistics()
    assert (seen.state, seen.released, seen.succeeded) == (CircuitState.CLOSED, 4, 1)


async def test_rates_count_every_statement(connect: Open, path: Path) -> None:
    db = await connect(CircuitBreakerConfig(failure_rate=0.5, minimum_calls=7, monitoring_period=600))
    for _ in range(3):
        (await db.query("SELECT 1")).unwrap()
    assert breaker(db).statistics().succeeded == 3
    holder = Holder(path)
    assert [code(await db.create("t", {"n": n})) for n in range(4)] == ["DB_BUSY"] * 4
    assert breaker(db).statistics().failed == 4
    assert code(await db.query("SELECT 1")) == "CIRCUIT_OPEN"
    holder.let_go()


async def test_slow_answers_count_where_they_are_asked_to(connect: Open, clock: Clock) -> None:
    slow = CircuitBreakerConfig(
        slow_call_duration=40, slow_call_rate=0.5, minimum_calls=5, monitoring_period=10**6
    )
    db = await connect(slow, statement_timeout=50)
    (await db.query("SELECT 1")).unwrap()
    for _ in range(4):
        endless = asyncio.ensure_future(db.query(ENDLESS))
        while not endless.done():
            clock.ahead += 60
            await asyncio.sleep(0.01)
        assert code(endless.result()) == "DB_TIMEOUT"
    assert breaker(db).statistics().slow == 4
    assert code(await db.query("SELECT 1")) == "CIRCUIT_OPEN"


async def test_the_options_say_what_counts(connect: Open) -> None:
    def constraint(error: QiError) -> bool:
        return error.code == "DB_CONSTRAINT"

    db = await connect(CircuitBreakerConfig(failure_threshold=2, counts=constraint), statement_timeout=0.5)
    changes: list[CircuitChange] = []
    breaker(db).add_listener(changes.append)
    (await db.create("t", {"n": 1})).unwrap()
    for _ in range(3):
        assert code(await db.query(ENDLESS)) == "DB_TIMEOUT"
    assert [code(await db.create("t", {"n": 1})) for _ in range(3)] == ["DB_CONSTRAINT"] * 2 + [
        "CIRCUIT_OPEN"
    ]
    assert [(change.name, change.after) for change in changes] == [("test.db", CircuitState.OPEN)]


async def test_without_one_nothing_is_turned_away(connect: Open, path: Path) -> None:
    db = await connect(None)
    assert db.circuit_breaker is None
    holder = Holder(path)
    assert {code(await db.create("t", {"n": n})) for n in range(8)} == {"DB_BUSY"}
    assert (await db.query("SELECT 1")).is_success
    assert (await db.health()).unwrap().circuit is None
    holder.let_go()


async def test_it_is_there_unless_told_otherwise() -> None:
    async with (await Database.connect(":memory:")).unwrap() as db:
        assert breaker(db).name == ":memory:"
        assert breaker(db).config.failure_threshold == 5


async def test_its_options_are_checked(path: Path) -> None:
    config = DatabaseConfig(readers=0, circuit_breaker=CircuitBreakerConfig(failure_threshold=0))
    error = (await Database.connect(path, config)).error
    assert error is not None
    assert error.code == "DB_INVALID_CONFIG"
    assert "circuit_breaker: failure_threshold" in error.message
    assert "readers" in error.message
