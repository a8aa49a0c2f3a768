"""Connections to one server, used in turn: what redis-py's own pool does, without what that costs a call.

The connections are redis-py's, and so are the protocol, the login and TLS. Its pool and client add a lock, an
event, six records for observability and a retry to each call, which together take about a third of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from qicore.cache.connection import Command, Spare
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import ResponseError

__all__ = ["Lines"]

# Errors that say something about the server, not about the command: the connection is of no use any more.
_FATAL: Final = (LostConnectionError,)


class Lines:
    """Idle connections to one server, the one used last first. How many are in use is for others to bound."""

    __slots__ = ("_closed", "_connect", "_idle")

    def __init__(self, connect: Callable[[], Spare]) -> None:
        self._connect = connect
        self._idle: list[Spare] = []
        self._closed = False

    async def send(self, command: Command) -> Any:
        """Send one command and return its answer."""
        line = await self._take()
        try:
            await line.send_command(*command)
            answer = await line.read_response()
        except ResponseError as error:
            # Redis has answered, so the line is clean.
            await self._give(line)
            raise error.with_traceback(None) from None
        except BaseException:
            # The answer may come yet, and must not be taken for another's.
            await line.disconnect(nowait=True)
            raise
        await self._give(line)
        return answer

    async def send_all(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one go and return their answers; an error of Redis is one."""
        line = await self._take()
        answers: list[Any] = []
        try:
            await line.send_packed_command(line.pack_commands(commands))
            for _ in commands:
                try:
                    answers.append(await line.read_response())
                except ResponseError as error:
                    answers.append(error.with_traceback(None))
        except BaseException:
            await line.disconnect(nowait=True)
            raise
        await self._give(line)
        return answers

    async def close(self) -> None:
        """Close the idle connections, and each that is in use when its call has ended."""
        self._closed = True
        await self.drop()

    async def drop(self) -> None:
        """Close the idle connections: the server they lead to does not answer."""
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def _take(self) -> Spare:
        if self._idle:
            line = self._idle.pop()
            try:
                # Whatever there is to read, it belongs to no call: the server has said goodbye, mostly.
                if not await line.can_read():
                    return line
            except _FATAL:
                pass
            except BaseException:
                await line.disconnect(nowait=True)
                raise
            await line.disconnect(nowait=True)
        else:
            line = self._connect()
        try:
            await line.connect()
        except BaseException:
            await line.disconnect(nowait=True)
            raise
        return line

    async def _give(self, line: Spare) -> None:
        if self._closed:
            await line.disconnect(nowait=True)
        else:
            self._idle.append(line)
