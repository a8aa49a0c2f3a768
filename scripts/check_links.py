"""Check the built site: every link and anchor leads somewhere, and no page loads anything from another host.

python scripts/check_links.py [SITE]
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import unquote, urlsplit

from workspace import ROOT

# What a browser loads by itself, and by which attribute; `a` is followed by readers only.
_LOADED = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "track": "src",
    "video": "src",
}
_STYLE = re.compile(r"(?:@import\s*|url\(\s*)[\"']?([^\"')\s]+)")


class _Page(HTMLParser):
    """Collects the anchors of a page, its links, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        attribute = _LOADED.get(tag, "")
        # A canonical address names the page, and is not fetched.
        if given.get(attribute) and given.get("rel") != "canonical":
            self.loads.append(given[attribute])
        self.loads += _STYLE.findall(given.get("style", ""))


def problems(site: Path) -> list[str]:
    """Return what is wrong with the site, one line each; nothing when all is well.

    Fragments in front of a text (`#:~:text=`) and links to other hosts are not looked at.
    """
    files = {file.relative_to(site).as_posix(): file for file in site.rglob("*") if file.is_file()}
    pages = {name: _read(file) for name, file in files.items() if name.endswith(".html")}
    if not pages:
        return [f"{site}: there is no page"]
    found: list[str] = []
    for name, page in sorted(pages.items()):
        found += [
            f"{name}: loads {url} from elsewhere" for url in sorted(set(page.loads)) if _is_elsewhere(url)
        ]
        for url in sorted({*page.links, *page.loads}):
            wrong = _follow(name, url, files, pages)
            if wrong:
                found.append(f"{name}: {url}: {wrong}")
    for name, file in sorted(files.items()):
        if name.endswith(".css"):
            urls = sorted(set(_STYLE.findall(file.read_text(encoding="utf-8"))))
            found += [f"{name}: loads {url} from elsewhere" for url in urls if _is_elsewhere(url)]
    return found


def _read(file: Path) -> _Page:
    page = _Page()
    page.feed(file.read_text(encoding="utf-8"))
    page.close()
    return page


def _is_elsewhere(url: str) -> bool:
    return bool(urlsplit(url).netloc)


def _follow(name: str, url: str, files: dict[str, Path], pages: dict[str, _Page]) -> str:
    """Return why a link of the page `name` leads nowhere, or nothing."""
    parts = urlsplit(url)
    if parts.scheme or parts.netloc:
        return ""
    path = unquote(parts.path)
    target = (
        normpath(path.lstrip("/") if path.startswith("/") else join(dirname(name), path)) if path else name
    )
    if path.endswith("/") or target == ".":
        target = normpath(join(target, "index.html"))
    if target.startswith("../") or target not in files:
        return "there is no such file"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return "the page has no such anchor"
    return ""


def main(arguments: list[str]) -> int:
    """Print what is wrong; the exit code says whether anything is."""
    found = problems(Path(arguments[0]) if arguments else ROOT / "site")
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
