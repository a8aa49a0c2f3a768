"""URLs: which may be read, where a page's links lead, and which of them lie below a place."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
from bs4 import BeautifulSoup
from qicore.base import Failure, QiError, Result, Success

__all__ = ["folder", "is_url", "links", "page_url", "robots_words"]


def is_url(target: str) -> bool:
    """Whether what was typed is a page's address, not a file's path.

    >>> is_url("https://docs.example/guide/"), is_url("docs/guide.md")
    (True, False)
    """
    return target.lower().startswith(("http://", "https://"))


def page_url(url: str) -> Result[str]:
    """Return a URL in the one form that pages are known by: no fragment, no default port, a path.

    Fails with INVALID_URL [VALIDATION], also for one with a password in it, which an index would show.

    >>> page_url("HTTP://Docs.Example:80#top").unwrap()
    'http://docs.example/'
    """
    try:
        parsed = httpx.URL(url)
        parsed = parsed.copy_with(fragment=None, raw_path=parsed.raw_path)  # with a path, if only a slash
    except httpx.InvalidURL as error:
        return Failure(QiError.validation("INVALID_URL", f"no URL: {error}"))
    if parsed.scheme not in ("http", "https") or not parsed.host or "%" in parsed.host:
        return Failure(QiError.validation("INVALID_URL", "a page's URL begins with http:// or https://"))
    if not 0 < (parsed.port or 80) < 65536:
        return Failure(QiError.validation("INVALID_URL", f"{parsed.port} is no port"))
    if parsed.userinfo:
        return Failure(
            QiError.validation("INVALID_URL", "a URL with a password in it would show in the index")
        )
    return Success(str(parsed))


def folder(url: str) -> str:
    """Return the place that a page lies in: what comes before the last slash of its path.

    >>> folder("http://docs.example/guide/start.html?lang=en")
    'http://docs.example/guide/'
    """
    parsed = httpx.URL(url)
    return str(parsed.copy_with(raw_path=parsed.raw_path.partition(b"?")[0].rpartition(b"/")[0] + b"/"))


def links(soup: BeautifulSoup, url: str) -> Iterator[str]:
    """Yield the pages that a page links to, each once, in order; none when it asks not to be followed."""
    if "nofollow" in robots_words(soup):
        return
    base = soup.find("base", href=True)
    root = _joined(url, str(base["href"])) if base is not None else None
    seen: set[str] = set()
    for tag in soup.find_all("a", href=True):
        target = _joined(root or url, str(tag["href"]))
        if target is not None and target not in seen:
            seen.add(target)
            yield target


def robots_words(soup: BeautifulSoup) -> set[str]:
    """Return what a page asks of robots in its `<meta name="robots">`."""
    tags = soup.find_all("meta", attrs={"name": "robots"})
    return {word.strip().lower() for tag in tags for word in str(tag.get("content", "")).split(",")}


def _joined(base: str, link: str) -> str | None:
    try:
        return page_url(urljoin(base, link.strip())).unwrap_or(None)
    except ValueError:  # a link that no browser would follow either
        return None
