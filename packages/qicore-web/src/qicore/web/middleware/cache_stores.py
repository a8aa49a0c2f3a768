"""Where a response cache keeps its responses: in this process, or in any store of a shape."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

from qicore.base import Failure, QiError, Result, Success
from qicore.web.middleware.cache_entries import Item, pack, unpack

__all__ = ["BytesStore", "Distant", "Near", "Shelf"]

log: Final = logging.getLogger("qicore.web.cache")
_RESULTS: Final = (Success, Failure)


class BytesStore(Protocol):
    """Keeps bytes by key, such as a cache of qicore-cache. A Failure KEY_NOT_FOUND of `get` is a miss."""

    def get(self, key: str, /) -> Awaitable[Result[Any]]:
        """Return the bytes of a key."""
        ...

    def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Awaitable[Result[Any]]:
        """Keep the bytes for `ttl` seconds."""
        ...

    def remove(self, key: str, /) -> Awaitable[Result[Any]]:
        """Forget a key."""
        ...


class Shelf(Protocol):
    """What the cache itself asks for. It never fails: without an answer there is nothing stored."""

    async def get(self, key: str) -> Item | None:
        """Return what lies under a key."""
        ...

    async def put(self, key: str, item: Item, ttl: float) -> None:
        """Keep it for `ttl` seconds."""
        ...

    async def remove(self, key: str) -> None:
        """Forget a key."""
        ...


class Near(Shelf):
    """Keeps things in this process: so many, and so many bytes; what was not used longest goes first."""

    def __init__(self, max_entries: int, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._items: OrderedDict[str, tuple[Item, float]] = OrderedDict()
        self._bytes = 0

    async def get(self, key: str) -> Item | None:
        """Return what lies under a key."""
        found = self._items.get(key)
        if found is None:
            return None
        item, ends = found
        if ends <= self._clock():
            self._drop(key)
            return None
        self._items.move_to_end(key)
        return item

    async def put(self, key: str, item: Item, ttl: float) -> None:
        """Keep it for `ttl` seconds."""
        self._drop(key)
        self._items[key] = item, self._clock() + ttl
        self._bytes += item.size
        while self._bytes > self._max_bytes or len(self._items) > self._max_entries:
            _, (oldest, _) = self._items.popitem(last=False)
            self._bytes -= oldest.size

    async def remove(self, key: str) -> None:
        """Forget a key."""
        self._drop(key)

    def _drop(self, key: str) -> None:
        found = self._items.pop(key, None)
        if found is not None:
            self._bytes -= found[0].size


class Distant(Shelf):
    """Keeps things as bytes in a store. When it fails, or takes too long, requests go on without it."""

    def __init__(self, store: BytesStore, patience: float) -> None:
        self._store = store
        self._patience = patience

    async def get(self, key: str) -> Item | None:
        """Return what lies under a key."""
        result = await self._asked(lambda: self._store.get(key))
        return unpack(result.data) if result.is_success else None

    async def put(self, key: str, item: Item, ttl: float) -> None:
        """Keep it for `ttl` seconds."""
        await self._asked(lambda: self._store.set(key, pack(item), ttl=ttl))

    async def remove(self, key: str) -> None:
        """Forget a key."""
        await self._asked(lambda: self._store.remove(key))

    async def _asked(self, ask: Callable[[], Awaitable[Result[Any]]]) -> Result[Any]:
        try:
            asked: Any = ask()
            if type(asked) not in _RESULTS:  # one that answers at once needs no timer
                async with asyncio.timeout(self._patience):
                    asked = await asked
            if type(asked) not in _RESULTS:
                raise TypeError(f"a store must answer a Result, not {type(asked).__name__}")
            result = cast("Result[Any]", asked)
        except Exception as error:  # noqa: BLE001 - a store of others; the request can do without it
            result = Failure(QiError.from_exception(error))
        if isinstance(result, Failure) and result.error.code != "KEY_NOT_FOUND":
            log.warning("the store of the response cache failed: %s", result.error.code)
        return result
