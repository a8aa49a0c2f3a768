"""How the database of the embedded file looks, and how it is opened or made."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from qicore.cache.errors import ForeignFileError

__all__ = ["is_busy", "open_database"]

T = TypeVar("T")

# "qica": says in the file's header whose file it is (https://www.sqlite.org/pragma.html#pragma_application_id).
_APPLICATION: Final = 0x71696361
_VERSION: Final = 1

# `expires` is when a value is over, `until` when even a stale one is, both in epoch seconds, NULL for never.
# `used` is the moment of the last use in nanoseconds. A value that is written takes the lock of its key away:
# what is computed under it is older by then.
_SCHEMA: Final = """
CREATE TABLE spaces (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    entries INTEGER NOT NULL DEFAULT 0,
    weight INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    space INTEGER NOT NULL,
    key TEXT NOT NULL,
    used INTEGER NOT NULL,
    expires REAL,
    until REAL,
    checksum INTEGER NOT NULL,
    weight INTEGER NOT NULL,
    value BLOB NOT NULL,
    UNIQUE (space, key)
);
CREATE INDEX entries_by_use ON entries (space, used);
CREATE INDEX entries_by_end ON entries (space, expires) WHERE expires IS NOT NULL;
CREATE TABLE locks (
    space INTEGER NOT NULL,
    key TEXT NOT NULL,
    token BLOB NOT NULL,
    until REAL NOT NULL,
    PRIMARY KEY (space, key)
) WITHOUT ROWID;
CREATE TRIGGER entry_added AFTER INSERT ON entries BEGIN
    UPDATE spaces SET entries = entries + 1, weight = weight + new.weight WHERE id = new.space;
    DELETE FROM locks WHERE space = new.space AND key = new.key;
END;
CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN
    UPDATE spaces SET entries = entries - 1, weight = weight - old.weight WHERE id = old.space;
END;
CREATE TRIGGER entry_weighed AFTER UPDATE OF weight ON entries WHEN new.weight <> old.weight BEGIN
    UPDATE spaces SET weight = weight - old.weight + new.weight WHERE id = new.space;
END;
CREATE TRIGGER entry_written AFTER UPDATE OF value ON entries BEGIN
    DELETE FROM locks WHERE space = new.space AND key = new.key;
END;
"""

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.02


def open_database(path: Path, namespace: str, timeout: float) -> tuple[sqlite3.Connection, int]:
    """Return a connection to a file that is ours, made if there is none, and the number of the namespace.

    Any thread may use it, one at a time. It never waits for a lock, and each statement is its own transaction
    unless BEGIN says otherwise. While others make or recover the file this waits, for `timeout` seconds.
    """
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    database.text_factory = _to_text
    try:
        _prepare(database, namespace, time.monotonic() + timeout)
        found = database.execute("SELECT id FROM spaces WHERE name = ?", (namespace,)).fetchone()
    except BaseException:
        database.close()
        raise
    return database, int(found[0])


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process holds a lock, so the same will succeed in a moment."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _to_text(data: bytes) -> str:
    # SQLite's own way would raise an error that quotes what is damaged.
    return data.decode(errors="surrogateescape")


def _prepare(database: sqlite3.Connection, namespace: str, deadline: float) -> None:
    # In this order: another process may be making the file right now, its mark and tables in one transaction.
    used = _patiently(lambda: _number(database, "SELECT count(*) FROM sqlite_master"), deadline)
    if used and _patiently(lambda: _number(database, "PRAGMA application_id"), deadline) != _APPLICATION:
        raise ForeignFileError("the file is a database, but no cache")
    _patiently(lambda: _log_ahead(database), deadline)
    # With a write-ahead log a process that dies loses nothing; a machine that does, the last writes, but not
    # the file (https://www.sqlite.org/pragma.html#pragma_synchronous).
    database.execute("PRAGMA synchronous = NORMAL")
    # To bring the log into the file waits for the disk: the thread of the cache does it, not who writes.
    database.execute("PRAGMA wal_autocheckpoint = 0")
    _patiently(lambda: database.execute("BEGIN IMMEDIATE"), deadline)
    version = _number(database, "PRAGMA user_version")  # looked at now that nobody else can write
    if version == 0:
        for statement in _statements(_SCHEMA):
            database.execute(statement)
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute(f"PRAGMA user_version = {_VERSION}")
    if version > _VERSION:  # nothing was written: closing the connection ends it
        raise ForeignFileError(f"the file was written by a later version of the cache ({version})")
    database.execute("INSERT INTO spaces (name) VALUES (?) ON CONFLICT DO NOTHING", (namespace,))
    database.execute("COMMIT")


def _log_ahead(database: sqlite3.Connection) -> None:
    if database.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        database.execute("PRAGMA journal_mode = WAL")


def _patiently(step: Callable[[], T], deadline: float) -> T:
    pause = _FIRST_PAUSE
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _number(database: sqlite3.Connection, sql: str) -> int:
    return int(database.execute(sql).fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script: `executescript` would commit the transaction that it is called in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
