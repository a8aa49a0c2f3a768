"""The way to a server: the connection when there is one, a new one when there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from qicore.base import Failure, QiError, Result, Success
from qicore.mcp.callbacks import Inbox
from qicore.mcp.config import MCPConfig
from qicore.mcp.connection import Connection, Opens
from qicore.mcp.errors import disconnected, is_disconnection, is_session_gone, timed_out, to_error
from qicore.resilience import Retry

from mcp import Client, MCPError

__all__ = ["Reach"]

T = TypeVar("T")


class Reach:
    """Holds one connection for all clients that share it, and makes a new one when it is lost."""

    def __init__(self, opens: Opens, config: MCPConfig, inbox: Inbox) -> None:
        self.config = config
        self.inbox = inbox
        self._opens = opens
        self._connection: Connection | None = None
        self._ending: set[Connection] = set()
        self._turn = asyncio.Lock()
        self._retry = Retry(replace(config.reconnect, retry_on=_is_connect_failure))
        self._shut = False

    @property
    def client(self) -> Client | None:
        """The SDK's client, while the connection is of use."""
        return None if self._connection is None else self._connection.client

    def allow(self) -> None:
        """Let calls connect again."""
        self._shut = False

    async def run(
        self, operation: Callable[[Client], Awaitable[T]], name: str, seconds: float | None
    ) -> Result[T]:
        """Run an operation on the connection, a new one if need be, within the limit of time."""
        limit = self.config.timeout if seconds is None else seconds
        scope = asyncio.timeout(limit)
        connection = self._connection
        try:
            async with scope:
                client = None if connection is None else connection.client
                if client is not None:
                    try:
                        return Success(await operation(client))
                    except MCPError as error:
                        if connection is None or not is_session_gone(error):
                            raise
                        self._let_go(connection)  # and ask again: nothing has happened yet
                connected = await self._connect()
                if isinstance(connected, Failure):
                    return connected
                connection = self._connection
                return Success(await operation(connected.unwrap()))
        except Exception as exception:  # noqa: BLE001 - it becomes a Failure
            if scope.expired() and isinstance(exception, TimeoutError):
                return Failure(timed_out(limit or 0.0, operation=name))
            if connection is not None and is_disconnection(exception):
                self._let_go(connection)
            return Failure(to_error(exception, operation=name))

    async def _connect(self) -> Result[Client]:
        async with self._turn:  # one connects, the others wait for it
            client = self.client
            if client is not None:
                return Success(client)
            if self._shut:
                return Failure(disconnected("the client is disconnected: call connect() first"))
            return await self._retry.call(self._open)

    async def _open(self) -> Result[Client]:
        if self._connection is not None:
            self._let_go(self._connection)
        connection = self._connection = Connection(self._opens)
        try:
            result = await connection.ready(self.config.connect_timeout)
        except asyncio.CancelledError:
            self._let_go(connection)
            raise
        if result.is_failure:
            self._let_go(connection)
        return result

    def _let_go(self, connection: Connection) -> None:
        """Forget a connection, whose task closes by itself what is left of it."""
        connection.let_go()
        if self._connection is connection:
            self._connection = None
        self._ending = {each for each in self._ending if not each.closed} | {connection}

    async def close(self) -> None:
        """Close the connection, and wait for those that were lost; nothing is left behind."""
        self._shut = True
        if self._connection is not None:
            self._let_go(self._connection)
        for connection in tuple(self._ending):
            await connection.close()
        self._ending.clear()


def _is_connect_failure(error: QiError) -> bool:
    return error.code == "MCP_CONNECT_FAILED"
