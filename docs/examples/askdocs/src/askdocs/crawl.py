"""Read a site page by page: from where it starts to all that lies below it, several pages at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from qicore.base import Failure, QiError, Result, Success

from askdocs.links import folder
from askdocs.texts import Text

__all__ = ["Fetch", "Page", "Progress", "Visit", "crawl"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page as it was found. `path` names its kind by its suffix; `links` are whole URLs."""

    url: str
    path: PurePosixPath
    text: Text
    links: tuple[str, ...]


Fetch = Callable[[str], Awaitable[Result[Page]]]
"""Gets one page."""
Visit = Callable[[str, Result[Page]], Awaitable[Result[None]]]
"""Takes each page, or why it could not be had, one at a time; a Failure of its own ends the crawl."""
Progress = Callable[[int, int, str], object]
"""Told before each document: how many are done, how many there are so far, and which one is next."""


@dataclass(frozen=True, slots=True)
class _Step:
    url: str
    depth: int


async def crawl(
    start: str,
    *,
    known: Iterable[str],
    fetch: Fetch,
    visit: Visit,
    progress: Progress,
    max_pages: int,
    depth: int,
    at_once: int,
) -> Result[None]:
    """Fetch the page at `start`, what it links to in the same folder, and so on for `depth` steps.

    Pages `known` from an earlier time are looked at again when nothing else is left. At most `max_pages` are
    fetched in all, `at_once` at a time. One that leads elsewhere is REDIRECTED_AWAY. Fails as `visit` does.
    """
    first = await fetch(start)
    visited = await visit(start, first)
    if visited.is_failure or first.error is not None:
        return visited
    page = first.unwrap()
    place = folder(page.url)
    seen = {start, page.url}
    waiting: deque[_Step] = deque()
    later = sorted(url for url in known if url.startswith(place))
    running: dict[asyncio.Task[Result[Page]], _Step] = {}
    done = 1

    def found(page: Page, steps: int) -> None:
        for link in page.links:
            if steps < depth and link.startswith(place) and link not in seen:
                seen.add(link)
                waiting.append(_Step(link, steps + 1))

    def following() -> _Step | None:
        if not waiting and not running:
            waiting.extend(_Step(url, depth) for url in later if url not in seen)
            later.clear()
        return waiting.popleft() if waiting else None

    found(page, 0)
    try:
        while True:
            while len(running) < at_once and done + len(running) < max_pages and (step := following()):
                progress(done, min(done + len(running) + 1 + len(waiting), max_pages), step.url)
                running[asyncio.ensure_future(fetch(step.url))] = step
            if not running:
                return Success(None)
            for task in (await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED))[0]:
                step = running.pop(task)
                done += 1
                result = task.result()
                if result.error is None:
                    result = _inside(place, result.unwrap())
                if result.error is None:
                    found(result.unwrap(), step.depth)
                visited = await visit(step.url, result)
                if visited.error is not None:
                    return Failure(visited.error)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _inside(place: str, page: Page) -> Result[Page]:
    if page.url.startswith(place):
        return Success(page)
    return Failure(QiError.validation("REDIRECTED_AWAY", f"it leads out of the site, to {page.url}"))
