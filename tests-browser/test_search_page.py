"""The example's search page in a real browser: `make test-browser`, with Chromium on the PATH."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from qicore_testkit.model_server import Reply
from qicore_testkit.ollama_server import OllamaServer

OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ASKDOCS_")}
LONG = "A_heading_with_a_name_that_is_far_too_long_for_any_narrow_screen_and_holds_no_space_at_all"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("search")
    (folder / "docs").mkdir()
    (folder / "docs" / "a.md").write_text(
        f"# {LONG}\n\nCancel <img src=x onerror=alert(1)> a task & be done.\n"
    )
    for number in range(24):
        text = f"# Tasks, part {number}\n\nA task waits for others; cancel it when nobody needs it.\n"
        (folder / "docs" / f"task{number}.md").write_text(text)
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "askdocs"]
    subprocess.run([*command, "ingest", "docs"], cwd=folder, env=environment, check=True)
    server = subprocess.Popen(
        [*command, "serve", "--port", "0"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        server.terminate()
        server.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path, "this test needs Chromium on the PATH"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


def opened(context: BrowserContext, url: str) -> tuple[Page, list[str]]:
    """Return a page, and the list of what went wrong in it."""
    page, wrong = context.new_page(), list[str]()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(url)
    return page, wrong


def test_the_keyboard_is_enough(context: BrowserContext, url: str) -> None:
    page, wrong = opened(context, url)
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("cancel a task")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("25 passages")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("ArrowDown")
    first = page.locator("a.hit").first
    expect(first).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator("a.hit").nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("section:target")).to_be_in_viewport()
    page.get_by_role("link", name="What was found").click()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("page 2 of 3")
    assert wrong == []


def test_the_first_tab_leads_past_the_header(context: BrowserContext, url: str) -> None:
    page, _ = opened(context, f"{url}/?q=cancel")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("a.hit").first).to_be_focused()


def test_it_works_without_javascript(browser: Browser, url: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(url)
    page.get_by_role("searchbox").fill("cancel a task")
    page.get_by_role("button", name="Search").click()
    page.locator("a.hit").first.click()
    expect(page.locator("section:target")).to_be_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1440])
def test_every_screen_in_light_and_dark(browser: Browser, url: str, scheme: str, width: int) -> None:
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": width, "height": 800}
    )
    folder = Path(os.environ["SCREENSHOTS"]) if "SCREENSHOTS" in os.environ else None
    for name, path in (
        ("start", "/"),
        ("results", "/?q=cancel+a+task"),
        ("nothing", "/?q=zebra"),
        ("refused", "/?q=%3F"),
        ("document", "/documents/1?q=cancel#p1"),
    ):
        page, wrong = opened(context, url + path)
        wrong = [text for text in wrong if "422" not in text]
        facts = page.evaluate(
            "() => ({"
            " overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,"
            " ground: getComputedStyle(document.body).backgroundColor,"
            " injected: document.querySelectorAll('main img, main script').length })"
        )
        assert facts["overflow"] <= 0, (name, width)
        assert facts["injected"] == 0
        bright = sum(map(int, re.findall(r"\d+", facts["ground"])[:3]))
        assert (bright < 200) == (scheme == "dark")
        assert wrong == []
        if folder is not None:
            page.screenshot(path=folder / f"{name}-{scheme}-{width}.png")
        page.close()
    context.close()


@pytest.fixture(scope="module")
def model() -> Iterator[OllamaServer]:
    with OllamaServer() as server:
        yield server


@pytest.fixture(scope="module")
def url_with_model(model: OllamaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("model")
    (folder / "docs").mkdir()
    (folder / "docs" / "a.md").write_text("# Cache\n\nA cache keeps what was computed.\n")
    settings = {"model": {"base_url": model.url, "name": "tiny"}}
    (folder / "askdocs.yaml").write_text(json.dumps(settings))
    environment = {**ENVIRONMENT, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "askdocs"]
    subprocess.run([*command, "ingest", "docs"], cwd=folder, env=environment, check=True)
    server = subprocess.Popen(
        [*command, "serve", "--port", "0"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        server.terminate()
        server.communicate()


def test_an_answer_appears_as_it_is_written(
    context: BrowserContext, url_with_model: str, model: OllamaServer
) -> None:
    model.say(Reply(pieces=["It keeps ", "<b>what</b> ", "was computed [1]."], interval=0.2))
    page, wrong = opened(context, f"{url_with_model}/?q=cache")
    answer = page.locator(".answer")
    expect(answer.locator(".text")).to_contain_text("It keeps")
    expect(answer.locator(".text")).to_have_text("It keeps <b>what</b> was computed [1].")
    expect(answer.locator(".by")).to_contain_text("Written by tiny from 1 passage:")
    expect(answer.locator(".by a")).to_have_text("[1]")
    expect(answer).to_have_attribute("aria-busy", "false")
    expect(page.locator(".hits li")).to_have_count(1)
    assert wrong == []


def test_a_model_that_breaks_off_is_said_and_the_passages_stay(
    context: BrowserContext, url_with_model: str, model: OllamaServer
) -> None:
    model.say(Reply(pieces=["It keeps"], fault="end", after=1))
    page, _ = opened(context, f"{url_with_model}/?q=cache")
    expect(page.locator(".answer .text")).to_have_text("It keeps")
    expect(page.locator(".answer .by")).to_contain_text("The model broke off")
    expect(page.locator(".hits li")).to_have_count(1)
