"""The connections of a pool on PostgreSQL: fair, bounded, and in order for whoever is next."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from qicore.base import Result
from qicore.base.testing import assert_failure, assert_success
from qicore.database import Database, DatabaseConfig, Transaction
from qicore.database.postgres.link import Link
from qicore_testkit.postgres_server import PostgresServer

from .conftest import Clock, on_postgres, running, until


@pytest.fixture
async def db(postgres_url: str) -> AsyncIterator[Database]:
    async with (await Database.connect(postgres_url)).unwrap() as database:
        (await database.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT, j JSONB)")).unwrap()
        yield database


SLEEP = "SELECT pg_sleep(600)"


async def test_a_value_that_can_not_be_sent_keeps_no_connection_from_others(postgres_url: str) -> None:
    async with on_postgres(postgres_url, connections=1, pool_timeout=20) as db:
        for value in (object(), 10**5000, "a\0b", "\ud800"):
            assert_failure(await db.query("SELECT ?::text", (value,)), "DB_BAD_QUERY")
            async with db.transaction() as tx:
                assert_success(await tx.query("SELECT 1"))
        assert_failure(
            await db.query(f"SELECT 1 WHERE 1 IN ({'?, ' * 69_999}?)", range(70_000)), "DB_BAD_QUERY"
        )
        assert assert_success(await db.query_one("SELECT pg_backend_pid() > 0", into=bool))
        assert assert_success(await db.pool()).open == 1


async def test_statements_that_fail_are_not_prepared_again_and_again(postgres_url: str, db: Database) -> None:
    async with on_postgres(postgres_url, connections=1) as one:
        assert_success(await db.create("t", {"id": 1}))
        for _ in range(50):
            assert_failure(await one.create("t", {"id": 1}), "DB_CONSTRAINT")
            assert_failure(await one.query("SELECT nothing FROM t"), "DB_BAD_QUERY")
        prepared = await one.query_one("SELECT count(*) FROM pg_prepared_statements", into=int)
        assert assert_success(prepared) < 5


async def test_columns_whose_type_was_changed(postgres_url: str, db: Database) -> None:
    """A statement that is prepared has the types of before; its connection is no worse for it."""
    insert = "INSERT INTO changed (n, words) VALUES (?, ?)"
    async with on_postgres(postgres_url, connections=1) as one:
        (await db.execute("CREATE TABLE changed (n INT, words INT[])")).unwrap()

        async def in_transaction(n: int, words: list[Any]) -> Result[Any]:
            return await one.transaction(lambda tx: tx.execute(f"{insert} RETURNING 1", (n, words)))

        async def by_copy(n: int, words: list[Any]) -> Result[Any]:
            return await one.bulk_insert("changed", [{"n": n, "words": words}])

        assert_success(await one.execute(insert, (1, [1])))
        assert_success(await in_transaction(1, [1]))
        assert_success(await by_copy(1, [1]))
        (await db.execute("ALTER TABLE changed ALTER n TYPE BIGINT, ALTER words TYPE TEXT[]")).unwrap()
        assert_success(await one.execute(insert, (2**40, ["a"])))
        for write in (in_transaction, by_copy):
            await write(2**40, ["a"])  # in a transaction, which is lost
            assert_success(await write(2**40, ["a"]))
        for _ in range(50):
            assert_failure(await one.execute(insert, (2**70, ["a"])), "DB_BAD_QUERY")
            assert_failure(await in_transaction(2**70, ["a"]), "DB_BAD_QUERY")
            assert_failure(await by_copy(2**70, ["a"]), "DB_BAD_QUERY")
        prepared = await one.query_one("SELECT count(*) FROM pg_prepared_statements", into=int)
        assert assert_success(prepared) < 6


async def test_statements_behind_one_that_can_not_be_prepared_yet(postgres_url: str) -> None:
    """They go by the name of a statement that was never prepared."""
    async with on_postgres(postgres_url, connections=1) as db:
        queries = [db.query("SELECT n FROM late") for _ in range(3)]
        made = db.execute("CREATE TABLE late AS SELECT 5 AS n")
        results = await asyncio.gather(queries[0], made, queries[1], queries[2])
        assert_failure(results[0], "DB_BAD_QUERY")
        assert results[2].unwrap() == results[3].unwrap() == [{"n": 5}]


async def test_statements_of_a_forgetful_server(postgres_url: str) -> None:
    async with on_postgres(postgres_url, connections=1) as db:
        assert_success(await db.query("SELECT 1"))
        assert_success(await db.execute("DEALLOCATE ALL"))
        assert_success(await db.query("SELECT 1"))
        async with db.transaction() as tx:
            assert_success(await tx.execute("DEALLOCATE ALL -- and this one"))
        assert_success(await db.query("SELECT 1"))


async def test_no_statement_slips_into_a_transaction_of_another(postgres_url: str, db: Database) -> None:
    """One whose types are asked for goes out later than it came; meanwhile the connection might be lent."""
    columns = ["id", "n", "j"]
    async with on_postgres(postgres_url, connections=1) as one:
        ended = False

        async def roll_back() -> None:
            while not ended:
                async with one.transaction() as tx:
                    await tx.rollback()

        rolling = [asyncio.ensure_future(roll_back()) for _ in range(3)]
        for number in range(150):
            # Each with a text of its own, whose types are not known yet.
            sql = f"INSERT INTO t ({', '.join(columns)}) VALUES (?, ?, ?) -- {number}"
            assert_success(await one.execute(sql, (number, number, {"a": number})))
        ended = True
        await asyncio.gather(*rolling)
    assert assert_success(await db.query_one("SELECT count(*) FROM t", into=int)) == 150


@pytest.mark.parametrize(
    "sql",
    [
        "START TRANSACTION",
        "ABORT",
        "PREPARE TRANSACTION 'x'",
        "/* /* */ */ START TRANSACTION",
        "/* /* */ */ COMMIT",
        "COPY t FROM STDIN",
        "COPY t TO STDOUT",
        "/* /* */ */ COPY t (n) FROM STDIN",
        "COPY t (n) FROM /* */ stdin",
        "/* /* */ */ COPY (SELECT 1) TO STDOUT",
        "LISTEN news",
    ],
)
async def test_what_would_leave_a_connection_in_disorder(postgres_url: str, db: Database, sql: str) -> None:
    async with on_postgres(postgres_url, connections=1) as one:
        assert_success(await one.query("SELECT 1"))
        writes = [one.create("t", {"id": number}) for number in range(5)]
        refused, *written = await asyncio.gather(one.execute(sql), *writes)
        assert_failure(refused, "DB_BAD_QUERY")
        kept = sum(result.is_success for result in written)
        assert assert_success(await db.query_one("SELECT count(*) FROM t", into=int)) == kept
        tx = (await one.begin()).unwrap()
        assert_success(await tx.create("t", {"id": 100}))
        assert_failure(await tx.execute(sql), "DB_BAD_QUERY")
        await tx.rollback()
        assert_success(await one.query("SELECT 1"))
    assert assert_success(await db.query_one("SELECT count(*) FROM t WHERE id = 100", into=int)) == 0


async def test_slow_statements_run_side_by_side_from_the_beginning(postgres_url: str) -> None:
    async with on_postgres(postgres_url, connections=4) as db:
        started = [
            db.query_one("SELECT clock_timestamp(), pg_sleep(0.5), clock_timestamp()", into=tuple)
            for _ in range(4)
        ]
        times = [result.unwrap() for result in await asyncio.gather(*started)]
    assert max(began for began, _, _ in times) < min(ended for _, _, ended in times)


class TestFairness:
    async def test_a_transaction_gets_its_turn_among_many_statements(self, postgres_url: str) -> None:
        async with on_postgres(postgres_url, connections=2) as db:
            ended = False

            async def ask() -> None:
                while not ended:
                    assert_success(await db.query("SELECT 1"))

            asking = [asyncio.ensure_future(ask()) for _ in range(64)]
            served = (await db.pool()).unwrap().served
            for _ in range(20):
                async with db.transaction() as tx:
                    assert_success(await tx.query("SELECT 2"))
            # As many as were under way, each time: not as many as came meanwhile.
            assert (await db.pool()).unwrap().served - served < 20 * 64 * 10
            ended = True
            await asyncio.gather(*asking)

    async def test_a_statement_gets_its_turn_among_many_transactions(self, postgres_url: str) -> None:
        async with on_postgres(postgres_url, connections=2) as db:
            ended = False
            begun = 0

            async def transact() -> None:
                nonlocal begun
                while not ended:
                    begun += 1
                    async with db.transaction() as tx:
                        assert_success(await tx.query("SELECT 1"))

            transacting = [asyncio.ensure_future(transact()) for _ in range(16)]
            await asyncio.sleep(0.1)
            for _ in range(10):
                before = begun
                assert_success(await db.query("SELECT 2"))
                assert begun - before < 64
            ended = True
            await asyncio.gather(*transacting)

    async def test_waiting_ends_by_the_clock(self, postgres_url: str) -> None:
        clock = Clock()
        async with on_postgres(postgres_url, clock=clock, connections=1, pool_timeout=3600) as db:
            async with db.transaction():
                waiting = [asyncio.ensure_future(call) for call in (db.query("SELECT 1"), db.begin())]
                await asyncio.sleep(0.1)
                status = (await db.pool()).unwrap()
                assert (status.waiting_reads, status.waiting_writes) == (1, 1)
                clock.now = 3601
                for result in await asyncio.gather(*waiting):
                    assert_failure(result, "DB_POOL_EXHAUSTED")
            assert_success(await db.query("SELECT 1"))

    async def test_a_server_with_few_connections_is_not_stormed(
        self, bundled_postgres: PostgresServer
    ) -> None:
        async with on_postgres(bundled_postgres.url) as owner:
            assert_success(await owner.execute("CREATE DATABASE small CONNECTION LIMIT 2"))
            assert_success(await owner.execute("CREATE ROLE visitor LOGIN"))
        url = bundled_postgres.url_of("small").replace("postgres@", "visitor@")
        async with on_postgres(url, connections=10) as db:
            slow = [db.query("SELECT pg_sleep(0.3)") for _ in range(4)]
            quick = [db.query("SELECT 1") for _ in range(500)]
            for result in await asyncio.gather(*slow, *quick):
                assert_success(result)
            assert (await db.pool()).unwrap().open == 2
        async with on_postgres(bundled_postgres.url) as owner:
            assert_success(await owner.execute("DROP DATABASE small WITH (FORCE)"))
            assert_success(await owner.execute("DROP ROLE visitor"))


async def test_the_pool_grows_and_shrinks(postgres_url: str) -> None:
    async with on_postgres(postgres_url, connections=1) as db:
        waiting = [asyncio.ensure_future(db.query("SELECT pg_sleep(0.2)")) for _ in range(6)]
        await asyncio.sleep(0.05)
        assert_success(await db.pool(connections=4))
        begun = [(await db.begin()).unwrap() for _ in range(3)]
        assert assert_success(await db.pool(connections=1)).open > 1
        for result in await asyncio.gather(*waiting):
            assert_success(result)
        for transaction in begun:
            assert_success(await transaction.rollback())
        assert assert_success(await db.pool()).open == 1
        assert_success(await db.query("SELECT 1"))


async def sleeping(db: Database, count: int) -> bool:
    return await running(db, SLEEP) == count


async def is_running(db: Database, sql: str) -> bool:
    return await running(db, sql) == 1


class TestCancelling:
    async def test_a_statement_that_nobody_waits_for_is_interrupted(
        self, postgres_url: str, db: Database
    ) -> None:
        async with on_postgres(postgres_url, connections=1) as one:
            for _ in range(3):
                task = asyncio.ensure_future(one.query(SLEEP))
                await until(lambda: sleeping(db, 1))
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert_success(await one.query("SELECT 1"))
                await until(lambda: sleeping(db, 0))
            assert assert_success(await one.pool()).open == 1, "no connection had to be given up"

    async def test_nobody_else_is_hit(self, postgres_url: str) -> None:
        """Statements are cancelled in the middle of others, on the same connections."""
        async with on_postgres(postgres_url, connections=2) as db:
            (await db.execute("CREATE TABLE written (id INT)")).unwrap()
            results: list[Result[Any]] = []

            async def write(number: int) -> None:
                results.append(await db.execute("INSERT INTO written VALUES (?)", (number,)))

            async def stop(number: int) -> None:
                task = asyncio.ensure_future(db.query("SELECT pg_sleep(?)", (0.001 * (number % 50),)))
                await asyncio.sleep(0.0007 * (number % 60))
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            for start in range(0, 400, 50):
                numbers = range(start, start + 50)
                await asyncio.gather(*(call for n in numbers for call in (write(n), stop(n))))
            assert all(result.is_success for result in results)
            assert assert_success(await db.query_one("SELECT count(*) FROM written", into=int)) == 400
            assert assert_success(await db.pool()).open == 2

    async def test_nobody_is_hit_by_what_comes_late(
        self, postgres_url: str, db: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The statement ends by itself just before it is interrupted; so the next one is, in its place."""
        (await db.execute("CREATE SEQUENCE turns")).unwrap()
        following = "SELECT pg_sleep(CASE WHEN nextval('turns') = 1 THEN 600 ELSE 0 END)"
        cancel = Link.cancel

        async def late(link: Link) -> None:
            await until(lambda: is_running(db, following))
            link.pause()
            await cancel(link)
            asyncio.get_running_loop().call_soon(link.listen)

        monkeypatch.setattr(Link, "cancel", late)
        async with on_postgres(postgres_url, connections=1, clock=Clock()) as one:
            left = asyncio.ensure_future(one.query("SELECT pg_sleep(0.1)"))
            hit = asyncio.ensure_future(one.query(following))
            await until(lambda: is_running(db, "SELECT pg_sleep(0.1)"))
            left.cancel()
            assert_success(await hit)
            assert left.cancelled()
            assert assert_success(await db.query_one("SELECT last_value FROM turns", into=int)) == 2

    async def test_a_connection_on_which_something_is_interrupted_is_not_given_to_others(
        self, postgres_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answered, go = asyncio.Event(), asyncio.Event()

        async def late(link: Link) -> None:
            while link.under_way:  # noqa: ASYNC110 - nobody could set an event
                await asyncio.sleep(0.005)
            answered.set()
            await go.wait()

        monkeypatch.setattr(Link, "cancel", late)
        async with on_postgres(postgres_url, connections=1) as one:
            tx = (await one.begin()).unwrap()
            number = (await tx.query_one("SELECT pg_backend_pid()", into=int)).unwrap()
            left = asyncio.ensure_future(tx.query("SELECT pg_sleep(0.05)"))
            await asyncio.sleep(0)
            left.cancel()
            await answered.wait()
            tx.abandon()
            go.set()
            assert assert_success(await one.query_one("SELECT pg_backend_pid()", into=int)) != number

    async def test_a_savepoint_is_restored_after_its_statement_was_cancelled(self, db: Database) -> None:
        async with db.transaction() as tx:
            assert_success(await tx.create("t", {"id": 1}))
            for _ in range(10):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.02), tx.transaction() as nested:
                        assert_success(await nested.create("t", {"id": 2}))
                        await nested.query(SLEEP)
            assert_success(await tx.create("t", {"id": 3}))
        assert assert_success(await db.query("SELECT id FROM t ORDER BY id", into=int)) == [1, 3]

    async def test_a_copy_that_is_cancelled_leaves_nothing(self, postgres_url: str, db: Database) -> None:
        rows = [{"id": number, "n": number} for number in range(20_000)]
        async with on_postgres(postgres_url, connections=1) as one:
            for turns in (1, 2, 3, 5, 8, 13, 21, 34):
                task = asyncio.ensure_future(one.bulk_insert("t", rows, batch=20_000))
                for _ in range(turns):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert task.cancelled()
            async with one.transaction() as tx:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.005), tx.transaction() as nested:
                        await nested.bulk_insert("t", rows * 20, batch=400_000)
                assert_success(await tx.create("t", {"id": -1}))
            assert assert_success(await one.query("SELECT id FROM t", into=int)) == [-1]

    async def test_a_listener_goes_on_after_one_that_waited_was_cancelled(self, db: Database) -> None:
        async with assert_success(await db.listen("news")) as heard:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await anext(heard)
            waiting = [asyncio.ensure_future(anext(heard)) for _ in range(2)]
            await asyncio.sleep(0)
            for payload in ("a", "b", "c"):
                assert_success(await db.query("SELECT pg_notify('news', ?)", (payload,)))
            said = [assert_success(await each).payload for each in (*waiting, anext(heard))]
            assert sorted(said) == ["a", "b", "c"]


