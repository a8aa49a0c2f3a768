"""The engine `aiohttp`: the pool of the other engines, and aiohttp's protocol with its parser in C.

`aiohttp.ClientSession` is not between, nor the transport of httpx-aiohttp: most of the time of a small
request goes there, for cookies, redirects, timers and headers that are done above for all engines alike, and
the transport turns most errors into ConnectTimeout besides. See benchmarks/results/http.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import httpx
from aiohttp.http import HttpVersion11
from aiohttp.streams import StreamReader
from qicore.http.config import HTTPConfig
from qicore.http.engines.aio_line import AioLine, Route
from qicore.http.engines.aio_protocol import ENDED_EARLY, AioProtocol
from qicore.http.engines.aio_upload import PIECE, AioUpload
from qicore.http.engines.pool import Books, Slot
from qicore.http.engines.pooled import PooledEngine
from qicore.http.engines.reply import Reply
from qicore.http.engines.routes import Key
from qicore.http.engines.setup import guard_of, proxies_of, tls_options
from qicore.http.tls import tls_context

__all__ = ["AiohttpEngine"]


class AiohttpEngine(PooledEngine[AioLine]):
    """Sends requests over connections that aiohttp's protocol speaks on."""

    stale = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)

    def __init__(self, config: HTTPConfig) -> None:
        super().__init__(config)
        self._guard = guard_of(config)
        self._proxies = proxies_of(config)

    def make(self, key: Hashable) -> AioLine:
        """Return a new connection for this key, which connects when it is first used."""
        scheme, host, port = origin = cast("Key", key)
        found = self._proxies.choose(scheme.decode(), host.decode(), port)
        proxy = None if found is None else httpx.URL(found)
        options = tls_options(self.config)
        secure = partial(tls_context, replace(options, http2=False))
        to_proxy = secure if proxy is not None and proxy.scheme == "https" else None
        return AioLine(origin, Route(proxy, secure if scheme == b"https" else None, to_proxy))

    async def carry(self, slot: Slot[AioLine], request: httpx.Request) -> Reply:
        """Send the request over the connection of this slot and return the head of the response."""
        line = slot.line
        protocol = line.protocol
        timeouts: dict[str, float | None] = request.extensions.get("timeout", {})
        loop = asyncio.get_running_loop()
        if protocol is None:
            slot.wires.append(line)
            protocol = await line.open(loop, timeouts.get("connect"), self._guard)
        transport = protocol.transport
        if transport is None:
            raise httpx.RemoteProtocolError(ENDED_EARLY)
        protocol.expect(timeouts.get("read"), bodiless=request.method == "HEAD")
        head = _head(line, request)
        stream = request.stream
        body = b"".join(stream) if isinstance(stream, httpx.ByteStream) else None
        upload: AioUpload | None = None
        if body is not None and len(body) <= PIECE:
            line.sent += len(head)
            transport.write(head + body if body else head)
            protocol.start_timeout()
            message, payload = await protocol.answer()
        else:
            upload = AioUpload(line, protocol, head, request, timeouts.get("write"))
            message, payload = await self._answer(protocol, upload)
        version = message.version
        return Reply(
            message.code,
            list(message.raw_headers),
            b"HTTP/1.1" if version == HttpVersion11 else b"HTTP/%d.%d" % version,
            message.reason.encode("utf-8", "surrogateescape"),
            _Body(self.books, slot, payload, self.config.keepalive_expiry, upload),
        )

    async def _answer(self, protocol: AioProtocol, upload: AioUpload) -> tuple[Any, StreamReader]:
        try:
            message, payload = await protocol.answer()
        except BaseException:
            upload.stop()
            await upload.gone()
            raise
        upload.answered = True
        if message.code >= 300:
            # It has no use for the rest. After a 200 it may still be reading.
            upload.stop()
            await upload.gone()
        return message, payload


def _head(line: AioLine, request: httpx.Request) -> bytes:
    fields = request.headers.raw
    lines = [b"%b %b%b HTTP/1.1\r\n" % (request.method.encode("ascii"), line.prefix, request.url.raw_path)]
    lines += [b"%b: %b\r\n" % field for field in fields]
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        raise httpx.LocalProtocolError("a header has characters that no header may have")
    return head + line.fields + b"\r\n"


class _Body:
    """The body of a response. Read to its end it gives back a sound connection, closed earlier a dead one."""

    __slots__ = ("_books", "_keep", "_payload", "_slot", "_upload")

    def __init__(
        self,
        books: Books[AioLine],
        slot: Slot[AioLine],
        payload: StreamReader,
        keep: float,
        upload: AioUpload | None,
    ) -> None:
        self._books = books
        self._slot: Slot[AioLine] | None = slot
        self._payload = payload
        self._keep = keep
        self._upload = upload

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        payload = self._payload
        try:
            data = payload.read_nowait() if payload.is_eof() else await payload.readany()
        except BaseException as error:
            slot = self._slot
            await self.aclose()
            if isinstance(error, Exception) and slot is not None:
                raise cast("AioProtocol", slot.line.protocol).as_httpx(error) from error
            raise
        if data:
            return data
        await self._finish(well=True)
        raise StopAsyncIteration

    async def _finish(self, *, well: bool) -> None:
        slot, self._slot = self._slot, None
        if slot is None:
            return
        upload = self._upload
        if upload is not None:
            upload.stop()
        slot.line.rest(self._keep)
        self._books.give_back(slot, well=well)
        if upload is not None:
            await upload.gone()

    async def aclose(self) -> None:
        await self._finish(well=False)
