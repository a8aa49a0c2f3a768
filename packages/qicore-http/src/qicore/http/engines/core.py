"""The engines `httpx` and `httpx2`: connections of httpcore or httpcore2, books and sockets of our own.

httpx2's own types differ from httpx's, so users get httpx's types whichever of the two runs below; the
libraries of connections, one layer down, have the same face.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextvars import ContextVar
from typing import Any, cast

import httpcore
import httpx
from qicore.http.engines.library import Library
from qicore.http.engines.pool import Books, Slot
from qicore.http.engines.pooled import PooledEngine
from qicore.http.engines.reply import Reply
from qicore.http.engines.routes import Key, Routes
from qicore.http.engines.wire import AsyncWire, AsyncWires

__all__ = ["CoreEngine"]

# The slot whose connection is being made by the running task: its sockets are put down there.
_opening: ContextVar[Slot[Any] | None] = ContextVar("qicore_http_opening", default=None)


class CoreEngine(PooledEngine["httpcore.AsyncConnectionInterface"]):
    """Sends requests over connections of the library below httpx, or below httpx2."""

    def __init__(self, routes: Routes) -> None:
        super().__init__(routes.config, routes.multiplexed)
        library: Library = routes.library
        self._routes = routes
        self._library = library
        self.stale = (library.RemoteProtocolError, library.ReadError, library.WriteError)
        self.occupied = (library.ConnectionNotAvailable,)

    def make(self, key: Hashable) -> httpcore.AsyncConnectionInterface:
        """Return a new connection for this key, which connects when it is first used."""
        pool = self._routes.factory(cast("Key", key), self._library.AsyncConnectionPool, self._wires)
        return pool.create_connection(self._routes.origin(cast("Key", key)))

    def _wires(self, handshakes: int) -> AsyncWires:
        guard = self._routes.guard
        return AsyncWires(self._library, opened=_put_down, guard=guard, handshakes=handshakes)

    async def carry(self, slot: Slot[httpcore.AsyncConnectionInterface], request: httpx.Request) -> Reply:
        """Send the request over the connection of this slot and return the head of the response."""
        exchange = self._routes.request(request)
        if slot.wires:
            response = await slot.line.handle_async_request(exchange)
        else:
            token = _opening.set(slot)
            try:
                response = await slot.line.handle_async_request(exchange)
            finally:
                _opening.reset(token)
        extensions: dict[str, Any] = cast("Any", response).extensions
        return Reply(
            response.status,
            response.headers,
            extensions.get("http_version", b"HTTP/1.1"),
            extensions.get("reason_phrase", b""),
            _Body(self.books, slot, response),
        )


def _put_down(wire: AsyncWire) -> None:
    slot = _opening.get()
    if slot is not None:
        slot.wires.append(wire)


class _Body:
    """The body of a response. Read to its end it gives back a sound connection, closed earlier a dead one."""

    __slots__ = ("_books", "_chunks", "_slot", "_stream")

    def __init__(
        self,
        books: Books[httpcore.AsyncConnectionInterface],
        slot: Slot[httpcore.AsyncConnectionInterface],
        response: httpcore.Response,
    ) -> None:
        self._books = books
        self._slot: Slot[httpcore.AsyncConnectionInterface] | None = slot
        self._stream = cast("Any", response.stream)
        self._chunks: AsyncIterator[bytes] = self._stream.__aiter__()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._chunks.__anext__()
        except StopAsyncIteration:
            slot, self._slot = self._slot, None
            if slot is not None:
                try:
                    await self._stream.aclose()
                except BaseException:
                    self._books.give_back(slot, well=False)
                    raise
                self._books.give_back(slot, well=True)
            raise
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            self._books.give_back(slot, well=False)

    async def aclose(self) -> None:
        if self._slot is not None:
            self._abandon()
            # The books are done. This only ends the library's generators here instead of in the collector.
            await self._stream.aclose()
            await cast("Any", self._chunks).aclose()
