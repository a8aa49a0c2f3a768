"""The wire to a Cluster: to each of its servers one of its own, with its own connections and its own breaker.

So a server that is ill takes none of the others along. redis-py's own client is not used for that: it looks
for the servers anew whenever one is lost, which all calls wait for, and closes the connections of all.

A server that has not got a key says who has (MOVED, and ASK while its slot is on the way), and has done
nothing, so the command may be sent there even when it writes. Where nobody says so, a server that is lost, a
replica may have taken its place: who has which slot is asked for in the background, while calls go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any, Final

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.connection import Command, Link
from qicore.cache.errors import from_redis
from qicore.cache.slots import Address, Slots, slot_of
from qicore.cache.wire import ServerWire, Wire
from qicore.resilience import CircuitBreaker
from redis.exceptions import AskError, ClusterDownError, MovedError, TryAgainError

__all__ = ["ClusterWire"]

_HOPS: Final = 16  # redirections that one command follows
_PAUSE: Final = 0.02  # seconds until a server is asked again that said TRYAGAIN
_AGAIN: Final = 0.5  # seconds between looks at who has which slot
_SLOTS: Final[Command] = ("CLUSTER", "SLOTS")


class ClusterWire(Wire):
    """Sends each command to the server that has its key, and those of several keys side by side."""

    __slots__ = (
        "_asking",
        "_breaker",
        "_link",
        "_looked",
        "_looking",
        "_max_connections",
        "_reason",
        "_servers",
        "_slots",
    )

    def __init__(
        self, link: Link, *, timeout: float, max_connections: int, breaker: Callable[[str], CircuitBreaker]
    ) -> None:
        """Connect to each server by `link.spare_at`; `breaker` makes the one of a server, by its address."""
        super().__init__(timeout)
        self._link = link
        self._max_connections = max_connections
        self._breaker = breaker
        self._slots = Slots()
        self._servers: dict[Address, ServerWire] = {}
        self._looking: asyncio.Task[None] | None = None
        self._asking: dict[Address, asyncio.Task[tuple[str, list[Any]]]] = {}
        self._looked = float("-inf")
        self._reason: QiError | None = None  # why the last server that could not tell did not

    async def ask(self, *command: str | bytes | int) -> Result[Any]:
        """Send a command that only reads."""
        return _only(await self._send([command], repeatable=True))

    async def tell(self, *command: str | bytes | int) -> Result[Any]:
        """Send a command that writes."""
        return _only(await self._send([command], repeatable=False))

    async def ask_all(self, commands: Sequence[Command]) -> Result[list[Any]]:
        """Send commands that only read, side by side; an answer may be an exception."""
        return await self._send(commands, repeatable=True)

    async def tell_all(self, commands: Sequence[Command]) -> Result[list[Any]]:
        """Send commands that write, side by side; an answer may be an exception.

        Those of one slot are carried out in their order, unless it is on its way to another server.
        """
        return await self._send(commands, repeatable=False)

    async def ask_many(self, names: Sequence[str]) -> Result[list[Any]]:
        """Read values, side by side; None, or an exception, where there is none."""
        return await self._send([("GET", name) for name in names], repeatable=True)

    async def scan(self, pattern: str) -> AsyncGenerator[Result[list[bytes]]]:
        """Yield the names that match, server by server; a Failure when one of them can't be asked."""
        known = await self.reach()
        if known.error is not None:
            yield Failure(known.error)
            return
        for owner in self._slots.owners():
            if (error := self.usable()) is not None:  # it was closed meanwhile
                yield Failure(error)
                return
            async for step in self._server(owner).scan(pattern):
                if step.error is not None:
                    self._suspect()
                yield step

    async def reach(self) -> Result[None]:
        """Find out who has which slot."""
        return await self._known(self._loop.time() + self.timeout)

    async def _known(self, until: float) -> Result[None]:
        """Wait until it is known who has which slot, if nobody is known to have any."""
        if (error := self.usable()) is not None:
            return Failure(error)
        if self._slots.empty:
            self._suspect()
            if self._looking is not None:
                await asyncio.wait([self._looking], timeout=max(0.0, until - self._loop.time()))
        return Failure(self._nobody()) if self._slots.empty else Success(None)

    def _nobody(self) -> QiError:
        return self._reason or QiError.network("REDIS_UNREACHABLE", "no server of the Cluster has this key")

    async def disconnect(self) -> None:
        """Close every connection."""
        looking: list[asyncio.Task[Any]] = list(self._asking.values())
        if self._looking is not None:
            looking.append(self._looking)
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
        for server in self._servers.values():
            await server.close()
        await self._link.close()

    # ---- sending

    async def _send(self, commands: Sequence[Command], *, repeatable: bool) -> Result[list[Any]]:
        until = self._loop.time() + self.timeout
        known = await self._known(until)
        if known.error is not None:
            return Failure(known.error)
        if len(commands) == 1 and (only := self._slots.owner(slot_of(commands[0]))) is not None:
            return await self._send_to(only, [*commands], until, repeatable=repeatable)
        by_owner: dict[Address, list[int]] = {}
        for number, command in enumerate(commands):
            owner = self._slots.owner(slot_of(command))
            if owner is None:
                self._suspect()
                return Failure(self._nobody())
            by_owner.setdefault(owner, []).append(number)
        if len(by_owner) == 1:
            return await self._send_to(next(iter(by_owner)), list(commands), until, repeatable=repeatable)
        groups = [
            self._send_to(owner, [commands[number] for number in numbers], until, repeatable=repeatable)
            for owner, numbers in by_owner.items()
        ]
        answers: list[Any] = [None] * len(commands)
        for numbers, done in zip(by_owner.values(), await asyncio.gather(*groups), strict=True):
            if done.error is not None:
                return done
            for number, answer in zip(numbers, done.unwrap(), strict=True):
                answers[number] = answer
        return Success(answers)

    async def _send_to(
        self, owner: Address, commands: list[Command], until: float, *, repeatable: bool
    ) -> Result[list[Any]]:
        """Send commands to one server, and those it redirects to where it says, in their order."""
        done = await self._deliver(owner, commands, until, repeatable=repeatable)
        answers = done.data
        if answers is None:
            self._suspect()
            return done
        for number, answer in enumerate(answers):
            if isinstance(answer, AskError | TryAgainError | ClusterDownError):
                followed = await self._follow(owner, commands[number], answer, until, repeatable=repeatable)
                if followed.error is not None:
                    return Failure(followed.error)
                answers[number] = followed.unwrap()
        return done

    async def _follow(
        self, owner: Address, command: Command, answer: Any, until: float, *, repeatable: bool
    ) -> Result[Any]:
        """Send a command that was not carried out to where it belongs; return its answer."""
        for _ in range(_HOPS):
            asking: list[Command] = []
            if isinstance(answer, MovedError):
                owner = _named(answer, owner)
                self._slots.move(slot_of(command), owner)
                self._suspect()
            elif isinstance(answer, AskError):
                owner, asking = _named(answer, owner), [("ASKING",)]
            elif isinstance(answer, TryAgainError):
                # A part of what it is about is here, and a part there: soon it is all in one place.
                if self._loop.time() + _PAUSE >= until:
                    break
                await asyncio.sleep(_PAUSE)
                owner = self._slots.owner(slot_of(command)) or owner
            else:
                break
            sent = await self._deliver(owner, [*asking, command], until, repeatable=repeatable)
            if sent.error is not None:
                self._suspect()
                return Failure(sent.error)
            answer = sent.unwrap()[-1]
        if isinstance(answer, ClusterDownError):
            self._suspect()
        return Success(answer)

    async def _deliver(
        self, owner: Address, commands: list[Command], until: float, *, repeatable: bool
    ) -> Result[list[Any]]:
        if (error := self.usable()) is not None:  # it was closed meanwhile: nobody would close a new server
            return Failure(error)
        return await self._server(owner).send_all(commands, repeatable=repeatable, until=until)

    def _server(self, address: Address) -> ServerWire:
        server = self._servers.get(address)
        if server is None:
            spare_at = self._link.spare_at
            assert spare_at is not None, "the link leads to a Cluster"
            server = self._servers[address] = ServerWire(
                spare_at(*address),
                timeout=self.timeout,
                max_connections=self._max_connections,
                breaker=self._breaker("{}:{}".format(*address)),
            )
        return server

    # ---- who has which slot

    def _suspect(self) -> None:
        """Look in the background who has which slot, unless that is done already, or was done just now."""
        if self._closed or (self._looking is not None and not self._looking.done()):
            return
        if self._loop.time() >= self._looked + _AGAIN:
            self._looking = self._loop.create_task(self._look(), name="qicore-cache cluster")

    async def _look(self) -> None:
        """Ask all servers at once, and take the first answer: one that hangs holds up nobody."""
        for address in {*self._slots.owners(), *self._link.seeds} - self._asking.keys():
            task = self._loop.create_task(self._ask_slots(address), name="qicore-cache cluster")
            self._asking[address] = task
            task.add_done_callback(partial(self._asked, address))
        try:
            for answer in asyncio.as_completed(list(self._asking.values())):
                host, told = await answer
                if told:
                    self._slots.learn(told, host)
                    break
        finally:
            self._looked = self._loop.time()
        known = {*self._slots.owners(), *self._link.seeds}
        for gone in [address for address in self._servers if address not in known]:
            # Not closed: a call may be about to use it, and ends as it may.
            await self._servers.pop(gone).disconnect()

    def _asked(self, address: Address, _: object) -> None:
        del self._asking[address]

    async def _ask_slots(self, address: Address) -> tuple[str, list[Any]]:
        """Return what one server says of who has which slot; nothing when it does not know, or answer."""
        done = await self._server(address).ask_all([_SLOTS])
        told: Any = (done.data or [None])[0]
        if told is None or isinstance(told, Exception):
            self._reason = done.error if told is None else from_redis(told)
            return address[0], []
        return address[0], told


def _named(redirection: Any, asked: Address) -> Address:
    """Return the server that a redirection names; without a host it is the one that was asked."""
    return str(redirection.host) or asked[0], int(redirection.port)


def _only(done: Result[list[Any]]) -> Result[Any]:
    """Return the one answer there is."""
    if done.error is not None:
        return done
    answer = done.unwrap()[0]
    return Failure(from_redis(answer)) if isinstance(answer, Exception) else Success(answer)
