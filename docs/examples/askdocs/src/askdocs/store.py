"""The index: documents and passages in SQLite, found by full-text search."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from qicore.base import Failure, QiError, Result, Success
from qicore.database import Database, DatabaseConfig, Row, Transaction

from askdocs.model import Answer, Asked, Document, Extract, Hit, Kind, NumberedPassage, Opened, Page, Stats
from askdocs.query import FOUND_END, FOUND_START, full_text_query
from askdocs.texts import Text

__all__ = ["Index"]

# A word in a heading says more about a passage than one in its text.
_WEIGHTS: Final = "8.0, 1.0"

_SEARCH: Final = f"""
    SELECT documents.id AS document, passages.id AS passage, documents.path, documents.title,
           passages.heading, passages.line, passages.text,
           snippet(passages_fts, 1, '{FOUND_START}', '{FOUND_END}', ' … ', 48) AS excerpt,
           -bm25(passages_fts, {_WEIGHTS}) AS score
    FROM passages_fts
    JOIN passages ON passages.id = passages_fts.rowid
    JOIN documents ON documents.id = passages.document_id
    WHERE passages_fts MATCH ?
    ORDER BY bm25(passages_fts, {_WEIGHTS}), passages.id
    LIMIT ? OFFSET ?
"""  # noqa: S608 - only constants of this module are filled in

_PASSAGES: Final = """
    SELECT documents.id AS document, passages.id AS passage, documents.path, documents.title,
           passages.heading, passages.line, passages.text, substr(passages.text, 1, 300) AS excerpt,
           0.0 AS score
    FROM passages JOIN documents ON documents.id = passages.document_id
    WHERE passages.id IN ({})
"""

_COUNT: Final = "SELECT count(*) AS total FROM passages_fts WHERE passages_fts MATCH ?"

_KINDS: Final = """
    SELECT kind, count(DISTINCT documents.id) AS documents, count(passages.id) AS passages
    FROM documents LEFT JOIN passages ON passages.document_id = documents.id
    GROUP BY kind ORDER BY passages DESC, kind
"""

_LARGEST: Final = """
    SELECT documents.id AS number, path, title, kind, size, count(passages.id) AS passages
    FROM documents LEFT JOIN passages ON passages.document_id = documents.id
    GROUP BY documents.id ORDER BY passages DESC, path LIMIT ? OFFSET ?
"""

_DOCUMENT: Final = """
    SELECT documents.id AS number, path, title, kind, size, count(passages.id) AS passages
    FROM documents LEFT JOIN passages ON passages.document_id = documents.id
    WHERE documents.id = ? GROUP BY documents.id
