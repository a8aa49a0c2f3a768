"""A connection of the engine `aiohttp`: dialled here, spoken by aiohttp's protocol and its parser in C."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from qicore.http.engines.aio_protocol import AioProtocol
from qicore.http.engines.dial import dial, look_up
from qicore.http.engines.routes import Key
from qicore.http.engines.wire import Peek
from qicore.http.guard import NetworkGuard

__all__ = ["AioLine", "Route"]


@dataclass(frozen=True, slots=True)
class Route:
    """How to get to an origin.

    Attributes:
        proxy: the proxy that leads there, or None.
        context: makes the TLS context for the origin, which is None for http.
        proxy_context: the same for the proxy.
    """

    proxy: httpx.URL | None
    context: Callable[[], ssl.SSLContext] | None
    proxy_context: Callable[[], ssl.SSLContext] | None


class AioLine:
    """One connection, made by `open`; what the books of the pool ask, it answers.

    Attributes:
        prefix: what stands before the path in a request, when a proxy forwards it.
        fields: header fields for that proxy.
        sent: bytes written, roughly: more than before when anything was.
    """

    __slots__ = (
        "_key",
        "_loop",
        "_peek",
        "_rests_until",
        "_route",
        "fields",
        "prefix",
        "protocol",
        "sent",
    )

    def __init__(self, key: Key, route: Route) -> None:
        self._key = key
        self._route = route
        self._rests_until = 0.0
        self._peek: Peek | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.protocol: AioProtocol | None = None
        self.prefix = b""
        self.fields = b""
        self.sent = 0

    @property
    def received(self) -> int:
        """More than before when anything was read."""
        return 0 if self.protocol is None else self.protocol.received

    async def open(
        self, loop: asyncio.AbstractEventLoop, seconds: float | None, guard: NetworkGuard | None
    ) -> AioProtocol:
        """Connect, through the proxy if there is one; raises httpx's exceptions."""
        self._loop = loop
        try:
            async with asyncio.timeout(seconds):
                self.protocol = await self._connect(loop, guard)
        except TimeoutError as error:
            raise httpx.ConnectTimeout("connecting took too long") from error
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return self.protocol

    async def _connect(self, loop: asyncio.AbstractEventLoop, guard: NetworkGuard | None) -> AioProtocol:
        scheme, host, port = self._key
        proxy = self._route.proxy
        if proxy is not None:
            nearest, door = proxy.host, proxy.port or (443 if proxy.scheme == "https" else 80)
        else:
            nearest, door = host.decode("ascii"), port
        sock = await dial(loop, await look_up(loop, nearest, door, guard))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        protocol = AioProtocol(loop)
        await loop.create_connection(lambda: protocol, sock=sock)
        try:
            if proxy is not None:
                if self._route.proxy_context is not None:
                    protocol = await _start_tls(loop, protocol, self._route.proxy_context(), proxy.host)
                fields = _credentials(proxy)
                if scheme == b"https":
                    await _tunnel(protocol, host, port, fields)
                else:
                    authority = b"[%b]" % host if b":" in host else host
                    self.prefix = b"http://%b" % authority + (b"" if port == 80 else b":%d" % port)
                    self.fields = fields
            if self._route.context is not None:
                protocol = await _start_tls(loop, protocol, self._route.context(), host.decode("ascii"))
            elif protocol.transport is not None and self._route.proxy_context is None:
                # Over TLS, bytes may be waiting that it sends by itself, such as session tickets.
                self._peek = Peek(protocol.transport.get_extra_info("socket"))
        except BaseException:
            protocol.abort()
            raise
        return protocol

    def rest(self, seconds: float) -> None:
        """Be idle from now on, for so long at most."""
        assert self._loop is not None
        self._rests_until = self._loop.time() + seconds

    def is_idle(self) -> bool:
        """Return whether another request may follow."""
        protocol = self.protocol
        return protocol is not None and not protocol.should_close and protocol.is_connected()

    def is_available(self) -> bool:
        """Return whether it is idle and has not been closed, even if the event loop has yet to see that."""
        return self.is_idle() and (self._peek is None or not self._peek())

    def has_expired(self) -> bool:
        """Return whether it has been idle for too long."""
        return self._loop is not None and self._loop.time() > self._rests_until

    def abort(self) -> None:
        """Close it at once; harmless when that was done already."""
        if self.protocol is not None and self._loop is not None and not self._loop.is_closed():
            self.protocol.abort()


async def _start_tls(
    loop: asyncio.AbstractEventLoop, below: AioProtocol, context: ssl.SSLContext, host: str
) -> AioProtocol:
    protocol = AioProtocol(loop)
    transport = below.transport
    if transport is None:
        raise ConnectionResetError("the connection was closed")
    try:
        secured = await loop.start_tls(transport, protocol, context, server_hostname=host.rstrip("."))
    except BaseException:
        transport.abort()
        raise
    if secured is None:
        raise ConnectionResetError("the connection was closed during the TLS handshake")
    protocol.connection_made(secured)
    return protocol


async def _tunnel(protocol: AioProtocol, host: bytes, port: int, fields: bytes) -> None:
    """Ask the proxy for a tunnel."""
    place = b"%b:%d" % (b"[%b]" % host if b":" in host else host, port)
    protocol.expect(None)
    assert protocol.transport is not None
    protocol.transport.write(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (place, place, fields))
    message, _ = await protocol.answer()
    if not 200 <= message.code < 300:
        raise httpx.ProxyError(f"{message.code} {message.reason}")


def _credentials(proxy: httpx.URL) -> bytes:
    if not (proxy.username or proxy.password):
        return b""
    pair = f"{proxy.username}:{proxy.password}".encode()
    return b"Proxy-Authorization: Basic %b\r\n" % base64.b64encode(pair)
