"""From a target and options to the SDK's client: what is entered by the task that holds a connection."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TextIO, TypeAlias, cast

import httpx2
from mcp_types import Implementation
from qicore.base import Failure, QiError, Result, Success
from qicore.mcp.callbacks import Callbacks
from qicore.mcp.config import MCPConfig
from qicore.mcp.connection import Opens
from qicore.mcp.streams import watched

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import Server
from mcp.server.mcpserver import MCPServer as SDKServer

__all__ = ["Target", "opener"]

_FAREWELL: Final = 5.0
"""Seconds in which a server must have taken note of the end of a session."""

Target: TypeAlias = (
    "StdioServerParameters | str | SDKServer | Server[Any] | AbstractAsyncContextManager[Any] | Any"
)
"""What to connect to: a child process, an http or https URL, a server in this process, or a transport.

A transport can be entered once only, so such a connection is not made anew; a function that returns one can.
"""


def opener(target: Target, config: MCPConfig, callbacks: Callbacks) -> Result[Opens]:
    """Return what enters a client; INVALID_MCP_CONFIG [VALIDATION] for a target that is none."""
    raw: Any = getattr(target, "raw", target)  # a server of qicore
    if isinstance(cast("object", raw), SDKServer | Server):
        return Success(lambda _ended: _client(raw, config, callbacks))
    transport: Callable[[], AbstractAsyncContextManager[Any]]
    if isinstance(target, StdioServerParameters):
        child = _tolerant(target)
        transport = lambda: stdio_client(child, _log_of(config))  # noqa: E731 - one of four ways
    elif isinstance(target, str):
        if not _is_url(target):
            return Failure(_invalid("target must be an http or https URL"))
        url: str = target
        transport = lambda: _http(url, config)  # noqa: E731 - one of four ways
    elif callable(target):
        transport = cast("Callable[[], AbstractAsyncContextManager[Any]]", target)
    elif hasattr(target, "__aenter__"):
        once = cast("AbstractAsyncContextManager[Any]", target)
        transport = lambda: once  # noqa: E731 - one of four ways
    else:
        return Failure(_invalid("target must be StdioServerParameters, a URL, a server, or a transport"))
    return Success(lambda ended: _client(watched(transport(), ended), config, callbacks))


def _invalid(message: str) -> QiError:
    return QiError.validation("INVALID_MCP_CONFIG", message)


def _client(server: Any, config: MCPConfig, callbacks: Callbacks) -> Client:
    return Client(
        server,
        mode=config.mode,
        client_info=Implementation(name=config.name, version=config.version),
        log_level=cast("Any", config.log_level),
        sampling_callback=callbacks.sampling,
        elicitation_callback=callbacks.elicitation,
        list_roots_callback=callbacks.roots,
        logging_callback=callbacks.log,
        message_handler=callbacks.message,
    )


def _tolerant(child: StdioServerParameters) -> StdioServerParameters:
    """Return the child, so that what is no UTF-8 on its standard output does not end the connection."""
    if "encoding_error_handler" in child.model_fields_set:
        return child
    return child.model_copy(update={"encoding_error_handler": "replace"})


@asynccontextmanager
async def _http(url: str, config: MCPConfig) -> AsyncGenerator[Any, None]:
    async def part(request: httpx2.Request) -> None:
        if request.method == "DELETE":
            # The end of a session, for which a server that hangs is not waited for.
            request.extensions["timeout"] = httpx2.Timeout(_FAREWELL).as_dict()
        elif request.method == "POST" and b'"id"' not in request.content:
            # A notification. The SDK sends nothing more until it is taken: one that never is, is a loss.
            request.extensions["timeout"] = httpx2.Timeout(config.connect_timeout).as_dict()

    async def bound(response: httpx2.Response) -> None:
        if response.headers.get("Content-Type", "").lower().startswith("text/event-stream"):
            return  # any number of messages, each of which the SDK bounds
        # Not asked for, and a small one may unpack to anything: it is read as it is, which is no JSON.
        response.headers.pop("Content-Encoding", None)
        response.stream = _Bounded(cast("httpx2.AsyncByteStream", response.stream), config.max_message_size)

    headers = httpx2.Headers(dict(config.headers))
    headers["Accept-Encoding"] = "identity"
    address = httpx2.URL(url)
    # httpx2 logs addresses whole, so a name and a password in one go another way to the header they are for.
    given = httpx2.BasicAuth(address.username, address.password) if address.userinfo else None
    async with (
        httpx2.AsyncClient(
            headers=headers,
            auth=config.auth or given,
            # Deadlines are the client's: a response may stay open as long as its call may take.
            timeout=httpx2.Timeout(None, connect=config.connect_timeout),
            limits=httpx2.Limits(max_connections=None),
            event_hooks={"request": [part], "response": [bound]},
        ) as client,
        streamable_http_client(
            str(address.copy_with(userinfo=b"")),
            http_client=client,
            max_sse_event_size=config.max_message_size,
        ) as streams,
    ):
        yield streams


class _Bounded(httpx2.AsyncByteStream):
    """The body of an answer that is one message."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._limit
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                # Of a kind that the SDK knows to be about this message, and not about the connection.
                raise httpx2.StreamError(f"a message of more than {self._limit} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _log_of(config: MCPConfig) -> TextIO:
    """Return the file that takes what a child writes to its standard error: it needs a descriptor."""
    for stream in (config.stderr, sys.stderr, sys.__stderr__):
        try:
            if stream is not None and stream.fileno() >= 0:
                return stream
        except (OSError, ValueError):  # closed, or replaced by something in memory
            continue
    return cast("TextIO", subprocess.DEVNULL)


def _is_url(text: str) -> bool:
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, TypeError):
        return False
    return url.scheme in {"http", "https"} and bool(url.host)
