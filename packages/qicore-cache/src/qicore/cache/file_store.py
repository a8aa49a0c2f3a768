"""The embedded file: entries of one namespace in a SQLite database that processes may share.

Everything here is synchronous and belongs to one thread, the worker's (`file_worker.py`). A value is bytes to it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from qicore.cache.errors import ForeignFileError

__all__ = ["Entry", "FileStore"]

# "qica": says in the file's header whose file it is (https://www.sqlite.org/pragma.html#pragma_application_id).
_APPLICATION: Final = 0x71696361
_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    until INTEGER,
    weight INTEGER NOT NULL,
    used INTEGER NOT NULL,
    UNIQUE (namespace, key)
);
CREATE INDEX entries_by_use ON entries (namespace, used);
CREATE INDEX entries_by_end ON entries (until) WHERE until IS NOT NULL;
CREATE TABLE totals (
    namespace TEXT PRIMARY KEY,
    entries INTEGER NOT NULL,
    weight INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE locks (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    token BLOB NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (namespace, key)
) WITHOUT ROWID;
CREATE TRIGGER entry_added AFTER INSERT ON entries BEGIN
    INSERT INTO totals VALUES (new.namespace, 1, new.weight)
    ON CONFLICT DO UPDATE SET entries = entries + 1, weight = weight + new.weight;
END;
CREATE TRIGGER entry_removed AFTER DELETE ON entries BEGIN
    UPDATE totals SET entries = entries - 1, weight = weight - old.weight WHERE namespace = old.namespace;
END;
CREATE TRIGGER entry_weighed AFTER UPDATE OF weight ON entries BEGIN
    UPDATE totals SET weight = weight - old.weight + new.weight WHERE namespace = new.namespace;
END;
"""

_SET: Final = """
INSERT INTO entries (namespace, key, value, until, weight, used) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (namespace, key) DO UPDATE
SET value = excluded.value, until = excluded.until, weight = excluded.weight, used = excluded.used
"""

