"""The documentation page of a web application, in a real browser that reaches nothing but it."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pydantic import BaseModel
from qicore.base import Failure, QiError, Result, Success
from qicore.web import WebApp, WebConfig

TITLE = "Ships & <b>boats</b>"


class Ship(BaseModel):
    """A ship."""

    name: str
    masts: int = 3


def application() -> WebApp:
    app = WebApp(WebConfig(title=TITLE, version="2.1.0", description="What floats."))

    async def find(name: str) -> Result[Ship]:
        if name == "titanic":
            return Failure(QiError.validation("NOT_FOUND", "it sank"))
        return Success(Ship(name=name))

    async def build(ship: Ship) -> Result[Ship]:
        return Success(ship)

    app.route("GET", "/ships/{name}", find, tags=["ships"], summary="Find a ship")
    app.route("POST", "/ships", build, tags=["ships"], summary="Build a ship")
    return app


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The application on a port of its own, and the same behind a prefix."""
    app = application()

    async def both(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/behind/a/proxy"):
            scope = {**scope, "root_path": "/behind/a/proxy"}
        await app(scope, receive, send)

    listener = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(both, log_config=None, access_log=False))
    thread = threading.Thread(target=lambda: asyncio.run(running.serve([listener])))
    thread.start()
    while not running.started:
        assert thread.is_alive(), "the application starts"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    running.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        options = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
        more = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*options, *more])
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page, and what must not have happened on it when the test ends."""

    page: Page
    foreign: list[str]
    errors: list[str]


@pytest.fixture(params=["light", "dark"])
def watched(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(color_scheme=request.param, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    watched = Watched(page, [], [])

    def asked(url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            watched.foreign.append(url)

    page.on("request", lambda asking: asked(asking.url))
    page.on("console", lambda message: watched.errors.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: watched.errors.append(str(error)))
    yield watched
    context.close()
    assert watched.foreign == [], "all comes from the application itself"
    assert watched.errors == []


@pytest.mark.parametrize("path", ["/docs", "/behind/a/proxy/docs"])
def test_the_operations_are_listed(server: str, watched: Watched, path: str) -> None:
    page = watched.page
    page.goto(server + path)
    listed = page.locator(".opblock:visible .opblock-summary-path")
    expect(listed).to_have_text(["/ships/{name}", "/ships"], use_inner_text=True)
    expect(page.locator(".opblock-summary-description").first).to_have_text("Find a ship")
    expect(page.locator(".info .title")).to_contain_text(TITLE)
    assert page.title() == TITLE


def test_an_operation_is_tried_out(server: str, watched: Watched) -> None:
    page = watched.page
    page.goto(server + "/docs")
    page.locator(".opblock-get .opblock-summary-control").first.click()
    page.get_by_placeholder("name").fill("argo")
    page.get_by_role("button", name="Execute").click()
    live = page.locator(".live-responses-table")
    expect(live.locator(".response-col_status").last).to_contain_text("200")
    expect(live.locator(".highlight-code").first).to_contain_text('"name": "argo"')


def test_a_problem_is_shown(server: str, watched: Watched) -> None:
    page = watched.page
    page.goto(server + "/behind/a/proxy/docs")
    page.locator(".opblock-post .opblock-summary-control").first.click()
    page.locator("textarea.body-param__text").fill('{"masts": 1}')
    page.get_by_role("button", name="Execute").click()
    live = page.locator(".live-responses-table")
    expect(live.locator(".response-col_status").last).to_contain_text("422")
    expect(live.locator(".highlight-code").first).to_contain_text("INVALID_REQUEST")
    # The browser itself reports every status of an error to the console.
    assert [error for error in watched.errors if "422" not in error] == []
    watched.errors.clear()


def test_it_follows_the_readers_colour_scheme(server: str, watched: Watched) -> None:
    page = watched.page
    page.goto(server + "/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert ground == ("rgb(28, 32, 34)" if dark else "rgb(255, 255, 255)")
    page.emulate_media(color_scheme="light" if dark else "dark")
    page.wait_for_function(
        "ground => getComputedStyle(document.documentElement).backgroundColor !== ground", arg=ground
    )


@pytest.mark.parametrize("width", [320, 768])
def test_it_fits_narrow_screens(server: str, watched: Watched, width: int) -> None:
    page = watched.page
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(server + "/docs")
    expect(page.locator(".opblock:visible")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
