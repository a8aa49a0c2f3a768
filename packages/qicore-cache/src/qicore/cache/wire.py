"""How the Redis caches talk: each command under one deadline, behind one breaker, and sent once."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.connection import Command, Link, Spare
from qicore.cache.errors import from_redis
from qicore.cache.lines import Lines
from qicore.resilience import CircuitBreaker
from redis.exceptions import ConnectionError as LostConnectionError

__all__ = ["ServerWire", "Wire"]

_CLOSED: Final = "the cache is closed"
_OTHER_LOOP: Final = "the cache belongs to another event loop: connections can't be shared between loops"


class Wire(ABC):
    """Sends commands to Redis and answers Results.

    `ask` is for what may be repeated: it tries a second time, within the deadline, when a connection is lost
    before the answer. `tell` is for what may not.

    Attributes:
        timeout: seconds for a command, from the wait for a free connection to the last byte of the answer.
    """

    __slots__ = ("_closed", "_loop", "timeout")

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @abstractmethod
    async def reach(self) -> Result[None]:
        """Find out whether there is anybody who answers."""

    @abstractmethod
    async def ask(self, *command: str | bytes | int) -> Result[Any]:
        """Send a command that only reads."""

    @abstractmethod
    async def tell(self, *command: str | bytes | int) -> Result[Any]:
        """Send a command that writes."""

    @abstractmethod
    async def ask_all(self, commands: Sequence[Command]) -> Result[list[Any]]:
        """Send commands that only read, in one go; an answer may be an exception."""

    @abstractmethod
    async def tell_all(self, commands: Sequence[Command]) -> Result[list[Any]]:
        """Send commands that write, in one go, not as a transaction; an answer may be an exception."""

    @abstractmethod
    async def ask_many(self, names: Sequence[str]) -> Result[list[Any]]:
        """Read values in one go; None, or an exception, where there is none."""

    @abstractmethod
    def scan(self, pattern: str) -> AsyncGenerator[Result[list[bytes]]]:
        """Yield the names that match, about a thousand looked at in a step; some may come twice."""

    @abstractmethod
    async def disconnect(self) -> None:
        """Close every connection."""

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
                await self.disconnect()
        except Exception as exception:  # noqa: BLE001 - the boundary: whatever redis-py raises is an answer
            return Failure(from_redis(exception))
        return Success(None)


class ServerWire(Wire):
    """The wire to one server, or to whichever one the Sentinels name."""

    __slots__ = ("_breaker", "_lines", "_link", "_slots")

    def __init__(
        self,
        connect: Callable[[], Spare],
        *,
        timeout: float,
        max_connections: int,
        breaker: CircuitBreaker,
        link: Link | None = None,
    ) -> None:
        """Connect by `connect`; `breaker` counts what says that Redis is ill; `link` is closed with it."""
        super().__init__(timeout)
        self._link = link
        self._breaker = breaker
        self._lines = Lines(connect)
        # One waits for one's turn, within the deadline.
        self._slots = asyncio.Semaphore(max_connections)

    async def reach(self) -> Result[None]:
        """Find out whether the server answers."""
        return (await self.ask("PING")).map(lambda _: None)

    async def ask(self, *command: str | bytes | int) -> Result[Any]:
        """Send a command that only reads."""
        return await self._breaker.call(
            lambda: self._attempt(lambda: self._lines.send(command), repeatable=True)
        )

    async def tell(self, *command: str | bytes | int) -> Result[Any]:
        """Send a command that writes."""
        return await self._breaker.call(
            lambda: self._attempt(lambda: self._lines.send(command), repeatable=False)
        )

    async def ask_all(self, commands: Sequence[Command]) -> Result[list[Any]]:
        """Send commands that only read, in one go; an answer may be an exception."""
        return await self.send_all(commands, repeatable=True)

    async def tell_all(self, commands: Sequence[Command]) -> Result[list[Any]]:
        """Send commands that write, in one go, not as a transaction; an answer may be an exception."""
        return await self.send_all(commands, repeatable=False)

    async def send_all(
        self, commands: Sequence[Command], *, repeatable: bool, until: float | None = None
    ) -> Result[list[Any]]:
        """Send commands in one go, within `timeout`, or `until` a moment of the event loop's clock."""
        return await self._breaker.call(
            lambda: self._attempt(lambda: self._lines.send_all(commands), repeatable=repeatable, until=until)
        )

    async def ask_many(self, names: Sequence[str]) -> Result[list[Any]]:
        """Read values in one go; None, or an exception, where there is none."""
        return await self.ask("MGET", *names)

    async def scan(self, pattern: str) -> AsyncGenerator[Result[list[bytes]]]:
        """Yield the names that match, about a thousand looked at in a step; some may come twice."""
        cursor: str | bytes = "0"
        while cursor != b"0":
            answer = await self.ask("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            if answer.error is not None:
                yield Failure(answer.error)
                return
            cursor, names = answer.unwrap()
            if names:
                yield Success(names)

    async def disconnect(self) -> None:
        """Close every connection."""
        await self._lines.close()
        if self._link is not None:
            await self._link.close()

    async def _attempt(
        self, send: Callable[[], Awaitable[Any]], *, repeatable: bool, until: float | None = None
    ) -> Result[Any]:
        if self._closed or asyncio.get_running_loop() is not self._loop:
            return Failure(self.usable() or QiError.cache("CACHE_CLOSED", _CLOSED))
        try:
            async with asyncio.timeout_at(until or self._loop.time() + self.timeout), self._slots:
                if (error := self.usable()) is not None:  # it was closed meanwhile
                    return Failure(error)
                try:
                    return Success(await send())
                except LostConnectionError:
                    if not repeatable:
                        raise
                    return Success(await send())
        except TimeoutError as exception:
            # The others lead to the same server, which another may replace.
            await self._lines.drop()
            return Failure(from_redis(exception))
        except Exception as exception:  # noqa: BLE001 - the boundary: whatever redis-py raises is an answer
            return Failure(from_redis(exception))
