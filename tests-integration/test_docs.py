"""The pages of the project say what is so, and the site is complete and fetches nothing."""

import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import docs_pages
import facts
import pytest
from charts import chart, seconds
from check_links import main, problems
from docs_examples import fence
from qicore.base import ErrorCategory
from qicore.http import HTTPConfig, SyncHTTPClient
from qicore_testkit import read_examples, run_example, run_page
from workspace import ROOT, Package, environment, packages


def test_the_readme_prints_what_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert any(example.output for example in read_examples(ROOT / "README.md"))
    run_page(ROOT / "README.md")


def test_the_readme_maps_every_package() -> None:
    shown = (ROOT / "README.md").read_text("utf-8").partition("\n## Packages\n\n")[2]
    assert shown == facts.table(), "run: python scripts/facts.py"
    assert shown.count("\n") == 2 + len(packages())


def test_the_map_of_the_readme_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    copy = tmp_path / "README.md"
    copy.write_text(re.sub(r"^\| \[qicore-(ai|web)\].*\n", "", text, flags=re.MULTILINE), "utf-8")
    monkeypatch.setattr(facts, "README", copy)
    facts.main()
    assert copy.read_text("utf-8") == text


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
    assert problems(tmp_path / "site") == []


GOOD = {
    "index.html": '<h1 id="top"></h1><a href="b/c%20d.html#x"></a><a href="#top"></a><a href="//e.example">',
    "b/c d.html": '<a name="x" href="../"></a><img src="../a.svg"><link rel="canonical" href="http://a.example">',
    "404.html": '<link rel="stylesheet" href="/a.css">',
    "a.css": "body { background: url('data:image/png;base64,AA==') }",
    "a.svg": "<svg/>",
}


def _site(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def test_links_that_lead_somewhere_are_no_problem(tmp_path: Path) -> None:
    assert problems(_site(tmp_path, GOOD)) == []
    assert main([str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("z.html", '<a href="absent.html">', "z.html: absent.html: there is no such file"),
        ("z.html", '<a href="../index.html">', "z.html: ../index.html: there is no such file"),
        ("z.html", '<a href="b/">', "z.html: b/: there is no such file"),
        ("z.html", '<a href="index.html#absent">', "z.html: index.html#absent: the page has no such anchor"),
        ("z.html", '<a href="#absent">', "z.html: #absent: the page has no such anchor"),
        ("z.html", '<img src="absent.png">', "z.html: absent.png: there is no such file"),
        ("z.html", '<img src="//c.example/a.png">', "z.html: loads //c.example/a.png from elsewhere"),
        (
            "z.html",
            '<script src="https://c.example/a.js"></script>',
            "z.html: loads https://c.example/a.js from elsewhere",
        ),
        (
            "z.css",
            "@import 'https://c.example/a.css';",
            "z.css: loads https://c.example/a.css from elsewhere",
        ),
        ("z.css", "a { src: url(//c.example/a) }", "z.css: loads //c.example/a from elsewhere"),
    ],
)
def test_a_link_that_leads_nowhere_is_a_problem(
    name: str, text: str, wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problems(_site(tmp_path, {**GOOD, name: text})) == [wrong]
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == f"{wrong}\n"


def test_a_site_without_pages_is_a_problem(tmp_path: Path) -> None:
    assert problems(tmp_path) == [f"{tmp_path}: there is no page"]


def pages_with_code() -> list[str]:
    """The pages under docs/ that show Python, but for examples and designs."""
    folder = ROOT / "docs"
    every = [*folder.glob("*.md"), *folder.glob("howto/*.md")]
    return sorted(str(file.relative_to(ROOT)) for file in every if "```python" in file.read_text("utf-8"))


@pytest.mark.parametrize("page", pages_with_code())
def test_the_code_of_a_page_runs_as_shown(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = read_examples(ROOT / page)
    assert any(example.output for example in examples)
    with unchanged_environment():
        run_page(ROOT / page)


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.name)
def test_every_package_has_its_how_tos(package: Package) -> None:
    text = (ROOT / "docs" / "howto" / f"{package.component}.md").read_text("utf-8")
    tasks = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert 3 <= len(tasks) <= 6
    assert all("```" in task for task in tasks)


@contextmanager
def unchanged_environment() -> Generator[None]:
    """Undo what the code of a page sets in the environment."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the tutorial."""
    monkeypatch.chdir(tmp_path)
    for example in read_examples(ROOT / "docs" / "tutorial.md"):
        if example.title:
            run_example(example, {})
    return tmp_path


def test_the_tests_of_the_tutorial_pass(shelf: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_service.py"]
    done = subprocess.run(command, cwd=shelf, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_service_of_the_tutorial_starts_answers_and_ends(shelf: Path) -> None:
    command = [sys.executable, "service.py"]
    env = environment(SHELF_PORT="0")
    with subprocess.Popen(command, cwd=shelf, env=env, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        try:
            lines = iter(service.stderr)
            url = next(found[0] for line in lines if (found := re.search(r"http://[\d.]+:\d+", line)))
            with SyncHTTPClient.create(HTTPConfig(base_url=url)).unwrap() as client:
                assert client.post("/bookmarks", json={"url": "https://example.org/"}).is_success
                assert client.get("/health/ready").is_success
                assert client.get("/docs").is_success
            service.terminate()
            rest = list(lines)
        finally:
            service.kill()
    assert service.returncode == 0, rest
    assert all(line.startswith("{") for line in rest), "every line of the log is JSON"


def test_the_service_of_the_tutorial_tells_a_wrong_setting(shelf: Path) -> None:
    env = environment(SHELF_PORT="eighty")
    command = [sys.executable, "service.py"]
    done = subprocess.run(command, cwd=shelf, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "environment variable SHELF_PORT" in done.stderr


def test_links_of_the_repository_lead_to_pages_of_the_site() -> None:
    text = "[a](../../packages/qicore-web/README.md#files) [b](../../Makefile) [c](absent.md) [d](https://e.example/f)"
    shown = docs_pages.relink(text, "docs/designs/0001-result.md", "designs/0001-result.md")
    assert shown == "[a](../components/web.md#files) b [c](absent.md) [d](https://e.example/f)"
