"""An index in a file: FTS5 keeps the words, finds them and ranks them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from qicore.base import Result
from qicore.database import Database, Transaction

from askdocs.model import Hit, Passage
from askdocs.query import full_text_query
from askdocs.words import HEADING_WEIGHT, snippet

__all__ = ["SqliteEngine"]

_SEARCH: Final = f"""
    SELECT documents.id AS document, passages.id AS passage, documents.path, documents.title,
           passages.heading, passages.line, passages.text,
           {snippet("passages_fts")} AS excerpt,
           -bm25(passages_fts, {HEADING_WEIGHT}, 1.0) AS score
    FROM passages_fts
    JOIN passages ON passages.id = passages_fts.rowid
    JOIN documents ON documents.id = passages.document_id
    WHERE passages_fts MATCH ?
    ORDER BY bm25(passages_fts, {HEADING_WEIGHT}, 1.0), passages.id
    LIMIT ? OFFSET ?
"""  # noqa: S608 - only constants are filled in

_COUNT: Final = "SELECT count(*) AS total FROM passages_fts WHERE passages_fts MATCH ?"


class SqliteEngine:
    """A file with its own full-text search."""

    migrations: ClassVar[str] = "sqlite"
    exists: ClassVar[str] = "SELECT count(*) FROM sqlite_master WHERE name = 'passages_fts'"
    size: ClassVar[str] = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"

    async def put_passages(
        self, transaction: Transaction, document: int, passages: Sequence[Passage]
    ) -> Result[int]:
        """Add passages; triggers bring their words into the full-text index."""
        rows = [
            {"document_id": document, "heading": one.heading, "line": one.line, "text": one.text}
            for one in passages
        ]
        return await transaction.bulk_insert("passages", rows)

    async def search(
        self, database: Database, words: Sequence[str], limit: int, offset: int
    ) -> Result[list[Hit]]:
        """Return the best passages."""
        return await database.query(_SEARCH, (full_text_query(words), limit, offset), into=Hit)

    async def count(self, database: Database, words: Sequence[str]) -> Result[int]:
        """Return how many there are."""
        return await database.query_one(_COUNT, (full_text_query(words),), into=int)
