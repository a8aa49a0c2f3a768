"""Where a response cache keeps its responses: any store of this shape, such as a cache of qicore-cache."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Protocol

from qicore.base import Result

__all__ = ["ResponseCache", "Store"]


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
