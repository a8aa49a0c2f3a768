"""What every asynchronous engine does with its pool: take a place, use it, give it back."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import httpx
from qicore.http.config import HTTPConfig
from qicore.http.engines.pool import Books, Line, Slot
from qicore.http.engines.reply import Reply
from qicore.http.engines.routes import Key, is_repeatable, key_of

__all__ = ["PooledEngine"]

L = TypeVar("L", bound=Line)


class PooledEngine(ABC, Generic[L]):
    """Sends requests over a pool of connections of one event loop; see `AsyncEngine` of `qicore.http.engine`.

    Attributes:
        stale: the exceptions that tell of a connection which the server closed.
        occupied: those of one that should carry several requests at once, and turned out not to.
    """

    stale: tuple[type[BaseException], ...] = ()
    occupied: tuple[type[BaseException], ...] = ()

    def __init__(self, config: HTTPConfig, multiplexed: Callable[[Hashable], bool] = lambda _: False) -> None:
        self.config = config
        self._multiplexed = multiplexed
        self._loop: asyncio.AbstractEventLoop | None = None
        self.books = self._new_books()

    def _new_books(self) -> Books[L]:
        return Books(
            self.make,
            limit=self.config.max_connections,
            keep=self.config.max_keepalive_connections,
            multiplexed=self._multiplexed,
        )

    @abstractmethod
    def make(self, key: Hashable) -> L:
        """Return a new connection for this key, which connects when it is first used."""

    @abstractmethod
    async def carry(self, slot: Slot[L], request: httpx.Request) -> Reply:
        """Send the request over the connection of this slot and return the head of the response."""

    async def send(self, request: httpx.Request) -> Reply:
        """Send one request and return the head of what came back.

        Raises the library's exceptions; `request.extensions["sent"]` says then whether anything was written.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # Connections belong to the event loop they were made in, which is gone.
            self._loop = loop
            self.books = self._new_books()
        books = self.books
        key = key_of(request.url)
        fresh = False
        while True:
            slot = books.take(key, fresh=fresh)
            if slot is None:
                slot = await self._wait(loop, key, fresh, request)
            sent, received = slot.sent, slot.received
            try:
                return await self.carry(slot, request)
            except self.occupied:
                books.step_off(slot)
            except BaseException as error:
                written = slot.sent > sent
                silent = slot.received == received
                books.give_back(slot, well=False)
                if (
                    slot.served
                    and silent
                    and isinstance(error, self.stale)
                    and is_repeatable(request, written=written)
                ):
                    # RFC 9112, section 9.3.1: the server closed an idle connection as this request came. It
                    # is repeated once, on a new connection, if it is idempotent or nothing of it went out.
                    fresh = True
                    continue
                request.extensions["sent"] = written
                raise

    async def _wait(
        self, loop: asyncio.AbstractEventLoop, key: Key, fresh: bool, request: httpx.Request
    ) -> Slot[L]:
        timeouts: dict[str, Any] = request.extensions.get("timeout", {})
        books = self.books
        try:
            async with asyncio.timeout(timeouts.get("pool")):
                while True:
                    waiter = loop.create_future()
                    books.wait(waiter)
                    try:
                        await waiter
                    except BaseException:
                        books.leave(waiter)
                        raise
                    slot = books.take(key, fresh=fresh, woken=True)
                    if slot is not None:
                        return slot
        except TimeoutError as error:
            raise httpx.PoolTimeout("every connection of the pool is taken") from error

    async def aclose(self) -> None:
        """Close every idle connection; those in use are closed when their responses are."""
        self.books.close()
        # The transports close in the next round of the event loop.
        await asyncio.sleep(0)
