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
from qicore.asgi.errors import start_timed_out
from qicore.asgi.state import Statistics, WorkerInfo, WorkerState
from qicore.base import Failure, QiError, Result, Success

__all__ = ["Child"]

log: Final = logging.getLogger("qicore.asgi")

_POLL: Final = 0.01
_DUMP_TIME: Final = 0.5


class Child:
    """One worker process, from its start to its end."""

    def __init__(self, slot: int, restarts: int) -> None:
        self.slot = slot
        self.restarts = restarts
        self.state = WorkerState.STARTING
        self.statistics = Statistics()
        self.started = self.heard = time.monotonic()
        self.outcome: Result[None] = Success(None)
        """What became of the draining."""
        self.wants_to_retire: Callable[[], None] = lambda: None
        self._ready: asyncio.Future[Result[None]] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: Control | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

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
            self._process = subprocess.Popen(command, pass_fds=fds, stdin=subprocess.DEVNULL)  # noqa: ASYNC220, S603 - it does not wait; our own module
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._control = await Control.over(ours)
        # The children's own passwords travel over a pair of sockets that nobody else sees.
        self._control.send("hello", app=app, config=asdict(config), admitting=admitting, logging=logging_on)
        self._listening = asyncio.create_task(self._listen(), name=f"qicore.asgi worker {self.pid}")

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
        self.state = WorkerState.DRAINING
        self.send("drain", seconds=seconds)
        try:
            # It needs a moment more to end the application, when the time is over.
            async with asyncio.timeout(seconds + 5.0):
                await self._ended.wait()
        except TimeoutError:
            log.error("worker %d did not end after it was told to: it is killed", self.pid)
            await self.kill()
        return self.outcome

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

    async def _listen(self) -> None:
        assert self._control is not None
        assert self._process is not None
        try:
            while (message := await self._control.receive()) is not None:
                self._hear(message)
        finally:
            # The end of the connection is the end of the process, or of one that has closed all its files.
            await self._control.close()
            deadline = time.monotonic() + 5.0
            while self._process.poll() is None:
                if time.monotonic() > deadline:
                    self._process.kill()
                await asyncio.sleep(_POLL)
            if not self._ready.done():
                self._ready.set_result(Failure(self._died()))
            self._ended.set()

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
        elif kind == "drained" and message["error"] is not None:
            self.outcome = Failure(QiError.from_structured_data(message["error"]))

    def _settle(self, result: Result[None]) -> None:
        if not self._ready.done():
            self._ready.set_result(result)

    def _died(self) -> QiError:
        assert self._process is not None
        return QiError.unknown(
            "ASGI_WORKER_DIED",
            f"the worker ended (status {self._process.returncode}) before it was ready: see its output",
            status=self._process.returncode,
        )
