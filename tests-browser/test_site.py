"""Every kind of page of the site, in a real browser: light and dark, narrow and wide."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, Request, Response, expect, sync_playwright
from workspace import ROOT, environment

expect.set_options(timeout=120_000)  # a busy machine is no failure
SCHEMES = {"light": "default", "dark": "slate"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    env = environment(NO_MKDOCS_2_WARNING="1")
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        options = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
        more = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*options, *more])
        yield browser
        browser.close()


def kinds(site: Path) -> list[str]:
    """Every page at the top, and of each folder the longest: what is too wide is there, if anywhere."""
    pages = sorted(file.relative_to(site) for file in site.glob("*.html"))
    for folder in sorted({file.parent for file in site.glob("*/*.html")}):
        longest = max(folder.glob("*.html"), key=lambda file: file.stat().st_size)
        pages.append(longest.relative_to(site))
    return [page.as_posix() for page in pages]


def watch(page: Page, url: str) -> list[str]:
    """Return a list that gets what must not happen."""
    wrong: list[str] = []

    def asked(request: Request) -> None:
        if not request.url.startswith(url):
            wrong.append(f"elsewhere: {request.url}")

    def answered(response: Response) -> None:
        if response.status >= 400:
            wrong.append(f"{response.status}: {response.url}")

    def failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # which is what the next page does to the one before
            wrong.append(f"{request.failure}: {request.url}")

    page.on("console", lambda message: wrong.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("request", asked)
    page.on("response", answered)
    page.on("requestfailed", failed)
    return wrong


@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_kind_of_page_fits_and_is_complete(
    scheme: Literal["light", "dark"], width: int, browser: Browser, site: Path, url: str
) -> None:
    seen = kinds(site)
    top = {"index", "tutorial", "errors", "contracts", "migration", "security-model"}
    assert {f"{name}.html" for name in top} < set(seen)
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    context.set_default_timeout(120_000)
    page = context.new_page()
    wrong = watch(page, url)
    for name in seen:
        page.goto(url + name)
        expect(page.locator("h1")).to_be_visible()
        expect(page.locator("body")).to_have_attribute("data-md-color-scheme", SCHEMES[scheme])
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert over <= 0, f"{name} is {over} pixels too wide"
        assert wrong == [], name
    context.close()


def test_the_search_finds_an_error_code(browser: Browser, url: str) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    wrong = watch(page, url)
    page.goto(url + "index.html")
    expect(page.locator(".md-search-result__meta")).to_have_text("Type to start searching")
    page.get_by_placeholder("Search").press_sequentially("DB_POOL_EXHAUSTED")
    expect(page.locator(".md-search-result__link", has_text="DB_POOL_EXHAUSTED").first).to_be_visible()
    assert wrong == []
    context.close()


def test_the_reader_may_choose_the_scheme(browser: Browser, url: str) -> None:
    context = browser.new_context(color_scheme="light", viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(url + "tutorial.html")
    page.locator("label[title='Dark']").click()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    page.goto(url + "errors.html")
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
    context.close()
