"""Where a response cache keeps its responses: any store of this shape, such as a cache of qicore-cache."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from qicore.base import Failure, QiError, Result, Success

if TYPE_CHECKING:  # it needs the extra `cache`
    from qicore.http.cached import AsyncCached, SyncCached

__all__ = ["ResponseCache", "Store", "open_cache", "open_sync_cache"]


class Store(Protocol):
    """Keeps bytes by key. A Failure KEY_NOT_FOUND of `get` is a miss. A Result may be awaited as it is."""

    def get(self, key: str, /) -> Awaitable[Result[Any]]:
        """Return the bytes of a key."""
        ...

    def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Awaitable[Result[Any]]:
        """Keep the bytes for `ttl` seconds."""
        ...

    def remove(self, key: str, /) -> Awaitable[Result[Any]]:
        """Forget a key."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseCache:
    """How responses are cached, for `HTTPConfig(cache=…)`; a store alone stands for `ResponseCache(store=…)`.

    Attributes:
        store: where they are kept. For a SyncHTTPClient it must answer at once, as a memory cache does.
        shared: whether the store serves several users. Then `private` responses and those to requests with
            credentials are not stored unless the server permits it; else each set of credentials has its own.
        max_size: bytes of a body, decompressed, above which a response is not stored.
        stale_if_error: seconds for which a stale response may stand in for a server that fails, where the
            server has not said so itself.
        keep: seconds for which a stale response is kept to be validated.
        patience: seconds that the store may take; after that the request goes on without it.
        namespace: what the keys begin with.
    """

    store: Store
    shared: bool = False
    max_size: int = 1_048_576
    stale_if_error: float = 0.0
    keep: float = 604_800.0
    patience: float = 1.0
    namespace: str = "qicore-http:"

    def wrong(self) -> list[str]:
        """Return what is wrong with the options."""
        wrong = [
            f"cache: {name} must be seconds, {'more than 0' if least else '0 or more'}"
            for name, least in (("stale_if_error", False), ("keep", False), ("patience", True))
            if not (0 <= getattr(self, name) < math.inf) or (least and getattr(self, name) == 0)
        ]
        if type(self.max_size) is not int or self.max_size < 0:
            wrong.append("cache: max_size must be a whole number of bytes")
        return wrong


def open_cache(cache: Store | ResponseCache | None) -> Result[AsyncCached | None]:
    """Return what sends requests through the cache; INVALID_HTTP_CONFIG when hishel is not installed."""
    if cache is None:
        return Success(None)
    try:
        from qicore.http.cached import AsyncCached
    except ImportError as error:
        return Failure(_not_installed(error))
    return Success(AsyncCached(_options(cache)))


def open_sync_cache(cache: Store | ResponseCache | None) -> Result[SyncCached | None]:
    """Return the same, blocking; INVALID_HTTP_CONFIG also for a store whose operations are coroutines."""
    if cache is None:
        return Success(None)
    options = _options(cache)
    if any(map(inspect.iscoroutinefunction, (options.store.get, options.store.set, options.store.remove))):
        return Failure(
            QiError.validation(
                "INVALID_HTTP_CONFIG", "cache: a blocking client needs a store that answers at once"
            )
        )
    try:
        from qicore.http.cached import SyncCached
    except ImportError as error:
        return Failure(_not_installed(error))
    return Success(SyncCached(options))


def _options(cache: Store | ResponseCache) -> ResponseCache:
    return cache if isinstance(cache, ResponseCache) else ResponseCache(store=cache)


def _not_installed(error: ImportError) -> QiError:
    return QiError.validation(
        "INVALID_HTTP_CONFIG",
        f"{error.name} is not installed: pip install 'qicore-http[cache]'",
        missing=error.name or "",
    )
