"""A worker as its supervisor sees it: the process, and the connection to it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from qicore.asgi.config import ServerConfig
from qicore.asgi.control import Control
from qicore.asgi.errors import spawn_failed, start_timed_out, worker_died
from qicore.asgi.process import end_of
from qicore.asgi.state import Statistics, WorkerInfo, WorkerState
from qicore.asgi.watchdog import END_TIME
from qicore.base import Failure, QiError, Result, Success

__all__ = ["Child"]

log: Final = logging.getLogger("qicore.asgi")

_DUMP_TIME: Final = 0.5
_LAST_WORDS: Final = 1.0


class Child:
    """One worker process, from its start to its end."""

    def __init__(self, slot: int, restarts: int) -> None:
        self.slot = slot
        self.restarts = restarts
        self.state = WorkerState.STARTING
        self.statistics = Statistics()
        self.started = self.heard = time.monotonic()
        self.wants_to_retire: Callable[[], None] = lambda: None
        self._drained: Result[None] | None = None
        self._ready: asyncio.Future[Result[None]] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process id; 0 where none could be started."""
        return 0 if self._process is None else self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended yet."""
        return not self._ended.is_set()

    @property
    def info(self) -> WorkerInfo:
        """What is known of it."""
        return WorkerInfo(
            slot=self.slot,
            pid=self.pid,
            state=self.state,
            age=time.monotonic() - self.started,
            restarts=self.restarts,
            statistics=self.statistics,
        )

    async def start(
        self, app: str, config: ServerConfig, listener: socket.socket, *, admitting: bool, logging_on: bool
    ) -> None:
        """Start the process. `ready` tells how that went."""
        ours, theirs = socket.socketpair()
        fds = (theirs.fileno(), listener.fileno())
        command = [sys.executable, "-m", "qicore.asgi.worker", *map(str, fds), config.loop]
        try:
            process = subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL)  # noqa: ASYNC220, S603 - it does not wait; its own module
        except OSError as cause:
            ours.close()
            self._settle(Failure(spawn_failed(cause)))
            self._ended.set()
            return
        finally:
            theirs.close()
        self._process = process
        try:
            self._control = await Control.over(ours)
        except BaseException:
            ours.close()
            process.kill()
            process.wait()
            self._ended.set()
            raise
        # A password of the key travels over a pair of sockets that nobody else sees.
        self._control.send("hello", app=app, config=asdict(config), admitting=admitting, logging=logging_on)
        self._following = asyncio.create_task(self._follow(), name=f"qicore.asgi worker {self.pid}")

    async def ready(self, seconds: float) -> Result[None]:
        """Return when it serves; the Failure it met, or ASGI_START_TIMEOUT after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._ready)
        except TimeoutError:
            return Failure(start_timed_out(seconds))

    def send(self, kind: str, **facts: object) -> None:
        """Say something to the worker."""
        if self._control is not None:
            self._control.send(kind, **facts)

    async def drain(self, seconds: float) -> Result[None]:
        """Let it finish what it does and end; it is killed when it takes longer than that."""
        if not self.is_alive:
            return Success(None)
        self.state = WorkerState.DRAINING
        self.send("drain", seconds=seconds)
        try:
            async with asyncio.timeout(seconds + END_TIME):
                await self._ended.wait()
        except TimeoutError:
            log.error("worker %d did not end after it was told to: it is killed", self.pid)
            await self.abort()
        return Failure(self._died("drained")) if self._drained is None else self._drained

    async def abort(self) -> None:
        """End a worker that is stuck, after its stack was written to stderr."""
        self._signal(signal.SIGABRT)
        try:
            async with asyncio.timeout(_DUMP_TIME):
                await self._ended.wait()
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)
        await self._ended.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)

    async def wait(self) -> None:
        """Return when the process has ended and is reaped."""
        await self._ended.wait()

    async def _follow(self) -> None:
        """Hear what it says, until it has ended."""
        assert self._control is not None
        assert self._process is not None
        hearing = asyncio.create_task(self._hear_all(self._control))
        ending = asyncio.create_task(end_of(self._process))
        try:
            # Not by the end of the connection alone: a process that the application forked may hold it open.
            await asyncio.wait([hearing, ending], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([hearing], timeout=_LAST_WORDS)
            await asyncio.wait([ending], timeout=END_TIME)
        finally:
            hearing.cancel()
            if self._process.poll() is None:
                self._process.kill()
            await asyncio.wait([ending])
            await self._control.close()
            self._settle(Failure(self._died("ready")))
            self._ended.set()

    async def _hear_all(self, control: Control) -> None:
        while (message := await control.receive()) is not None:
            self._hear(message)

    def _hear(self, message: dict[str, Any]) -> None:
        self.heard = time.monotonic()
        kind = message.pop("type")
        if kind == "beat":
            self.statistics = Statistics(**message)
        elif kind == "ready":
            self.state = WorkerState.RUNNING
            self._settle(Success(None))
        elif kind == "failed":
            self._settle(Failure(QiError.from_structured_data(message["error"])))
        elif kind == "retire":
            self.wants_to_retire()
        else:
            error = message["error"]
            self._drained = Success(None) if error is None else Failure(QiError.from_structured_data(error))

    def _settle(self, result: Result[None]) -> None:
        if not self._ready.done():
            self._ready.set_result(result)

    def _died(self, before: str) -> QiError:
        return worker_died(self.pid, None if self._process is None else self._process.returncode, before)
