"""Pages of passages that were found before, in a cache that all nodes share."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final, cast
from uuid import uuid4

from qicore.base import Result
from qicore.cache import Cache, CacheConfig, MessagePackSerializer

from askdocs.model import Page
from askdocs.settings import CacheSettings

__all__ = ["Found"]

log = logging.getLogger("askdocs")

_STATE: Final = "state"


class Found:
    """The cache of what was found.

    Each page is kept under the state that the index was in before it was looked for. Who changes the index
    gives it a new state, after the commit and before it answers; so nobody who asks after an answered write
    is given an older page. A node that dies in between leaves the old state: then pages are at most `ttl`
    seconds old. Without Redis, or while it is away, all is looked for anew.
    """

    def __init__(self, cache: Cache[Page | str], ttl: float) -> None:
        self._cache = cache
        self._ttl = ttl

    @classmethod
    async def create(cls, settings: CacheSettings) -> Result[Found]:
        """Open the cache; CACHE_CREATION_FAILED [VALIDATION] for a URL that is none."""
        config = CacheConfig(
            namespace=settings.namespace,
            serializer=MessagePackSerializer(Page | str),
            # Looking anew takes less time than to wait for long.
            timeout=1.0,
            lock_timeout=2.0,
            on_failure="fall_through",
        )
        opened: Result[Cache[Page | str]] = await Cache.create_persistent(settings.url or "", config)
        return opened.map(lambda cache: cls(cache, settings.ttl))

    async def page(
        self, question: str, limit: int, offset: int, find: Callable[[], Awaitable[Result[Page]]]
    ) -> Result[Page]:
        """Return a page that was found since the last change, or find it; fails as `find` does."""
        state = await self._cache.get_or_set(_STATE, _new_state)
        asked = sha256(question.encode("utf-8", "surrogatepass")).hexdigest()
        key = f"page:{state.unwrap_or('')}:{limit}:{offset}:{asked}"
        return cast("Result[Page]", await self._cache.get_or_set(key, find, ttl=self._ttl))

    async def forget(self) -> None:
        """Let nobody have what was found up to now."""
        (await self._cache.set(_STATE, _new_state())).tap_error(
            lambda error: log.warning("pages may be up to %g s old: %s", self._ttl, error)
        )

    async def close(self) -> Result[None]:
        """Close the connections. Idempotent."""
        return await self._cache.close()


def _new_state() -> str:
    return uuid4().hex
