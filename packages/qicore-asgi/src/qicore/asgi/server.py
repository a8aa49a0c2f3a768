"""The server: one face for serving in this process and in supervised workers."""

from __future__ import annotations

import asyncio
import logging
import time
from types import TracebackType
from typing import Final, Self, cast

import uvicorn
from qicore.asgi.apps import ASGIApp, load_app
from qicore.asgi.config import ServerConfig
from qicore.asgi.engine import Engine
from qicore.asgi.errors import wrong_state
from qicore.asgi.loops import loop_factory
from qicore.asgi.metrics import metrics_text
from qicore.asgi.process import this_process
from qicore.asgi.signals import run_with_signals
from qicore.asgi.sockets import bind, place_of, url_of
from qicore.asgi.state import Health, ServerState, Statistics, WorkerInfo
from qicore.asgi.supervisor import Supervisor
from qicore.base import Failure, QiError, Result, Success

__all__ = ["Server"]

log: Final = logging.getLogger("qicore.asgi")


class Server:
    """Serves an ASGI application.

    Args:
        app: the application, or where it is: `"module:attribute"`, which workers need.
        config: the options; ValueError when they are wrong. `create` answers a Failure instead.

    >>> from qicore.asgi import Server, ServerConfig
    >>> async def app(scope, receive, send):
    ...     await send({"type": "http.response.start", "status": 200, "headers": []})
    ...     await send({"type": "http.response.body", "body": b"Hello"})
    >>> async def main():
    ...     async with Server(app, ServerConfig(port=0)) as server:
    ...         return server.state, (await server.health()).unwrap().healthy
    >>> asyncio.run(main())
    (<ServerState.RUNNING: 'RUNNING'>, True)
    """

    def __init__(self, app: ASGIApp | str, config: ServerConfig | None = None) -> None:
        checked = _checked(app, config)
        if checked.error is not None:
            raise ValueError(checked.error.message)
        self.config: ServerConfig = checked.unwrap()
        self._app = app
        self._state = ServerState.STOPPED
        self._engine: Engine | None = None
        self._supervisor: Supervisor | None = None
        self._place: tuple[str, int | None] | None = None
        self._url: str | None = None
        self._started = 0.0
        self._stopped = asyncio.Event()
        self._shows_logs = False

    @classmethod
    def create(cls, app: ASGIApp | str, config: ServerConfig | None = None) -> Result[Server]:
        """Return a new server, or INVALID_ASGI_CONFIG [VALIDATION]."""
        return _checked(app, config).map(lambda checked: cls(app, checked))

    async def __aenter__(self) -> Self:
        (await self.start()).unwrap()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state is not ServerState.STOPPED:
            await self.shutdown()

    @property
    def state(self) -> ServerState:
        """In which part of its life the server is."""
        return self._state

    @property
    def port(self) -> int | None:
        """The TCP port it listens at, also where 0 was asked for; None while it does not listen by TCP."""
        return None if self._place is None else self._place[1]

    @property
    def url(self) -> str | None:
        """Where it is reached from this machine; None while it does not run."""
        return self._url

    @property
    def raw(self) -> uvicorn.Server | None:
        """Uvicorn's server; None while it does not run, and where workers serve."""
        return None if self._engine is None else self._engine.raw

    async def start(self) -> Result[None]:
        """Start; returns when the application has started and connections are accepted.

        ASGI_BIND_FAILED, ASGI_APP_NOT_FOUND, ASGI_LIFESPAN_FAILED, ASGI_START_TIMEOUT, ASGI_TLS_FAILED, and
        ASGI_WORKER_DIED leave nothing open; ASGI_WRONG_STATE where it was started before.
        """
        if self._state is not ServerState.STOPPED:
            return Failure(wrong_state("start()", self._state, ServerState.STOPPED))
        self._state = ServerState.STARTING
        started = False
        try:
            result = await self._start()
            started = result.is_success
            return result
        finally:
            self._state = ServerState.RUNNING if started else ServerState.STOPPED
            if not started:
                self._forget()

    async def _start(self) -> Result[None]:
        config = self.config
        bound = await asyncio.to_thread(bind, config)
        if bound.error is not None:
            return Failure(bound.error)
        listener = bound.unwrap()
        try:
            self._place = place_of(listener)
            self._url = url_of(listener, tls=config.certfile is not None)
            self._started = time.monotonic()
            # One for each run: it belongs to the event loop.
            self._stopped = asyncio.Event()
            if config.workers:
                supervisor = Supervisor(cast("str", self._app), config, listener, logging_on=self._shows_logs)
                result = await supervisor.start()
                self._supervisor = supervisor
            else:
                loaded = load_app(self._app, app_dir=config.app_dir, factory=config.factory)
                if loaded.error is not None:
                    listener.close()
                    return Failure(loaded.error)
                self._engine = Engine(loaded.unwrap(), config, listener)
                result = await self._engine.start()
        except BaseException:
            listener.close()
            raise
        if result.error is not None:
            listener.close()
        else:
            log.info("serving at %s", self._url)
        return result

    async def shutdown(self, timeout: float | None = None) -> Result[None]:  # noqa: ASYNC109 - it means more than a cancellation
        """Take no new connections, let what is in flight finish, and stop.

        Args:
            timeout: seconds after which what is still in flight is cancelled: ASGI_DRAIN_TIMEOUT [TIMEOUT]
                then, though the server has stopped all the same. `drain_timeout` when it is None.

        ASGI_WRONG_STATE where it does not run.
        """
        if self._state is not ServerState.RUNNING:
            return Failure(wrong_state("shutdown()", self._state, ServerState.RUNNING))
        given = self.config.drain_timeout if timeout is None else timeout
        if type(given) not in (int, float) or not 0 <= given < float("inf"):
            return Failure(
                QiError.validation("INVALID_TIMEOUT", "timeout must be a number of seconds, 0 or more")
            )
        self._state = ServerState.DRAINING
        try:
            if self._supervisor is not None:
                return await self._supervisor.shutdown(given)
            assert self._engine is not None
            return await self._engine.drain(given)
        finally:
            self._state = ServerState.STOPPED
            self._forget()
            self._stopped.set()

    async def hurry(self) -> None:
        """Cancel what `shutdown()` still waits for."""
        if self._supervisor is not None:
            self._supervisor.hurry()
        elif self._engine is not None:
            self._engine.hurry()

    def _forget(self) -> None:
        self._engine = self._supervisor = None
        self._place = self._url = None

    def accept(self) -> Result[None]:
        """Admit new requests again. ASGI_WRONG_STATE where the server does not run."""
        return self._move_gate("accept()", admit=True)

    def reject(self) -> Result[None]:
        """Answer new requests with 503 and Retry-After; what is in flight is not touched.

        Workers hear of it a moment later, and of `accept`. ASGI_WRONG_STATE where the server does not run.
        """
        return self._move_gate("reject()", admit=False)

    def _move_gate(self, operation: str, *, admit: bool) -> Result[None]:
        if self._state is not ServerState.RUNNING:
            return Failure(wrong_state(operation, self._state, ServerState.RUNNING))
        if self._supervisor is not None:
            (self._supervisor.accept if admit else self._supervisor.reject)()
        elif self._engine is not None:
            (self._engine.gate.open if admit else self._engine.gate.close)()
        return Success(None)

    async def reload(self) -> Result[None]:
        """Replace the workers by new ones with the application as it is now, and drop no request.

        ASGI_RELOAD_FAILED [CONFIGURATION] when a new worker does not start: the old ones go on.
        ASGI_WRONG_STATE where no workers run.
        """
        supervisor = self._supervisor
        if self._state is not ServerState.RUNNING or supervisor is None:
            return Failure(wrong_state("reload()", self._told_state(), "RUNNING with workers"))
        return await supervisor.reload()

    async def scale(self, workers: int) -> Result[None]:
        """Have so many workers from now on: at least 1. What the ones that leave have in flight finishes."""
        if type(workers) is not int or not 1 <= workers <= 1024:
            return Failure(
                QiError.validation("INVALID_WORKERS", "workers must be a whole number from 1 to 1024")
            )
        supervisor = self._supervisor
        if self._state is not ServerState.RUNNING or supervisor is None:
            return Failure(wrong_state("scale()", self._told_state(), "RUNNING with workers"))
        return await supervisor.scale(workers)

    def _told_state(self) -> str:
        return f"{self._state} without workers" if self._supervisor is None else self._state

    def workers(self) -> Result[tuple[WorkerInfo, ...]]:
        """Return each process that serves: this one where there are no workers; none while it is stopped."""
        if self._supervisor is not None:
            return Success(self._supervisor.workers)
        if self._engine is None:
            return Success(())
        return Success((this_process(self._engine.statistics, self._started, self._state),))

    @property
    def statistics(self) -> Statistics:
        """What all processes that serve do together."""
        if self._supervisor is not None:
            return self._supervisor.statistics
        return Statistics() if self._engine is None else self._engine.statistics

    async def health(self) -> Result[Health]:
        """Return whether the server is well."""
        supervisor, engine = self._supervisor, self._engine
        running = state = self._state
        wanted = 0 if supervisor is None else supervisor.wanted
        serving = 0
        accepting = False
        restarts = 0
        if supervisor is not None:
            serving = sum(info.state == "RUNNING" for info in supervisor.workers)
            accepting, restarts = supervisor.admitting, supervisor.restarts
        elif engine is not None:
            serving, accepting = 1, engine.gate.is_open
        is_running = running is ServerState.RUNNING
        return Success(
            Health(
                state=state,
                healthy=is_running and accepting and serving >= max(1, wanted),
                accepting=is_running and accepting,
                wanted=wanted,
                running=serving if is_running else 0,
                restarts=restarts,
                uptime=time.monotonic() - self._started if is_running else 0.0,
            )
        )

    async def metrics(self) -> str:
        """Return what the server does, in Prometheus' text format (version 0.0.4)."""
        return metrics_text((await self.health()).unwrap(), self.workers().unwrap())

    async def stopped(self) -> None:
        """Return when the server has been shut down."""
        await self._stopped.wait()

    async def serve(self) -> Result[None]:
        """Start, serve until a signal says to stop or `shutdown()` is called, and drain.

        SIGINT and SIGTERM drain, a second one cancels what is still in flight. With workers, SIGHUP reloads,
        SIGTTIN and SIGTTOU add and remove a worker. Signals are heard in the main thread only.
        """
        # Signals that come while it starts have their meaning, too.
        return await run_with_signals(self, starts=True)

    async def wait(self) -> Result[None]:
        """Do what `serve` does once the server runs. ASGI_WRONG_STATE where it does not."""
        if self._state is not ServerState.RUNNING:
            return Failure(wrong_state("wait()", self._state, ServerState.RUNNING))
        return await run_with_signals(self)

    def run(self) -> Result[None]:
        """Serve from a script, in an event loop of its own, until a signal says to stop. See `serve`.

        Logs are shown on stderr where the program does not say how.
        """
        if not logging.getLogger().handlers:
            self._shows_logs = True
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        try:
            factory = loop_factory(self.config.loop)
        except ImportError:
            return Failure(QiError.validation("INVALID_ASGI_CONFIG", "uvloop is not installed"))
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(self.serve())


def _checked(app: object, config: ServerConfig | None) -> Result[ServerConfig]:
    given = cast("object", ServerConfig() if config is None else config)
    if not isinstance(given, ServerConfig):
        return Failure(QiError.validation("INVALID_ASGI_CONFIG", "config must be a ServerConfig"))
    if not (isinstance(app, str) or callable(app)):
        return Failure(
            QiError.validation("INVALID_ASGI_CONFIG", "app must be an ASGI application, or its name")
        )
    checked = given.check()
    if checked.is_success and given.workers and not isinstance(app, str):
        return Failure(
            QiError.validation(
                "INVALID_ASGI_CONFIG", 'workers import the application: name it "module:attribute"'
            )
        )
    return checked
