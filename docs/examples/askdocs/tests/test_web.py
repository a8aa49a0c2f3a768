"""Sites read over real sockets: what is kept, what is asked again, what a dying site leaves behind."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from askdocs.ingest import ingest
from askdocs.model import IngestSummary
from askdocs.settings import IndexSettings, IngestSettings, Settings, WebSettings
from askdocs.store import Index
from qicore.base import Result
from qicore.base.testing import assert_failure, assert_success
from qicore.logging import LogConfig, Logger
from qicore_testkit.site import Answer, Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as served:
        yield served


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        index=IndexSettings(path=str(tmp_path / "askdocs.db")),
        ingest=IngestSettings(max_file_size=100_000),
        web=WebSettings(rate=1000, timeout=5, retry_wait=0.01),
    )


@pytest.fixture
async def index(settings: Settings) -> AsyncIterator[Index]:
    async with assert_success(await Index.create(settings.index.path)) as opened:
        yield opened


def silent(done: int, total: int, name: str) -> None:
    assert done < total


async def read(index: Index, settings: Settings, *targets: str) -> Result[IngestSummary]:
    log = assert_success(Logger.create(LogConfig(level="fatal")))
    return await ingest(index, targets, settings=settings, progress=silent, log=log)


def codes(summary: IngestSummary, site: Site) -> dict[str, str]:
    return {one.source.removeprefix(site.url): one.code for one in summary.skipped}


async def found(index: Index, words: str) -> list[str]:
    return [hit.path for hit in assert_success(await index.search(words, 9)).hits]


class TestReading:
    async def test_a_site_and_what_it_links_to(self, index: Index, settings: Settings, site: Site) -> None:
        site.html("/docs/", "the beginning", "cache.html", "notes.md", "plain", "/elsewhere.html")
        site.html("/docs/cache.html", "a cache keeps what was computed", "deeper/queue.html#part", "./")
        site.html("/docs/deeper/queue.html", "a queue hands things on")
        site.html("/elsewhere.html", "outside of the folder")
        site.pages["/docs/notes.md"] = Answer(b"# Notes\n\nwritten in *Markdown*", "text/plain")
        site.pages["/docs/plain"] = Answer(
            "naïveté in Latin".encode("latin-1"), "text/plain; charset=latin-1"
        )
        summary = assert_success(await read(index, settings, site.url + "docs/#top"))
        assert (summary.added, summary.skipped) == (5, ())
        assert await found(index, "queue") == [site.url + "docs/deeper/queue.html"]
        assert await found(index, "Markdown") == [site.url + "docs/notes.md"]
        assert await found(index, "naïveté") == [site.url + "docs/plain"]
        assert site.answers("/elsewhere.html") == []
        assert site.asked[0] == ("/robots.txt", 404)
        assert site.agents == {"askdocs"}

    async def test_again_only_what_changed_is_sent(
        self, index: Index, settings: Settings, site: Site
    ) -> None:
        site.html("/", "the beginning", "a.html", "b.html", Cache_Control="max-age=0")
        site.html("/a.html", "first words", Cache_Control="max-age=0")
        site.html("/b.html", "fresh for long", Cache_Control="max-age=9999")
        assert assert_success(await read(index, settings, site.url)).added == 3
        site.html("/a.html", "second words", Cache_Control="max-age=0")
        again = assert_success(await read(index, settings, site.url))
        assert (again.added, again.updated, again.unchanged) == (0, 1, 2)
        assert site.answers("/") == [200, 304]
        assert site.answers("/a.html") == [200, 200]
        assert site.answers("/b.html") == [200]
        assert await found(index, "second") == [site.url + "a.html"]

    async def test_what_is_gone_or_moved_leaves_the_index(
        self, index: Index, settings: Settings, site: Site
    ) -> None:
        site.html("/", "the beginning", "a.html", "b.html", "c.html", Cache_Control="max-age=0")
        for name in "abc":
            site.html(f"/{name}.html", f"the page called {name}{name}", Cache_Control="max-age=0")
        assert assert_success(await read(index, settings, site.url)).added == 4
        site.html("/", "the new beginning", "b.html", Cache_Control="max-age=0")
        site.pages["/a.html"] = Answer(status=410)
        site.pages["/b.html"] = Answer(status=301, headers={"Location": "/moved.html"})
        site.html("/moved.html", "the page called bb")
        site.pages["/c.html"] = Answer(status=503)
        summary = assert_success(await read(index, settings, site.url))
        assert summary.removed == 2
        assert codes(summary, site) == {"a.html": "HTTP_ERROR", "c.html": "HTTP_ERROR"}
        assert await found(index, "bb") == [site.url + "moved.html"]
        assert await found(index, "aa") == []
        # It may come back: what only fails now is kept.
        assert await found(index, "cc") == [site.url + "c.html"]

    async def test_pages_of_all_kinds_that_are_none(
        self, index: Index, settings: Settings, site: Site
    ) -> None:
        site.html("/", "start", "zip", "none", "big", "bits", "code", "hidden", "loop", "away", "later")
        site.pages["/zip"] = Answer(b"PK\3\4", "application/zip")
        site.pages["/none"] = Answer(b"text", "")
        site.pages["/big"] = Answer(b"word " * 50_000, "text/plain")
        site.pages["/bits"] = Answer(b"\0\1\2", "text/plain")
        site.pages["/code"] = Answer(b"\xff", "text/plain; charset=no-such")
        site.pages["/hidden"] = Answer(b'<meta name="robots" content="noindex"><p>secret</p>')
        site.pages["/loop"] = Answer(status=302, headers={"Location": "/loop"})
        site.pages["/later"] = Answer(status=429, headers={"Retry-After": "0"})
        with serving(Site()) as other:
            other.html("/", "another site")
            site.pages["/away"] = Answer(status=302, headers={"Location": other.url})
            summary = assert_success(await read(index, settings, site.url))
        assert codes(summary, site) == {
            "zip": "PAGE_KIND_UNKNOWN",
            "none": "PAGE_KIND_UNKNOWN",
            "big": "RESPONSE_TOO_LARGE",
            "bits": "FILE_NOT_TEXT",
            "code": "FILE_NOT_TEXT",
            "hidden": "ROBOTS_NOINDEX",
            "loop": "TOO_MANY_REDIRECTS",
            "away": "REDIRECTED_AWAY",
            "later": "HTTP_ERROR",
        }
        assert summary.added == 1
        assert len(site.answers("/later")) == 3

    async def test_what_stumbles_is_tried_again(self, index: Index, settings: Settings, site: Site) -> None:
        site.html("/", "start", "a.html")
        site.pages["/a.html"] = Answer(status=503, headers={"Retry-After": "0"})
        task = asyncio.ensure_future(read(index, settings, site.url))
        await asyncio.to_thread(site.wait_for, 1, "/a.html")
        site.html("/a.html", "up again")
        assert assert_success(await task).skipped == ()
        assert site.answers("/a.html")[-1] == 200

    @pytest.mark.parametrize(
        "url", ["http://", "http://user:secret@127.0.0.1/", "http://[::1", "http://a:99999/"]
    )
    async def test_no_url_changes_nothing(self, index: Index, settings: Settings, url: str) -> None:
        error = assert_failure(await read(index, settings, url), "INVALID_URL")
        assert "secret" not in str(error)


class TestPoliteness:
    async def test_what_robots_txt_forbids_is_not_asked_for(
        self, index: Index, settings: Settings, site: Site
    ) -> None:
        site.pages["/robots.txt"] = Answer(b"User-agent: *\nDisallow: /private", "text/plain")
        site.html("/", "start", "private.html", "redirect", "open.html")
        site.html("/private.html", "secret")
        site.html("/open.html", "open")
        site.pages["/redirect"] = Answer(status=302, headers={"Location": "/private.html"})
        summary = assert_success(await read(index, settings, site.url))
        assert codes(summary, site) == {
            "private.html": "ROBOTS_DISALLOWED",
            "redirect": "ROBOTS_DISALLOWED",
        }
        assert summary.added == 2
        assert await found(index, "secret") == []
        assert len(site.answers("/robots.txt")) == 1

    async def test_a_site_whose_robots_txt_cannot_be_had_is_left_alone(
        self, index: Index, settings: Settings, site: Site
    ) -> None:
        site.html("/", "start", Cache_Control="max-age=0")
        assert assert_success(await read(index, settings, site.url)).added == 1
        site.pages["/robots.txt"] = Answer(status=503)
        summary = assert_success(await read(index, settings, site.url))
        assert [one.code for one in summary.skipped] == ["HTTP_ERROR"]
        assert site.answers("/") == [200]
        assert await found(index, "start") == [site.url]

    async def test_the_rate_is_kept(self, index: Index, settings: Settings, site: Site) -> None:
        site.html("/", "start", *(f"{number}.html" for number in range(9)))
        for number in range(9):
            site.html(f"/{number}.html", f"page {number}")
        slow = settings.model_copy(update={"web": settings.web.model_copy(update={"rate": 50.0})})
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert assert_success(await read(index, slow, site.url)).added == 10
        # Eleven requests, robots.txt among them: ten pauses lie between them.
        assert loop.time() - began >= 10 / 50 - 0.02


class TestDying:
    async def test_a_site_that_dies_half_way_leaves_an_index_that_holds_and_a_report(
        self, index: Index, settings: Settings, site: Site
    ) -> None:
        site.html("/", "start", *(f"{number}.html" for number in range(40)), Cache_Control="max-age=0")
        for number in range(40):
            site.html(f"/{number}.html", f"the page called number{number}", Cache_Control="max-age=0")
        site.dies_after = 20
        summary = assert_success(await read(index, settings, site.url))
        assert summary.added == 19  # robots.txt was one of the twenty
        assert len(summary.skipped) == 22
        told = set(codes(summary, site).values())
        assert "NETWORK_ERROR" in told
        assert "CIRCUIT_OPEN" in told
        assert told <= {"NETWORK_ERROR", "CIRCUIT_OPEN"}
        # The breaker spared it: not three tries for each of the pages left.
        assert len(site.answers("/")) + len(site.asked) < 20 + 3 * 22
        stats = assert_success(await index.stats())
        assert (stats.documents, stats.passages) == (19, 19)

        site.dies_after = None
        rest = assert_success(await read(index, settings, site.url))
        assert (rest.added, rest.unchanged, rest.removed, rest.skipped) == (22, 19, 0, ())

    async def test_a_site_that_is_not_there(self, index: Index, settings: Settings) -> None:
        with socket.create_server(("127.0.0.1", 0)) as held:
            url = f"http://127.0.0.1:{held.getsockname()[1]}/"
        summary = assert_success(await read(index, settings, url))
        assert [(one.source, one.code) for one in summary.skipped] == [(url, "NETWORK_ERROR")]

    async def test_cancelled_half_way_nothing_stays_open(
        self, index: Index, settings: Settings, site: Site
    ) -> None:
        site.html("/", "start", *(f"{number}.html" for number in range(40)))
        for number in range(40):
            site.html(f"/{number}.html", f"the page called number{number}")
        task = asyncio.ensure_future(read(index, settings, site.url))
        await asyncio.to_thread(site.wait_for, 15)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stats = assert_success(await index.stats())
        assert 0 < stats.documents == stats.passages < 41
        assert asyncio.all_tasks() == {asyncio.current_task()}
