"""The site: a search page for people, and an API for programs."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.resources import files
from typing import Annotated, Final

from fastapi import Depends, Query, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from qicore.base import Failure, QiError, Result, Success
from qicore.web import WebApp, WebConfig
from qicore.web.middleware import (
    access_log,
    compression,
    rate_limit,
    request_id,
    security_headers,
    timeout,
)

from askdocs.adding import add_adding
from askdocs.meaning import find
from askdocs.model import Answer, Document, Opened, Page, Stats
from askdocs.pages import Pages
from askdocs.settings import Settings
from askdocs.store import Index
from askdocs.writer import Writer

__all__ = ["ENVIRONMENT", "create_app", "from_environment", "opened"]

ENVIRONMENT: Final = "ASKDOCS_SITE"
"""The variable in which the server leaves the settings for its workers, as JSON."""

# Nothing from elsewhere and nothing inline.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_STATUSES: Final = {
    "DOCUMENT_NOT_FOUND": 404,
    "EMPTY_QUESTION": 422,
    "FILE_EMPTY": 422,
    "FILE_KIND_UNKNOWN": 422,
    "FILE_MALFORMED": 422,
    "FILE_NOT_TEXT": 422,
    "QUESTION_TOO_LONG": 422,
}
_MAX_QUESTION: Final = 1000
_PER_PAGE: Final = 10
_MAX_PAGE: Final = 1000

Question = Annotated[str, Query(max_length=_MAX_QUESTION, description="in plain words")]
Limit = Annotated[int, Query(ge=1, le=50)]
Offset = Annotated[int, Query(ge=0, le=10_000)]


def from_environment() -> WebApp:
    """Return the site of a worker, with the settings that the server left it."""
    return create_app(Settings.model_validate_json(os.environ[ENVIRONMENT]))


def create_app(settings: Settings) -> WebApp:
    """Return the site on an index, which is opened when the application starts."""

    @asynccontextmanager
    async def lifespan(app: WebApp) -> AsyncGenerator[None]:
        async with (await opened(settings)).unwrap() as index, AsyncExitStack() as stack:
            writer = Writer.create(settings.model)
            if writer.data is not None:
                await stack.enter_async_context(writer.data)
            pages = stack.enter_context(Pages.create(writes=bool(settings.model.name)).unwrap())
            app.raw.state.index, app.raw.state.pages, app.raw.state.writer = index, pages, writer
            yield

    app = WebApp(
        WebConfig(
            title="askdocs",
            version="0.1.0",
            description="Find the passages of documents that answer a question.",
            docs_path="/api",
            statuses=_STATUSES,
            # But for adding documents, everything here is asked by GET.
            max_body_size=0 if settings.serve.token is None else settings.ingest.max_file_size,
        ),
        lifespan=lifespan,
    )
    app.use(
        request_id(),
        access_log(exclude=["/health/", "/static/"]),
        security_headers(content_security_policy=_POLICY),
        compression(),
        rate_limit(settings.serve.rate, 60.0),
        timeout(max(30.0, settings.model.timeout)),
    )
    app.static("/static", str(files("askdocs") / "static"), cache_control="public, max-age=3600")

    async def ready() -> Result[object]:
        index: Index = app.raw.state.index
        return await index.ping()

    app.health({"index": ready})
    _add_api(app)
    if settings.serve.token is not None:
        add_adding(app, settings.serve.token)
    if settings.model.name:
        _add_writing(app, settings.ask.limit)
    _add_pages(app)
    return app


async def opened(settings: Settings) -> Result[Index]:
    """Open the index as it is served: only where documents may be added, it is made when there is none."""
    if settings.serve.token is None:
        return await Index.open(settings.index.path, settings.cache)
    return await Index.create(settings.index.path, settings.cache, durable=True)


def index_of(request: Request) -> Index:
    """Return the open index."""
    index: Index = request.app.state.index
    return index


def pages_of(request: Request) -> Pages:
    """Return what makes pages."""
    pages: Pages = request.app.state.pages
    return pages


Opened_ = Annotated[Index, Depends(index_of)]
Made = Annotated[Pages, Depends(pages_of)]


def _add_api(app: WebApp) -> None:
    api = app.group("/api", tags=["search"])

    @api.get("/search", errors=["EMPTY_QUESTION"])
    async def search(
        index: Opened_, q: Question, limit: Limit = _PER_PAGE, offset: Offset = 0
    ) -> Result[Page]:
        """Return the passages that match a question, the best first.

        In `excerpt` the words that were found stand between U+0002 and U+0003.
        """
        return await index.page(q, limit, offset)

    @api.get("/documents")
    async def documents(index: Opened_, limit: Limit = 20, offset: Offset = 0) -> Result[list[Document]]:
        """Return the documents, those with most passages first."""
        return await index.largest(limit, offset)

    @api.get("/documents/{number}", errors=["DOCUMENT_NOT_FOUND"])
    async def document(index: Opened_, number: int) -> Result[Opened]:
        """Return a document with its passages."""
        return await _document(index, number)

    @api.get("/stats")
    async def stats(index: Opened_) -> Result[Stats]:
        """Return the index in figures."""
        return await index.stats()


def _add_writing(app: WebApp, limit: int) -> None:
    @app.group("/api", tags=["search"]).get("/answer", errors=["EMPTY_QUESTION"])
    async def answer(request: Request, index: Opened_, q: Question) -> Result[StreamingResponse]:
        """Return an answer as the model writes it, as server-sent events.

        `text` has the next piece as a JSON string, `done` the model and its sources, `failed` the code and
        message of what went wrong. One of the last two comes at the end.
        """
        writer: Result[Writer] = request.app.state.writer
        found = await find(index, writer.data, q, limit)
        return found.map(
            lambda known: StreamingResponse(_events(writer, known), media_type="text/event-stream")
        )


async def _events(writer: Result[Writer], answer: Answer) -> AsyncGenerator[str]:
    begun = writer.flat_map(lambda made: made.write(answer.question, answer.hits))
    if begun.error is not None:
        yield _failed(begun.error)
        return
    async with begun.unwrap() as stream:
        async for result in stream:
            match result.variant:
                case Success(chunk):
                    if chunk.text:
                        yield _event("text", chunk.text)
                    if chunk.response is not None:
                        sources = [
                            {"document": hit.document, "passage": hit.passage, "source": hit.source}
                            for hit in answer.hits
                        ]
                        yield _event("done", {"model": chunk.response.model, "sources": sources})
                case Failure(error):
                    yield _failed(error)


def _failed(error: QiError) -> str:
    return _event("failed", {"code": error.code, "message": error.message})


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _add_pages(app: WebApp) -> None:
    pages = app.group("", include_in_schema=False)

    @pages.get("/")
    async def search(
        index: Opened_, made: Made, q: str = "", page: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 1
    ) -> Result[HTMLResponse]:
        question = q.strip()
        if not question:
            return (await index.stats()).flat_map(made.start)
        if len(question) > _MAX_QUESTION:
            return made.refused(
                question[:_MAX_QUESTION],
                QiError.validation("QUESTION_TOO_LONG", f"ask in {_MAX_QUESTION} letters or fewer"),
            )
        found = await index.page(question, _PER_PAGE, (page - 1) * _PER_PAGE)
        match found.variant:
            case Success(part):
                return made.results(part, number=page, per_page=_PER_PAGE)
            case Failure(error):
                return made.refused(question, error) if error.code == "EMPTY_QUESTION" else Failure(error)

    @pages.get("/documents/{number}")
    async def document(index: Opened_, made: Made, number: int, q: str = "") -> Result[HTMLResponse]:
        opened = await _document(index, number)
        return opened.flat_map(lambda found: made.document(found, question=q[:_MAX_QUESTION]))


async def _document(index: Index, number: int) -> Result[Opened]:
    if not 0 < number < 2**63:  # what SQLite has for a number
        return Failure(QiError.validation("DOCUMENT_NOT_FOUND", "there is no such document"))
    return await index.document(number)
