"""The connections of one database: opened when they are needed, looked after, and what waits for them."""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import cycle
from typing import Any, Final

from psycopg import AsyncConnection
from qicore.base import Failure, QiError, Result, Success
from qicore.database.config import DatabaseConfig
from qicore.database.errors import closed, pool_exhausted
from qicore.database.postgres.answer import Answer, Statement
from qicore.database.postgres.connecting import connect
from qicore.database.postgres.health import Health
from qicore.database.postgres.link import QUICK, Link
from qicore.database.scan import Kind, kind_of

__all__ = ["Pool"]

_LOOK: Final = 0.05
"""Seconds between two looks at the clock while something waits."""

_AGAIN: Final = 1.0
"""Seconds until a server that refused a further connection is asked for one again."""


class _Borrower:
    """Somebody who waits for a whole connection."""

    __slots__ = ("future", "since")

    def __init__(self, future: "asyncio.Future[Result[Link]]") -> None:
        self.future = future
        self.since = 0.0


class Pool:
    """Gives statements to connections, and lends whole connections to transactions and streams.

    A statement goes to a connection that has nothing to do; when there is none, behind the quick ones of
    another connection; else it waits, for `pool_timeout` seconds at most. Whoever waits is served in turn:
    while a transaction waits for a connection, nothing that came later is sent before it.
    """

    def __init__(self, conninfo: str, config: DatabaseConfig, clock: Callable[[], float]) -> None:
        self.conninfo = conninfo
        self.config = config
        self.size = config.connections
        self.pool_timeout = config.pool_timeout
        self.links: set[Link] = set()
        self.listening: set[Link] = set()
        self.served = 0
        self.waiting: deque[Statement | _Borrower] = deque()
        self.clock = clock
        self._free: dict[Link, None] = {}
        self._opening = 0
        self._not_before = 0.0
        self._openers: set[asyncio.Task[None]] = set()
        self._dropping: set[asyncio.Task[None]] = set()
        self._expiry: asyncio.TimerHandle | None = None
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._health = Health(config, clock, lambda: (*self.links, *self.listening))

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def lent(self) -> int:
        """How many connections somebody has alone."""
        return sum(link.lent for link in self.links)

    async def start(self) -> Result[None]:
        """Open the first connection, and so learn whether there is a server."""
        opened = await self.connect()
        if opened.error is not None:
            return Failure(opened.error)
        self._take_in(opened.unwrap())
        self._health.start()
        return Success(None)

    def send(self, statement: Statement) -> "asyncio.Future[Result[Answer]]":
        """Run a statement on any connection."""
        if self._closed:
            statement.answer(Failure(closed()))
            return statement.future
        self.served += 1
        if not self.waiting:
            link = self._idle() or self._quick()
            if link is not None:
                link.run(statement)
                if not link.under_way:  # it could not be sent
                    self.idle(link)
                return statement.future
        self._wait(statement)
        return statement.future

    def _idle(self) -> Link | None:
        while self._free:
            link, _ = self._free.popitem()
            if not link.lent and link.broken is None and not link.under_way and not link.interrupting:
                return link
        return None

    def _quick(self) -> Link | None:
        """Return the connection with least to do, of those that are full of quick statements only.

        None while there may be more: behind another one a statement could wait for longer than for these.
        """
        if self._may_grow:
            return None
        depth = self.config.pipeline
        now = self.clock()
        best: Link | None = None
        for link in self.links:
            load = len(link.under_way)
            if link.lent or link.interrupting or load >= depth or (load and now - link.since > QUICK):
                continue
            if best is None or load < len(best.under_way):
                best = link
        return best

    def _wait(self, waiter: Statement | _Borrower) -> None:
        waiter.since = self.clock()
        self.waiting.append(waiter)
        self._open_one()
        if self._expiry is None:
            self._expiry = self._loop.call_later(min(_LOOK, self.pool_timeout), self._expire)

    def _expire(self) -> None:
        """Refuse whoever has waited for too long: the first ones, since all wait equally long."""
        self._expiry = None
        now = self.clock()
        while self.waiting:
            left = self.pool_timeout - (now - self.waiting[0].since)
            if left > 0 and not self.waiting[0].future.done():
                self._expiry = self._loop.call_later(min(_LOOK, left), self._expire)
                return
            waiter = self.waiting.popleft()
            if not waiter.future.done():
                waiter.future.set_result(
                    Failure(pool_exhausted(self.pool_timeout, "every connection was taken"))
                )

    def idle(self, link: Link) -> None:
        """Hear that a connection could take more: give it what waits."""
        if self._closed or link.lent or link.broken is not None or link.interrupting:
            return
        if link not in self.links:
            return
        if len(self.links) > self.size and not link.under_way:
            link.close()
            return
        depth = 1 if self._opening else self.config.pipeline
        while self.waiting:
            first = self.waiting[0]
            if first.future.done():
                self.waiting.popleft()
            elif isinstance(first, Statement):
                if len(link.under_way) >= depth:
                    return
                self.waiting.popleft()
                link.run(first)
                if link not in self.links:  # it was lost by that
                    return
            elif link.under_way:
                return  # it runs dry for whoever waits for the whole of it
            else:
                self.waiting.popleft()
                link.lent = True
                first.future.set_result(Success(link))
                return
        if not link.under_way:
            self._free[link] = None

    async def borrow(self) -> Result[Link]:
        """Return a connection with nothing under way, for its borrower alone; DB_POOL_EXHAUSTED in time."""
        if self._closed:
            return Failure(closed())
        link = None if self.waiting else self._idle()
        if link is not None:
            link.lent = True
            return Success(link)
        borrower = _Borrower(self._loop.create_future())
        self._wait(borrower)
        try:
            return await borrower.future
        except asyncio.CancelledError:
            if borrower.future.done() and not borrower.future.cancelled():
                late = borrower.future.result()
                if late.error is None:
                    self.give_back(late.unwrap())
            raise

    def give_back(self, link: Link, *, ended: bool = True) -> None:
        """Take a connection back; it is closed if its transaction has not `ended`."""
        if not link.lent:
            return
        link.lent = False
        link.unbounded = False
        if link.broken is not None:
            return
        if self._closed or not ended or link.in_transaction:
            self._drop(link)
        else:
            self.idle(link)

    def _drop(self, link: Link) -> None:
        """Interrupt what runs on a connection, and close it."""
        self.links.discard(link)

        async def end() -> None:
            try:
                link.forsake(lambda _: True)
                await link.calm()
            finally:
                link.close()

        _keep(self._dropping, self._loop.create_task(end()))
        if self.waiting:
            self._open_one()

    def lost(self, link: Link) -> None:
        """Hear that a connection is gone."""
        self.links.discard(link)
        self.listening.discard(link)
        if self.waiting:
            self._open_one()

    @property
    def _may_grow(self) -> bool:
        if self._closed or len(self.links) + self._opening >= self.size:
            return False
        return not self.links or self._loop.time() >= self._not_before

    def _open_one(self) -> None:
        if self._may_grow:
            self._opening += 1
            _keep(self._openers, self._loop.create_task(self._open()))

    async def _open(self) -> None:
        try:
            opened = await self.connect()
        finally:
            self._opening -= 1
        if opened.error is None:
            self._take_in(opened.unwrap())
            if self.waiting:
                self._open_one()
        elif self.links:
            self._not_before = self._loop.time() + _AGAIN
        elif not self._opening:
            self._refuse(opened.error)

    def _refuse(self, error: QiError) -> None:
        """Answer all that waits: there is no server."""
        waiting, self.waiting = self.waiting, deque()
        for waiter in waiting:
            if not waiter.future.done():
                waiter.future.set_result(Failure(error))

    def _take_in(self, connection: "AsyncConnection[Any]") -> None:
        link = Link(connection, self.idle, self.lost, self.clock)
        if self._closed:
            link.close()
            return
        self.links.add(link)
        self.idle(link)

    async def connect(self) -> Result["AsyncConnection[Any]"]:
        """Open a connection beside those of the pool: DB_CONNECT_FAILED."""
        return await connect(self.conninfo, self.config)

    def resize(self, size: int) -> None:
        """Change how many connections there may be; those too many go when they have nothing to do."""
        self.size = size
        while len(self.links) > size and (link := self._idle()) is not None:
            link.close()
        for _ in self.waiting:
            self._open_one()

    async def close(self) -> None:
        """Let writes finish, interrupt reads, roll back what was begun, and close every connection."""
        self._closed = True
        for link in tuple(self.links):
            if link.lent:
                self._drop(link)
        links = tuple(self.links)
        writes = [waiter for waiter in self.waiting if isinstance(waiter, Statement) and not _reads(waiter)]
        for link, statement in zip(cycle(links), writes):
            self.waiting.remove(statement)
            link.run(statement)
        self._refuse(closed())
        for link in links:
            link.forsake(_reads)
        pending = [statement.future for link in self.links for statement in link.under_way]
        if pending:
            await asyncio.wait(pending)
        for task in self._openers:
            task.cancel()
        if left := (*self._openers, *self._dropping):
            await asyncio.wait(left)
        self.abandon()

    def abandon(self) -> None:
        """Close every connection at once."""
        self._closed = True
        self._health.stop()
        if self._expiry is not None:
            self._expiry.cancel()
        for link in (*self.links, *self.listening):
            link.close()


def _reads(statement: Statement) -> bool:
    return statement.text is None or kind_of(statement.text) is Kind.READ


def _keep(tasks: "set[asyncio.Task[None]]", task: "asyncio.Task[None]") -> None:
    tasks.add(task)
    task.add_done_callback(tasks.discard)
