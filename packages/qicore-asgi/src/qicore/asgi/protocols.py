"""uvicorn's connections with bounds on what a client may do, and with a shutdown that loses no request.

What a request costs more than in uvicorn itself is one comparison: how long a client takes is not measured
with each request, but seen by somebody who looks at all connections twice a second.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, Literal

from qicore.asgi.config import ServerConfig
from qicore.asgi.gate import BAD_HOST

__all__ = ["Bounded", "protocol_class"]

log: Final = logging.getLogger("qicore.asgi")

_GRACE: Final = 0.5
"""Seconds for which uvicorn's timer for idle connections goes first."""
_SLICE: Final = 4096
_REASONS: Final = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class Watch:
    """What is known of a connection's client.

    An object of its own: CPython makes every attribute of an object slower that has more than 30 of them, and
    uvicorn's have 28.
    """

    __slots__ = ("doing", "head", "head_size", "heard", "since")

    def __init__(self) -> None:
        self.head: object = None
        self.head_size = 0
        self.heard = 0.0
        # What it was doing when it was looked at last, and since when.
        self.doing: tuple[object, ...] = ()
        self.since = 0.0


class AccessLogger:
    """uvicorn's log of requests, without the query of each: tokens and signatures travel there."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def info(self, message: str, client: str, method: str, target: str, *more: object) -> None:
        """Log a request as uvicorn does."""
        self._logger.info(message, client, method, target.partition("?")[0], *more)


class Bounded:
    """What is added to uvicorn's protocols, of which it is the first base."""

    rules: ServerConfig
    app: Any
    transport: Any
    flow: Any
    cycle: Any
    scope: Any
    access_logger: Any
    connections: set[Any]
    loop: asyncio.AbstractEventLoop

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.access_log = self.rules.access_log
        if self.access_log:
            self.access_logger = AccessLogger(self.access_logger)
        self.watch = Watch()

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or close it where there are too many."""
        super().connection_made(transport)  # type: ignore[misc]  # of uvicorn's protocol, the next base
        self.watch.since = self.loop.time()
        limit = self.rules.max_connections
        if limit is not None and len(self.connections) > limit:
            log.warning("connection refused: %d are open", limit)
            transport.abort()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def has_partial_head(self) -> bool:
        """Return whether the first part of a request's head has come, and not the last."""
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def took_head(self, size: int) -> None:
        """Count what came of a head that is not whole yet, and refuse one that is too large."""
        if self.watch.head is not self.scope:
            self.watch.head = self.scope
            self.watch.head_size = 0
        self.watch.head_size += size
        if self.watch.head_size > self.rules.max_header_size:
            self.refuse(431)

    def took_body(self) -> None:
        """Note that the client is still sending."""
        self.watch.heard = self.loop.time()

    def shutdown(self) -> None:
        """Begin to drain: what is being answered is the last. The gate says so to what comes after it."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def look_after(self, now: float) -> None:
        """End a connection whose client takes too long over a head or a body."""
        since = self._unchanged_since(now)
        if self.is_idle:
            waits = self.has_partial_head() or self.cycle is None
            if waits and now - since > self.rules.header_timeout:
                self.refuse(408)
            elif not waits and now - since > self.rules.keep_alive + _GRACE:
                # uvicorn's own timer stops at any byte, also at those that are no part of a request.
                self.transport.close()
        elif self.flow.read_paused or self.cycle.waiting_for_100_continue:
            # It is the application that does not read: the client has no fault in it.
            self.watch.heard = now
        elif self.cycle.more_body and now - max(since, self.watch.heard) > self.rules.body_timeout:
            log.warning("the body of a request stopped coming: its connection is ended")
            self.transport.abort()

    def leave_if_idle(self, now: float, seconds: float) -> None:
        """Close the connection when for so long neither a request nor a part of one has come."""
        since = self._unchanged_since(now)
        if self.is_idle and not self.has_partial_head() and now - since >= seconds:
            self.transport.close()

    def _unchanged_since(self, now: float) -> float:
        # Each request has objects of its own, so that a new one is never taken for the one before.
        doing = (self.scope, self.cycle, self.is_idle)
        known = self.watch.doing
        if not known or any(a is not b for a, b in zip(doing, known, strict=True)):
            fresh = not known and self.scope is None
            self.watch.doing = doing
            if not fresh:  # one that has said nothing yet counts from when it was opened
                self.watch.since = now
        return self.watch.since

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, or one with a head that is too large."""
        if self.watch.head_size > self.rules.max_header_size:
            self.refuse(431)
        else:
            super().send_400_response(msg)  # type: ignore[misc]  # of uvicorn's protocol, the next base

    def refuse(self, status: int) -> None:
        """End a connection whose next request can't be taken; one that has sent some of it is told why."""
        if self.transport.is_closing():
            return
        if self.scope is not None or self.watch.head_size:
            line = f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
            self.transport.write(f"{line}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        self.transport.close()


def protocol_class(http: Literal["auto", "h11", "httptools"], config: ServerConfig) -> type[Any]:
    """Return the class of an engine's connections; raise ImportError where its parser is missing."""
    if http != "h11":
        try:
            return _httptools(config)
        except ImportError:
            if http == "httptools":
                raise
    return _h11(config)


def _httptools(config: ServerConfig) -> type[Any]:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    # Looked up once: super() would cost each request more than what is added here.
    receive = HttpToolsProtocol.data_received
    largest = config.max_header_size

    class BoundedHttpTools(Bounded, HttpToolsProtocol):
        """uvicorn's protocol on httptools."""

        rules = config

        def data_received(self, data: bytes) -> None:
            if len(data) > largest:
                # It may hold a whole head that is too large: it is fed in parts, so that it is counted.
                for start in range(0, len(data), largest):
                    self.data_received(data[start : start + largest])
                    if self.transport.is_closing():
                        return
                return
            receive(self, data)
            cycle = self.cycle
            if cycle is None or cycle.scope is not self.scope:
                self.took_head(len(data))

        def _start_asgi_task(self, cycle: Any, app: Any) -> None:
            # httptools looks at no Host. Two of a header are one in the dict, which is made in C.
            headers = cycle.scope["headers"]
            names = dict(headers)
            if b"host" not in names or len(names) != len(headers):
                hosts = sum(name == b"host" for name, _ in headers)
                if hosts > 1 or (hosts == 0 and cycle.scope["http_version"] != "1.0"):
                    cycle.keep_alive = False
                    app = BAD_HOST
            task = self.loop.create_task(cycle.run_asgi(app))
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

        def on_body(self, body: bytes) -> None:
            self.took_body()
            super().on_body(body)

    return BoundedHttpTools


def _h11(config: ServerConfig) -> type[Any]:
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class StrictConnection(h11.Connection):
        """h11's connection without requests of two lengths (RFC 9112, section 6.1, allows to refuse them)."""

        def next_event(self) -> Any:
            event = super().next_event()
            if isinstance(event, h11.Request):
                if event.method == b"CONNECT":  # it is for proxies, and h11 answers it as one
                    raise h11.RemoteProtocolError("no proxy")
                names = {name for name, _ in event.headers}
                if b"transfer-encoding" in names and b"content-length" in names:
                    raise h11.RemoteProtocolError("both Transfer-Encoding and Content-Length")
            return event

    class BoundedH11(Bounded, H11Protocol):
        """uvicorn's protocol on h11."""

        rules = config

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            # h11 counts by itself, and refuses what is too large.
            self.conn = StrictConnection(h11.SERVER, config.max_header_size)

        def data_received(self, data: bytes) -> None:
            self.took_body()
            if not self.is_idle or len(data) <= _SLICE:
                self.take(data)
                return
            # h11 bounds what is incomplete: a head that comes whole is fed in parts, so that it is bounded.
            for start in range(0, len(data), _SLICE):
                self.take(data[start : start + _SLICE])
                if self.transport.is_closing():
                    return

        def take(self, data: bytes) -> None:
            self.watch.head_size = len(self.conn.trailing_data[0]) + len(data) if self.is_idle else 0
            super().data_received(data)

        def has_partial_head(self) -> bool:
            return self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])

    return BoundedH11
