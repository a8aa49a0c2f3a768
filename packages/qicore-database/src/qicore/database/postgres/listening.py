"""LISTEN: what is said on channels, on a connection that does nothing else."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from qicore.base import Failure, Result, Success
from qicore.database.listener import Listener, Notification
from qicore.database.names import quote
from qicore.database.postgres.answer import Answer, Statement
from qicore.database.postgres.errors import unforeseen
from qicore.database.postgres.link import Link
from qicore.database.postgres.pool import Pool

__all__ = ["listen"]

_MANY: Final = 1000
"""Notifications that are held; beyond, the server holds them until some were taken."""


async def listen(pool: Pool, channels: Sequence[str]) -> Result[Listener]:
    """Connect and listen: DB_CONNECT_FAILED, DB_BAD_QUERY for a name that is none."""
    try:
        statements = [f"LISTEN {quote(channel)}" for channel in channels]
    except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
        return Failure(unforeseen(exception))
    opened = await pool.connect()
    if opened.error is not None:
        return Failure(opened.error)
    heard = _Heard()
    link = Link(opened.unwrap(), _nothing, heard.lost, pool.clock)
    heard.link = link
    link.on_notify = heard.put
    try:
        for sql in statements:
            future: asyncio.Future[Result[Answer]] = asyncio.get_running_loop().create_future()
            link.run(Statement(sql.encode(), (), future, sql))
            answered = await future
            if answered.error is not None:
                link.close()
                return Failure(answered.error)
    except BaseException:
        link.close()
        raise
    if pool.closed:
        link.close()
    else:
        pool.listening.add(link)

    def close() -> None:
        pool.listening.discard(link)
        link.close()

    return Success(Listener(heard.take, close))


class _Heard:
    """What was heard and not taken yet."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self._held: deque[Notification] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()

    def put(self, channel: str, payload: str) -> None:
        """Hear a notification."""
        self._held.append(Notification(channel, payload))
        if len(self._held) >= _MANY and self.link is not None:
            self.link.pause()
        self._wake()

    def lost(self, _: Link) -> None:
        """Hear that there will be none any more."""
        self._wake()

    def _wake(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def take(self) -> Result[Notification]:
        """Return the next one, or the Failure that the connection ended with."""
        link = self.link
        assert link is not None
        while not self._held:
            if link.broken is not None:
                return Failure(link.broken)
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            try:
                await waiting
            finally:
                self._waiting.remove(waiting)
        taken = self._held.popleft()
        if link.paused and len(self._held) < _MANY // 2:
            link.listen()
        return Success(taken)


def _nothing(_: Any) -> None:
    """Do nothing: nobody else's statements wait for this connection."""
