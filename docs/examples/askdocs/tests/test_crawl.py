import asyncio
from pathlib import PurePosixPath

import pytest
from askdocs.crawl import Page, crawl
from askdocs.texts import decode
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success

ROOT = "http://site.example/docs/"


class Site:
    """Pages by their links; what is not in it is not found."""

    def __init__(self, **pages: str) -> None:
        self.pages = {ROOT + ("" if name == "index" else name): text.split() for name, text in pages.items()}
        self.fetched: list[str] = []
        self.visited: list[tuple[str, bool]] = []
        self.at_once = self.most = 0
        self.refuses: Result[None] = Success(None)

    async def fetch(self, url: str) -> Result[Page]:
        self.fetched.append(url.removeprefix(ROOT))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0)
        finally:
            self.at_once -= 1
        if url not in self.pages:
            return Failure(QiError.network("HTTP_ERROR", "not found", status=404))
        text = assert_success(decode(url.encode()))
        links = tuple(link if "//" in link else ROOT + link for link in self.pages[url])
        return Success(Page(url=url, path=PurePosixPath("a.html"), text=text, links=links))

    async def visit(self, url: str, result: Result[Page]) -> Result[None]:
        self.visited.append((url.removeprefix(ROOT), result.is_success))
        return self.refuses

    async def crawl(
        self, *, known: tuple[str, ...] = (), max_pages: int = 100, depth: int = 9, at_once: int = 3
    ) -> Result[None]:
        return await crawl(
            ROOT,
            known=known,
            fetch=self.fetch,
            visit=self.visit,
            progress=self.progress,
            max_pages=max_pages,
            depth=depth,
            at_once=at_once,
        )

    def progress(self, done: int, total: int, name: str) -> None:
        assert 0 < done < total
        assert name.startswith(ROOT)


async def test_every_page_below_is_read_once() -> None:
    site = Site(
        index="a b",
        a="b c http://site.example/docs/",
        b="a",
        c="http://other.example/ http://site.example/up",
    )
    assert_success(await site.crawl())
    assert site.visited[0] == ("", True)
    assert sorted(site.fetched) == ["", "a", "b", "c"]
    assert sorted(url for url, _ in site.visited) == ["", "a", "b", "c"]


async def test_depth_is_counted_in_links() -> None:
    site = Site(index="a", a="b", b="c", c="")
    assert_success(await site.crawl(depth=2))
    assert site.fetched == ["", "a", "b"]
    site = Site(index="a")
    assert_success(await site.crawl(depth=0))
    assert site.fetched == [""]


async def test_no_more_pages_and_no_more_at_once_than_said() -> None:
    site = Site(index=" ".join(f"p{number}" for number in range(50)))
    assert_success(await site.crawl(max_pages=20, at_once=4))
    assert len(site.fetched) == len(site.visited) == 20
    assert site.most == 4


async def test_a_page_that_is_missing_stops_nothing() -> None:
    site = Site(index="a none b", a="", b="c", c="")
    assert_success(await site.crawl())
    assert ("none", False) in site.visited
    assert ("c", True) in site.visited


async def test_a_site_that_does_not_answer_is_asked_once() -> None:
    site = Site()
    assert_success(await site.crawl(known=(ROOT + "a",)))
    assert site.visited == [("", False)]


async def test_pages_known_before_are_looked_at_last() -> None:
    site = Site(index="a", a="b", b="")
    assert_success(await site.crawl(known=(ROOT + "old", ROOT + "b", "http://other.example/", "a.md")))
    assert site.fetched == ["", "a", "b", "old"]


async def test_what_the_keeper_refuses_ends_it_and_nothing_goes_on() -> None:
    site = Site(index=" ".join(f"p{number}" for number in range(9)))
    site.refuses = Failure(QiError.filesystem("FULL", "no room"))
    assert_failure(await site.crawl(), "FULL")
    assert site.visited == [("", True)]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelled_it_leaves_no_task_behind() -> None:
    site = Site(index=" ".join(f"p{number}" for number in range(9)))
    task = asyncio.ensure_future(site.crawl())
    for _ in range(4):
        await asyncio.sleep(0)
    assert 0 < len(site.visited) < 10
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert site.at_once == 0