async def test_a_copy_waits_for_what_goes_before_and_others_wait_for_it(db: Database) -> None:
    rows = [{"id": number} for number in range(5000)]
    async with db.transaction() as tx:
        async for _ in tx.stream("SELECT generate_series(1, 100)", batch=10):
            break  # its cursor is being closed
        assert_success(await tx.bulk_insert("t", rows))
        more = [{"id": number} for number in range(5000, 10_000)]
        results = await asyncio.gather(
            tx.create("t", {"id": -1}),
            tx.bulk_insert("t", more),
            tx.create("t", {"id": -2}),
            tx.bulk_insert("t", [{"id": -3}]),
            tx.query_one("SELECT 1", into=int),
        )
        for result in results:
            assert_success(result)
    assert assert_success(await db.query_one("SELECT count(*) FROM t", into=int)) == 10_003


async def test_a_thousand_notifications_wait_for_a_slow_reader(db: Database) -> None:
    async with assert_success(await db.listen("news")) as heard:
        sql = "SELECT pg_notify('news', n || repeat('x', 500)) FROM generate_series(1, ?) n"
        assert_success(await db.query(sql, (5000,)))
        async with asyncio.timeout(60):
            for number in range(1, 5001):
                said = assert_success(await anext(heard)).payload
                assert said.rstrip("x") == str(number)
                if number == 1:
                    await asyncio.sleep(0.2)


