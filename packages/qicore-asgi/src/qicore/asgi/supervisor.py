"""The supervisor: worker processes on one socket, replaced when they die, are stuck, or grow old."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from qicore.asgi.child import Child
from qicore.asgi.config import ServerConfig
from qicore.asgi.errors import reload_failed, wrong_state
from qicore.asgi.sockets import stop_new_connections, wait_until_empty
from qicore.asgi.state import ServerState, Statistics, WorkerInfo, WorkerState
from qicore.base import Failure, QiError, Result, Success

__all__ = ["Supervisor", "delay_before"]

log: Final = logging.getLogger("qicore.asgi")


def delay_before(failures: int, config: ServerConfig, draw: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait before a worker is replaced that died early `failures` times in a row.

    None the first time; then exponential back-off, of which at least a half is waited.

    >>> config = ServerConfig(restart_backoff=1.0, restart_backoff_max=5.0)
    >>> [delay_before(failures, config, lambda: 1.0) for failures in (1, 2, 3, 4, 5)]
    [0.0, 1.0, 2.0, 4.0, 5.0]
    """
    if failures <= 1:
        return 0.0
    longest: float = min(config.restart_backoff_max, config.restart_backoff * 2 ** min(failures - 2, 60))
    return longest * (0.5 + draw() / 2)


