"""The engine `aiohttp`: its sessions and its pool, asked for no more than to carry requests.

aiohttp's own cookies, redirects, decompression and credentials are off: they are the same for all engines. The
transport of httpx-aiohttp is not between, as it turns most of aiohttp's errors into ConnectTimeout and spells
some URLs anew; what it does besides fits below.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, MutableMapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

import aiohttp
import aiohttp.abc
import httpx
import yarl

from qicore.http.config import HTTPConfig
from qicore.http.engines.proxies import Proxies
from qicore.http.engines.reply import Reply
from qicore.http.engines.setup import guard_of, tls_options
from qicore.http.guard import NetworkGuard
from qicore.http.tls import tls_context

__all__ = ["AiohttpEngine"]

_MAX_FIELD: Final = 64 * 1024
"""Bytes of a header that are accepted, about as many as with the other engines."""
_OWN_HEADERS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

# What the running task is sending: where to put down that a connection was found and bytes may have gone out.
_sending: ContextVar[MutableMapping[str, Any] | None] = ContextVar("qicore_http_sending", default=None)


class _Connector(aiohttp.TCPConnector):
    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        connection = await super().connect(req, traces, timeout)
        extensions = _sending.get()
        if extensions is not None:
            extensions["sent"] = True
        return connection


class _Resolver(aiohttp.abc.AbstractResolver):
    """Asks the guard about every address that a name has; aiohttp connects to these, and looks up no more."""

    def __init__(self, guard: NetworkGuard) -> None:
        self._guard = guard
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        self._guard.check(host, [entry["host"] for entry in found])
        return found

    async def close(self) -> None:
        await self._resolver.close()


class AiohttpEngine:
    """Sends requests over aiohttp's pool; see `AsyncEngine` of `qicore.http.engine`."""

    def __init__(self, config: HTTPConfig) -> None:
        self._config = config
        self._guard = guard_of(config)
        self._proxies = Proxies(config.proxy, trust_env=config.trust_env and self._guard is None)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: aiohttp.ClientSession | None = None
        self._places = asyncio.Semaphore(config.max_connections)

    def _open(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        self._loop = loop
        # aiohttp has one timeout for waiting in line and for connecting; so the line is here.
        self._places = asyncio.Semaphore(self._config.max_connections)
        connector = _Connector(
            limit=self._config.max_connections,
            keepalive_timeout=self._config.keepalive_expiry,
            resolver=None if self._guard is None else _Resolver(self._guard),
            enable_cleanup_closed=False,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_OWN_HEADERS,
            max_line_size=_MAX_FIELD,
            max_field_size=_MAX_FIELD,
        )
        return self._session

    async def send(self, request: httpx.Request) -> Reply:
        """Send one request and return the head of what came back.

        Raises aiohttp's exceptions; `request.extensions["sent"]` says then whether bytes may have gone out.
        """
        loop = asyncio.get_running_loop()
        session = self._session
        if session is None or loop is not self._loop:
            session = self._open(loop)
        request.extensions["sent"] = False
        places = self._places
        timeouts = request.extensions.get("timeout", {})
        if places.locked():
            await _take_place(places, timeouts.get("pool"))
        else:
            await places.acquire()  # at once
        token = _sending.set(request.extensions)
        try:
            response = await self._request(session, request, timeouts)
        except BaseException:
            places.release()
            raise
        finally:
            _sending.reset(token)
        version = response.version
        return Reply(
            response.status,
            list(response.raw_headers),
            b"HTTP/1.1" if version is None else b"HTTP/%d.%d" % (version.major, version.minor),
            (response.reason or "").encode("latin-1", "replace"),
            _Body(response, places),
        )

    async def _request(
        self, session: aiohttp.ClientSession, request: httpx.Request, timeouts: Any
    ) -> aiohttp.ClientResponse:
        url = request.url
        if self._guard is not None:
            self._guard_literal(url.host)
        stream = request.stream
        data: Any = b"".join(stream) if isinstance(stream, httpx.ByteStream) else stream
        proxy = self._proxies.choose(url.scheme, url.host)
        more: dict[str, Any] = {}
        if proxy is not None:
            parsed = yarl.URL(proxy)
            more["proxy"] = parsed.with_user(None)
            if parsed.user or parsed.password:
                more["proxy_auth"] = aiohttp.BasicAuth(parsed.user or "", parsed.password or "", "utf-8")
        if url.scheme == "https":
            more["ssl"] = tls_context(tls_options(self._config))
        return await session.request(
            request.method,
            _spelled(str(url)),
            headers=[
                (name.decode("latin-1"), value.decode("utf-8", "replace"))
                for name, value in request.headers.raw
                if name.lower() != b"transfer-encoding"
            ],
            data=data or None,
            allow_redirects=False,
            timeout=_timeout(timeouts.get("connect"), timeouts.get("read")),
            **more,
        )

    def _guard_literal(self, host: str) -> None:
        # aiohttp resolves names only.
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return
        assert self._guard is not None
        self._guard.check(host, [host])

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None and self._loop is asyncio.get_running_loop():
            await self._session.close()
        self._session = None


async def _take_place(places: asyncio.Semaphore, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await places.acquire()
    except TimeoutError as error:
        raise httpx.PoolTimeout("every connection of the pool is taken") from error


@lru_cache(maxsize=256)
def _spelled(url: str) -> yarl.URL:
    # As it is: yarl would spell some escapes anew, and a signature over the URL would no longer fit.
    return yarl.URL(url, encoded=True)


@lru_cache(maxsize=64)
def _timeout(connect: float | None, read: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=None, connect=None, sock_connect=connect, sock_read=read)


class _Body:
    """The body of a response. Read to its end it gives the connection back, closed before that it closes it."""

    __slots__ = ("_content", "_places", "_response")

    def __init__(self, response: aiohttp.ClientResponse, places: asyncio.Semaphore) -> None:
        self._response: aiohttp.ClientResponse | None = response
        self._content = response.content
        self._places = places

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            data = await self._content.readany()
        except BaseException:
            await self.aclose()
            raise
        if data:
            return data
        if self._response is not None:
            self._response.release()
            self._response = None
            self._places.release()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.close()
            self._places.release()
