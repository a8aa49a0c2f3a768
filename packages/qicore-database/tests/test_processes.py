"""What only other processes can show: killed ones, unclosed ones, several at one database."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from qicore.database import Database, DatabaseConfig

HEAD = """
import asyncio, sys
from qicore.database import Database, DatabaseConfig

async def connect():
    return (await Database.connect(sys.argv[1], DatabaseConfig(busy_timeout=60))).unwrap()
"""

WRITER = (
    HEAD
    + """
async def main():
    db = await connect()
    async def work(task):
        for n in range(10**6):
            (await db.create("log", {"task": task, "n": n})).unwrap()
            print(task, n, flush=True)
            async with db.transaction() as tx:
                for half in ("a", "b"):
                    (await tx.create("pairs", {"task": task, "n": n, "half": half})).unwrap()
    await asyncio.gather(*(work(task) for task in range(8)))

asyncio.run(main())
"""
)

INCREMENTS = (
    HEAD
    + """
async def main():
    async with await connect() as db:
        async def work():
            for _ in range(10):
                async with db.transaction() as tx:
                    n = (await tx.query_one("SELECT n FROM counter", into=int)).unwrap()
                    (await tx.execute("UPDATE counter SET n = ?", (n + 1,))).unwrap()
                (await db.execute("UPDATE counter SET n = n + 1")).unwrap()
        await asyncio.gather(*(work() for _ in range(5)))

asyncio.run(main())
"""
)

MIGRATE = (
    HEAD
    + """
async def main():
    async with await connect() as db:
        print(len((await db.migrate(sys.argv[2])).unwrap()))

asyncio.run(main())
"""
)


def python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


@pytest.mark.parametrize("synchronous", ["full", "normal"])
async def test_a_killed_process_loses_no_committed_row(path: Path, synchronous: str) -> None:
    async with (await Database.connect(path)).unwrap() as db:
        (await db.execute("CREATE TABLE log (task INT, n INT)")).unwrap()
        (await db.execute("CREATE TABLE pairs (task INT, n INT, half TEXT)")).unwrap()
    code = WRITER.replace("busy_timeout=60", f"busy_timeout=60, synchronous={synchronous!r}")
    process = python(code, path)
    assert process.stdout is not None
    reported: list[tuple[int, int]] = []
    for line in process.stdout:
        task, n = map(int, line.split())
        reported.append((task, n))
        if len(reported) == 300:
            process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    async with (await Database.connect(path)).unwrap() as db:
        rows = set((await db.query("SELECT task, n FROM log", into=tuple)).unwrap())
        assert rows.issuperset(reported)
        halves = await db.query("SELECT count(*) FROM pairs GROUP BY task, n", into=int)
        assert set(halves.unwrap()) == {2}, "a transaction is there as a whole, or not at all"
        assert (await db.query_one("PRAGMA integrity_check", into=str)).unwrap() == "ok"


async def test_processes_share_a_database_and_lose_no_write(db: Database, path: Path) -> None:
    processes = [python(INCREMENTS, path) for _ in range(3)]
    for process in processes:
        await asyncio.to_thread(finish, process)
    assert (await db.query_one("SELECT n FROM counter", into=int)).unwrap() == 3 * 5 * 10 * 2


MAIN = (
    HEAD
    + """
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"

async def main():
    db = await connect()
    await db.execute("CREATE TABLE IF NOT EXISTS t (n)")
    (await db.execute("INSERT INTO t VALUES (1)")).unwrap()
    return db
"""
)

FORGOTTEN = "asyncio.run(main())"
KEPT = """
loop = asyncio.new_event_loop()
db = loop.run_until_complete(main())
loop.close()
"""
IN_TRANSACTION = """
kept = []
async def more():
    kept.append(await main())
    kept.append(await kept[0].begin())
asyncio.run(more())
"""
IN_STATEMENT = """
async def more():
    await (await main()).query(ENDLESS)
try:
    asyncio.run(asyncio.wait_for(more(), 0.2))
except TimeoutError:
    pass
"""


@pytest.mark.parametrize("left_open", [FORGOTTEN, KEPT, IN_TRANSACTION, IN_STATEMENT])
def test_an_unclosed_database_does_not_keep_the_interpreter(path: Path, left_open: str) -> None:
    code = f"{MAIN}\n{left_open}\nprint('end')"
    assert "end" in finish(python(code, path))

    async def count() -> int:
        async with (await Database.connect(path)).unwrap() as db:
            return (await db.query_one("SELECT count(*) FROM t", into=int)).unwrap()

    assert asyncio.run(count()) == 1


async def test_one_migrator_at_a_time(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for version in range(1, 6):
        sql = f"CREATE TABLE t{version} (n);\nINSERT INTO t{version} VALUES ({version});"
        (folder / f"{version:04}_t.sql").write_text(sql)
    processes = [python(MIGRATE, path, folder) for _ in range(4)]
    applied = [int(await asyncio.to_thread(finish, process)) for process in processes]
    assert sorted(applied) == [0, 0, 0, 5]
    async with (await Database.connect(path, DatabaseConfig(read_only=True))).unwrap() as db:
        for version in range(1, 6):
            assert (await db.query(f"SELECT n FROM t{version}", into=int)).unwrap() == [version]
