"""One connection of a pool: lent or not, interrupted when nobody waits, left alone for a COPY."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from psycopg import AsyncConnection, pq
from qicore.base import Failure
from qicore.database.errors import closed
from qicore.database.postgres.answer import Statement
from qicore.database.postgres.errors import lost
from qicore.database.postgres.wire import Wire

__all__ = ["PATIENCE", "QUICK", "Link"]

QUICK: Final = 0.02
"""Seconds after which a statement counts as slow: none is sent behind it, and it is interrupted when nobody
waits for it any more."""

PATIENCE: Final = 5.0
"""Seconds for the server to do what takes it no time: to be interrupted, to say that it is there."""

_logger = logging.getLogger("qicore.database")


class Link(Wire):
    """A connection; `on_idle` hears that it could take more, `on_lost` that it is gone.

    Attributes:
        unbounded: whether what runs may take as long as it takes.
    """

    def __init__(
        self,
        connection: "AsyncConnection[Any]",
        on_idle: Callable[["Link"], None],
        on_lost: Callable[["Link"], None],
        clock: Callable[[], float],
    ) -> None:
        super().__init__(connection, clock)
        self.unbounded = False
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._copying = asyncio.Lock()
        self._leaving: asyncio.TimerHandle | None = None
        self._interrupter: asyncio.Task[None] | None = None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open here, as far as is known."""
        return not self.under_way and self._pg.transaction_status != pq.TransactionStatus.IDLE

    def left(self) -> None:
        """Hear that somebody waits no more. What runs for nobody, and does so for long, is interrupted."""
        if self._deserted() and self._leaving is None:
            self._leaving = self._loop.call_later(QUICK, self.interrupt)

    def _deserted(self) -> bool:
        return bool(self.under_way) and self.under_way[0].future.done()

    def interrupt(self) -> None:
        """Interrupt what runs, if nobody waits for it; another statement that is hit is run again."""
        self._leaving = None
        if not self._deserted() or self.broken is not None:
            return
        if self._interrupter is not None:
            self._next()
            return
        self.interrupting = True
        self._interrupter = self._loop.create_task(self._interrupt())

    async def _interrupt(self) -> None:
        try:
            while self._deserted():
                head, last = self.under_way[0], self.under_way[-1]
                self.hit = False
                await self.cancel()
                # The request has reached the server, but the answer may be on its way still.
                if self.under_way and self.under_way[0] is head and not await self._moved(PATIENCE):
                    self._fail(lost("the server could not be interrupted"))
                # Had it just ended, the request hits one of those behind it, and that answer is to come.
                while not self.hit and last in self.under_way and not self._deserted():
                    await self._moved()
        finally:
            self.interrupting = False
            self._interrupter = None
            self._ready()

    async def calm(self) -> None:
        """Wait until nothing is interrupted here any more."""
        if self._interrupter is not None:
            await asyncio.wait((self._interrupter,))

    async def cancel(self) -> None:
        """Ask the server to interrupt what runs; harmless when nothing does."""
        try:
            await self.connection.cancel_safe(timeout=PATIENCE)
        except Exception as exception:  # noqa: BLE001 - whoever called looks whether it helped
            _logger.warning("a statement could not be interrupted: %s", type(exception).__name__)

    @asynccontextmanager
    async def alone(self) -> "AsyncGenerator[AsyncConnection[Any]]":
        """Leave the connection to psycopg, for what has no place in a pipeline.

        What was sent is waited for before, and what comes meanwhile is sent after; QiError when it is broken.
        """
        async with self._copying:
            self._held = deque()
            try:
                while self.under_way:
                    await self._moved()
                if self.broken is not None:
                    raise self.broken
                self.pause()
                self._pg.exit_pipeline_mode()
                try:
                    yield self.connection
                finally:
                    self._resume()
            finally:
                held, self._held = self._held, None
                for statement in held:
                    if not statement.future.done():
                        self.run(statement)

    def _resume(self) -> None:
        if self.broken is None:
            try:
                self._enter()
            except Exception:  # noqa: BLE001 - it is in the middle of something that nobody will end
                self._fail(lost())

    def _ready(self) -> None:
        if not self.lent and not self.interrupting and self.broken is None:
            self._on_idle(self)

    def _gone(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
        self._on_lost(self)

    def give_up(self, reason: str) -> None:
        """Close the connection for something that is wrong with it."""
        self._fail(lost(reason))

    def close(self) -> None:
        """Close the connection at once; whatever runs there, the server rolls back."""
        self._fail(closed())

    def forsake(self, which: Callable[[Statement], bool]) -> None:
        """Answer these statements that the connection is closed, and interrupt the first one."""
        for statement in filter(which, self.under_way):
            statement.answer(Failure(closed()))
        self.interrupt()
