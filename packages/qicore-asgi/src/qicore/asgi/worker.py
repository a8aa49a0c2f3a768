"""A worker process: one engine on the supervisor's socket. Started as `python -m qicore.asgi.worker`."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import random
import signal
import socket
import sys
from dataclasses import asdict
from typing import Any, Final

from qicore.asgi.apps import load_app
from qicore.asgi.config import ServerConfig
from qicore.asgi.control import Control
from qicore.asgi.engine import Engine
from qicore.asgi.loops import loop_factory
from qicore.base import QiError

__all__ = ["main"]

log: Final = logging.getLogger("qicore.asgi")


class Worker:
    """Does what the supervisor says, and tells it how that goes."""

    def __init__(self, control: Control, listener: socket.socket) -> None:
        self._control = control
        self._listener = listener
        self._engine: Engine | None = None
        self._asked: dict[str, Any] = {}

    async def run(self) -> None:
        """Serve until the supervisor says that it is enough, or is gone, or a SIGTERM comes."""
        hello = await self._control.receive()
        if hello is None:
            return
        if hello["logging"]:
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        config = ServerConfig(**hello["config"])
        failed = await self._start(hello["app"], config, admitting=hello["admitting"])
        if failed is not None:
            self._control.send("failed", error=failed.to_structured_data())
            return
        terminate = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate.set)
        self._control.send("ready")
        beats = asyncio.create_task(self._beat(config))
        orders = asyncio.create_task(self._obey())
        terminated = asyncio.create_task(terminate.wait())
        await asyncio.wait([orders, terminated], return_when=asyncio.FIRST_COMPLETED)
        orders.cancel()
        terminated.cancel()
        hurry = asyncio.create_task(self._hear_hurry())
        seconds = self._asked.get("seconds", config.drain_timeout)
        engine = self._engine
        assert engine is not None
        drained = await engine.drain(seconds, last=False)
        beats.cancel()
        hurry.cancel()
        error = drained.error
        self._control.send("drained", error=None if error is None else error.to_structured_data())

    async def _start(self, name: str, config: ServerConfig, *, admitting: bool) -> QiError | None:
        # Imported on the event loop's thread, where applications expect to be made.
        loaded = load_app(name, app_dir=config.app_dir, factory=config.factory)
        if loaded.error is not None:
            return loaded.error
        self._engine = Engine(loaded.unwrap(), config, self._listener)
        if not admitting:
            self._engine.gate.close()
        return (await self._engine.start()).error

    async def _obey(self) -> None:
        """Do what is said, until that is to drain."""
        assert self._engine is not None
        while (order := await self._control.receive()) is not None:
            if order["type"] == "drain":
                self._asked = order
                return
            if order["type"] == "accept":
                self._engine.gate.open()
            elif order["type"] == "reject":
                self._engine.gate.close()

    async def _hear_hurry(self) -> None:
        assert self._engine is not None
        while (order := await self._control.receive()) is not None:
            if order["type"] == "hurry":
                self._engine.hurry()

    async def _beat(self, config: ServerConfig) -> None:
        """Tell that the event loop turns, and what the engine does."""
        limit = config.max_requests
        if limit is not None:
            limit += random.randint(0, config.max_requests_jitter)  # noqa: S311 - no secret
        while True:
            assert self._engine is not None
            statistics = self._engine.statistics
            self._control.send("beat", **asdict(statistics))
            if limit is not None and statistics.requests >= limit:
                self._control.send("retire")
                limit = None
            await asyncio.sleep(config.heartbeat)


async def serve(control_end: socket.socket, listener: socket.socket) -> None:
    """Run a worker on what it inherited."""
    control = await Control.over(control_end)
    try:
        await Worker(control, listener).run()
    finally:
        await control.close()
        listener.close()


def main() -> None:
    """Run a worker: the file descriptors of its control connection and its listener, and the event loop."""
    control_fd, listener_fd, loop = sys.argv[1:4]
    # The stack of a worker that is stuck goes to stderr when the supervisor aborts it.
    faulthandler.enable()
    # They come to the whole process group of a terminal; the supervisor says what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(serve(socket.socket(fileno=int(control_fd)), socket.socket(fileno=int(listener_fd))))


if __name__ == "__main__":
    main()
