"""Servers that are killed and come back, ways to them that are cut or fall silent."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from qicore.base import Result
from qicore.base.testing import assert_failure, assert_success
from qicore.database import Database, DatabaseConfig, Notification
from qicore.resilience import CircuitState
from qicore_testkit.postgres_server import PostgresServer
from qicore_testkit.relay import Relay

from .conftest import Clock, on_postgres, running, until


@pytest.fixture
async def relay(bundled_postgres: PostgresServer) -> AsyncIterator[Relay]:
    async with Relay(bundled_postgres.port) as found:
        yield found


SLEEP = "SELECT pg_sleep(600)"


def through(relay: Relay) -> str:
    return f"postgresql://postgres@127.0.0.1:{relay.port}/postgres"


Write = Callable[[Database, int], Awaitable[bool | None]]


async def by_statement(db: Database, number: int) -> bool | None:
    """Return whether the server has reported the row; None when nobody knows."""
    made = await db.create("t", {"id": number})
    return True if made.is_success else None


async def by_transaction(db: Database, number: int) -> bool | None:
    begun = await db.begin()
    if begun.error is not None:
        return False
    tx = begun.unwrap()
    made = await tx.create("t", {"id": number})
    if made.error is not None:
        await tx.rollback()
        return False
    return True if (await tx.commit()).is_success else None


async def by_copy(db: Database, number: int) -> bool | None:
    made = await db.bulk_insert("t", [{"id": number}])
    return True if made.is_success else None


async def at_least(known: set[int], count: int) -> bool:
    return len(known) >= count


@pytest.mark.parametrize("write", [by_statement, by_transaction, by_copy])
async def test_a_killed_server_loses_nothing_reported_and_keeps_nothing_refused(
    postgres_server: PostgresServer, write: Write
) -> None:
    async with on_postgres(postgres_server.url, connections=4) as db:
        (await db.execute("CREATE TABLE t (id INT PRIMARY KEY)")).unwrap()
        reported: set[int] = set()
        refused: set[int] = set()
        unknown: set[int] = set()
        alive = True
        numbers = iter(range(10**9))
        down = asyncio.Event()

        async def work() -> None:
            while alive:
                number = next(numbers)
                known = await write(db, number)
                (unknown if known is None else reported if known else refused).add(number)
                if not known:
                    down.set()
                    await asyncio.sleep(0.01)

        workers = [asyncio.ensure_future(work()) for _ in range(12)]
        for round_ in range(1, 6):
            enough = round_ * 100
            await until(lambda: at_least(reported, enough))  # noqa: B023 - awaited here and now
            # In the middle of whatever is under way: commits, with twelve at a time.
            down.clear()
            await asyncio.to_thread(postgres_server.stop, signal.SIGKILL)
            await down.wait()
            await asyncio.to_thread(postgres_server.start)
        alive = False
        await asyncio.gather(*workers)
        there = set(assert_success(await db.query("SELECT id FROM t", into=int)))
    assert reported <= there, "a commit that was reported is lost"
    assert not refused & there, "what was refused is there"
    assert there <= reported | unknown
    assert unknown


@pytest.mark.parametrize("moment", range(10))
async def test_a_server_killed_during_a_commit(postgres_server: PostgresServer, moment: int) -> None:
    """Each at another moment of a commit that takes its time, for it has much to check."""
    async with on_postgres(postgres_server.url) as db:
        (await db.execute("CREATE TABLE p (id INT PRIMARY KEY)")).unwrap()
        deferred = "CREATE TABLE t (id INT REFERENCES p DEFERRABLE INITIALLY DEFERRED)"
        (await db.execute(deferred)).unwrap()
        (await db.execute("INSERT INTO p VALUES (1)")).unwrap()
        tx = (await db.begin()).unwrap()
        assert_success(await tx.execute("INSERT INTO t SELECT 1 FROM generate_series(1, 3000)"))
        committing = asyncio.ensure_future(tx.commit())
        await asyncio.sleep(0.003 * moment)
        await asyncio.to_thread(postgres_server.stop, signal.SIGKILL)
        committed = await committing
        await asyncio.to_thread(postgres_server.start)
        there = (await db.query_one("SELECT count(*) FROM t", into=int)).unwrap()
    if committed.is_success:
        assert there == 3000
    else:
        assert_failure(committed, "DB_CONNECT_FAILED")
        assert there in (0, 3000)


async def none_open(db: Database) -> bool:
    return assert_success(await db.pool()).open == 0


async def sleeping(db: Database, count: int) -> bool:
    return await running(db, SLEEP) == count


class TestTheWayThere:
    async def test_a_stream_whose_connection_is_cut(self, relay: Relay) -> None:
        async with on_postgres(through(relay)) as db:
            stream = db.stream("SELECT generate_series(1, 100000)", into=int, batch=100)
            for number in range(1, 151):
                assert assert_success(await anext(stream)) == number
            relay.cut()
            rest = [row async for row in stream]
            assert [row.is_success for row in rest] == [True] * (len(rest) - 1) + [False]
            assert_failure(rest[-1], "DB_CONNECT_FAILED")
            assert_success(await db.query("SELECT 1"))
            assert assert_success(await db.pool()).lent == 0

    async def test_a_copy_whose_connection_is_cut(self, relay: Relay) -> None:
        async with on_postgres(through(relay), connections=1) as db:
            (await db.execute("CREATE TABLE copied (id INT, s TEXT)")).unwrap()
            rows = [{"id": number, "s": "x" * 100} for number in range(100_000)]
            copying = asyncio.ensure_future(db.bulk_insert("copied", rows, batch=100_000))
            before = relay.passed
            while relay.passed < before + 100_000:  # noqa: ASYNC110 - a relay tells nobody
                await asyncio.sleep(0)
            relay.cut()
            assert_failure(await copying, "DB_CONNECT_FAILED")
            assert assert_success(await db.query_one("SELECT count(*) FROM copied", into=int)) == 0
            (await db.execute("DROP TABLE copied")).unwrap()

    async def test_idle_connections_that_end_are_replaced(self, relay: Relay) -> None:
        async with on_postgres(through(relay), connections=3) as db:
            for _ in range(5):
                for result in await asyncio.gather(*(db.query("SELECT pg_sleep(0.01)") for _ in range(3))):
                    assert_success(result)
                relay.cut()
                await until(lambda: none_open(db))

    async def test_an_idle_connection_that_fell_silent_is_found_out(self, relay: Relay) -> None:
        clock = Clock()
        async with on_postgres(through(relay), clock=clock) as db:
            assert_success(await db.query("SELECT 1"))
            clock.now += 20
            await self.beats()
            assert assert_success(await db.pool()).open == 1, "it was asked, and has answered"
            relay.silence()
            clock.now += 20
            await self.beats()
            assert assert_success(await db.pool()).open == 1, "it was asked"
            clock.now += 6
            await self.beats()
            assert assert_success(await db.pool()).open == 0
            relay.speak()
            assert_success(await db.query("SELECT 1"))

    @staticmethod
    async def beats() -> None:
        """Wait until the connections were looked at."""
        await asyncio.sleep(1.5)

    @pytest.mark.parametrize("kind", ["statement", "transaction", "copy"])
    async def test_a_server_that_falls_silent_in_the_middle(self, relay: Relay, kind: str) -> None:
        clock = Clock()
        async with on_postgres(through(relay), clock=clock, statement_timeout=0.5, connect_timeout=1) as db:
            assert_success(await db.query("SELECT 1"))
            (await db.execute("CREATE TABLE IF NOT EXISTS silent (id INT)")).unwrap()
            tx = (await db.begin()).unwrap()
            relay.silence()
            asked: asyncio.Future[Result[Any]]
            if kind == "statement":
                asked = asyncio.ensure_future(db.query("SELECT 1"))
            elif kind == "transaction":
                asked = asyncio.ensure_future(tx.query("SELECT 1"))
            else:
                asked = asyncio.ensure_future(tx.bulk_insert("silent", [{"id": 1}]))
            await asyncio.sleep(0.1)
            clock.now += 6
            if kind == "statement":
                # A new connection is asked for, since the other one is lent, and does not come.
                relay.cut()
            assert_failure(await asked, "DB_CONNECT_FAILED")
            relay.speak()
            await tx.rollback()
            assert_success(await db.query("SELECT 1"))

    async def test_closing_waits_no_longer_for_a_silent_server_than_others_do(self, relay: Relay) -> None:
        clock = Clock()
        async with on_postgres(through(relay), clock=clock, statement_timeout=0.5, connections=1) as db:
            (await db.execute("CREATE TABLE IF NOT EXISTS silent (id INT)")).unwrap()
            relay.silence()
            asked = asyncio.ensure_future(db.execute("INSERT INTO silent VALUES (1)"))
            await asyncio.sleep(0)
            closing = asyncio.ensure_future(db.close())
            await asyncio.sleep(0)
            clock.now += 6
            done, _ = await asyncio.wait((closing,), timeout=30)
            relay.speak()
            assert done
            assert_success(await closing)
            assert_failure(await asked, "DB_CONNECT_FAILED")

    async def test_a_listener_whose_connection_ends_has_heard_what_came_before(
        self, relay: Relay, bundled_postgres: PostgresServer
    ) -> None:
        async with on_postgres(through(relay)) as db, on_postgres(bundled_postgres.url) as other:
            heard = assert_success(await db.listen("news", "weather"))
            assert_success(
                await other.query("SELECT pg_notify('news', 'x'), pg_notify('weather', 'x')", into=tuple)
            )
            assert assert_success(await anext(heard)) == Notification("news", "x")
            relay.cut()
            last = [item async for item in heard]
            assert last[0].unwrap() == Notification("weather", "x")
            assert_failure(last[-1], "DB_CONNECT_FAILED")

    async def test_the_circuit_opens_and_closes_again(self, relay: Relay) -> None:
        clock = Clock()
        async with (await Database.connect(through(relay), clock=clock)).unwrap() as db:
            relay.target, kept = 1, relay.target
            relay.cut()
            codes = [result.error.code for _ in range(9) if (result := await db.query("SELECT 1")).error]
            assert set(codes[:5]) == {"DB_CONNECT_FAILED"}
            assert codes[-1] == "CIRCUIT_OPEN"
            relay.target = kept
            clock.now += 6
            for _ in range(3):
                assert_success(await db.query("SELECT 1"))
            assert db.circuit_breaker is not None
            assert db.circuit_breaker.state is CircuitState.CLOSED

    async def test_the_second_of_two_hosts(self, bundled_postgres: PostgresServer) -> None:
        async with Relay(bundled_postgres.port) as mute:
            mute.silence()
            url = f"postgresql://postgres@127.0.0.1:{mute.port},127.0.0.1:{bundled_postgres.port}/postgres"
            async with on_postgres(url, connect_timeout=6) as db:
                assert_success(await db.query("SELECT 1"))


MIGRATE = """
import asyncio, sys
from qicore.database import Database

