"""The pages of the project say what is so, and the site is complete and fetches nothing."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from charts import chart, seconds
from docs_examples import fence
from qicore.base import ErrorCategory
from qicore_testkit import read_examples, run_example
from workspace import ROOT, environment, packages


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_examples_print_what_the_page_shows(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    examples = read_examples(ROOT / page)
    assert any(example.output for example in examples)
    namespace: dict[str, object] = {"__name__": "page"}
    for example in examples:
        run_example(example, namespace)


def test_the_readme_maps_every_package() -> None:
    rows = re.findall(
        r"^\| \[(.+?)\]\((.+?)\) \| `(.+?)` \| (.+?) \|$",
        (ROOT / "README.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert {tuple(row) for row in rows} == {
        (each.name, f"packages/{each.name}/README.md", each.module, each.description) for each in packages()
    }


def test_the_page_on_categories_shows_the_table_in_the_code() -> None:
    text = (ROOT / "docs" / "designs" / "0003-categories.md").read_text("utf-8")
    shown = re.findall(r"^\| ([A-Z]+) \| (.+?) \| (.*?) ?\| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    told: list[tuple[str, str, str, str, str]] = []
    for category in ErrorCategory:
        retry, status, code = category.policy
        again = f"up to {retry.max_attempts} attempts" if retry else "no"
        waits = f"{retry.base_delay:g} s, {retry.max_delay:g} s" if retry else ""
        told.append((category.value, again, waits, str(status), str(code)))
    assert shown == told


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Adds.\n\n>>> 1 + 1\n2\n\nDone.", "Adds.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nDone."),
        ("Adds:\n>>> 1\n1\n>>> 2\n2", "Adds:\n```pycon\n>>> 1\n1\n>>> 2\n2\n```"),
        ("Args:\n    >>> 1\n    1\n", "Args:\n    ```pycon\n    >>> 1\n    1\n    ```\n"),
        ("a >>> b, and no session", "a >>> b, and no session"),
    ],
)
def test_sessions_in_docstrings_get_a_fence(text: str, shown: str) -> None:
    assert fence(text) == shown


def test_a_chart_shows_every_contender_to_scale() -> None:
    row = {
        "qicore": {"low": 1e-6, "median": 2e-6, "high": 4e-6},
        "<peer> & co": {"low": 3e-6, "median": 4e-6, "high": 4e-6},
    }
    drawn = ET.fromstring(chart(row))
    assert [text.text for text in drawn.iter("text")] == ["qicore", "2 µs", "<peer> & co", "4 µs"]
    first, second = (float(bar.attrib["width"]) for bar in drawn.iter("rect"))
    assert second == pytest.approx(2 * first, abs=0.2)


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.0, "2 s"), (0.0123, "12.3 ms"), (0.0000123, "12.3 µs"), (4.2e-9, "4.2 ns"), (0, "0 ns")],
)
def test_durations_have_their_unit(value: float, text: str) -> None:
    assert seconds(value) == text


class _Fetched(HTMLParser):
    """Collects what a browser fetches by itself when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source") or (
            tag == "link" and given.get("rel") != "canonical"
        ):
            self.urls += [url for name in ("src", "href") if (url := given.get(name))]


def test_the_site_is_complete_and_fetches_nothing(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    env = environment(NO_MKDOCS_2_WARNING="1")
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {
        file.relative_to(tmp_path / "site").as_posix(): file for file in (tmp_path / "site").rglob("*.html")
    }
    for package in packages():
        assert f'<h1 id="{package.name}">' in pages[f"components/{package.component}.html"].read_text("utf-8")
        assert f"qicore.{package.component}" in pages[f"reference/{package.component}.html"].read_text(
            "utf-8"
        )
        assert package.name in pages["changelog.html"].read_text("utf-8")
    for file in (ROOT / "docs" / "designs").glob("*.md"):
        assert f"designs/{file.stem}.html" in pages
    reference = pages["reference/base.html"].read_text("utf-8")
    assert '<span class="gp">' in reference, "docstring examples are shown as code"
    for name, file in pages.items():
        parser = _Fetched()
        parser.feed(file.read_text("utf-8"))
        assert parser.urls
        assert [url for url in parser.urls if re.match(r"(https?:)?//", url)] == [], name
    styles = "".join(file.read_text("utf-8") for file in (tmp_path / "site").rglob("*.css"))
    assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", styles)
