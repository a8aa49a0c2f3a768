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
from typing import Final

from qicore.asgi.apps import load_app
from qicore.asgi.config import ServerConfig
from qicore.asgi.control import Control
from qicore.asgi.engine import Engine
from qicore.asgi.loops import loop_factory
from qicore.asgi.watchdog import END_TIME, Watchdog
from qicore.base import Failure, Result

__all__ = ["main"]

log: Final = logging.getLogger("qicore.asgi")


class Worker:
    """Does what the supervisor says, and tells it how that goes."""

    def __init__(self, control: Control, listener: socket.socket, watchdog: Watchdog) -> None:
        self._control = control
        self._listener = listener
        self._watchdog = watchdog
        self._engine: Engine | None = None
        self._seconds: float | None = None
        self._enough = asyncio.Event()

    async def run(self) -> None:
        """Serve until the supervisor says that it is enough, or is gone."""
        hello = await self._control.receive()
        if hello is None:
            return
        if hello["logging"]:
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        config = ServerConfig(**hello["config"])
        self._watchdog.grace = config.drain_timeout + END_TIME
        started = await self._start(hello["app"], config, admitting=hello["admitting"])
        if started.error is not None:
            self._control.send("failed", error=started.error.to_structured_data())
            return
        engine = self._engine = started.unwrap()
        # Whoever ends one worker wants its work to go on: the supervisor replaces it first.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._control.send, "retire")
        self._control.send("ready")
        tasks = [asyncio.create_task(self._beat(engine, config)), asyncio.create_task(self._obey(engine))]
        await self._enough.wait()
        drained = await engine.drain(
            config.drain_timeout if self._seconds is None else self._seconds, last=False
        )
        for task in tasks:
            task.cancel()
        error = drained.error
        self._control.send("drained", error=None if error is None else error.to_structured_data())

    async def _start(self, name: str, config: ServerConfig, *, admitting: bool) -> Result[Engine]:
        # Imported on the event loop's thread, where applications expect to be made.
        loaded = load_app(name, app_dir=config.app_dir, factory=config.factory)
        if loaded.error is not None:
            # The traceback does not travel; whoever develops needs it.
            log.error("%s", loaded.error.message, exc_info=loaded.error.__cause__)
            return Failure(loaded.error)
        engine = Engine(loaded.unwrap(), config, self._listener)
        if not admitting:
            engine.gate.close()
        return (await engine.start()).map(lambda _: engine)

    async def _obey(self, engine: Engine) -> None:
        """Do what is said; the end of the connection is the end of the supervisor."""
        while (order := await self._control.receive()) is not None:
            match order["type"]:
                case "accept":
                    engine.gate.open()
                case "reject":
                    engine.gate.close()
                case "drain":
                    self._seconds = order["seconds"]
                    self._enough.set()
                case _:
                    engine.hurry()
        self._enough.set()

    async def _beat(self, engine: Engine, config: ServerConfig) -> None:
        """Tell that the event loop turns, and what the engine does."""
        limit = config.max_requests
        if limit is not None:
            limit += random.randint(0, config.max_requests_jitter)  # noqa: S311 - no secret
        while True:
            statistics = engine.statistics
            self._control.send("beat", **asdict(statistics))
            if limit is not None and statistics.requests >= limit:
                self._control.send("retire")
                # It stays where no other can take its place, and asks again.
                limit = statistics.requests + config.max_requests if config.max_requests else None
            await asyncio.sleep(config.heartbeat)


async def serve(control_end: socket.socket, listener: socket.socket, watchdog: Watchdog) -> None:
    """Run a worker on what it inherited."""
    control = await Control.over(control_end)
    try:
        await Worker(control, listener, watchdog).run()
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
    control, listener = (socket.socket(fileno=int(number)) for number in (control_fd, listener_fd))
    # What the application starts must not keep them open after this process's end.
    control.set_inheritable(False)
    listener.set_inheritable(False)
    watchdog = Watchdog(control)
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(serve(control, listener, watchdog))


if __name__ == "__main__":
    main()
