"""The long jobs: applying migrations, and copying a database that is in use."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from qicore.base import Failure, QiError, Result, Success
from qicore.database.errors import bad_query, connect_failed, translate
from qicore.database.migrations import Applied, Migration, find_pending
from qicore.database.scan import split_script

__all__ = ["apply_migrations", "check_target", "copy_database"]

_Patiently = Callable[[Callable[[], Any]], Any]

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS _qicore_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
)
"""
# Pages at a time: small enough that a cancelled backup stops within milliseconds.
_PAGES: Final = 1024


def apply_migrations(
    connection: sqlite3.Connection, migrations: Sequence[Migration], patiently: _Patiently
) -> list[Migration]:
    """Apply what is pending in one transaction, and return it; raise the QiError of what went wrong.

    The transaction is immediate, so a second process waits here until this one is done, and then finds
    nothing pending. Foreign keys are off while tables are rebuilt, as SQLite's own recipe wants
    (https://sqlite.org/lang_altertable.html#otheralter), and are checked as a whole before the commit.
    """
    enforced: int = connection.execute("PRAGMA foreign_keys").fetchone()[0]
    connection.execute("PRAGMA foreign_keys = 0")
    try:
        patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
        try:
            pending = _apply(connection, migrations)
            if enforced and pending:
                _check_foreign_keys(connection)
            patiently(lambda: connection.execute("COMMIT"))
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return pending
    finally:
        connection.execute(f"PRAGMA foreign_keys = {enforced}")


def _apply(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> list[Migration]:
    connection.execute(_TABLE)
    rows = connection.execute("SELECT version, name, checksum FROM _qicore_migrations").fetchall()
    pending = find_pending(migrations, [Applied(*row) for row in rows]).unwrap()
    for migration in pending:
        for line, statement in split_script(migration.script):
            try:
                connection.execute(statement).fetchall()
            except Exception as exception:  # noqa: BLE001 - whatever a statement raises is answered
                where = {"migration": f"{migration.version}_{migration.name}", "line": line}
                raise translate(exception, statement).with_context(where) from None
        connection.execute(
            "INSERT INTO _qicore_migrations (version, name, checksum) VALUES (?, ?, ?)",
            (migration.version, migration.name, migration.checksum),
        )
    return pending


def _check_foreign_keys(connection: sqlite3.Connection) -> None:
    broken = connection.execute("PRAGMA foreign_key_check").fetchmany(10)
    if broken:
        tables = sorted({row[0] for row in broken})
        raise QiError.validation(
            "DB_CONSTRAINT",
            f"foreign keys are broken after the migrations, in {', '.join(tables)}",
            tables=tables,
        )


def check_target(path: str, source: Path | None) -> Result[Path]:
    """Return where a backup goes, or DB_BAD_QUERY when it can't go there."""
    try:
        target = Path(path).absolute()
        if not path or "\0" in path or target.is_dir() or not target.parent.is_dir():
            return Failure(bad_query("a backup needs the path of a file in a directory that exists"))
        if source is not None and target.exists() and target.samefile(source):
            return Failure(bad_query("a database can't be backed up into itself"))
    except (OSError, ValueError) as exception:
        return Failure(bad_query(f"the path of the backup can't be used: {type(exception).__name__}"))
    return Success(target)


def copy_database(
    connection: sqlite3.Connection, path: Path, patiently: _Patiently, stopped: Callable[[], bool]
) -> None:
    """Copy what is committed now into `path`, which appears only when it is complete."""
    # A copy that fails or is cancelled must not leave half a file, or have replaced an older, whole one.
    partial = path.with_name(f"{path.name}.{uuid4().hex[:8]}.partial")

    def stop_if_asked(*_: int) -> None:
        if stopped():
            raise connect_failed("the backup was cancelled")

    try:
        with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as target:
            # A read transaction: what others commit meanwhile would make the copy start all over.
            connection.execute("BEGIN")
            try:
                patiently(lambda: connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall())
                connection.backup(target, pages=_PAGES, progress=stop_if_asked, sleep=0.01)
            finally:
                connection.execute("ROLLBACK")
        os.replace(partial, path)  # noqa: PTH105 - the Path method does the same
    except OSError as exception:
        raise connect_failed(
            f"the backup can't be written: {exception.strerror or type(exception).__name__}"
        ) from None
    finally:
        for leftover in (partial, partial.with_name(partial.name + "-journal")):
            with contextlib.suppress(OSError):
                leftover.unlink(missing_ok=True)