class Supervisor:
    """Runs and looks after the workers of a server.

    Args:
        app: the application, as `"module:attribute"`: every worker imports it anew.
        config: options that were checked.
        listener: the socket that all workers serve.
        logging_on: whether workers show their logs where the application does not say how.
    """

    def __init__(
        self, app: str, config: ServerConfig, listener: socket.socket, *, logging_on: bool = False
    ) -> None:
        self._app = app
        self._config = config
        self._listener = listener
        self._logging_on = logging_on
        self._children: dict[int, Child] = {}
        self._everybody: set[Child] = set()
        self._failures: dict[int, int] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changing = asyncio.Lock()
        self._stopping = asyncio.Event()
        self.admitting = True
        self.wanted = config.workers
        self.restarts = 0
        """Workers that were replaced because they died or were stuck."""

    async def start(self) -> Result[None]:
        """Start all workers; a Failure, of the first that can't, leaves none behind."""
        try:
            made = [await self._spawn(slot, 0) for slot in range(self.wanted)]
            for child in made:
                ready = await self._ready_or_killed(child)
                if ready.error is not None:
                    await self._kill_everybody()
                    return ready
        except BaseException:
            await asyncio.shield(self._kill_everybody())
            raise
        for child in made:
            self._adopt(child)
        self._keep(self._watch(time.monotonic()))
        return Success(None)

    async def shutdown(self, seconds: float) -> Result[None]:
        """Drain all workers at once, and end."""
        self._stopping.set()
        stop_new_connections(self._listener)
        if any(child.state is WorkerState.RUNNING for child in self._children.values()):
            await wait_until_empty(self._listener)
        self._listener.close()
        results: list[Result[None]] = []
        try:
            # Again, since a worker may just be on its way into the world.
            while self._everybody:
                results += await asyncio.gather(*(self._end(child, seconds) for child in self._everybody))
        except BaseException:
            await asyncio.shield(self._kill_everybody())
            raise
        finally:
            self._children.clear()
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return next((result for result in results if result.error is not None), Success(None))

    async def _end(self, child: Child, seconds: float) -> Result[None]:
        if child.state is WorkerState.STARTING:
            # It serves nobody yet; whoever waits for it learns that it has ended.
            await child.kill()
            self._everybody.discard(child)
            return Success(None)
        result = await child.drain(seconds)
        self._everybody.discard(child)
        return result

    def hurry(self) -> None:
        """Let `shutdown` wait no longer."""
        for child in self._everybody:
            child.send("hurry")

    def accept(self) -> None:
        """Let all workers admit new requests."""
        self._tell("accept", admitting=True)

    def reject(self) -> None:
        """Let all workers turn new requests away."""
        self._tell("reject", admitting=False)

    def _tell(self, order: str, *, admitting: bool) -> None:
        self.admitting = admitting
        for child in self._children.values():
            child.send(order)

    @property
    def workers(self) -> tuple[WorkerInfo, ...]:
        """All workers, those that drain last."""
        told = [child.info for child in self._everybody if child.is_alive]
        return tuple(sorted(told, key=lambda one: (one.state is WorkerState.DRAINING, one.slot, -one.age)))

    @property
    def statistics(self) -> Statistics:
        """What the workers do together, by what they told last."""
        told = [info.statistics for info in self.workers]
        names = Statistics.__dataclass_fields__
        return Statistics(**{name: sum(getattr(one, name) for one in told) for name in names})

    async def scale(self, number: int) -> Result[None]:
        """Have so many workers from now on: start more, or drain the last ones."""
        async with self._changing:
            if self._stopping.is_set():
                return Failure(_is_stopping("scale()"))
            for slot in range(len(self._children), number):
                child = await self._spawn(slot, 0)
                ready = await self._ready_or_killed(child)
                if ready.error is not None:
                    return ready
                self._adopt(child)
                self.wanted = slot + 1
            leaving = [self._children.pop(slot) for slot in sorted(self._children) if slot >= number]
            self.wanted = number
            retiring = [self._keep(self._retire(child)) for child in leaving]
        if retiring:
            await asyncio.wait(retiring)
        return Success(None)

    async def reload(self) -> Result[None]:
        """Replace every worker by one with the application as it is now.

        Each new worker serves before the old one drains. When a new one does not start, the Failure tells
        why, and the old ones go on. A reload waits for the one before it.
        """
        async with self._changing:
            if self._stopping.is_set():
                return Failure(_is_stopping("reload()"))
            retiring: list[asyncio.Task[None]] = []
            slots = sorted(self._children)
            failed: QiError | None = None
            for slot in slots:
                replaced = await self._replace(slot)
                if self._stopping.is_set():
                    return Failure(_is_stopping("reload()"))
                if replaced.error is not None:
                    failed = reload_failed(replaced.error, len(retiring), len(slots))
                    break
                retiring.append(self._keep(self._retire(replaced.unwrap())))
        # Not within the lock: a request that takes long must not keep a dead worker from being replaced.
        if retiring:
            await asyncio.wait(retiring)
        return Success(None) if failed is None else Failure(failed)

    async def _replace(self, slot: int) -> Result[Child]:
        """Put a new worker in the place of one, and return the old one, which still serves."""
        child = await self._spawn(slot, self._children[slot].restarts)
        ready = await self._ready_or_killed(child)
        if ready.error is not None:
            return Failure(ready.error)
        old = self._children[slot]
        self._adopt(child)
        return Success(old)

    async def _spawn(self, slot: int, restarts: int) -> Child:
        child = Child(slot, restarts)
        self._everybody.add(child)
        self._keep(self._forget(child))
        await child.start(
            self._app,
            self._config,
            self._listener,
            admitting=self.admitting,
            logging_on=self._logging_on,
        )
        return child

    async def _forget(self, child: Child) -> None:
        await child.wait()
        self._everybody.discard(child)

    async def _ready_or_killed(self, child: Child) -> Result[None]:
        try:
            ready = await child.ready(self._config.start_timeout)
        except BaseException:
            await asyncio.shield(child.kill())
            raise
        if ready.error is not None:
            # What takes too long is seen in its stack.
            await (child.abort() if ready.error.code == "ASGI_START_TIMEOUT" else child.kill())
        elif self._stopping.is_set():
            # It serves already: shutdown() drains it.
            return Failure(_is_stopping("a new worker"))
        return ready

    def _adopt(self, child: Child) -> None:
        """Count a worker that is ready among those that serve, and look after it."""
        self._children[child.slot] = child

        def renew() -> None:
            self._keep(self._renew(child))

        child.wants_to_retire = renew
        # The gate may have moved while it started.
        child.send("accept" if self.admitting else "reject")
        self._keep(self._mourn(child))

    async def _mourn(self, child: Child) -> None:
        """Replace a worker when it ends without having been told to."""
        await child.wait()
        if self._stopping.is_set() or self._children.get(child.slot) is not child:
            return
        slot, lived = child.slot, time.monotonic() - child.started
        early = lived < self._config.restart_backoff_max
        self._failures[slot] = self._failures.get(slot, 0) + 1 if early else 1
        self.restarts += 1
        log.error("worker %d ended unexpectedly after %.1f seconds", child.pid, lived)
        await self._revive(slot, child)

    async def _revive(self, slot: int, dead: Child) -> None:
        while not self._stopping.is_set() and self._children.get(slot) is dead:
            delay = delay_before(self._failures[slot], self._config)
            if delay:
                log.warning("worker %d is replaced in %.1f seconds", slot, delay)
                await asyncio.sleep(delay)
            async with self._changing:
                if self._stopping.is_set() or self._children.get(slot) is not dead:
                    return
                child = await self._spawn(slot, dead.restarts + 1)
                ready = await self._ready_or_killed(child)
                if ready.error is None:
                    self._adopt(child)
                    return
            if self._stopping.is_set():
                return
            self._failures[slot] += 1
            log.error("a new worker %d did not start: %s", slot, ready.error)

    async def _renew(self, child: Child) -> None:
        """Replace a worker that asks for it: it has answered enough requests, or a SIGTERM came to it."""
        async with self._changing:
            # Meanwhile it may have been replaced for another reason.
            if self._stopping.is_set() or self._children.get(child.slot) is not child or not child.is_alive:
                return
            replaced = await self._replace(child.slot)
        if replaced.error is not None:
            if not self._stopping.is_set():
                log.error("worker %d stays, since a new one did not start: %s", child.pid, replaced.error)
            return
        await self._retire(replaced.unwrap())

    async def _retire(self, child: Child) -> None:
        drained = await child.drain(self._config.drain_timeout)
        if drained.error is not None:
            log.warning("worker %d: %s", child.pid, drained.error.message)

    async def _watch(self, looked: float) -> None:
        """Abort workers whose event loops have told nothing for too long, from the time `looked` on."""
        pause = self._config.heartbeat / 2
        while True:
            await asyncio.sleep(pause)
            late, looked = time.monotonic() - looked - pause, time.monotonic()
            for child in tuple(self._everybody):
                if late > pause:
                    # This process itself stood still, and may not have heard what was told.
                    child.heard += late
                silent = looked - child.heard
                if silent > self._config.stuck_after and child.state is not WorkerState.STARTING:
                    log.error(
                        "worker %d has told nothing for %.1f seconds: its event loop is blocked, or it is"
                        " stopped. It is ended",
                        child.pid,
                        silent,
                    )
                    child.heard = looked  # once is enough
                    self._keep(child.abort())

    async def _kill_everybody(self) -> None:
        await asyncio.gather(*(child.kill() for child in tuple(self._everybody)))

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _is_stopping(operation: str) -> QiError:
    return wrong_state(operation, ServerState.DRAINING, ServerState.RUNNING)
