"""How the Redis caches talk: each command under one deadline, behind one breaker, and sent once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final, cast

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.connection import Command, Link
from qicore.cache.errors import from_redis
from qicore.cache.lines import Lines
from qicore.resilience import CircuitBreaker
from redis.asyncio import RedisCluster
from redis.exceptions import ConnectionError as LostConnectionError

__all__ = ["Wire"]

_CLOSED: Final = "the cache is closed"
_OTHER_LOOP: Final = "the cache belongs to another event loop: connections can't be shared between loops"


class Wire:
    """Sends commands to the server or the Cluster of a `Link` and answers Results.

    `ask` is for what may be repeated: it tries a second time, within the deadline, when a connection is lost
    before the answer. `tell` is for what may not.

    Attributes:
        link: the client underneath.
        breaker: counts what says that Redis is ill; open, it answers CIRCUIT_OPEN without a try.
        timeout: seconds for a command, from the wait for a free connection to the last byte of the answer.
    """

    __slots__ = ("_closed", "_lines", "_loop", "_slots", "breaker", "link", "timeout")

    def __init__(self, link: Link, *, timeout: float, max_connections: int, breaker: CircuitBreaker) -> None:
        self.link = link
        self.timeout = timeout
        self.breaker = breaker
        self._closed = False
        self._loop = asyncio.get_running_loop()
        # One waits for one's turn, within the deadline.
        self._slots = asyncio.Semaphore(max_connections)
        self._lines: Lines | _ClusterLines = (
            Lines(link.spare) if link.spare is not None else _ClusterLines(link)
        )

    async def ask(self, *command: str | bytes | int) -> Result[Any]:
        """Send a command that only reads."""
        return await self.breaker.call(
            lambda: self._attempt(lambda: self._lines.send(command), repeatable=True)
        )

    async def tell(self, *command: str | bytes | int) -> Result[Any]:
        """Send a command that writes."""
        return await self.breaker.call(
            lambda: self._attempt(lambda: self._lines.send(command), repeatable=False)
        )

    async def ask_all(self, commands: Sequence[Command]) -> Result[list[Any]]:
        """Send commands that only read, in one go; an answer may be an exception."""
        return await self.breaker.call(
            lambda: self._attempt(lambda: self._lines.send_all(commands), repeatable=True)
        )

    async def tell_all(self, commands: Sequence[Command]) -> Result[list[Any]]:
        """Send commands that write, in one go, not as a transaction; an answer may be an exception."""
        return await self.breaker.call(
            lambda: self._attempt(lambda: self._lines.send_all(commands), repeatable=False)
        )

    async def ask_many(self, names: Sequence[str]) -> Result[list[Any]]:
        """Read values in one go; None, or an exception, where there is none. In a Cluster they lie apart."""
        if isinstance(self._lines, _ClusterLines):
            return await self.ask_all([("GET", name) for name in names])
        return await self.ask("MGET", *names)

    async def scan(self, pattern: str) -> AsyncGenerator[Result[list[bytes]]]:
        """Yield the names that match, about a thousand looked at in a step; some may come twice."""
        for node in self._lines.nodes() if isinstance(self._lines, _ClusterLines) else [self._lines]:
            cursor: str | bytes = "0"
            while cursor != b"0":
                answer = await self._scan_step(node.send, cursor, pattern)
                if answer.error is not None:
                    yield Failure(answer.error)
                    return
                cursor, names = answer.unwrap()
                if names:
                    yield Success(names)

    async def _scan_step(
        self, send: Callable[[Command], Awaitable[Any]], cursor: str | bytes, pattern: str
    ) -> Result[Any]:
        command: Command = ("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        return await self.breaker.call(lambda: self._attempt(lambda: send(command), repeatable=True))

    def first_error(self, answers: Sequence[Any]) -> QiError | None:
        """Return the first error among the answers of a pipeline, or None."""
        return next((from_redis(answer) for answer in answers if isinstance(answer, Exception)), None)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def usable(self) -> QiError | None:
        """Return why nothing can be sent at all, or None."""
        if self._closed:
            return QiError.cache("CACHE_CLOSED", _CLOSED)
        if asyncio.get_running_loop() is not self._loop:
            return QiError.cache("CACHE_CLOSED", _OTHER_LOOP)
        return None

    async def close(self) -> Result[None]:
        """Close every connection."""
        if self._closed:
            return Success(None)
        if (error := self.usable()) is not None:
            return Failure(error)
        self._closed = True
        try:
            async with asyncio.timeout(self.timeout):
                await self._lines.close()
                await self.link.close()
        except Exception as exception:  # noqa: BLE001 - the boundary: whatever redis-py raises is an answer
            return Failure(from_redis(exception))
        return Success(None)

    async def _attempt(self, send: Callable[[], Awaitable[Any]], *, repeatable: bool) -> Result[Any]:
        if self._closed or asyncio.get_running_loop() is not self._loop:
            return Failure(self.usable() or QiError.cache("CACHE_CLOSED", _CLOSED))
        try:
            async with asyncio.timeout(self.timeout), self._slots:
                if (error := self.usable()) is not None:  # it was closed meanwhile
                    return Failure(error)
                try:
                    return Success(await send())
                except LostConnectionError:
                    if not repeatable:
                        raise
                    return Success(await send())
        except Exception as exception:  # noqa: BLE001 - the boundary: whatever redis-py raises is an answer
            return Failure(from_redis(exception))


class _Node:
    """One server of a Cluster."""

    __slots__ = ("_node",)

    def __init__(self, node: Any) -> None:
        self._node = node

    async def send(self, command: Command) -> Any:
        cursor, names = await self._node.execute_command(*command)
        return str(cursor).encode() if isinstance(cursor, int) else cursor, names


class _ClusterLines:
    """The servers of a Cluster, which redis-py's own client knows how to find."""

    __slots__ = ("_link",)

    def __init__(self, link: Link) -> None:
        self._link = link

    async def send(self, command: Command) -> Any:
        return await self._link.client.execute_command(*command)

    async def send_all(self, commands: Sequence[Command]) -> list[Any]:
        # Not raise_on_error: redis-py would put the command, with the value, into the message.
        pipeline = self._link.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute(raise_on_error=False))

    def nodes(self) -> list[_Node]:
        return [_Node(node) for node in cast("RedisCluster", self._link.raw).get_primaries()]

    async def close(self) -> None:
        """The client closes what it has opened."""
