"""Where an index is kept: in a file, or on PostgreSQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from askdocs.engine import Engine
from askdocs.on_sqlite import SqliteEngine

__all__ = ["Place", "place_of"]

_SERVERS: Final = ("postgresql://", "postgres://")
_FILE: Final = "sqlite:///"
_QUERY: Final = re.compile(r"\?[^/@=]*=")


@dataclass(frozen=True, slots=True)
class Place:
    """What `index.path` says."""

    target: str
    file: Path | None
    """None on PostgreSQL."""

    @property
    def engine(self) -> Engine:
        """What an index needs to be kept there."""
        if self.file is not None:
            return SqliteEngine()
        from askdocs.on_postgresql import PostgresEngine

        return PostgresEngine()

    @property
    def pages(self) -> Path:
        """Where the pages of sites are kept, if nothing else is said: beside the index, or here."""
        return Path("askdocs-pages") if self.file is None else self.file.with_name(f"{self.file.name}-pages")

    def __str__(self) -> str:
        """Return the place for people, without the password or whatever else a URL may say.

        >>> str(place_of("postgresql://app:secret@db.example:5432/docs?sslmode=require"))
        'postgresql://db.example:5432/docs'
        """
        if self.file is not None:
            return str(self.file)
        server, slash, rest = self.target.partition("://")[2].partition("/")
        # As libpq reads it, a user ends at an @ before the first slash; what is in a query is none.
        shown = _QUERY.split(server.rpartition("@")[2] + slash + rest)[0]
        return "postgresql://" + shown.rpartition("@")[2].partition("?")[0]


def place_of(path: str) -> Place:
    """Return the place that a path or a URL names; ValueError for a URL of another kind.

    >>> place_of("sqlite:///askdocs.db").file, place_of("/var/lib/askdocs.db").file
    (PosixPath('askdocs.db'), PosixPath('/var/lib/askdocs.db'))
    >>> place_of("postgresql://db.example/docs").file is None
    True
    """
    if path.startswith(_SERVERS):
        return Place(path, None)
    if "://" in path.removeprefix(_FILE):
        raise ValueError("an index is in a file, at sqlite:///PATH, or at postgresql://HOST/DATABASE")
    file = Path(unquote(path.removeprefix(_FILE)) if path.startswith(_FILE) else path)
    return Place(str(file), file)
