"""Migrations on PostgreSQL: one migrator at a time, by an advisory lock that ends with the transaction."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from qicore.base import Failure, QiError, Result
from qicore.database.migrations import Applied, Migration, find_pending
from qicore.database.rows import TUPLES
from qicore.database.scan import split_script

if TYPE_CHECKING:
    from qicore.database.postgres.session import PostgresSession

__all__ = ["apply"]

_LOCK: Final = 0x7169636F7265  # "qicore": any number that nobody else takes
_TABLE: Final = (
    "CREATE TABLE _qicore_migrations ("
    "version BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL,"
    " applied_at TIMESTAMPTZ NOT NULL DEFAULT now())"
)


async def apply(
    session: "PostgresSession", migrations: Sequence[Migration], lock_timeout: str
) -> Result[list[Migration]]:
    """Apply what is pending within the transaction of the session; the caller ends it.

    A migrator waits for the one before it, and its statements run, as long as that takes; for a table that
    others have locked it waits no longer than everybody, since everybody would wait behind it.
    """
    session.take_time()
    for sql in (
        "SET LOCAL lock_timeout = 0",
        "SET LOCAL statement_timeout = 0",
        f"SELECT pg_advisory_xact_lock({_LOCK})",
        f"SET LOCAL lock_timeout = {lock_timeout}",
    ):
        done = await session.fetch(sql, (), TUPLES)
        if done.error is not None:
            return Failure(done.error)
    # Not only IF NOT EXISTS, which needs the right to create one that is there.
    found = await session.fetch("SELECT to_regclass('_qicore_migrations') IS NOT NULL", (), TUPLES)
    if found.error is None and not found.unwrap()[0][0]:
        found = await session.fetch(_TABLE, (), TUPLES)
    if found.error is not None:
        return Failure(found.error)
    known = await session.fetch("SELECT version, name, checksum FROM _qicore_migrations", (), TUPLES)
    if known.error is not None:
        return Failure(known.error)
    pending = find_pending(migrations, [Applied(*row) for row in known.unwrap()])
    if pending.error is not None:
        return pending
    for migration in pending.unwrap():
        error = await _apply_one(session, migration)
        if error is not None:
            return Failure(error)
    return pending


async def _apply_one(session: "PostgresSession", migration: Migration) -> QiError | None:
    for line, statement in split_script(migration.script):
        done = await session.execute(statement, ())
        if done.error is not None:
            return done.error.with_context(
                {"migration": f"{migration.version}_{migration.name}", "line": line}
            )
    noted = await session.execute(
        "INSERT INTO _qicore_migrations (version, name, checksum) VALUES (?, ?, ?)",
        (migration.version, migration.name, migration.checksum),
    )
    return noted.error
