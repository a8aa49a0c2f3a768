"""Opening SQLite connections: where the file is, and how each connection is set up."""

import logging
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote
from uuid import uuid4

from qicore.base import Failure, Result, Success
from qicore.database.config import DatabaseConfig
from qicore.database.errors import connect_failed

__all__ = ["Opener", "Patience", "Place", "find_place"]

# Enough for every statement an application has; preparing one costs as much as running it.
_CACHED_STATEMENTS: Final = 512
_logger = logging.getLogger("qicore.database")

Patience = Callable[[Callable[[], object]], object]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database is: the URI for SQLite, and the file, None for one in memory."""

    uri: str
    path: Path | None


def find_place(target: str, config: DatabaseConfig) -> Result[Place]:
    """Return where `target` points: a path, `:memory:`, or a `sqlite:` URL; else DB_CONNECT_FAILED."""
    text = target
    if target.startswith("sqlite:"):
        rest = target.removeprefix("sqlite:")
        if rest in ("", "//", "///", "///:memory:"):
            text = ":memory:"
        elif rest.startswith("///"):
            text = unquote(rest.removeprefix("///"))
        else:
            return Failure(
                connect_failed("a sqlite URL is sqlite:///PATH, sqlite:////ABSOLUTE/PATH or sqlite://")
            )
    if text == ":memory:":
        # Named, and in SQLite's own memdb, so that `raw` can reach the same one.
        return Success(Place(f"file:/qicore-{uuid4().hex}?vfs=memdb", None))
    if not text or "\0" in text:
        return Failure(connect_failed("the path of the database is empty, or has a NUL in it"))
    try:
        path = Path(text).absolute()
        if not path.parent.is_dir():
            return Failure(connect_failed("the directory of the database does not exist", path=str(path)))
        if path.is_dir():
            return Failure(connect_failed("the path of the database is a directory", path=str(path)))
        if config.read_only and not path.exists():
            return Failure(connect_failed("a read-only database must exist", path=str(path)))
        encoded = quote(str(path))
        mode = _read_only_mode(path) if config.read_only else "mode=rwc"
    except (OSError, UnicodeError) as exception:
        return Failure(connect_failed(f"the path of the database can't be used: {type(exception).__name__}"))
    return Success(Place(f"file:{encoded}?{mode}", path))


def _read_only_mode(path: Path) -> str:
    """Return how SQLite is to open a file for reading.

    Beside a database in WAL mode even a reader needs a shared-memory file (https://sqlite.org/wal.html#readonly).
    Where it can't make one, and nobody has the database open, the file is read as one that does not change.
    """
    beside = (path.with_name(path.name + ending) for ending in ("-wal", "-shm"))
    if os.access(path.parent, os.W_OK) or any(file.exists() for file in beside):
        return "mode=ro"
    return "mode=ro&immutable=1"


class Opener:
    """Opens the connections of one database, all alike."""

    def __init__(self, place: Place, config: DatabaseConfig) -> None:
        self.place = place
        self.config = config

    def connect(self) -> sqlite3.Connection:
        """Return a bare connection."""
        # busy_timeout 0: waiting inside SQLite could neither be cancelled nor follow the injected clock.
        # isolation_level None: the module must not begin transactions by itself.
        return sqlite3.connect(
            self.place.uri,
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_CACHED_STATEMENTS,
        )

    def open(self, *, writer: bool, patience: Patience) -> sqlite3.Connection:
        """Return a connection that is set up; `patience` repeats a step while the database is locked."""
        connection = self.connect()
        try:
            for pragma in self._pragmas(writer=writer):
                patience(partial(_run, connection, pragma))
            if writer and self.place.path is not None and not self.config.read_only:
                mode = patience(partial(_run, connection, "PRAGMA journal_mode = WAL"))
                if mode != [("wal",)]:
                    _logger.warning(
                        "SQLite can't use WAL for this database, so reads and writes wait for each other"
                    )
            # Opening is lazy: this is what finds a file that is no database.
            patience(partial(_run, connection, "SELECT 1 FROM sqlite_master LIMIT 1"))
        except BaseException:
            connection.close()
            raise
        return connection

    def _pragmas(self, *, writer: bool) -> list[str]:
        config = self.config
        pragmas = [
            f"PRAGMA synchronous = {config.synchronous}",
            f"PRAGMA foreign_keys = {int(config.foreign_keys)}",
            *(f'PRAGMA "{name}" = {value}' for name, value in config.pragmas.items()),
        ]
        if not writer:
            pragmas.append("PRAGMA query_only = 1")
        return pragmas


def _run(connection: sqlite3.Connection, sql: str) -> list[tuple[object, ...]]:
    return connection.execute(sql).fetchall()