"""


class Index:
    """An open index. Close it, or use `async with`."""

    def __init__(self, database: Database, path: Path) -> None:
        self._database = database
        self._path = path

    @classmethod
    async def create(cls, path: Path) -> Result[Index]:
        """Open the index at `path` for writing; make it when there is none.

        Fails with INDEX_FOLDER_NOT_FOUND [FILESYSTEM], and as the database does.
        """
        if not path.parent.is_dir():
            missing = f"there is no folder {path.parent} to keep the index in"
            return Failure(QiError.filesystem("INDEX_FOLDER_NOT_FOUND", missing))
        opened = await Database.connect(path, DatabaseConfig(synchronous="normal"))
        return await opened.flat_map_async(lambda database: cls._migrated(database, path))

    @classmethod
    async def open(cls, path: Path) -> Result[Index]:
        """Open the index at `path` for reading.

        Fails with INDEX_NOT_FOUND [FILESYSTEM], and as the database does.
        """
        if not path.exists():  # noqa: ASYNC240 - as quick as the call that follows
            missing = f"there is no index at {path}"
            return Failure(
                QiError.filesystem("INDEX_NOT_FOUND", missing, hint="make one: askdocs ingest PATH")
            )
        opened = await Database.connect(path, DatabaseConfig(read_only=True))
        return opened.map(lambda database: cls(database, path))

    @classmethod
    async def _migrated(cls, database: Database, path: Path) -> Result[Index]:
        with as_file(files("askdocs") / "migrations") as directory:
            migrated = await database.migrate(directory)
        if migrated.error is not None:
            await database.close()
            return Failure(migrated.error)
        return Success(cls(database, path))

    async def close(self) -> Result[None]:
        """Close the index. Idempotent."""
        return await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def digests(self) -> Result[dict[str, str]]:
        """Return the digest of every document in the index, by path."""
        rows = await self._database.query("SELECT path, digest FROM documents", into=tuple)
        return rows.map(lambda found: {path: digest for path, digest in found})  # noqa: C416 - typed pairs

    async def put(self, path: str, kind: str, text: Text, extract: Extract) -> Result[None]:
        """Add a document, or put it in the place of its earlier self; all of it or nothing."""

        async def replace(transaction: Transaction) -> Result[int]:
            (await transaction.delete("documents", {"path": path})).unwrap()
            document = await transaction.create(
                "documents",
                {
                    "path": path,
                    "title": extract.title,
                    "kind": kind,
                    "size": text.size,
                    "digest": text.digest,
                    "ingested_at": _now(),
                },
            )
            number = document.unwrap()["id"]
            rows = [
                {"document_id": number, "heading": one.heading, "line": one.line, "text": one.text}
                for one in extract.passages
            ]
            return await transaction.bulk_insert("passages", rows)

        return (await self._database.transaction(replace)).map(lambda _: None)

    async def remove(self, paths: Iterable[str]) -> Result[int]:
        """Remove documents; return how many there were."""
        return await self._database.delete("documents", {"path": list(paths)})

    async def search(self, question: str, limit: int, offset: int = 0) -> Result[Answer]:
        """Return the best passages, from `offset` on.

        Fails with EMPTY_QUESTION [VALIDATION], and as the database does.
        """
        start = time.perf_counter()
        query = full_text_query(question)
        found = await query.flat_map_async(
            lambda text: self._database.query(_SEARCH, (text, limit, offset), into=Hit)
        )
        return found.map(
            lambda hits: Answer(question=question, hits=tuple(hits), seconds=time.perf_counter() - start)
        )

    async def page(self, question: str, limit: int, offset: int) -> Result[Page]:
        """Return a part of the passages, and how many there are. Fails as `search` does."""
        total = await full_text_query(question).flat_map_async(
            lambda text: self._database.query_one(_COUNT, (text,))
        )
        if total.error is not None:
            return Failure(total.error)
        answer = await self.search(question, limit, offset)
        return answer.map(lambda found: Page(answer=found, offset=offset, total=total.unwrap()["total"]))

    async def document(self, number: int) -> Result[Opened]:
        """Return a document with its passages. Fails with DOCUMENT_NOT_FOUND [VALIDATION]."""
        found = (await self._database.query(_DOCUMENT, (number,), into=Document)).flat_map(
            lambda documents: Result.from_optional(
                documents[0] if documents else None,
                QiError.validation("DOCUMENT_NOT_FOUND", f"there is no document {number}"),
            )
        )
        if found.error is not None:
            return Failure(found.error)
        passages = await self._database.query(
            "SELECT id AS number, heading, line, text FROM passages WHERE document_id = ? ORDER BY id",
            (number,),
            into=NumberedPassage,
        )
        return passages.map(lambda rows: Opened(document=found.unwrap(), passages=tuple(rows)))

    async def hits(self, passages: Sequence[int]) -> Result[list[Hit]]:
        """Return these passages, in this order, with the beginning of their text as excerpt."""
        marks = ", ".join("?" * len(passages)) or "NULL"
        found = await self._database.query(_PASSAGES.format(marks), tuple(passages), into=Hit)
        places = {number: place for place, number in enumerate(passages)}
        return found.map(lambda hits: sorted(hits, key=lambda hit: places[hit.passage]))

    async def without_meaning(self, model: str, limit: int) -> Result[list[NumberedPassage]]:
        """Return passages that a model has not told the meaning of."""
        return await self._database.query(
            "SELECT id AS number, heading, line, text FROM passages WHERE NOT EXISTS"
            " (SELECT 1 FROM vectors WHERE passage_id = passages.id AND model = ?) ORDER BY id LIMIT ?",
            (model, limit),
            into=NumberedPassage,
        )

    async def put_meanings(self, model: str, meanings: Iterable[tuple[int, bytes]]) -> Result[None]:
        """Keep what passages mean; all of it or nothing."""
        rows = [{"passage_id": number, "model": model, "vector": vector} for number, vector in meanings]
        return (await self._database.bulk_insert("vectors", rows)).map(lambda _: None)

    async def meanings(self, model: str) -> Result[list[tuple[int, bytes]]]:
        """Return what passages mean to a model, by their numbers."""
        rows = await self._database.query(
            "SELECT passage_id, vector FROM vectors WHERE model = ? ORDER BY passage_id", (model,), into=tuple
        )
        return rows.map(lambda found: [(int(number), bytes(vector)) for number, vector in found])

    async def ping(self) -> Result[None]:
        """Return a Success when the index can be read."""
        return (await self._database.query_one("SELECT 1 AS one")).map(lambda _: None)

    async def remember(self, answer: Answer) -> Result[None]:
        """Keep the question, for the report."""
        row = {
            "question": answer.question,
            "asked_at": _now(),
            "hits": len(answer.hits),
            "seconds": answer.seconds,
        }
        return (await self._database.create("questions", row)).map(lambda _: None)

    async def asked(self, limit: int) -> Result[list[Asked]]:
        """Return the questions asked last, each once, the latest first."""
        return await self._database.query(
            "SELECT question, max(asked_at) AS asked_at, hits, seconds FROM questions"
            " GROUP BY question ORDER BY max(id) DESC LIMIT ?",
            (limit,),
            into=Asked,
        )

    async def largest(self, limit: int, offset: int = 0) -> Result[list[Document]]:
        """Return the documents with most passages, from `offset` on."""
        return await self._database.query(_LARGEST, (limit, offset), into=Document)

    async def stats(self) -> Result[Stats]:
        """Return the index in figures."""
        kinds = await self._database.query(_KINDS, into=Kind)
        totals = await self._database.query_one(
            "SELECT count(*) AS passages,"
            " total(1 + length(text) - length(replace(replace(text, char(10), ''), ' ', ''))) AS words,"
            " (SELECT coalesce(sum(size), 0) FROM documents) AS text_size"
            " FROM passages"
        )
        return kinds.flat_map(lambda found: totals.map(lambda row: self._stats(found, row)))

    def _stats(self, kinds: Sequence[Kind], totals: Row) -> Stats:
        return Stats(
            documents=sum(kind.documents for kind in kinds),
            passages=totals["passages"],
            words=int(totals["words"]),
            text_size=totals["text_size"],
            index_size=self._path.stat().st_size,
            kinds=tuple(kinds),
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