async def main():
    async with (await Database.connect(sys.argv[1])).unwrap() as db:
        print("ready", flush=True)
        sys.stdin.readline()
        print(len((await db.migrate(sys.argv[2])).unwrap()))

asyncio.run(main())
"""


def migrator(url: str, folder: Path) -> "subprocess.Popen[str]":
    """Start a process that migrates when it is told to go."""
    return subprocess.Popen(
        [sys.executable, "-c", MIGRATE, url, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


async def test_two_processes_that_migrate_at_once(postgres_url: str, tmp_path: Path) -> None:
    for version in range(1, 6):
        sql = f"CREATE TABLE t{version} (n INT);\nINSERT INTO t{version} VALUES ({version});\n"
        sql += "SELECT pg_sleep(0.05);"
        (tmp_path / f"{version:04}_t.sql").write_text(sql)
    processes = [migrator(postgres_url, tmp_path) for _ in range(3)]
    for process in processes:
        await asyncio.to_thread(go, process)
    applied: list[int] = []
    for process in processes:
        out, err = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, err
        applied.append(int(out))
    assert sorted(applied) == [0, 0, 5]
    async with on_postgres(postgres_url) as db:
        for version in range(1, 6):
            assert assert_success(await db.query(f"SELECT n FROM t{version}", into=int)) == [version]


async def test_a_migrator_that_is_killed_leaves_nothing_and_no_lock(
    postgres_url: str, tmp_path: Path
) -> None:
    (tmp_path / "1_slow.sql").write_text("CREATE TABLE half (n INT); SELECT pg_sleep(600);")
    process = migrator(postgres_url, tmp_path)
    async with on_postgres(postgres_url) as db:
        await asyncio.to_thread(go, process)
        await until(lambda: sleeping(db, 1))
        process.kill()
        process.communicate()
        # The server notices when it writes to the connection; a statement that sleeps is ended by hand.
        stop = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = ?"
        assert_success(await db.query(stop, (SLEEP,)))
        (tmp_path / "1_slow.sql").write_text("CREATE TABLE half (n INT);")
        assert len(assert_success(await db.migrate(tmp_path))) == 1


async def test_a_migration_waits_no_longer_than_others_for_a_table_in_use(
    postgres_url: str, tmp_path: Path
) -> None:
    async with on_postgres(postgres_url, busy_timeout=0.2) as db:
        assert_success(await db.execute("CREATE TABLE t (n INT)"))
        (tmp_path / "1_alter.sql").write_text("ALTER TABLE t ADD COLUMN m INT;")
        async with db.transaction() as tx:
            assert_success(await tx.query("SELECT * FROM t"))
            assert_failure(await db.migrate(tmp_path), "DB_BUSY")
        assert len(assert_success(await db.migrate(tmp_path))) == 1


class TestClosing:
    async def test_it_finishes_writes_and_interrupts_reads(self, postgres_url: str) -> None:
        config = DatabaseConfig(connections=4, statement_timeout=None)
        db = (await Database.connect(postgres_url, config)).unwrap()
        (await db.execute("CREATE TABLE t (n INT)")).unwrap()
        reads = [asyncio.ensure_future(db.query(SLEEP)) for _ in range(2)]
        async with on_postgres(postgres_url) as other:
            await until(lambda: sleeping(other, 2))
            slow = "INSERT INTO t SELECT 1 FROM (SELECT pg_sleep(0.3)) x"
            write = asyncio.ensure_future(db.execute(slow))
            left = (await db.begin()).unwrap()
            assert_success(await left.execute("INSERT INTO t VALUES (2)"))
            stuck = asyncio.ensure_future(left.query(SLEEP))
            await asyncio.sleep(0)
            for closing in await asyncio.gather(*(db.close() for _ in range(3))):
                assert_success(closing)
            assert_success(await write)
            for read in (*reads, stuck):
                assert_failure(await read, "DB_CONNECT_FAILED")
            assert db.circuit_breaker is not None
            assert db.circuit_breaker.statistics().failed == 0, "a database that was closed is not ill"
            await until(lambda: sleeping(other, 0))
            assert assert_success(await other.query("SELECT n FROM t", into=int)) == [1]

    def test_from_another_event_loop(self, bundled_postgres: PostgresServer) -> None:
        async def open_it() -> Database:
            db = (await Database.connect(bundled_postgres.url)).unwrap()
            assert_success(await db.query("SELECT 1"))
            assert_success(await db.listen("news"))
            return db

        with asyncio.Runner() as first:
            db = first.run(open_it())
            assert_failure(asyncio.run(self.ask(db)), "DB_BAD_QUERY")
            assert_success(first.run(self.ask(db)))
        assert_success(asyncio.run(db.close()))
        assert_success(asyncio.run(db.close()))

    @staticmethod
    async def ask(db: Database) -> Result[Any]:
        return await db.query("SELECT 1")

    async def test_a_forgotten_database_warns_and_lets_go(self, postgres_url: str) -> None:
        sockets = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - as short as it is true
        db = (await Database.connect(postgres_url)).unwrap()
        assert_success(await db.query("SELECT 1"))
        with pytest.warns(ResourceWarning, match="never closed"):
            del db
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) == sockets  # noqa: PTH208 - as above


def test_the_name_that_is_logged_holds_no_password() -> None:
    async def main() -> None:
        for url in (
            "postgresql://u:s3cret@127.0.0.1:1",
            "postgresql://u:s3c?ret@127.0.0.1:1/db",
            "postgresql://u:s3cret@127.0.0.1:1/db?password=a@s3cret",
            "postgresql://127.0.0.1:1?password=a@s3cret",
        ):
            error = assert_failure(await Database.connect(url), "DB_CONNECT_FAILED")
            assert "s3c" not in repr(error.to_structured_data()), urlsplit(url).path

    asyncio.run(main())
