"""The engine: one application served in one process and event loop, by uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import weakref
from typing import Any, Final

import uvicorn
from qicore.asgi.apps import ASGIApp
from qicore.asgi.config import ServerConfig
from qicore.asgi.errors import drain_timed_out, tls_failed
from qicore.asgi.gate import Gate
from qicore.asgi.lifespan import Lifespan
from qicore.asgi.process import memory_of
from qicore.asgi.protocols import Bounded, protocol_class
from qicore.asgi.sockets import stop_new_connections, wait_until_empty
from qicore.asgi.state import Statistics
from qicore.base import Failure, QiError, Result, Success

__all__ = ["Engine"]

log: Final = logging.getLogger("qicore.asgi")

_TICK: Final = 0.02
_LOOK_AFTER: Final = 0.5


class Engine:
    """Serves an application on a listening socket.

    Args:
        app: the application.
        config: options that were checked.
        listener: the socket; it is closed when draining begins.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig, listener: socket.socket) -> None:
        self.config = config
        self.gate = Gate(
            app,
            concurrency=config.concurrency,
            queue=config.queue,
            retry_after=config.retry_after,
            changed=self._set_gate,
        )
        self._listener = listener
        self._lifespan = Lifespan(self.gate)
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._deadline = 0.0
        self._made_protocols: weakref.WeakSet[Any] = weakref.WeakSet()
        self.raw: uvicorn.Server | None = None
        """uvicorn's server, whose protocols and state are used."""

    async def start(self) -> Result[None]:
        """Start the application, then accept connections; a Failure leaves nothing open but the socket.

        ASGI_TLS_FAILED, ASGI_LIFESPAN_FAILED, ASGI_START_TIMEOUT, INVALID_ASGI_CONFIG.
        """
        made = self._made()
        if made.error is not None:
            return Failure(made.error)
        raw = self.raw = made.unwrap()
        started = await self._lifespan.start(self.config.start_timeout)
        if started.error is not None:
            return started
        loop = asyncio.get_running_loop()

        protocol: Any = raw.config.http_protocol_class

        def connection() -> asyncio.Protocol:
            made: asyncio.Protocol = protocol(
                config=raw.config, server_state=raw.server_state, app_state=self._lifespan.state, _loop=loop
            )
            if raw.config.ssl is not None:
                self._made_protocols.add(made)
            return made

        try:
            await raw.on_tick(0)  # the Date of the first second
            self._server = await loop.create_server(
                connection,
                sock=self._listener,
                ssl=raw.config.ssl,
                backlog=self.config.backlog,
                # A client that says nothing at all is no connection yet, which somebody would look after.
                ssl_handshake_timeout=None if raw.config.ssl is None else self.config.header_timeout,
            )
        except BaseException:
            await self._lifespan.stop(self.config.drain_timeout)
            raise
        raw.started = True
        self._set_gate()
        self._tasks = [
            asyncio.create_task(raw.main_loop(), name="qicore.asgi clock"),
            asyncio.create_task(self._look_after(), name="qicore.asgi timeouts"),
        ]
        return Success(None)

    def _made(self) -> Result[uvicorn.Server]:
        given = self.config
        try:
            options = uvicorn.Config(
                self.gate,
                # The logging of the program is its own affair.
                log_config=None,
                interface="asgi3",
                http=protocol_class(given.http, given),
                lifespan="off",
                root_path=given.root_path,
                proxy_headers=given.proxy_headers,
                forwarded_allow_ips=list(given.trusted_proxies),
                server_header=False,
                backlog=given.backlog,
                timeout_keep_alive=given.keep_alive,  # type: ignore[arg-type]  # it goes to call_later
                ssl_certfile=given.certfile,
                ssl_keyfile=given.keyfile,
                ssl_keyfile_password=given.keyfile_password,
                ssl_ca_certs=given.ca_certs,
                ssl_cert_reqs=ssl.CERT_REQUIRED if given.ca_certs else ssl.CERT_NONE,
                h11_max_incomplete_event_size=given.max_header_size,
            )
            options.load()
        except (OSError, ValueError) as cause:  # SSLError is an OSError
            return Failure(tls_failed(cause))
        except ImportError as cause:
            return Failure(QiError.validation("INVALID_ASGI_CONFIG", f"{cause.name} is not installed"))
        return Success(uvicorn.Server(options))

    def _set_gate(self) -> None:
        """Let requests go through the gate, or past it while it has nothing to do: that saves them a call."""
        raw = self.raw
        if raw is None or self.config.proxy_headers:  # there, another layer lies around the gate
            return
        app = self.gate.app if self.gate.is_plain else self.gate
        raw.config.loaded_app = app
        for connection in raw.server_state.connections:
            if isinstance(connection, Bounded):  # a WebSocket has its application already
                connection.app = app

    @property
    def statistics(self) -> Statistics:
        """What the engine has done and does."""
        if self.raw is None:
            return Statistics(memory=memory_of())
        state = self.raw.server_state
        waiting = self.gate.waiting
        return Statistics(
            requests=state.total_requests,
            in_flight=max(0, len(state.tasks) - waiting),
            waiting=waiting,
            rejected=self.gate.rejected,
            connections=len(state.connections),
            memory=memory_of(),
        )

    async def drain(self, seconds: float, *, last: bool = True) -> Result[None]:
        """Take no new connections, finish what is in flight, and end the application.

        Args:
            seconds: time after which what is still in flight is cancelled: ASGI_DRAIN_TIMEOUT then, though
                the engine has stopped all the same.
            last: nobody else serves on this socket, so the connections in its queue are taken, too.
        """
        raw = self.raw
        if raw is None:
            return Success(None)
        loop = asyncio.get_running_loop()
        self._deadline = loop.time() + seconds
        try:
            if last:
                stop_new_connections(self._listener)
                await wait_until_empty(self._listener)
            await self._stop_accepting()
            began = loop.time()
            self.gate.say_goodbye()
            for connection in tuple(raw.server_state.connections):
                connection.shutdown()
            while raw.server_state.connections or raw.server_state.tasks or self._shaking_hands(began):
                now = loop.time()
                if now >= self._deadline:
                    break
                self._close_idle(now)
                await asyncio.sleep(_TICK)
            cut = await self._cut()
        finally:
            await self._close(max(1.0, self._deadline - loop.time()))
        return Success(None) if cut == 0 else Failure(drain_timed_out(cut, seconds))

    async def _stop_accepting(self) -> None:
        if self._server is None:
            return
        # asyncio takes a connection from the system first, and makes its transport in a later turn of the
        # loop; a server that is closed between the two drops it (an assertion in Server._attach fails).
        # A loop without readers, as Windows' proactor loop is, raises NotImplementedError: there is none to
        # take away.
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().remove_reader(self._listener)
        await asyncio.sleep(_TICK)
        self._server.close()

    def _shaking_hands(self, began: float) -> bool:
        """Whether TLS is being agreed on with a client that came lately: a request may follow."""
        now = asyncio.get_running_loop().time()
        return now < began + self.config.drain_idle and any(
            protocol.transport is None for protocol in self._made_protocols
        )

    def hurry(self) -> None:
        """Let `drain` wait no longer."""
        self._deadline = 0.0

    def _close_idle(self, now: float) -> None:
        assert self.raw is not None
        for connection in tuple(self.raw.server_state.connections):
            if isinstance(connection, Bounded):
                connection.leave_if_idle(now, self.config.drain_idle)

    async def _cut(self) -> int:
        """Cancel what is still in flight, and return how much that was."""
        assert self.raw is not None
        state = self.raw.server_state
        tasks = tuple(state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
        for connection in tuple(state.connections):
            transport: Any = connection.transport
            transport.abort()
        return len(tasks)

    async def _close(self, seconds: float) -> None:
        """Close everything; whatever happened before."""
        raw, self.raw = self.raw, None
        if self._server is not None:
            self._server.close()
        self._listener.close()
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if raw is not None:
            for running in tuple(raw.server_state.tasks):
                running.cancel()
            for connection in tuple(raw.server_state.connections):
                transport: Any = connection.transport
                transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._lifespan.stop(seconds)

    async def _look_after(self) -> None:
        """End connections whose clients take too long: one look at all costs less than a timer for each."""
        loop = asyncio.get_running_loop()
        pause = min(_LOOK_AFTER, self.config.header_timeout / 4, self.config.body_timeout / 4)
        while True:
            await asyncio.sleep(pause)
            raw = self.raw
            if raw is None:
                return
            now = loop.time()
            for connection in tuple(raw.server_state.connections):
                if isinstance(connection, Bounded):
                    connection.look_after(now)
