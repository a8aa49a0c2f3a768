"""The index: documents and passages, in a file or on PostgreSQL, found by full-text search."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from qicore.base import Failure, QiError, Result, Success, early_return
from qicore.database import Database, DatabaseConfig, Transaction

from askdocs.engine import Engine
from askdocs.found import Found
from askdocs.model import (
    Answer,
    Asked,
    Document,
    Extract,
    Hit,
    Kind,
    NumberedPassage,
    Opened,
    Page,
    Stats,
    Stored,
)
from askdocs.place import Place, place_of
from askdocs.query import telling_words
from askdocs.settings import CacheSettings
from askdocs.texts import Text

__all__ = ["Index"]

# Of whoever comes first, the row is new; all others wait here until it is there, and find the digest it has.
_CLAIM: Final = """
    INSERT INTO documents (path, title, kind, size, digest, ingested_at) VALUES (?, '', '', 0, '', '')
    ON CONFLICT (path) DO UPDATE SET path = excluded.path
    RETURNING id, digest
"""

_PASSAGES: Final = """
    SELECT documents.id AS document, passages.id AS passage, documents.path, documents.title,
           passages.heading, passages.line, passages.text, substr(passages.text, 1, 300) AS excerpt,
           CAST(0 AS DOUBLE PRECISION) AS score
    FROM passages JOIN documents ON documents.id = passages.document_id
    WHERE passages.id IN ({})
"""

# While the model was asked, a passage may have gone, or another node may have asked, too.
_MEANING: Final = """
    INSERT INTO vectors (passage_id, model, vector) SELECT id, ?, ? FROM passages WHERE id = ?
    ON CONFLICT DO NOTHING
"""

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


_TOTALS: Final = """
    SELECT count(*) AS passages, (SELECT coalesce(sum(size), 0) FROM documents) AS text_size,
           coalesce(sum(1 + length(text) - length(replace(replace(text, ?, ''), ' ', ''))), 0) AS words
    FROM passages
"""

_ASKED: Final = """
    SELECT question, asked_at, hits, seconds FROM questions
    WHERE id IN (SELECT max(id) FROM questions GROUP BY question) ORDER BY id DESC LIMIT ?
