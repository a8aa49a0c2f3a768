"""The pages of the site: from what was found to HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse
from qicore.base import QiError, Result
from qicore.document import DocumentConfig, DocumentGenerator

from askdocs.model import Opened, Page, Stats
from askdocs.query import marked
from askdocs.report import duration, number, size

__all__ = ["Pages"]

_AROUND = 2


class Pages:
    """Makes pages of templates."""

    def __init__(self, generator: DocumentGenerator, writes: bool) -> None:
        self._generator = generator
        self._writes = writes

    @classmethod
    def create(cls, *, writes: bool) -> Result[Pages]:
        """Return what makes pages, with a place for what a model writes; it fails as the generator does."""
        filters: dict[str, Callable[..., Any]] = {
            "duration": duration,
            "marked": marked,
            "number": number,
            "size": size,
        }
        options = DocumentConfig(packages=("askdocs",), filters=filters, functions={"link": link})
        return DocumentGenerator.create(options).map(lambda generator: cls(generator, writes))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._generator.close()

    def start(self, stats: Stats) -> Result[HTMLResponse]:
        """Return the page on which nothing was asked yet."""
        return self._made("search.html", {"question": "", "stats": stats})

    def results(self, page: Page, *, number: int, per_page: int) -> Result[HTMLResponse]:
        """Return one page of what was found."""
        last = max(1, -(-page.total // per_page))
        around = range(max(1, number - _AROUND), min(last, number + _AROUND) + 1)
        facts = {"question": page.answer.question, "page": page, "number": number, "last": last}
        return self._made("search.html", {**facts, "around": list(around), "offset": page.offset})

    def refused(self, question: str, error: QiError) -> Result[HTMLResponse]:
        """Return the page for a question that can't be answered."""
        facts = {"question": question, "problem": error.message}
        return self._made("search.html", facts, HTTPStatus.UNPROCESSABLE_ENTITY)

    def document(self, opened: Opened, *, question: str) -> Result[HTMLResponse]:
        """Return the page of a document."""
        return self._made("document.html", {"opened": opened, "question": question})

    def _made(
        self, template: str, facts: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK
    ) -> Result[HTMLResponse]:
        nothing = {"stats": None, "page": None, "problem": None, "writes": self._writes}
        made = self._generator.generate(template, {**nothing, **facts})
        return made.map(lambda text: HTMLResponse(text, status))


def link(path: str, **query: object) -> str:
    """Return a path with a query, of what is not empty.

    >>> link("/", q="a & b", page=2)
    '/?q=a+%26+b&page=2'
    """
    given = {name: value for name, value in query.items() if value not in ("", None)}
    return f"{path}?{urlencode(given)}" if given else path
