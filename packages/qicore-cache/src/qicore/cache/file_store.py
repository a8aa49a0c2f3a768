"""The embedded file: entries of one namespace in a SQLite database that processes may share.

Everything here is synchronous, and for one thread at a time (`file_worker.py` sees to that). A value is bytes
to it.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import time_ns
from typing import Final, TypeAlias

from qicore.cache.file_schema import open_database

__all__ = ["SHORT", "Entry", "FileStore", "Row"]

SHORT: Final = 64 * 1024
"""The most bytes of a value that is read or written at once, without the thread."""

# With the numbers that never change in it, which are quicker than parameters.
_GET: Final = "SELECT {value}, checksum, expires, until FROM entries WHERE space = {space} AND key = ?"
_SET: Final = """
INSERT INTO entries (space, key, used, expires, until, checksum, weight, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (space, key) DO UPDATE SET used = excluded.used, expires = excluded.expires,
until = excluded.until, checksum = excluded.checksum, weight = excluded.weight, value = excluded.value
"""
_REMOVE_OVER: Final = (
    "DELETE FROM entries WHERE id IN"
    " (SELECT id FROM entries WHERE space = ? AND expires <= ? AND until <= ? LIMIT ?)"
)
_REMOVE_UNUSED: Final = (
    "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE space = ? ORDER BY used, id LIMIT ?)"
)

# Uses are remembered until room is needed, or there are many: to write one down costs as much as to read.
_MANY_TOUCHED: Final = 256
_MOST_TOUCHED: Final = 10_000
# What a commit adds to the log is estimated. In a log of this length SQLite still finds a page at one look:
# each 4096 have a table of their own (https://www.sqlite.org/walformat.html#the_wal_index_file_format).
_LONG_LOG: Final = 4000
_TOO_LONG_LOG: Final = 16_000
_PAGE: Final = 4096
_PAGES_OF_COMMIT: Final = 4
_PAGES_OF_ENTRY: Final = 2
_OVER_AT_ONCE: Final = 500


Row: TypeAlias = tuple[bytes | None, int, float | None, float | None]
"""What lies at a key: the value, or None when it is larger than was asked for; its checksum; when it is over,
and when even for who takes stale values. All of it may be damaged."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written; the times are in epoch seconds, None for never.

    Attributes:
        key: where.
        value: what; it weighs its length.
        checksum: a number that only this value has at this key with these times, as far as that can be.
        expires: when it is over.
        until: when it is over even for who takes stale values.
    """

    key: str
    value: bytes
    checksum: int
    expires: float | None = None
    until: float | None = None


class FileStore:
    """The entries of one namespace.

    What writes goes between `begin` and `commit`. An error of SQLite is raised as it is.

    Attributes:
        evicted: how many entries were pushed out for want of room.
        untidy: whether it is time to write down uses, and to bring the log into the file.
    """

    def __init__(
        self,
        path: Path,
        namespace: str,
        *,
        max_entries: int | None,
        max_weight: int | None,
        timeout: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.evicted = 0
        self.untidy = False
        self._clock = clock
        self._max_entries = math.inf if max_entries is None else max_entries
        self._max_weight = math.inf if max_weight is None else max_weight
        self._bounded = max_entries is not None or max_weight is not None
        self._touched: dict[str, int] = {}
        self._last_used = 0
        self._added = False
        self._evicting = 0
        self._full = False  # or about to be
        self._log = 0  # pages, about
        self._database, self._space = open_database(path, namespace, timeout)
        self._cursor = self._database.cursor()  # one for all: to make one costs a third of a short statement
        self._execute = self._cursor.execute
        self._get = _GET.format(value="value", space=self._space)
        short = f"CASE WHEN weight <= {SHORT} THEN value END"
        self._get_short = _GET.format(value=short, space=self._space)

    @property
    def raw(self) -> sqlite3.Connection:
        """The connection underneath."""
        return self._database

    # ---- transactions, of as many writes as wait

    def begin(self) -> None:
        """Begin to write; SQLITE_BUSY at once while somebody else does."""
        self._execute("BEGIN IMMEDIATE")
        self._added = False
        self._evicting = 0

    def commit(self) -> None:
        """Push out what there is no room for, and keep what was written."""
        if self.laborious:
            self.touch()
        if self._added and self._bounded:
            self._make_room()
        self._execute("COMMIT")
        self.evicted += self._evicting
        self._log += _PAGES_OF_COMMIT
        if self._log >= _LONG_LOG:
            self.untidy = True

    def rollback(self) -> None:
        """Forget what was written, if SQLite has not done so already."""
        if self._database.in_transaction:
            with suppress(sqlite3.Error):  # the error that led here is the one to tell
                self._execute("ROLLBACK")

    # ---- reads

    def get(self, key: str, short: bool = False, stale: bool = False) -> Row | None:
        """Return what lies at a key, unless it is over.

        With `short`, None stands for a value that is not short. With `stale`, one that is over is still there
        until its stale time is over too.
        """
        found: Row | None = self._execute(self._get_short if short else self._get, (key,)).fetchone()
        if found is None:
            return None
        over = found[3] if stale else found[2]
        if over is not None and self._over(over):
            return None
        if self._bounded:
            now = time_ns()  # as in `_use`, which would cost a call
            self._last_used = now = now if now > self._last_used else self._last_used + 1
            self._touched[key] = now
            if len(self._touched) >= _MOST_TOUCHED:
                self.untidy = True
        return found

    def get_many(self, keys: Iterable[str], *, short: bool = False) -> dict[str, Row]:
        """Return what lies at these keys, all as of one moment, as `get` does."""
        self._execute("BEGIN")
        try:
            rows = {key: row for key in keys if (row := self.get(key, short)) is not None}
            self._execute("COMMIT")
        except BaseException:
            self.rollback()
            raise
        return rows

    def has(self, key: str) -> bool:
        """Whether there is a value; does not count as a use."""
        found = self._execute(
            "SELECT expires FROM entries WHERE space = ? AND key = ?", (self._space, key)
        ).fetchone()
        return found is not None and not self._over(found[0])

    def keys(self, beginning: str, after: str, most: int) -> tuple[list[str], str | None]:
        """Return the keys with this beginning behind `after`, in order, of the next `most` there are.

        With them goes the last key that was looked at, to go on from; None at the end.
        """
        rows = self._execute(
            "SELECT key, expires IS NULL OR expires > ? FROM entries"
            " WHERE space = ? AND key >= ? AND key > ? ORDER BY key LIMIT ?",
            (self._clock(), self._space, beginning, after, most),
        ).fetchall()
        more = len(rows) == most and rows[-1][0].startswith(beginning)
        return [key for key, lives in rows if lives and key.startswith(beginning)], (
            rows[-1][0] if more else None
        )

    def size(self) -> int:
        """Return how many values there are whose time is not over."""
        found = self._execute(
            "SELECT entries - (SELECT count(*) FROM entries WHERE space = spaces.id AND expires <= ?)"
            " FROM spaces WHERE id = ?",
            (self._clock(), self._space),
        ).fetchone()
        return int(found[0])

    # ---- writes, within `begin` and `commit`

    def set(self, entry: Entry) -> None:
        """Write an entry; whoever computes a value for its key at this moment will not overwrite it."""
        key, value = entry.key, entry.value
        self._touched.pop(key, None)
        self._execute(
            _SET,
            (
                *(self._space, key, self._use(), entry.expires, entry.until),
                *(entry.checksum, len(value), value),
            ),
        )
        self._added = True
        self._log += _PAGES_OF_ENTRY + len(value) // _PAGE

    def set_many(self, entries: Iterable[Entry]) -> None:
        """Write entries in their order."""
        for entry in entries:
            self.set(entry)

    def remove(self, key: str) -> bool:
        """Remove an entry, and the lock of its key; whether it was there, and its time not over."""
        self._touched.pop(key, None)
        lived = self.has(key)
        self._execute("DELETE FROM entries WHERE space = ? AND key = ?", (self._space, key))
        self._execute("DELETE FROM locks WHERE space = ? AND key = ?", (self._space, key))
        self._log += _PAGES_OF_ENTRY
        return lived

    def clear(self) -> int:
        """Remove every entry and lock of this namespace; how many there were whose time was not over."""
        self._touched.clear()
        lived = self.size()
        self._execute("DELETE FROM entries WHERE space = ?", (self._space,))
        self._execute("DELETE FROM locks WHERE space = ?", (self._space,))
        self._log += lived
        return lived

    def touch(self) -> None:
        """Write down which entries were used, so that all processes know the least recently used."""
        if self._touched:
            self._cursor.executemany(
                "UPDATE entries SET used = ? WHERE space = ? AND key = ? AND used < ?",
                [(used, self._space, key, used) for key, used in self._touched.items()],
            )
            self._log += len(self._touched)
            self._touched.clear()

    def tidy(self) -> None:
        """Remove entries and locks, of all namespaces, whose time is over: some hundreds of each at most."""
        now = self._clock()
        self.touch()
        for (space,) in self._execute("SELECT id FROM spaces").fetchall():
            self._execute(_REMOVE_OVER, (space, now, now, _OVER_AT_ONCE))
        self._execute("DELETE FROM locks WHERE until <= ?", (now,))

    # ---- what the thread of the cache does now and then

    @property
    def laborious(self) -> bool:
        """Whether the next write has to write down many uses with it."""
        return self._full and len(self._touched) >= _MANY_TOUCHED

    def bring_in(self, *, if_long: bool = False) -> None:
        """Bring the log of what was written into the file, and that to the disk; outside of a transaction.

        Others may read and write meanwhile, unless the log has grown so long that it has to begin anew.
        """
        self.untidy = False
        if if_long and self._log < _LONG_LOG:
            return
        _, pages, _ = self._execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages > _TOO_LONG_LOG:
            self._execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._log = 0

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
            self._database.close()

    def _make_room(self) -> None:
        now = self._clock()
        touched = False
        while over := self._too_much():
            if self._removed(_REMOVE_OVER, (self._space, now, now, over)):
                continue
            if not touched:
                self.touch()
                touched = True
            evicted = self._removed(_REMOVE_UNUSED, (self._space, over))
            if not evicted:  # the totals are damaged, and no reason to go on for ever
                break
            self._evicting += evicted

    def _removed(self, sql: str, parameters: tuple[object, ...]) -> int:
        return self._execute(sql, parameters).rowcount

    def _too_much(self) -> int:
        """Return how many entries have to go, at least: 0 when there is room."""
        entries, weight = self._execute(
            "SELECT entries, weight FROM spaces WHERE id = ?", (self._space,)
        ).fetchone()
        self._full = entries + _MANY_TOUCHED > self._max_entries or weight > self._max_weight * 0.9
        return int(max(entries - self._max_entries, weight > self._max_weight, 0))

    def _over(self, moment: object) -> bool:
        # What is no number is damaged, and as good as over.
        return moment is not None and (not isinstance(moment, float) or moment <= self._clock())

    def _use(self) -> int:
        # By the clock, so that uses of several processes are in order, and never twice the same in this one.
        self._last_used = max(time_ns(), self._last_used + 1)
        return self._last_used

    # ---- locks: who computes the value of a key

    def lock(self, key: str, token: bytes, lease: float) -> bool:
        """Take the lock of `key` for `lease` seconds; False while it is somebody else's."""
        now = self._clock()
        taken = self._execute(
            "INSERT INTO locks VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET token = excluded.token, until = excluded.until WHERE until <= ?",
            (self._space, key, token, now + lease, now),
        )
        return taken.rowcount > 0

    def extend(self, key: str, token: bytes, lease: float) -> bool:
        """Begin the lease anew; False when the lock is ours no more."""
        extended = self._execute(
            "UPDATE locks SET until = ? WHERE space = ? AND key = ? AND token = ?",
            (self._clock() + lease, self._space, key, token),
        )
        return extended.rowcount > 0

    def unlock(self, key: str, token: bytes) -> bool:
        """Give the lock back; False when it was ours no more, be its lease over or not."""
        found = self._execute(
            "DELETE FROM locks WHERE space = ? AND key = ? AND token = ?", (self._space, key, token)
        )
        return found.rowcount > 0

    def locked(self, key: str) -> bool:
        """Whether somebody holds the lock of `key`."""
        found = self._execute(
            "SELECT until FROM locks WHERE space = ? AND key = ?", (self._space, key)
        ).fetchone()
        return found is not None and found[0] > self._clock()
