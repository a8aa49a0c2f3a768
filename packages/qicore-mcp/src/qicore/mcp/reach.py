"""The way to a server: the connection when there is one, a new one when there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias, TypeVar

from qicore.base import Failure, QiError, Result, Success
from qicore.mcp.callbacks import Inbox
from qicore.mcp.config import MCPConfig
from qicore.mcp.connection import Connection, Opens
from qicore.mcp.errors import disconnected, is_disconnection, is_session_gone, timed_out, to_error
from qicore.resilience import Retry

from mcp import Client, MCPError

__all__ = ["Reach"]

T = TypeVar("T")
_Connected: TypeAlias = tuple[Connection, Client]


class _Attempt:
    """A task that connects, and how many wait for it: it ends with the last of them."""

    def __init__(self, connecting: Awaitable[Result[_Connected]]) -> None:
        self.task = asyncio.ensure_future(connecting)
        self.waiting = 0


class Reach:
    """Holds one connection for all clients that share it, and makes a new one when it is lost."""

    def __init__(self, opens: Opens, config: MCPConfig, inbox: Inbox) -> None:
        self.config = config
        self.inbox = inbox
        self._opens = opens
        self._connection: Connection | None = None
        self._ending: set[Connection] = set()
        self._attempt: _Attempt | None = None
        self._retry = Retry(replace(config.reconnect, retry_on=_is_connect_failure))
        self._shut = False

    @property
    def client(self) -> Client | None:
        """The SDK's client, while the connection is of use."""
        return None if self._connection is None else self._connection.client

    @property
    def shut(self) -> bool:
        """Whether it was closed, and calls may not connect again."""
        return self._shut

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
                connection, client = connected.unwrap()
                return Success(await operation(client))
        except Exception as exception:  # noqa: BLE001 - it becomes a Failure
            if scope.expired() and isinstance(exception, TimeoutError):
                return Failure(timed_out(limit or 0.0, operation=name))
            if connection is not None and is_disconnection(exception):
                self._let_go(connection)
            return Failure(to_error(exception, operation=name))

    async def _connect(self) -> Result[_Connected]:
        """Return the connection, or wait for the attempt to make one: all who wait share its answer."""
        connection, client = self._connection, self.client
        if connection is not None and client is not None:
            return Success((connection, client))
        if self._shut:
            return Failure(disconnected("the client is disconnected: call connect() first"))
        if self._attempt is None:
            self._attempt = _Attempt(self._retry.call(self._open))
        attempt = self._attempt
        attempt.waiting += 1
        try:
            await asyncio.wait({attempt.task})
        finally:
            attempt.waiting -= 1
            if not attempt.waiting:
                self._give_up(attempt)
        if attempt.task.cancelled():
            return Failure(disconnected("the client was disconnected meanwhile"))
        return attempt.task.result()

    def _give_up(self, attempt: _Attempt) -> None:
        """Forget an attempt; what it began is closed."""
        attempt.task.cancel()
        if self._attempt is attempt:
            self._attempt = None

    async def _open(self) -> Result[_Connected]:
        if self._connection is not None:
            self._let_go(self._connection)
        connection = self._connection = Connection(self._opens, self.inbox.lost)
        try:
            result = await connection.ready(self.config.connect_timeout)
        except asyncio.CancelledError:
            self._let_go(connection)
            raise
        if result.is_failure:
            self._let_go(connection)
        return result.map(lambda client: (connection, client))

    def _let_go(self, connection: Connection) -> None:
        """Forget a connection, whose task closes by itself what is left of it."""
        connection.let_go()
        if self._connection is connection:
            self._connection = None
        self._ending = {each for each in self._ending if not each.closed} | {connection}

    async def close(self) -> None:
        """Close the connection, and wait for those that were lost; nothing is left behind."""
        self._shut = True
        attempt = self._attempt
        if attempt is not None:
            self._give_up(attempt)
            await asyncio.wait({attempt.task})
        if self._connection is not None:
            self._let_go(self._connection)
        for connection in tuple(self._ending):
            await connection.close()
            self._ending.discard(connection)


def _is_connect_failure(error: QiError) -> bool:
    return error.code == "MCP_CONNECT_FAILED"
