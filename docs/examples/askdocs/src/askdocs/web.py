"""Pages of sites: fetched politely, several times if need be, and not again while they are as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Final, Self

import httpx
from bs4 import BeautifulSoup
from bs4.dammit import EncodingDetector
from qicore.base import Failure, QiError, Result, Success, early_return
from qicore.cache import Cache, CacheConfig
from qicore.http import HTTPClient, HTTPConfig
from qicore.resilience import (
    CircuitBreakerConfig,
    Policy,
    RateLimiter,
    RateLimiterConfig,
    Retry,
    RetryConfig,
    compose,
)

from askdocs.crawl import Page
from askdocs.extract import KINDS
from askdocs.links import links, page_url, robots_words
from askdocs.robots import AGENT, Rules
from askdocs.settings import WebSettings
from askdocs.texts import decode

__all__ = ["Web"]

# What a page's kind is by the Content-Type it comes with.
_SUFFIXES: Final[Mapping[str, str]] = {
    "text/html": ".html",
    "application/xhtml+xml": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
    "text/x-python": ".py",
}
_WEEK: Final = 7 * 24 * 3600.0
# A site of which half the answers fail; a few pages that do are nothing to it.
_DEAD: Final = CircuitBreakerConfig(failure_rate=0.5, minimum_calls=10, monitoring_period=30)


@dataclass(frozen=True, slots=True)
class _Site:
    """How one origin is to be spoken to: by its rules, at its pace, and more than once when it stumbles."""

    rules: Rules
    policy: Policy


class Web:
    """Fetches pages.

    Each site has a circuit breaker, so that one that has died is not asked on and on, and a pace: the rate of
    the settings, or the delay that its robots.txt asks for. A page is tried up to three times, in turn with
    all others. Pages are kept in a file: fresh ones are not asked for again, others only whether they have
    changed.
    """

    def __init__(self, client: HTTPClient, pages: Cache[bytes], settings: WebSettings) -> None:
        self._client = client.with_circuit_breaker(_DEAD)
        self._pages = pages
        self._settings = settings
        self._sites: Cache[_Site] = Cache.create_memory().unwrap()

    @classmethod
    @early_return
    async def create(cls, settings: WebSettings, cache: Path, max_size: int) -> Result[Self]:
        """Open the file that keeps the pages, of at most `max_size` bytes each; fails as the cache does."""
        kept = CacheConfig(namespace="pages", ttl=_WEEK, max_weight=500_000_000, max_entries=None)
        pages = (await Cache.create_persistent(settings.cache or cache, kept)).unwrap()
        config = HTTPConfig(
            headers={"user-agent": AGENT, "accept": ", ".join([*_SUFFIXES, "*/*;q=0.1"])},
            timeout=settings.timeout,
            max_response_size=max_size,
            cache=pages,
            store_cookies=False,
            retry=None,  # each try has to wait for its turn: see `_policy`
        )
        return HTTPClient.create(config).map(lambda client: cls(client, pages, settings))

    @early_return
    async def fetch(self, url: str) -> Result[Page]:
        """Get a page that the site's robots.txt allows.

        Fails as HTTPClient does; with ROBOTS_DISALLOWED, ROBOTS_NOINDEX [PERMISSION], PAGE_KIND_UNKNOWN,
        FILE_NOT_TEXT [VALIDATION].
        """
        site = await self._site(url)
        site.rules.allow(url).unwrap()
        response = (await site.policy.call(lambda: self._client.get(url))).unwrap()
        final = page_url(str(response.url)).unwrap()
        if final != url:
            (await self._site(final)).rules.allow(final).unwrap()
        return _page(final, response)

    async def _site(self, url: str) -> _Site:
        """Return how to speak to the site of a page; its robots.txt is read once."""
        origin = str(httpx.URL(url).copy_with(raw_path=b"/"))

        @early_return
        async def meet() -> Result[_Site]:
            policy = self._policy(1 / self._settings.rate)
            answer = await policy.call(lambda: self._client.get(origin + "robots.txt"))
            rules = Rules.of(answer.map(lambda response: response.content)).unwrap()
            if rules.delay > 1 / self._settings.rate:
                policy = self._policy(min(rules.delay, self._settings.max_delay))
            return Success(_Site(rules, policy))

        return (await self._sites.get_or_set(origin, meet)).unwrap()

    def _policy(self, delay: float) -> Policy:
        # The limiter inside: each try waits for its turn.
        return compose(
            Retry(RetryConfig(attempts=3, wait_initial=self._settings.retry_wait)),
            RateLimiter(RateLimiterConfig(limit=1, period=delay)),
        )

    async def close(self) -> Result[None]:
        """Close the connections and the file."""
        await self._client.close()
        return await self._pages.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


@early_return
def _page(url: str, response: httpx.Response) -> Result[Page]:
    path = _path(url, response).unwrap()
    html = path.suffix == ".html"
    declared = EncodingDetector.find_declared_encoding(response.content, is_html=html) if html else None
    text = decode(response.content, response.charset_encoding or declared or "utf-8-sig").unwrap()
    if not html:
        return Success(Page(url=url, path=path, text=text, links=()))
    soup = BeautifulSoup(text.text, "html.parser")
    if robots_words(soup) & {"noindex", "none"}:
        return Failure(QiError.permission("ROBOTS_NOINDEX", "the page asks not to be in an index"))
    return Success(Page(url=url, path=path, text=text, links=tuple(links(soup, url))))


def _path(url: str, response: httpx.Response) -> Result[PurePosixPath]:
    """Return the name of a page's document, with the suffix of its kind."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    parsed = httpx.URL(url)
    name = next((part for part in reversed(parsed.path.split("/")) if part), parsed.host)
    suffix = _SUFFIXES.get(kind)
    if suffix == ".txt" and PurePosixPath(name).suffix.lower() in KINDS:
        return Success(PurePosixPath(name))  # such as Markdown, which most servers call plain text
    if suffix is None:
        reason = f"not a kind that can be read: {kind or 'no Content-Type'}"
        return Failure(QiError.validation("PAGE_KIND_UNKNOWN", reason))
    return Success(PurePosixPath(name if name.lower().endswith(suffix) else name + suffix))