# Reads are remembered here until a write takes them along: to write at each read would cost three times the read.
_MOST_TOUCHED: Final = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written: `until` is when it may be forgotten, in epoch milliseconds, or None for never."""

    key: str
    value: bytes
    until: int | None
    weight: int


class FileStore:
    """The entries of one namespace.

    Attributes:
        evicted: entries that were pushed out for want of room.
        expired: entries that were removed since their time was over.
    """

    def __init__(
        self,
        path: Path,
        namespace: str,
        *,
        max_entries: int,
        max_weight: int | None,
        timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.evicted = self.expired = 0
        self._clock = clock
        self._namespace = namespace
        self._max_entries = max_entries
        self._max_weight = max_weight
        self._touched: dict[str, int] = {}
        self._last_used = 0
        # The worker's thread opens, uses and closes it; autocommit, for `begin` and `commit` say what belongs together.
        self._db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(timeout)
        except BaseException:
            self._db.close()
            raise

    @property
    def raw(self) -> sqlite3.Connection:
        """The connection underneath."""
        return self._db

    def _prepare(self, timeout: float) -> None:
        # In this order: another process may be making the file right now, its owner and tables in one transaction.
        used = self._number("SELECT count(*) FROM sqlite_master") > 0
        if used and self._number("PRAGMA application_id") != _APPLICATION:
            raise ForeignFileError("a database that is no cache")
        self._log_ahead(timeout)
        # With a write-ahead log a process that dies loses nothing; a machine that does, the last writes, never the
        # file (https://www.sqlite.org/pragma.html#pragma_synchronous).
        self._db.execute("PRAGMA synchronous = NORMAL")
        self.begin()
        version = self._number("PRAGMA user_version")
        if version == 0:  # looked at again, now that nobody else can write
            for statement in _statements(_SCHEMA):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._db.execute(f"PRAGMA user_version = {_VERSION}")
        self.commit()
        if version > _VERSION:
            raise ForeignFileError(f"written by a later version of the cache ({version})")

    def _log_ahead(self, timeout: float) -> None:
        # While others switch too SQLite fails at once, and waits for nobody.
        deadline = time.monotonic() + timeout
        while self._db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(0.005)

    def _number(self, sql: str, parameters: Sequence[object] = ()) -> int:
        return int(self._db.execute(sql, parameters).fetchone()[0])

    # ---- transactions, of as many writes as wait

    def begin(self) -> None:
        """Begin to write."""
        self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Keep what was written."""
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Forget what was written, if SQLite has not done so already."""
        if self._db.in_transaction:
            with suppress(sqlite3.Error):  # the error that led here is the one to tell
                self._db.execute("ROLLBACK")

    # ---- reads

    def get(self, key: str) -> bytes | None:
        """Return the value, unless its time is over."""
        row = self._db.execute(
            "SELECT value, until FROM entries WHERE namespace = ? AND key = ?", (self._namespace, key)
        ).fetchone()
        if row is None or self._over(row[1]):
            return None
        self._touched[key] = self._use()
        return bytes(row[0])

    def has(self, key: str) -> bool:
        """Whether there is a value; does not count as a use."""
        row = self._db.execute(
            "SELECT until FROM entries WHERE namespace = ? AND key = ?", (self._namespace, key)
        ).fetchone()
        return row is not None and not self._over(row[0])

    def keys(self) -> list[str]:
        """Return all keys, those used last at the end."""
        rows = self._db.execute(
            "SELECT key FROM entries WHERE namespace = ? AND (until IS NULL OR until > ?) ORDER BY used, id",
            (self._namespace, self._now()),
        )
        return [key for (key,) in rows]

    def size(self) -> int:
        """Return the number of entries whose time is not over."""
        return self._number(
            "SELECT count(*) FROM entries WHERE namespace = ? AND (until IS NULL OR until > ?)",
            (self._namespace, self._now()),
        )

    # ---- writes, within `begin` and `commit`

    def set(self, entry: Entry) -> None:
        """Write an entry, and push out what there is no room for."""
        self._write(entry)
        self._make_room()

    def set_all(self, entries: Iterable[Entry]) -> None:
        """Write entries in their order."""
        for entry in entries:
            self._write(entry)
        self._make_room()

    def remove(self, key: str) -> bool:
        """Remove an entry; whether it was there, and its time not over."""
        self._touched.pop(key, None)
        row = self._db.execute(
            "DELETE FROM entries WHERE namespace = ? AND key = ? RETURNING until", (self._namespace, key)
        ).fetchone()
        return row is not None and not self._over(row[0])

    def clear(self) -> None:
        """Remove every entry and lock of this namespace."""
        self._touched.clear()
        self._db.execute("DELETE FROM entries WHERE namespace = ?", (self._namespace,))
        self._db.execute("DELETE FROM locks WHERE namespace = ?", (self._namespace,))

    def touch(self) -> None:
        """Write down which entries were read, so that the least recently used is known to all processes."""
        self._db.executemany(
            "UPDATE entries SET used = ? WHERE namespace = ? AND key = ?",
            [(used, self._namespace, key) for key, used in self._touched.items()],
        )
        self._touched.clear()

    @property
    def much_touched(self) -> bool:
        """Whether so much was read since the last write that it should be written down now."""
        return len(self._touched) >= _MOST_TOUCHED

    def close(self) -> None:
        """Close the file, with the uses written down."""
        try:
            if self._touched:
                self.begin()
                self.touch()
                self.commit()
        except sqlite3.Error:  # which entries were used last is all that is lost
            self.rollback()
        finally:
            self._db.close()

    def _write(self, entry: Entry) -> None:
        self._touched.pop(entry.key, None)
        row = (self._namespace, entry.key, entry.value, entry.until, entry.weight, self._use())
        self._db.execute(_SET, row)

    def _make_room(self) -> None:
        if not self._too_much():
            return
        self.touch()
        self.expired += self._db.execute("DELETE FROM entries WHERE until <= ?", (self._now(),)).rowcount
        while over := self._too_much():
            self.evicted += self._db.execute(
                "DELETE FROM entries WHERE id IN"
                " (SELECT id FROM entries WHERE namespace = ? ORDER BY used, id LIMIT ?)",
                (self._namespace, over),
            ).rowcount

    def _too_much(self) -> int:
        """Return how many entries have to go, at least: 0 when there is room."""
        entries, weight = self._db.execute(
            "SELECT entries, weight FROM totals WHERE namespace = ?", (self._namespace,)
        ).fetchone()
        over = max(0, entries - self._max_entries)
        return over or int(self._max_weight is not None and weight > self._max_weight)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _over(self, until: int | None) -> bool:
        return until is not None and until <= self._now()

    def _use(self) -> int:
        # By the clock, so that uses of several processes are in order, and never twice the same in this one.
        self._last_used = max(time.time_ns(), self._last_used + 1)
        return self._last_used

    # ---- locks

    def lock(self, key: str, token: bytes, lease: float) -> bool:
        """Take the lock of `key`, or keep it if it has this token already; False while it is somebody else's."""
        now = self._now()
        row = self._db.execute(
            "INSERT INTO locks VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET token = excluded.token, until = excluded.until WHERE until <= ? OR token = excluded.token"
            " RETURNING token",
            (self._namespace, key, token, now + int(lease * 1000) + 1, now),
        ).fetchone()
        return row is not None

    def holds(self, key: str, token: bytes) -> bool:
        """Whether the lock of `key` has this token, be its lease over or not."""
        row = self._db.execute(
            "SELECT token FROM locks WHERE namespace = ? AND key = ?", (self._namespace, key)
        ).fetchone()
        return row is not None and row[0] == token

    def unlock(self, key: str, token: bytes) -> bool:
        """Give the lock back; False when it was not ours."""
        found = self._db.execute(
            "DELETE FROM locks WHERE namespace = ? AND key = ? AND token = ?", (self._namespace, key, token)
        )
        return found.rowcount > 0


def _statements(script: str) -> Iterable[str]:
    """Yield the statements of a script: `executescript` would commit the transaction that it is called in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
