"""qicore-database against raw aiosqlite, aiosqlitepool and SQLAlchemy asyncio, in one run.

All have WAL and the same `synchronous` setting. Raw aiosqlite is used in its fastest way: one connection,
`execute_fetchall` for reads, `execute_insert` for an autocommitted insert (each is one hop to its thread).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiosqlite
from aiosqlitepool import SQLiteConnectionPool  # pyright: ignore[reportMissingTypeStubs]
from harness import Suite, run
from qicore.database import Database, DatabaseConfig
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

TASKS = 64
ROWS = 1000
SELECT = "SELECT id, name, age FROM users WHERE id = ?"
INSERT = "INSERT INTO log (line) VALUES (?)"
ALL = f"SELECT id, name, age FROM users LIMIT {ROWS}"


def at_once(fn: Callable[[], Awaitable[object]], each: int = 10) -> Callable[[], Awaitable[object]]:
    """64 tasks, each doing it ten times."""

    async def worker() -> None:
        for _ in range(each):
            await fn()

    async def all_of_them() -> None:
        await asyncio.gather(*(worker() for _ in range(TASKS)))

    return all_of_them


async def prepare(path: Path) -> None:
    async with aiosqlite.connect(path) as connection:
        await connection.execute("PRAGMA journal_mode = WAL")
        await connection.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)")
        await connection.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, line TEXT)")
        await connection.executemany(
            "INSERT INTO users (name, age) VALUES (?, ?)", [(f"user {n}", n % 90) for n in range(ROWS)]
        )
        await connection.commit()


def sqlalchemy_engine(path: Path, synchronous: str) -> AsyncEngine:
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}")

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA synchronous = {synchronous}")

    return engine


async def measure(suite: Suite, folder: Path, synchronous: Any) -> None:
    path = folder / f"{synchronous}.db"
    await prepare(path)
    db = (await Database.connect(path, DatabaseConfig(synchronous=synchronous))).unwrap()
    raw = await aiosqlite.connect(path, isolation_level=None)
    await raw.execute(f"PRAGMA synchronous = {synchronous}")

    async def pooled_connection() -> aiosqlite.Connection:
        connection = await aiosqlite.connect(path, isolation_level=None)
        await connection.execute(f"PRAGMA synchronous = {synchronous}")
        await connection.execute("PRAGMA busy_timeout = 30000")
        return connection

    pool = SQLiteConnectionPool(pooled_connection)  # type: ignore[arg-type]
    engine = sqlalchemy_engine(path, synchronous)

    async def raw_read() -> object:
        return await raw.execute_fetchall(SELECT, (500,))

    async def our_read() -> object:
        return await db.query(SELECT, (500,))

    async def pool_read() -> object:
        async with pool.connection() as connection:
            cursor = await connection.execute(SELECT, (500,))
            return await cursor.fetchall()

    async def alchemy_read() -> object:
        async with engine.connect() as connection:
            return (await connection.execute(text(SELECT.replace("?", ":id")), {"id": 500})).all()

    async def raw_insert() -> object:
        return await raw.execute_insert(INSERT, ("a line of a log",))

    async def our_insert() -> object:
        return await db.execute(INSERT, ("a line of a log",))

    async def our_create() -> object:
        return await db.create("log", {"line": "a line of a log"})

    async def pool_insert() -> object:
        async with pool.connection() as connection:
            return await connection.execute(INSERT, ("a line of a log",))

    async def alchemy_insert() -> object:
        async with engine.begin() as connection:
            return await connection.execute(text(INSERT.replace("?", ":line")), {"line": "a line of a log"})

    async def raw_all() -> object:
        return await raw.execute_fetchall(ALL)

    async def raw_iterate() -> int:
        count = 0
        async with raw.execute(ALL) as cursor:
            async for _ in cursor:
                count += 1
        return count

    async def our_all() -> object:
        return await db.query(ALL)

    async def our_all_tuples() -> object:
        return await db.query(ALL, into=tuple)

    async def our_stream() -> int:
        count = 0
        async for row in db.stream(ALL):
            count += row.is_success
        return count

    async def our_stream_tuples() -> int:
        count = 0
        async for row in db.stream(ALL, into=tuple):
            count += row.is_success
        return count

    async def alchemy_all() -> object:
        async with engine.connect() as connection:
            return (await connection.execute(text(ALL))).mappings().all()

    kind = f"synchronous={synchronous}"
    if synchronous == "normal":
        await suite.compare_async(
            "point read, one task",
            {
                "aiosqlite": raw_read,
                "qicore": our_read,
                "aiosqlitepool": pool_read,
                "sqlalchemy": alchemy_read,
            },
            target="at most 1.10 times aiosqlite",
        )
        await suite.compare_async(
            "point read, 64 tasks",
            {
                "aiosqlite": at_once(raw_read),
                "qicore": at_once(our_read),
                "aiosqlitepool": at_once(pool_read),
                "sqlalchemy": at_once(alchemy_read),
            },
            calls=TASKS * 10,
            target="at most 0.40 of aiosqlite (2.5 times as many)",
        )
        await suite.compare_async(
            "1000 rows",
            {
                "aiosqlite fetchall": raw_all,
                "qicore query, dicts": our_all,
                "qicore query, tuples": our_all_tuples,
                "qicore stream, dicts": our_stream,
                "qicore stream, tuples": our_stream_tuples,
                "aiosqlite async for": raw_iterate,
                "sqlalchemy": alchemy_all,
            },
            target="stream at most 2.00 times fetchall",
        )
    await suite.compare_async(
        f"autocommitted insert, one task, {kind}",
        {
            "aiosqlite": raw_insert,
            "qicore execute": our_insert,
            "qicore create": our_create,
            "aiosqlitepool": pool_insert,
            "sqlalchemy": alchemy_insert,
        },
        target="at most 1.10 times aiosqlite",
    )
    await suite.compare_async(
        f"autocommitted insert, 64 tasks, {kind}",
        {
            "aiosqlite": at_once(raw_insert),
            "qicore execute": at_once(our_insert),
            "qicore create": at_once(our_create),
        },
        calls=TASKS * 10,
        target="at most 0.25 of aiosqlite (4 times as many)",
    )
    await db.close()
    await raw.close()
    await pool.close()
    await engine.dispose()


async def main() -> None:
    suite = Suite("database", ("qicore-database", "aiosqlite", "aiosqlitepool", "sqlalchemy"))
    with tempfile.TemporaryDirectory() as folder:
        await measure(suite, Path(folder), "normal")
        await measure(suite, Path(folder), "full")
    suite.save()


if __name__ == "__main__":
    run(main)
