"""An index on PostgreSQL: which word stands where is kept in a table, and BM25 computed from it.

The formula is that of FTS5 (https://www.sqlite.org/fts5.html#the_bm25_function), step by step; the words are
FTS5's, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Final

from qicore.base import Result, Success, early_return
from qicore.database import Database, Transaction

from askdocs.model import Hit, Passage
from askdocs.words import HEADING_WEIGHT, excerpts, phrases, placed

__all__ = ["PostgresEngine"]

# A word of the question may be several terms, which must stand in a row.
_FOUND: Final = """
    WITH wanted AS (
        SELECT * FROM unnest(?::int[], ?::int[], ?::int[], ?::text[]) AS one (phrase, number, size, term)
    ), starts AS (
        SELECT phrase, passage_id, place - number AS start
        FROM wanted JOIN postings USING (term) CROSS JOIN LATERAL unnest(places) AS every (place)
        GROUP BY phrase, passage_id, start, size HAVING count(*) = size
    )
"""

_SEARCH: Final = f"""
    {_FOUND}, found AS (
        SELECT phrase, passage_id,
               sum(CASE WHEN start < 0 THEN {HEADING_WEIGHT} ELSE 1.0 END)::float8 AS frequency
        FROM starts GROUP BY phrase, passage_id
    ), totals AS (
        SELECT sum(passage_count)::float8 AS passages,
               sum(word_count)::float8 / sum(passage_count)::float8 AS average
        FROM documents
    ), weights AS (
        SELECT phrase, greatest(ln((passages - count(*) + 0.5) / (count(*) + 0.5)), 1e-6::float8) AS weight
        FROM found CROSS JOIN totals GROUP BY phrase, passages
    ), ranked AS (
        SELECT passages.id, sum(
            weight * (frequency * (1.2::float8 + 1.0) / (
                frequency + 1.2::float8 * (1 - 0.75::float8 + 0.75::float8 * word_count / average)
            )) ORDER BY phrase
        ) AS score
        FROM found JOIN weights USING (phrase) JOIN passages ON passages.id = passage_id CROSS JOIN totals
        GROUP BY passages.id ORDER BY score DESC, passages.id LIMIT ? OFFSET ?
    )
    SELECT documents.id AS document, passages.id AS passage, path, title, heading, line, text,
           '' AS excerpt, score
    FROM ranked JOIN passages USING (id) JOIN documents ON documents.id = document_id
    ORDER BY score DESC, passages.id
"""  # noqa: S608 - only constants are filled in

_COUNT: Final = f"{_FOUND} SELECT count(DISTINCT passage_id) FROM starts"  # noqa: S608 - constants

_NUMBERS: Final = "SELECT nextval('passages_id_seq') FROM generate_series(1, ?::int)"


class PostgresEngine:
    """Tables of a server that many nodes share."""

    migrations: ClassVar[str] = "postgresql"
    exists: ClassVar[str] = "SELECT (to_regclass('postings') IS NOT NULL)::int"
    size: ClassVar[str] = """
        SELECT sum(pg_total_relation_size(name::regclass))::bigint
        FROM unnest(ARRAY['documents', 'passages', 'postings', 'questions', 'vectors']) AS one (name)
    """

    @early_return
    async def put_passages(
        self, transaction: Transaction, document: int, passages: Sequence[Passage]
    ) -> Result[int]:
        """Add passages, where each of their words stands, and how many there are."""
        words = await asyncio.to_thread(placed, [(one.heading, one.text) for one in passages])
        numbers = sorted((await transaction.query(_NUMBERS, (len(passages),), into=int)).unwrap())
        added = await transaction.bulk_insert(
            "passages",
            [
                {
                    "id": number,
                    "document_id": document,
                    "heading": one.heading,
                    "line": one.line,
                    "text": one.text,
                    "word_count": placed.count,
                }
                for number, one, placed in zip(numbers, passages, words, strict=True)
            ],
        )
        added.unwrap()
        postings = [
            {"term": term, "passage_id": number, "places": places}
            for number, one in zip(numbers, words, strict=True)
            for term, places in one.places.items()
        ]
        (await transaction.bulk_insert("postings", postings)).unwrap()
        totals = {"passage_count": len(passages), "word_count": sum(one.count for one in words)}
        (await transaction.update("documents", {"id": document}, totals)).unwrap()
        return added

    @early_return
    async def search(
        self, database: Database, words: Sequence[str], limit: int, offset: int
    ) -> Result[list[Hit]]:
        """Return the best passages; FTS5 cuts their excerpts, which only it knows how to."""
        wanted = await asyncio.to_thread(_wanted, words)
        hits = (await database.query(_SEARCH, (*wanted, limit, offset), into=Hit)).unwrap()
        texts = [(hit.heading, hit.text) for hit in hits]
        parts = await asyncio.to_thread(excerpts, words, texts)
        return Success([replace(hit, excerpt=part) for hit, part in zip(hits, parts, strict=True)])

    async def count(self, database: Database, words: Sequence[str]) -> Result[int]:
        """Return how many there are."""
        return await database.query_one(_COUNT, await asyncio.to_thread(_wanted, words), into=int)


def _wanted(words: Sequence[str]) -> tuple[list[int], list[int], list[int], list[str]]:
    """Return the terms that are looked for, as columns: phrase, number within it, its size, term.

    >>> _wanted(["tasks", "from_try"])
    ([0, 1, 1], [0, 0, 1], [1, 2, 2], ['task', 'from', 'try'])
    """
    rows = [
        (phrase, number, len(terms), term)
        for phrase, terms in enumerate(phrases(words))
        for number, term in enumerate(terms)
    ]
    return (
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
    )