async def test_streams_leave_the_prepared_statements_of_others(postgres_url: str) -> None:
    async with on_postgres(postgres_url, connections=1) as db:
        for _ in range(20):
            assert len([row async for row in db.stream("SELECT generate_series(1, 50)", batch=10)]) == 50
            async with (
                db.transaction() as tx,
                tx.stream("SELECT 1") as first,
                tx.stream("SELECT 2") as second,
            ):
                assert assert_success(await anext(first)) != assert_success(await anext(second))
        prepared = await db.query_one("SELECT count(*) FROM pg_prepared_statements", into=int)
        assert assert_success(prepared) < 20


async def test_long_statements_are_not_kept_prepared(postgres_url: str) -> None:
    async with on_postgres(postgres_url, connections=1) as db:
        for number in range(20):
            sql = f"SELECT '{'x' * 20_000}', ?::int, ?::jsonb, {number}"
            assert assert_success(await db.query_one(sql, (1, {"a": 1}), into=tuple))[1:] == (
                1,
                {"a": 1},
                number,
            )
        prepared = await db.query_one("SELECT count(*) FROM pg_prepared_statements", into=int)
        assert assert_success(prepared) < 5


async def test_a_table_changed_under_a_transaction_is_met_by_a_new_try(db: Database) -> None:
    assert_success(await db.query("SELECT * FROM t"))
    tries = 0

    async def look(tx: Transaction) -> Result[Any]:
        nonlocal tries
        tries += 1
        return await tx.query("SELECT * FROM t")

    assert_success(await db.execute("ALTER TABLE t ADD COLUMN more INT"))
    assert_success(await db.transaction(look))
    assert tries == 2