"""


class Index:
    """An open index. Close it, or use `async with`.

    With a cache that nodes share, pages of passages are found once for all of them, until a document changes.
    """

    def __init__(self, database: Database, engine: Engine, found: Found | None = None) -> None:
        self._database = database
        self._engine = engine
        self._found = found

    @classmethod
    async def create(
        cls, path: str | Path, cache: CacheSettings | None = None, *, durable: bool = False
    ) -> Result[Index]:
        """Open the index at a path or URL for writing; make it when there is none.

        With `durable`, what was stored in a file survives even a power failure. PostgreSQL's own settings
        decide that for it. Fails with INDEX_FOLDER_NOT_FOUND [FILESYSTEM], and as the database and the cache
        do.
        """
        place = place_of(str(path))
        if place.file is not None and not place.file.parent.is_dir():
            missing = f"there is no folder {place.file.parent} to keep the index in"
            return Failure(QiError.filesystem("INDEX_FOLDER_NOT_FOUND", missing))
        options = DatabaseConfig(synchronous="full" if durable else "normal")
        return await cls._opened(place, options, cache, _migrate)

    @classmethod
    async def open(cls, path: str | Path, cache: CacheSettings | None = None) -> Result[Index]:
        """Open the index at a path or URL for reading.

        Fails with INDEX_NOT_FOUND [FILESYSTEM], and as the database and the cache do.
        """
        place = place_of(str(path))
        if place.file is not None and not place.file.exists():
            return Failure(_not_found(place))
        return await cls._opened(place, DatabaseConfig(read_only=True), cache, _exists)

    @classmethod
    async def _opened(
        cls,
        place: Place,
        options: DatabaseConfig,
        cache: CacheSettings | None,
        prepare: Callable[[Database, Place], Awaitable[Result[None]]],
    ) -> Result[Index]:
        opened = await Database.connect(place.target, options)
        if opened.error is not None:
            return Failure(opened.error)
        database = opened.unwrap()
        prepared = await prepare(database, place)
        found = None
        if prepared.is_success and cache is not None and cache.url is not None:
            made = await Found.create(cache)
            prepared, found = made.map(lambda _: None), made.data
        if prepared.error is not None:
            await database.close()
            return Failure(prepared.error)
        return Success(cls(database, place.engine, found))

    async def close(self) -> Result[None]:
        """Close the database, and the cache."""
        if self._found is not None:
            await self._found.close()
        return await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def digests(self) -> Result[dict[str, str]]:
        """Return the digest of every document in the index, by path."""
        rows = await self._database.query("SELECT path, digest FROM documents", into=tuple)
        return rows.map(lambda found: {path: digest for path, digest in found})  # noqa: C416 - typed pairs

    async def put(self, path: str, kind: str, text: Text, extract: Extract) -> Result[Stored]:
        """Add a document, or put it in the place of its earlier self; all of it or nothing.

        One that is there already, word for word, is left as it is. Documents keep their numbers.
        """

        @early_return
        async def replace_in(transaction: Transaction) -> Result[Stored]:
            claimed = (await transaction.query_one(_CLAIM, (path,))).unwrap()
            number, digest = int(claimed["id"]), str(claimed["digest"])
            count = len(extract.passages)
            if digest == text.digest:
                return Success(Stored(number=number, change="unchanged", passages=count))
            facts = {
                "title": extract.title,
                "kind": kind,
                "size": text.size,
                "digest": text.digest,
                "ingested_at": _now(),
            }
            (await transaction.update("documents", {"id": number}, facts)).unwrap()
            (await transaction.delete("passages", {"document_id": number})).unwrap()
            (await self._engine.put_passages(transaction, number, extract.passages)).unwrap()
            return Success(Stored(number=number, change="updated" if digest else "added", passages=count))

        async with self._changing():
            return await self._database.transaction(replace_in)

    async def remove(self, paths: Iterable[str]) -> Result[int]:
        """Remove documents; return how many there were."""
        async with self._changing():
            return await self._database.delete("documents", {"path": list(paths)})

    @asynccontextmanager
    async def _changing(self) -> AsyncGenerator[None]:
        """Let what was found before be forgotten, whatever comes of it.

        A commit whose answer was lost, or that nobody waited for, may have been carried out; and whoever
        stored a document that is found unchanged may have ended before it could say so.
        """
        try:
            yield
        finally:
            if self._found is not None:
                await self._found.forget()

    async def search(self, question: str, limit: int, offset: int = 0) -> Result[Answer]:
        """Return the best passages, from `offset` on.

        Fails with EMPTY_QUESTION [VALIDATION], and as the database does.
        """
        start = time.perf_counter()
        found = await telling_words(question).flat_map_async(
            lambda words: self._engine.search(self._database, words, limit, offset)
        )
        return found.map(
            lambda hits: Answer(question=question, hits=tuple(hits), seconds=time.perf_counter() - start)
        )

    async def page(self, question: str, limit: int, offset: int) -> Result[Page]:
        """Return a part of the passages, and how many there are. Fails as `search` does."""
        start = time.perf_counter()

        async def find() -> Result[Page]:
            return await self._page(question, limit, offset)

        page = await (find() if self._found is None else self._found.page(question, limit, offset, find))
        seconds = time.perf_counter() - start
        return page.map(lambda found: replace(found, answer=replace(found.answer, seconds=seconds)))

    @early_return
    async def _page(self, question: str, limit: int, offset: int) -> Result[Page]:
        words = telling_words(question).unwrap()
        total = (await self._engine.count(self._database, words)).unwrap()
        answer = await self.search(question, limit, offset)
        return answer.map(lambda found: Page(answer=found, offset=offset, total=total))

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
        """Keep what passages mean, of those that are still there; all of it or nothing."""
        rows = [(model, vector, number) for number, vector in meanings]
        return (await self._database.execute_many(_MEANING, rows)).map(lambda _: None)

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
        return await self._database.query(_ASKED, (limit,), into=Asked)

    async def largest(self, limit: int, offset: int = 0) -> Result[list[Document]]:
        """Return the documents with most passages, from `offset` on."""
        return await self._database.query(_LARGEST, (limit, offset), into=Document)

    @early_return
    async def stats(self) -> Result[Stats]:
        """Return the index in figures."""
        kinds = (await self._database.query(_KINDS, into=Kind)).unwrap()
        totals = (await self._database.query_one(_TOTALS, ("\n",))).unwrap()
        size = (await self._database.query_one(self._engine.size, into=int)).unwrap()
        return Success(
            Stats(
                documents=sum(kind.documents for kind in kinds),
                passages=totals["passages"],
                words=int(totals["words"]),
                text_size=int(totals["text_size"]),
                index_size=size,
                kinds=tuple(kinds),
            )
        )


async def _migrate(database: Database, place: Place) -> Result[None]:
    with as_file(files("askdocs") / "migrations" / place.engine.migrations) as folder:
        return (await database.migrate(folder)).map(lambda _: None)


async def _exists(database: Database, place: Place) -> Result[None]:
    there = await database.query_one(place.engine.exists, into=int)
    return there.flat_map(lambda yes: Success(None) if yes else Failure(_not_found(place)))


def _not_found(place: Place) -> QiError:
    missing = f"there is no index at {place}"
    return QiError.filesystem("INDEX_NOT_FOUND", missing, hint="make one: askdocs ingest PATH")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
