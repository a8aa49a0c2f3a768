"""Bring the index up to date: with files, and with the pages of a site."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from qicore.base import QiError, Result, Success, collect, early_return
from qicore.logging import Logger

from askdocs.crawl import Page, Progress, crawl
from askdocs.extract import take_apart
from askdocs.files import find_files, gone_files, read_file
from askdocs.links import is_url, page_url
from askdocs.model import Extract, IngestSummary, Skipped
from askdocs.settings import Settings
from askdocs.store import Index
from askdocs.texts import Text
from askdocs.web import Web

__all__ = ["ingest"]

# What a site answers when a page is no more (RFC 9110, 15.5.5 and 15.5.11).
_GONE: Final = (404, 410)
_ELSEWHERE: Final = ("REDIRECTED_AWAY", "ROBOTS_DISALLOWED", "ROBOTS_NOINDEX")


@early_return
async def ingest(
    index: Index,
    targets: Sequence[str],
    *,
    settings: Settings,
    progress: Progress,
    log: Logger,
) -> Result[IngestSummary]:
    """Bring the index up to date with files, folders and sites. What can't be read is skipped and told of.

    Each document is stored whole or not at all, so whatever ends this early leaves an index that holds. Fails
    with PATH_NOT_FOUND [FILESYSTEM] or INVALID_URL [VALIDATION] before anything is done, and as the database
    does.
    """
    start = time.perf_counter()
    paths = [Path(target) for target in targets if not is_url(target)]
    sites = collect(page_url(target) for target in targets if is_url(target)).unwrap()
    files = (await asyncio.to_thread(find_files, paths)).unwrap()
    keeper = _Keeper(index, (await index.digests()).unwrap(), log)
    for done, file in enumerate(files):
        progress(done, len(files), file.name)
        name = str(file)
        read = await asyncio.to_thread(read_file, file, settings.ingest.max_file_size, keeper.known.get(name))
        (await keeper.keep(name, file.suffix, read)).unwrap()
    keeper.gone += gone_files(
        keeper.known, paths, set(map(str, files)), {one.source for one in keeper.skipped}
    )
    if sites:
        (await _crawl(sites, keeper, settings, progress)).unwrap()
    return (await keeper.finish()).map(lambda _: keeper.summary(time.perf_counter() - start))


@early_return
async def _crawl(
    sites: Sequence[str], keeper: _Keeper, settings: Settings, progress: Progress
) -> Result[None]:
    options = settings.ingest
    cache = settings.index.place.pages
    async with (await Web.create(settings.web, cache, options.max_file_size)).unwrap() as web:
        for site in dict.fromkeys(sites):
            crawled = await crawl(
                site,
                known=tuple(keeper.known),
                fetch=web.fetch,
                visit=keeper.visit,
                progress=progress,
                max_pages=options.max_pages,
                depth=options.depth,
                at_once=options.at_once,
            )
            crawled.unwrap()
    return Success(None)


class _Keeper:
    """Puts what was read into the index, and counts."""

    def __init__(self, index: Index, known: dict[str, str], log: Logger) -> None:
        self.known = known
        self.skipped: list[Skipped] = []
        self.gone: list[str] = []
        self._index = index
        self._log = log
        self._added = self._updated = self._unchanged = self._removed = self._passages = 0

    async def visit(self, url: str, result: Result[Page]) -> Result[None]:
        """Keep a page, under the URL that it was found at in the end."""
        if result.error is not None:
            gone = result.error.context.get("status") in _GONE or result.error.code in _ELSEWHERE
            if gone and url in self.known:
                self.gone.append(url)
            return await self.keep(url, "", result.map(lambda _: None))
        page = result.unwrap()
        if page.url != url and url in self.known:
            self.gone.append(url)  # it moved
        if page.text.digest == self.known.get(page.url):
            return await self.keep(page.url, page.path.suffix, Success(None))
        taken = await asyncio.to_thread(take_apart, page.path, page.text.text)
        return await self.keep(page.url, page.path.suffix, taken.map(lambda extract: (page.text, extract)))

    async def keep(self, name: str, suffix: str, read: Result[tuple[Text, Extract] | None]) -> Result[None]:
        """Put a document into the index, or count it as unchanged or skipped; fails as the database does."""
        if read.error is not None:
            self._skip(name, read.error)
            return Success(None)
        document = read.unwrap()
        if document is None:
            self._unchanged += 1
            return Success(None)
        text, extract = document
        stored = await self._index.put(name, suffix.lower()[1:], text, extract)
        if stored.is_success:
            self._log.debug("stored", source=name, passages=len(extract.passages))
            self._passages += len(extract.passages)
            self._updated += name in self.known
            self._added += name not in self.known
            self.known[name] = text.digest
        return stored.map(lambda _: None)

    def _skip(self, name: str, error: QiError) -> None:
        self.skipped.append(Skipped(source=name, code=error.code, reason=error.message))
        self._log.info("skipped", source=name, error=error)

    async def finish(self) -> Result[None]:
        """Remove what is gone."""
        if not self.gone:
            return Success(None)
        removed = await self._index.remove(self.gone)
        self._removed = removed.unwrap_or(0)
        return removed.map(lambda _: None)

    def summary(self, seconds: float) -> IngestSummary:
        """Return what was done, in figures."""
        return IngestSummary(
            added=self._added,
            updated=self._updated,
            unchanged=self._unchanged,
            removed=self._removed,
            passages=self._passages,
            skipped=tuple(self.skipped),
            seconds=seconds,
        )
