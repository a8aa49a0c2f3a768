"""The way to the other processes: a thread that talks to Redis, so that no call ever waits for it.

The thread has an event loop and two connections: one for what is told and asked, one on which it hears what
others have done. Twice a second both must answer. While they do the others are heard; when they don't, for a
second or two, they are not, and it tries to connect again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet, WeakValueDictionary

from qicore.resilience.shared_circuit import SharedCircuit
from qicore.resilience.shared_store import Store, read_message
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as LostConnectionError

__all__ = ["Link"]

_log: Final = logging.getLogger("qicore.resilience")
_BEAT: Final = 0.5  # seconds between two signs of life
_PATIENCE: Final = 1.0  # seconds for one answer of Redis
_HEARD: Final = 2.0  # seconds for which a sign of life is good
_LEASE: Final = 3.0  # seconds after which another may lead, when the one that leads has died
_LEAD: Final = 2.5  # the part of them that the one that leads makes use of
_PAUSE_FIRST: Final = 0.1  # seconds between attempts to connect, doubled up to
_PAUSE_LAST: Final = 2.0
_TURN_FIRST: Final = 0.5  # seconds that the lead may lie idle while others want it, doubled with each turn
_TURN_LAST: Final = 60.0


class Link:
    """Keeps the circuits of one process true to those of the fleet.

    Attributes:
        node: what tells this process from all others.
    """

    def __init__(self, connect: Callable[[], Redis], namespace: str) -> None:
        self.node = secrets.token_hex(8)
        self._connect = connect
        self._space = namespace
        self._circuits: WeakValueDictionary[str, SharedCircuit] = WeakValueDictionary()
        self._queue: deque[SharedCircuit] = deque()
        self._attends = False  # whether it is connected, and empties the queue
        self._waits: WeakSet[SharedCircuit] = WeakSet()  # those with a timer
        self._heard_until = float("-inf")
        self._ponged = asyncio.Event()
        self._work = asyncio.Event()
        self._stopped = asyncio.Event()
        self._connected = threading.Event()
        self._logged = False  # that Redis is away
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="qicore-resilience", daemon=True)
        self._thread.start()

    # ---- from any thread

    def heard(self) -> bool:
        """Whether the others are heard now."""
        return time.monotonic() < self._heard_until

    def wait(self, seconds: float) -> bool:
        """Wait until they are; False when that takes longer."""
        return self._connected.wait(seconds)

    def add(self, circuit: SharedCircuit) -> None:
        """Look after a circuit from now on."""
        self._circuits[circuit.name] = circuit
        self.notify(circuit)

    def notify(self, circuit: SharedCircuit) -> None:
        """Look after a circuit soon."""
        # While Redis is away nothing queues up: all are looked after when it is back. After a fork the child
        # has the circuits, but not the thread.
        if self._attends and not circuit.queued and self._pid == os.getpid():
            circuit.queued = True
            self._queue.append(circuit)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._work.set)

    def stop(self) -> None:
        """End the thread, and let each circuit be its own."""
        self._heard_until = float("-inf")
        if self._pid == os.getpid():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopped.set)
            if threading.current_thread() is not self._thread:
                self._thread.join(2 * _PATIENCE)

    # ---- in the thread

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        stopped = asyncio.ensure_future(self._stopped.wait())
        pause = _PAUSE_FIRST
        while not stopped.done():
            session = asyncio.ensure_future(self._session())
            await asyncio.wait([session, stopped], return_when=asyncio.FIRST_COMPLETED)
            session.cancel()
            await asyncio.wait([session])
            if self._connected.is_set():
                pause = _PAUSE_FIRST
            self._disconnected(None if session.cancelled() else session.exception())
            await asyncio.wait([stopped], timeout=pause)
            pause = min(2 * pause, _PAUSE_LAST)

    def _disconnected(self, why: BaseException | None) -> None:
        self._heard_until = float("-inf")
        if why is not None and not self._logged:
            self._logged = True
            _log.warning("Redis is away, circuits are this process's own: %s", _first(why))
        self._connected.clear()
        self._attends = False
        while self._queue:
            self._queue.popleft().queued = False
        for circuit in self._all():
            circuit.disconnected()

    def _all(self) -> list[SharedCircuit]:
        """Return the circuits. Other threads may add some meanwhile, so they are copied in one step."""
        return [circuit for ref in self._circuits.valuerefs() if (circuit := ref()) is not None]

    async def _session(self) -> None:
        client: Any = self._connect()  # of whose types much is unknown
        hearing = client.pubsub()
        store = Store(client, self._space, self.node)
        try:
            async with asyncio.timeout(_PATIENCE):
                await hearing.subscribe(store.channel)
            self._ponged.clear()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hear(hearing))
                tasks.create_task(self._beat(client, hearing))
                self._attends = True
                for circuit in self._all():
                    self.notify(circuit)
                self._work.set()  # some may be in the queue since before
                while True:
                    _go_on()
                    await self._work.wait()
                    self._work.clear()
                    while self._queue:
                        _go_on()
                        circuit = self._queue.popleft()
                        circuit.queued = False
                        async with asyncio.timeout(_PATIENCE):
                            await self._look_after(store, circuit)
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_PATIENCE):
                    await hearing.aclose()
                    await client.aclose()

    async def _beat(self, client: Any, hearing: Any) -> None:
        while True:
            began = time.monotonic()
            async with asyncio.timeout(_PATIENCE):
                await hearing.ping()
                await client.execute_command("PING")
                await self._ponged.wait()
                self._ponged.clear()
            self._heard_until = began + _HEARD
            self._connected.set()
            self._logged = False
            for circuit in self._all():
                if circuit.rated or circuit.pending is not None or circuit.due_in() == 0.0:
                    self.notify(circuit)
            _go_on()
            await asyncio.sleep(_BEAT)

    async def _hear(self, hearing: Any) -> None:
        subscribed = False
        while True:
            message = await hearing.get_message(timeout=_BEAT)
            _go_on()
            if message is None:
                continue
            if message["type"] == "subscribe":
                if subscribed:
                    # A client with retries has connected again by itself: something may have been missed.
                    raise LostConnectionError
                subscribed = True
                continue
            if message["type"] == "pong":
                self._ponged.set()
                continue
            name, told, node = read_message(message["data"])
            circuit = self._circuits.get(name)
            if circuit is not None and node != self.node:
                circuit.adopt(told)
                self.notify(circuit)

    async def _look_after(self, store: Store, circuit: SharedCircuit) -> None:
        if not circuit.synchronised or circuit.pending is not None:
            change = circuit.situation()
            answer = await store.change(circuit, change)
            circuit.answered(change, answer.told, accepted=answer.done)
            circuit.synchronised = True
        counted = circuit.report()
        if counted is not None:
            circuit.adopt((await store.report(circuit, counted)).told)
        demand = circuit.asks()
        if demand is not None:
            await self._lead(store, circuit, demand=demand)
        self._wait_for(circuit)

    async def _lead(self, store: Store, circuit: SharedCircuit, *, demand: bool) -> None:
        began = time.monotonic()
        answer = await store.lead(circuit, _LEASE, demand=demand)
        circuit.adopt(answer.told)
        if not answer.done:
            circuit.postpone(answer.told.left or 0.0)
            return
        circuit.lead(began + _LEAD)
        patience = min(_TURN_FIRST * 2 ** min(answer.turns, 10), _TURN_LAST)
        if answer.wanted and circuit.step_down(patience):
            await store.release(circuit)

    def _wait_for(self, circuit: SharedCircuit) -> None:
        """Look after it again when it may be tried."""
        due_in = circuit.due_in()
        if due_in and circuit not in self._waits:
            self._waits.add(circuit)
            self._loop.call_later(due_in, self._due, circuit)

    def _due(self, circuit: SharedCircuit) -> None:
        self._waits.discard(circuit)
        self.notify(circuit)


def _go_on() -> None:
    """Raise the cancellation of this task that a call of redis-py has swallowed.

    `asyncio.wait_for` does so before Python 3.12, when what it waits for ends at the same moment.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _first(error: BaseException) -> str:
    """Return the name of the exception, or of the first one in a group."""
    errors: tuple[BaseException, ...] = getattr(error, "exceptions", (error,))
    return type(errors[0]).__name__