async def test_a_statement_that_fails_at_its_commit_fails_alone(postgres_url: str, db: Database) -> None:
    deferred = "CREATE TABLE c (p INT REFERENCES t DEFERRABLE INITIALLY DEFERRED)"
    assert_success(await db.execute(deferred))
    assert_success(await db.create("t", {"id": 1}))
    async with on_postgres(postgres_url, connections=1) as one:
        results = await asyncio.gather(*(one.execute("INSERT INTO c VALUES (?)", (p,)) for p in (1, 7, 1)))
    assert [result.is_success for result in results] == [True, False, True]
    assert_failure(results[1], "DB_CONSTRAINT")
    assert assert_success(await db.query("SELECT p FROM c", into=int)) == [1, 1]


async def test_statements_that_conflict_are_run_again(postgres_url: str, db: Database) -> None:
    assert_success(await db.create("t", {"id": 1, "n": 0}))
    config = DatabaseConfig(isolation="repeatable read", attempts=50)
    async with (await Database.connect(postgres_url, config)).unwrap() as other:
        adding = [other.execute("UPDATE t SET n = n + 1 WHERE id = 1") for _ in range(40)]
        for result in await asyncio.gather(*adding):
            assert_success(result)
    assert assert_success(await db.read_one("t", {"id": 1}))["n"] == 40
