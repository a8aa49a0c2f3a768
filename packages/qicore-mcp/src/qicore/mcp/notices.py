"""What clients ask to be told of: log messages from a level on, and resources that change."""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types
from qicore.mcp.config import LEVELS

from mcp.server.connection import Connection
from mcp.server.lowlevel import Server

__all__ = ["Notices"]

_LEVEL: Final = "qicore.mcp/log_level"


class Notices:
    """Keeps it for each connection of the protocol's versions up to 2025-11-25.

    In later versions a client says so with each request, and listens to a stream of its own: the SDK does
    that.
    """

    def __init__(self, server: Server[Any]) -> None:
        self._server = server
        self._watchers: dict[str, set[Connection]] = {}
        server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, self._set_level)
        server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, self._subscribe)
        server.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, self._unsubscribe)

    async def updated(self, uri: str) -> None:
        """Tell every connection that watches the resource."""
        for connection in tuple(self._watchers.get(uri, ())):
            await connection.notify("notifications/resources/updated", {"uri": uri})

    async def _set_level(self, ctx: Any, params: types.SetLevelRequestParams) -> types.EmptyResult:
        _connection(ctx).state[_LEVEL] = params.level
        if self._quieten not in self._server.middleware:  # most clients never ask, and pay nothing
            self._server.middleware.append(self._quieten)
        return types.EmptyResult()

    async def _subscribe(self, ctx: Any, params: types.SubscribeRequestParams) -> types.EmptyResult:
        connection, uri = _connection(ctx), str(params.uri)
        watchers = self._watchers.setdefault(uri, set())
        if connection not in watchers:
            watchers.add(connection)
            connection.exit_stack.callback(self._forget, uri, connection)
        return types.EmptyResult()

    async def _unsubscribe(self, ctx: Any, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        self._forget(str(params.uri), _connection(ctx))
        return types.EmptyResult()

    def _forget(self, uri: str, connection: Connection) -> None:
        watchers = self._watchers.get(uri, set())
        watchers.discard(connection)
        if not watchers:
            self._watchers.pop(uri, None)

    async def _quieten(self, ctx: Any, call_next: Any) -> Any:
        """Let through, of what the handler logs, what its client asked for."""
        level = _connection(ctx).state.get(_LEVEL)
        if level is not None:
            # Not public; the SDK keeps such a set for the later versions only.
            ctx.session._allowed_log_levels = frozenset(LEVELS[LEVELS.index(level) :])
        return await call_next(ctx)


def _connection(ctx: Any) -> Connection:
    # Not public; the SDK's context shows what lives as long as a request, and not as long as a connection.
    connection: Connection = ctx.session._connection
    return connection
