"""Streamable HTTP as an ASGI application that starts by itself, wherever it is mounted."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from qicore.mcp.server_config import MCPServerConfig
from starlette.types import Receive, Scope, Send

from mcp.server.mcpserver import MCPServer as SDKServer
from mcp.server.transport_security import TransportSecuritySettings

__all__ = ["HTTPApp"]

logger = logging.getLogger("qicore.mcp")


class HTTPApp:
    """The SDK's application, and the task in which its sessions live.

    The SDK starts that with the lifespan of its application, which a mounted one never sees. Here it starts
    with the lifespan when there is one, and else with the first request.
    """

    def __init__(self, server: SDKServer[Any], config: MCPServerConfig) -> None:
        # With a port and without, as for the ports 80 and 443.
        local = [f"{name}{port}" for name in ("127.0.0.1", "localhost", "[::1]") for port in ("", ":*")]
        self._app = server.streamable_http_app(
            streamable_http_path=config.path,
            json_response=config.json_response,
            stateless_http=config.stateless,
            max_request_body_size=config.max_request_size,
            transport_security=TransportSecuritySettings(
                enable_dns_rebinding_protection=True,
                allowed_hosts=[*local, *config.allowed_hosts],
                allowed_origins=[*(f"http://{host}" for host in local), *config.allowed_origins],
            ),
        )
        self._sessions = server.session_manager
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._leave = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or follow the lifespan of a server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        await self._start()
        # What it is mounted under is cut off by whoever mounts it.
        await self._app(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self._start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self) -> None:
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._hold(self._ready), name="qicore-mcp sessions")
        await asyncio.shield(self._ready)

    async def _hold(self, ready: asyncio.Future[None]) -> None:
        try:
            async with self._sessions.run():
                ready.set_result(None)
                await self._leave.wait()
        except Exception as error:
            if ready.done():
                logger.exception("the sessions ended")
            else:
                ready.set_exception(error)

    async def _stop(self) -> None:
        self._leave.set()
        if self._task is not None:
            await asyncio.wait({self._task})
