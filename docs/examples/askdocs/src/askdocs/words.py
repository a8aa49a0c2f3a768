"""Words as SQLite's full-text search sees them, for an index that is kept elsewhere.

The index on PostgreSQL takes texts apart and cuts excerpts by the very code that the one in a file does, in a
database in memory; so a question finds the same passages in both, in the same order.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from askdocs.query import FOUND_END, FOUND_START, full_text_query

__all__ = ["HEADING_WEIGHT", "Placed", "excerpts", "phrases", "placed", "snippet"]

HEADING_WEIGHT: Final = 8.0
"""A word in a heading says more about a passage than one in its text, which counts 1."""

# As migrations/sqlite/0001_index.sql has it.
_TABLE: Final = (
    "CREATE VIRTUAL TABLE passages USING fts5"
    " (heading, text, tokenize = 'porter unicode61 remove_diacritics 2')"
)
_HEADING: Final = b"heading"
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Placed:
    """The words of a passage, each with its places; see migrations/postgresql/0001_index.sql."""

    places: dict[str, list[int]] = field(default_factory=dict[str, list[int]])

    @property
    def count(self) -> int:
        """How many words there are."""
        return sum(map(len, self.places.values()))


def placed(passages: Sequence[tuple[str, str]]) -> list[Placed]:
    """Return where the words of passages stand, each a heading and a text.

    >>> placed([("Caching", "The cached caches")])[0].places
    {'cach': [-2, 1, 2], 'the': [0]}
    """
    found = [Placed() for _ in passages]
    with _table(passages) as connection:
        instances = list(_instances(connection))
    headings = Counter(number for number, column, _, _ in instances if column == _HEADING)
    for number, column, place, term in instances:
        at = place - headings[number] - 1 if column == _HEADING else place
        found[number].places.setdefault(term, []).append(at)
    return found


def phrases(words: Sequence[str]) -> list[list[str]]:
    """Return the terms of each word; those of one such as `from_try_catch` are several, in a row.

    >>> phrases(["tasks", "from_try_catch", "__"])
    [['task'], ['from', 'try', 'catch'], []]
    """
    found: list[list[str]] = [[] for _ in words]
    with _table([("", word) for word in words]) as connection:
        for number, _, _, term in _instances(connection):
            found[number].append(term)
    return found


def excerpts(words: Sequence[str], passages: Sequence[tuple[str, str]]) -> list[str]:
    r"""Return of each passage the part in which the words are found, marked.

    >>> excerpts(["cache"], [("", "a cache"), ("Caches", "they keep")])
    ['a \x02cache\x03', 'they keep']
    """
    sql = f"SELECT rowid, {snippet('passages')} FROM passages WHERE passages MATCH ?"  # noqa: S608 - constants
    with _table(passages) as connection:
        cut = dict(connection.execute(sql, (full_text_query(words),)))
    return [cut[number].decode() for number in range(len(passages))]


def snippet(table: str) -> str:
    """Return the SQL of an excerpt; its text is the second column."""
    return f"snippet({table}, 1, '{FOUND_START}', '{FOUND_END}', ' … ', 48)"


@contextmanager
def _table(passages: Iterable[tuple[str, str]]) -> Generator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.text_factory = bytes  # a very long word is cut off, maybe within a letter
        connection.execute(_TABLE)
        connection.executemany(
            "INSERT INTO passages (rowid, heading, text) VALUES (?, ?, ?)",
            ((number, heading, text) for number, (heading, text) in enumerate(passages)),
        )
        yield connection


def _instances(connection: sqlite3.Connection) -> Generator[tuple[int, bytes, int, str]]:
    """Give passage, column, place and term of each word."""
    connection.execute("CREATE VIRTUAL TABLE instances USING fts5vocab (passages, 'instance')")
    for number, column, place, term in connection.execute(
        'SELECT doc, col, "offset", term FROM instances ORDER BY doc, col, "offset"'
    ):
        yield number, column, place, _term(term)


def _term(term: bytes) -> str:
    # An index of PostgreSQL takes no longer ones; nobody asks for them but by the whole.
    return term.decode() if len(term) <= _LONGEST else sha256(term).hexdigest()
