"""The seam: the one module that knows which libraries can carry requests.

Every engine takes an `httpx.Request` and gives back a `Reply` of plain values, so that users see httpx's
types with each of them and the same code above judges what came back. Engines raise the exceptions of their
library; `qicore.http.errors` has the one table of them all. What each must do by itself:

* A request that is cancelled takes its connection with it, and frees its place in the pool.
* An idempotent request, or one of which nothing was written, that meets a connection the server has just
  closed goes out once more, on a new one; any other one fails, and `request.extensions["sent"]` is True.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

import httpx
from qicore.base import Failure, QiError, Result, Success
from qicore.http.config import HTTPConfig
from qicore.http.engines.reply import Deadline, Reply, SyncReply
from qicore.http.engines.setup import proxies_of

if TYPE_CHECKING:
    from qicore.http.engines.routes import Routes

__all__ = [
    "AsyncEngine",
    "EngineTransport",
    "SyncEngine",
    "SyncEngineTransport",
    "open_engine",
    "open_sync_engine",
]


class AsyncEngine(Protocol):
    """What carries the requests of an `HTTPClient`."""

    async def send(self, request: httpx.Request) -> Reply:
        """Send one request, and return the head of the response with its body still to come."""
        ...

    async def aclose(self) -> None:
        """Close every connection that is idle; those in use close as their responses do."""
        ...


class SyncEngine(Protocol):
    """What carries the requests of a `SyncHTTPClient`."""

    def send(self, request: httpx.Request, deadline: Deadline) -> SyncReply:
        """Send one request, and return its response's head; the deadline holds for the body too."""
        ...

    def close(self) -> None:
        """Close every connection that is idle; those in use close as their responses do."""
        ...


def open_engine(config: HTTPConfig) -> Result[AsyncEngine]:
    """Return the engine that the options ask for, or INVALID_HTTP_CONFIG when it is not installed.

    >>> open_engine(HTTPConfig()).is_success
    True
    """
    unusable = proxies_of(config).unusable()
    if unusable is not None:
        return Failure(QiError.validation("INVALID_HTTP_CONFIG", unusable))
    try:
        if config.engine == "aiohttp":
            from qicore.http.engines.aio import AiohttpEngine

            return Success(AiohttpEngine(config))
        from qicore.http.engines.core import CoreEngine

        return Success(CoreEngine(_routes(config)))
    except ImportError as error:
        return Failure(_not_installed(config, error))


def open_sync_engine(config: HTTPConfig) -> Result[SyncEngine]:
    """Return the engine that the options ask for. aiohttp has no blocking side: INVALID_HTTP_CONFIG.

    >>> str(open_sync_engine(HTTPConfig(engine="aiohttp")).error)
    'VALIDATION/INVALID_HTTP_CONFIG: engine: aiohttp has no blocking side, use httpx or httpx2'
    """
    unusable = proxies_of(config).unusable()
    if unusable is not None:
        return Failure(QiError.validation("INVALID_HTTP_CONFIG", unusable))
    if config.engine == "aiohttp":
        return Failure(
            QiError.validation(
                "INVALID_HTTP_CONFIG", "engine: aiohttp has no blocking side, use httpx or httpx2"
            )
        )
    try:
        from qicore.http.engines.core_sync import SyncCoreEngine

        return Success(SyncCoreEngine(_routes(config)))
    except ImportError as error:
        return Failure(_not_installed(config, error))


def _routes(config: HTTPConfig) -> Routes:
    from qicore.http.engines.library import load_library
    from qicore.http.engines.routes import Routes

    if config.http2:
        import_module("h2")  # what the extra is there for
    return Routes(load_library("httpcore2" if config.engine == "httpx2" else "httpcore"), config)


def _not_installed(config: HTTPConfig, error: ImportError) -> QiError:
    extra = "http2" if error.name == "h2" else config.engine
    return QiError.validation(
        "INVALID_HTTP_CONFIG",
        f"{error.name} is not installed: pip install 'qicore-http[{extra}]'",
        missing=error.name or "",
    )


class EngineTransport(httpx.AsyncBaseTransport):
    """An engine as a transport of httpx: what is under `client.raw`."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request over the client's pool, and return the response with its body still to come."""
        reply = await self._engine.send(request)
        extensions = {"http_version": reply.version, "reason_phrase": reply.reason}
        return httpx.Response(
            reply.status, headers=reply.headers, stream=_Stream(reply), extensions=extensions
        )


class SyncEngineTransport(httpx.BaseTransport):
    """The same, blocking."""

    def __init__(self, engine: SyncEngine) -> None:
        self._engine = engine

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request over the client's pool, and return the response with its body still to come."""
        reply = self._engine.send(request, Deadline())
        extensions = {"http_version": reply.version, "reason_phrase": reply.reason}
        return httpx.Response(
            reply.status, headers=reply.headers, stream=_SyncStream(reply), extensions=extensions
        )


class _Stream(httpx.AsyncByteStream):
    def __init__(self, reply: Reply) -> None:
        self._body = reply.body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            yield chunk

    async def aclose(self) -> None:
        await self._body.aclose()


class _SyncStream(httpx.SyncByteStream):
    def __init__(self, reply: SyncReply) -> None:
        self._body = reply.body

    def __iter__(self) -> Iterator[bytes]:
        yield from self._body

    def close(self) -> None:
        self._body.close()
