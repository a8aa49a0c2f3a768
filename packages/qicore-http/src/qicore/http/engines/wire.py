# ruff: noqa: ARG002, ASYNC109, D102 - the methods are those of asyncio's protocols and of httpcore
"""Sockets under asyncio, for httpcore's connections: an `AsyncNetworkBackend` on transports and protocols.

httpcore's own backend goes through anyio, which makes a cancel scope for every read and leaves the socket of
a cancelled TLS handshake open. This one closes everything synchronously (`abort`), counts what was written,
so that an error can say whether the server may have seen the request, and asks the guard about each address.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from qicore.http.engines.dial import dial, look_up
from qicore.http.engines.library import Library
from qicore.http.guard import NetworkGuard

__all__ = ["AsyncWire", "AsyncWires", "Peek", "bare"]

_HIGH_WATER = 256 * 1024
"""Bytes that may lie here unread before the server is made to wait."""


class AsyncWire(asyncio.Protocol):
    """A TCP connection, with or without TLS; what httpcore calls an AsyncNetworkStream."""

    def __init__(self, library: Library, loop: asyncio.AbstractEventLoop, handshakes: int) -> None:
        self._library = library
        # Until so many are over, what is written is not the request, but asks a proxy for a tunnel.
        self._handshakes = handshakes
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._paused_reading = False
        self._paused_writing = False
        self._lost: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._peek: Peek | None = None
        self.sent = 0
        self.received = 0

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        self.received += len(data)
        if self._size > _HIGH_WATER and not self._paused_reading and self._transport is not None:
            self._paused_reading = True
            self._transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> bool:
        self._ended = True
        _wake(self._reader)
        # Over TLS there is no half-closed connection. Over TCP the request may still be on its way out.
        return self._transport is not None and self._transport.get_extra_info("ssl_object") is None

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._lost = exc or ConnectionResetError("the connection was closed")
        if exc is not None:
            # A reset after bytes of the response: those are still read, and then the reset is told.
            self._lost = exc
        _wake(self._reader)
        _wake(self._writer)

    def pause_writing(self) -> None:
        self._paused_writing = True

    def resume_writing(self) -> None:
        self._paused_writing = False
        _wake(self._writer)

    # What httpcore calls.

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        while not self._chunks:
            if self._ended:
                if isinstance(self._lost, OSError) and self._lost.errno is not None:
                    raise self._library.ReadError(str(self._lost)) from self._lost
                return b""
            self._reader = self._loop.create_future()
            await self._wait(self._reader, timeout, self._library.ReadTimeout)
        data = self._chunks.popleft()
        if len(data) > max_bytes:
            self._chunks.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        self._size -= len(data)
        if self._paused_reading and self._size < _HIGH_WATER // 2 and self._transport is not None:
            self._paused_reading = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        if self._transport is None or self._transport.is_closing():
            raise self._library.WriteError("the connection was closed") from self._lost
        if self._handshakes == 0:
            self.sent += len(buffer)
        self._transport.write(buffer)
        while self._paused_writing:
            if self._lost is not None:
                raise self._library.WriteError(str(self._lost)) from self._lost
            self._writer = self._loop.create_future()
            await self._wait(self._writer, timeout, self._library.WriteTimeout)

    async def _wait(self, waiter: asyncio.Future[None], timeout: float | None, late: type[Exception]) -> None:
        if timeout is None:
            await waiter
            return
        timer = self._loop.call_later(timeout, _fail, waiter, late)
        try:
            await waiter
        finally:
            timer.cancel()

    async def aclose(self) -> None:
        self.abort()

    def abort(self) -> None:
        """Close at once; harmless when that was done already."""
        if self._transport is not None and not self._loop.is_closed():
            self._transport.abort()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncWire:
        transport = self._transport
        if transport is None or self._lost is not None:
            raise self._library.ConnectError("the connection was closed") from self._lost
        try:
            async with asyncio.timeout(timeout):
                self._transport = await self._loop.start_tls(
                    transport, self, ssl_context, server_hostname=bare(server_hostname)
                )
        except TimeoutError as error:
            transport.abort()
            raise self._library.ConnectTimeout("the TLS handshake took too long") from error
        except OSError as error:
            transport.abort()
            raise self._library.ConnectError(str(error)) from error
        except BaseException:
            transport.abort()
            raise
        if self._transport is None:
            raise self._library.ConnectError("the connection was closed during the TLS handshake")
        self._handshakes -= 1
        return self

    def get_extra_info(self, info: str) -> Any:
        """Answer what httpcore asks about the socket."""
        if info == "is_readable":
            return self._is_stale()
        transport = self._transport
        if transport is None:
            return None
        name = {"client_addr": "sockname", "server_addr": "peername"}.get(info, info)
        return transport.get_extra_info(name)

    def _is_stale(self) -> bool:
        """Whether an idle connection has been closed, or has bytes that nobody asked for."""
        if self._chunks or self._ended or self._transport is None or self._transport.is_closing():
            return True
        if self._transport.get_extra_info("ssl_object") is not None:
            # Bytes may be waiting that TLS sends by itself, such as session tickets.
            return False
        if self._peek is None:
            self._peek = Peek(self._transport.get_extra_info("socket"))
        return self._peek()


class AsyncWires:
    """Opens them; what httpcore calls an AsyncNetworkBackend.

    `opened` is told of every wire before anything is awaited on it, so that it can always be closed.
    """

    def __init__(
        self,
        library: Library,
        *,
        opened: Callable[[AsyncWire], None],
        guard: NetworkGuard | None,
        handshakes: int,
    ) -> None:
        self._library = library
        self._opened = opened
        self._guard = guard
        self._handshakes = handshakes

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> AsyncWire:
        loop = asyncio.get_running_loop()
        wire = AsyncWire(self._library, loop, self._handshakes)
        self._opened(wire)
        try:
            async with asyncio.timeout(timeout):
                sock = await dial(loop, await look_up(loop, host, port, self._guard))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.create_connection(lambda: wire, sock=sock)
        except TimeoutError as error:
            raise self._library.ConnectTimeout("connecting took too long") from error
        except OSError as error:
            raise self._library.ConnectError(str(error)) from error
        return wire

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _fail(waiter: asyncio.Future[None], late: type[Exception]) -> None:
    if not waiter.done():
        waiter.set_exception(late("nothing moved for too long"))


def bare(host: str | None) -> str | None:
    """Return a host as certificates name it: an IPv6 address without its brackets."""
    return None if host is None else host.strip("[]")


class Peek:
    """Tells whether the kernel has bytes, or the end, of a socket: what the event loop has yet to look at."""

    __slots__ = ("_poll", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._poll: Any = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)

    def __call__(self) -> bool:
        if self._poll is not None:
            return bool(self._poll.poll(0))
        return bool(select.select([self._socket.fileno()], [], [], 0)[0])
