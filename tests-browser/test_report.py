"""The pages that the example writes, in a real browser: `make test-browser`, with Chromium on the PATH."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Measured in the page itself, where the browser has laid it out.
PROBE = """
<script>
  const styles = getComputedStyle(document.body);
  document.title = JSON.stringify({
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    ground: styles.backgroundColor,
    marks: [...document.querySelectorAll("mark")].map((mark) => mark.textContent),
    tiles: document.querySelectorAll(".tiles li").length,
    injected: document.querySelectorAll("main img, main script").length,
  });
</script>
"""
TEXT = """# A heading_with_a_name_that_is_far_too_long_for_any_narrow_screen_and_holds_no_space_at_all

Cancel <img src=x onerror=alert(1)> a task & be done with it.
"""


@pytest.fixture(scope="module")
def browser() -> str:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "this test needs Chromium on the PATH"
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "docs").mkdir()
    (folder / "docs" / "a.md").write_text(TEXT)
    for arguments in (["ingest", "docs"], ["ask", "how do I cancel tasks?"], ["report", "report.html"]):
        subprocess.run([sys.executable, "-m", "askdocs", *arguments], cwd=folder, check=True)
    page = folder / "report.html"
    page.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    return page


def look(browser: str, page: Path, profile: Path, *options: str) -> dict[str, object]:
    """Return what the probe measured."""
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={profile}", *options, "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"<title>(.*?)</title>", done.stdout)
    assert found is not None, done.stdout[:2000]
    measured: dict[str, object] = json.loads(found[1])
    return measured


@pytest.mark.parametrize("width", [320, 768, 1400])
def test_the_report_fits_every_width(browser: str, report: Path, tmp_path: Path, width: int) -> None:
    # Headless Chromium makes no window narrower than 500 pixels; a frame of that width does as well.
    framed = report.with_name(f"framed-{width}.html")
    script = "onload = () => { document.title = frames[0].document.title }"
    framed.write_text(
        f'<iframe src="{report.name}" width="{width}" height="900"></iframe><script>{script}</script>'
    )
    measured = look(browser, framed, tmp_path, "--allow-file-access-from-files", "--window-size=1500,1000")
    assert measured["overflow"] == 0
    assert measured["tiles"] == 5
    assert measured["marks"] == ["Cancel", "task"]
    assert measured["injected"] == 0, "a document's markup is text in the report"


def test_the_report_follows_the_readers_colour_scheme(browser: str, report: Path, tmp_path: Path) -> None:
    light = look(browser, report, tmp_path / "light", "--blink-settings=preferredColorScheme=1")
    dark = look(browser, report, tmp_path / "dark", "--blink-settings=preferredColorScheme=0")
    assert light["ground"] == "rgb(251, 250, 247)"
    assert dark["ground"] == "rgb(20, 23, 26)"
