"""The engines `httpx` and `httpx2`: connections of httpcore or httpcore2, books and sockets of our own.

httpx2's own types differ from httpx's, so users get httpx's types whichever of the two runs below; the
libraries of connections, one layer down, have the same face.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextvars import ContextVar
from typing import Any, cast

import httpcore
import httpx

from qicore.http.engines.library import Library
from qicore.http.engines.pool import Books, Slot
from qicore.http.engines.reply import Reply
from qicore.http.engines.routes import Key, Routes, is_repeatable, key_of
from qicore.http.engines.wire import AsyncWire, AsyncWires

__all__ = ["CoreEngine"]

# The slot whose connection is being made by the running task: its sockets are put down there.
_opening: ContextVar[Slot[Any] | None] = ContextVar("qicore_http_opening", default=None)


class CoreEngine:
    """Sends requests over a pool of connections; see `AsyncEngine` of `qicore.http.engine`."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._library: Library = routes.library
        self._wires = AsyncWires(routes.library, opened=_put_down, guard=routes.guard)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._books = self._new_books()
        self._stale = (
            routes.library.RemoteProtocolError,
            routes.library.ReadError,
            routes.library.WriteError,
        )

    def _new_books(self) -> Books[httpcore.AsyncConnectionInterface]:
        return Books(
            self._make,
            limit=self._routes.config.max_connections,
            keep=self._routes.config.max_keepalive_connections,
            multiplexed=self._routes.multiplexed,
        )

    def _make(self, key: Hashable) -> httpcore.AsyncConnectionInterface:
        pool = self._routes.factory(
            cast("Key", key),
            self._library.AsyncConnectionPool,
            cast("httpcore.AsyncNetworkBackend", self._wires),
        )
        return pool.create_connection(self._routes.origin(cast("Key", key)))

    async def send(self, request: httpx.Request) -> Reply:
        """Send one request and return the head of what came back.

        Raises the library's exceptions; `request.extensions["sent"]` says then whether anything was written.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            # Connections belong to the event loop they were made in, which is gone.
            self._loop = loop
            self._books = self._new_books()
        key = key_of(request.url)
        exchange = self._routes.request(request)
        fresh = False
        while True:
            slot = self._books.take(key, fresh=fresh)
            if slot is None:
                slot = await self._wait(loop, key, fresh, exchange)
            sent, received = slot.sent, slot.received
            try:
                if slot.wires:
                    response = await slot.line.handle_async_request(exchange)
                else:
                    token = _opening.set(slot)
                    try:
                        response = await slot.line.handle_async_request(exchange)
                    finally:
                        _opening.reset(token)
            except self._library.ConnectionNotAvailable:
                self._books.step_off(slot)
            except BaseException as error:
                written = slot.sent > sent
                silent = slot.received == received
                self._books.give_back(slot, well=False)
                if (
                    slot.served
                    and silent
                    and isinstance(error, self._stale)
                    and is_repeatable(request, written=written)
                ):
                    # RFC 9112, section 9.3.1: the server closed an idle connection as this request came. It
                    # is repeated once, on a new connection, if it is idempotent or nothing of it went out.
                    fresh = True
                    continue
                request.extensions["sent"] = written
                raise
            else:
                extensions = response.extensions
                return Reply(
                    response.status,
                    response.headers,
                    extensions.get("http_version", b"HTTP/1.1"),
                    extensions.get("reason_phrase", b""),
                    _Body(self._books, slot, response),
                )

    async def _wait(
        self, loop: asyncio.AbstractEventLoop, key: Key, fresh: bool, exchange: httpcore.Request
    ) -> Slot[httpcore.AsyncConnectionInterface]:
        seconds = exchange.extensions.get("timeout", {}).get("pool")
        books = self._books
        try:
            async with asyncio.timeout(seconds):
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
            raise self._library.PoolTimeout("every connection of the pool is taken") from error

    async def aclose(self) -> None:
        """Close every idle connection; those in use are closed when their responses are."""
        self._books.close()
        # The transports close in the next round of the event loop.
        await asyncio.sleep(0)


def _put_down(wire: AsyncWire) -> None:
    slot = _opening.get()
    if slot is not None:
        slot.wires.append(wire)


class _Body:
    """The body of a response. Read to its end it gives a sound connection back, closed before that a dead one."""

    __slots__ = ("_books", "_chunks", "_slot", "_stream")

    def __init__(
        self,
        books: Books[httpcore.AsyncConnectionInterface],
        slot: Slot[httpcore.AsyncConnectionInterface],
        response: httpcore.Response,
    ) -> None:
        self._books = books
        self._slot: Slot[httpcore.AsyncConnectionInterface] | None = slot
        self._stream: Any = response.stream
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
