"""The connections of one database: opened when they are needed, and what waits for them."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from psycopg import AsyncConnection
from qicore.base import Failure, QiError, Result, Success
from qicore.database.config import DatabaseConfig
from qicore.database.errors import closed, pool_exhausted
from qicore.database.postgres.errors import connect_error, unforeseen
from qicore.database.postgres.link import Answer, Link, Statement

__all__ = ["Pool"]

_QUICK: Final = 0.02
"""Seconds that a statement may run before no other one is sent after it: it may be a slow one."""

_PATIENCE: Final = 5.0
"""Seconds for the request that interrupts a statement to reach the server."""


class Pool:
    """Gives statements to connections, and lends whole connections to transactions and streams.

    A statement goes to a connection that has nothing to do; when there is none, and no more may be opened,
    behind the quick ones of another connection; else it waits, for `pool_timeout` seconds at most.
    """

    def __init__(self, conninfo: str, config: DatabaseConfig, clock: Callable[[], float]) -> None:
        self.conninfo = conninfo
        self.config = config
        self.size = config.connections
        self.pool_timeout = config.pool_timeout
        self.links: set[Link] = set()
        self.listening: set[AsyncConnection[Any]] = set()
        self.served = 0
        self.waiting: deque[Statement] = deque()
        self.borrowers: deque[asyncio.Future[Result[Link]]] = deque()
        self._clock = clock
        self._free: list[Link] = []
        self._opening = 0
        self._dropping: set[Link] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._loop = asyncio.get_running_loop()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    @property
    def lent(self) -> int:
        """How many connections somebody holds."""
        return sum(link.lent for link in self.links)

    async def start(self) -> Result[None]:
        """Open the first connection, and so learn whether there is a server."""
        opened = await self.connect()
        if opened.error is not None:
            return Failure(opened.error)
        self._take_in(opened.unwrap())
        return Success(None)

    def send(self, sql: bytes, params: Sequence[Any], text: str) -> "asyncio.Future[Result[Answer]]":
        """Run a statement on any connection."""
        future: asyncio.Future[Result[Answer]] = self._loop.create_future()
        if self._closed:
            future.set_result(Failure(closed()))
            return future
        self.served += 1
        statement = Statement(sql, params, future, text)
        if not self.waiting:
            link = self._idle() or self._quick()
            if link is not None:
                link.run(statement)
                return future
        self._wait(statement)
        return future

    def _idle(self) -> Link | None:
        while self._free:
            link = self._free.pop()
            if not link.lent and link.broken is None and not link.under_way:
                return link
        return None

    def _quick(self) -> Link | None:
        """Return the connection with least to do, of those that are full of quick statements only."""
        if len(self.links) + self._opening < self.size:
            self._open_one()
        depth = self.config.pipeline
        now = time.monotonic()
        best: Link | None = None
        for link in self.links:
            load = len(link.under_way)
            if link.lent or load >= depth or (load and now - link.since > _QUICK):
                continue
            if best is None or load < len(best.under_way):
                best = link
        return best

    def _wait(self, statement: Statement) -> None:
        self.waiting.append(statement)
        timer = self._loop.call_later(self.pool_timeout, self._give_up, statement)
        statement.future.add_done_callback(lambda _: timer.cancel())
        if not self.links and not self._opening:
            self._open_one()

    def _give_up(self, statement: Statement) -> None:
        if statement in self.waiting:
            self.waiting.remove(statement)
            if not statement.future.done():
                statement.future.set_result(
                    Failure(pool_exhausted(self.pool_timeout, "every connection was busy"))
                )

    def idle(self, link: Link) -> None:
        """Hear that a connection has answered: give it what waits."""
        if self._closed or link.lent or link.broken is not None or link not in self.links:
            return
        if self.borrowers and not link.under_way:
            self._lend(link)
            return
        depth = self.config.pipeline
        while self.waiting and link in self.links and len(link.under_way) < depth:
            if self.borrowers and link.under_way:
                break  # somebody waits for a whole connection: let one run dry
            statement = self.waiting.popleft()
            if not statement.future.done():
                link.run(statement)
        if not link.under_way and link in self.links:
            self._free.append(link)

    def _lend(self, link: Link) -> None:
        while self.borrowers:
            borrower = self.borrowers.popleft()
            if not borrower.done():
                link.lent = True
                borrower.set_result(Success(link))
                return
        self._free.append(link)

    async def borrow(self) -> Result[Link]:
        """Return a connection with nothing under way, for its borrower alone; DB_POOL_EXHAUSTED in time."""
        if self._closed:
            return Failure(closed())
        link = self._idle()
        if link is not None:
            link.lent = True
            return Success(link)
        future: asyncio.Future[Result[Link]] = self._loop.create_future()
        self.borrowers.append(future)
        if len(self.links) + self._opening < self.size:
            self._open_one()
        try:
            async with asyncio.timeout(self.pool_timeout):
                return await asyncio.shield(future)
        except TimeoutError:
            return self._too_late(future)
        except asyncio.CancelledError:
            late = self._too_late(future)
            if late.error is None:
                self.give_back(late.unwrap())
            raise

    def _too_late(self, future: "asyncio.Future[Result[Link]]") -> Result[Link]:
        if future.done():
            return future.result()
        future.cancel()
        with suppress(ValueError):  # it was taken out in this turn
            self.borrowers.remove(future)
        return Failure(pool_exhausted(self.pool_timeout, "every connection was taken"))

    def give_back(self, link: Link, *, ended: bool = False) -> None:
        """Take a connection back; unless its transaction has `ended`, what runs there is of no use."""
        if not link.lent:
            return
        link.lent = False
        if link.broken is not None:
            return
        if self._closed:
            link.close()
        elif link.under_way and not ended:
            self._drop(link)
        else:
            self.idle(link)

    def _drop(self, link: Link) -> None:
        """Interrupt what runs on a connection, and close it."""
        self.links.discard(link)
        self._dropping.add(link)

        async def end() -> None:
            try:
                await link.cancel(_PATIENCE)
            finally:
                self._dropping.discard(link)
                link.close()

        self._keep(self._loop.create_task(end()))

    def lost(self, link: Link) -> None:
        """Hear that a connection is gone."""
        self.links.discard(link)
        if not self._closed and (self.waiting or self.borrowers):
            self._open_one()

    def _open_one(self) -> None:
        if self._closed or len(self.links) + self._opening >= self.size:
            return
        self._opening += 1
        self._keep(self._loop.create_task(self._open()))

    def _keep(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        try:
            opened = await self.connect()
        finally:
            self._opening -= 1
        if opened.error is None:
            self._take_in(opened.unwrap())
        elif not self.links and not self._opening:
            self._refuse(opened.error)
        if self.borrowers and opened.error is None:
            self._open_one()

    def _refuse(self, error: QiError) -> None:
        """Answer all that waits: there is no server."""
        statements, self.waiting = self.waiting, deque()
        for statement in statements:
            if not statement.future.done():
                statement.future.set_result(Failure(error))
        borrowers, self.borrowers = self.borrowers, deque()
        for borrower in borrowers:
            if not borrower.done():
                borrower.set_result(Failure(error))

    def _take_in(self, connection: "AsyncConnection[Any]") -> None:
        link = Link(connection, self.idle, self.lost)
        if self._closed:
            link.close()
            return
        self.links.add(link)
        self.idle(link)

    async def connect(self) -> Result["AsyncConnection[Any]"]:
        """Open a connection beside those of the pool: DB_CONNECT_FAILED."""
        config = self.config
        settings = {
            "statement_timeout": _milliseconds(config.statement_timeout),
            "lock_timeout": _milliseconds(config.busy_timeout),
            "default_transaction_read_only": "on" if config.read_only else "off",
        }
        if config.isolation is not None:
            settings["default_transaction_isolation"] = config.isolation
        try:
            async with asyncio.timeout(config.connect_timeout):
                connection = await AsyncConnection.connect(self.conninfo, autocommit=True)
                try:
                    # Not by the option `options`, which poolers between here and the server refuse.
                    sets = ", ".join("set_config(%s, %s, false)" for _ in settings)
                    values = [text for pair in settings.items() for text in pair]
                    await connection.execute(f"SELECT {sets}", values)
                except BaseException:
                    await connection.close()
                    raise
        except Exception as exception:  # noqa: BLE001 - everything becomes a Failure
            error = connect_error(exception) if _is_about_connecting(exception) else unforeseen(exception)
            return Failure(error)
        return Success(connection)

    def resize(self, size: int) -> None:
        """Change how many connections there may be; those too many go when they have nothing to do."""
        self.size = size
        while len(self.links) > size:
            link = self._idle()
            if link is None:
                return
            link.close()

    async def close(self) -> None:
        """Let what was sent finish, refuse what waits, and close every connection."""
        self._closed = True
        self._refuse(closed())
        pending = [statement.future for link in self.links if not link.lent for statement in link.under_way]
        if pending:
            await asyncio.wait(pending)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        listening, self.listening = self.listening, set()
        for connection in listening:
            await connection.close()
        self.abandon()

    def abandon(self) -> None:
        """Close every connection at once."""
        self._closed = True
        for link in (*self.links, *self._dropping):
            link.close()


def _is_about_connecting(exception: BaseException) -> bool:
    from psycopg import errors

    return isinstance(exception, TimeoutError | OSError | errors.OperationalError)


def _milliseconds(seconds: float | None) -> str:
    # 0 is PostgreSQL's word for never; less than a millisecond is one.
    return "0" if seconds is None else str(max(1, round(seconds * 1000)))
