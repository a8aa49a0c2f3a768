"""uvicorn's connections with bounds on what a client may do, and with a shutdown that loses no request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Literal

from qicore.asgi.config import ServerConfig

if TYPE_CHECKING:
    import asyncio

__all__ = ["Rules", "protocol_class"]

log: Final = logging.getLogger("qicore.asgi")

_REASONS: Final = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class Rules:
    """What all connections of an engine obey, and whether it is draining."""

    __slots__ = (
        "access_log",
        "body_timeout",
        "draining_since",
        "header_timeout",
        "max_connections",
        "max_header_size",
    )

    def __init__(self, config: ServerConfig) -> None:
        self.header_timeout = config.header_timeout
        self.body_timeout = config.body_timeout
        self.max_header_size = config.max_header_size
        self.max_connections = config.max_connections
        self.access_log = config.access_log
        self.draining_since: float | None = None
        """The event loop's time when draining began."""


class Bounded:
    """What is added to uvicorn's protocols, of which it is the first base.

    `head_since` is the loop's time since which the head of a request is waited for, None while there is none
    under way; `heard` is when the client was heard last. Whoever looks after the connections compares them.
    """

    rules: Rules
    transport: Any
    cycle: Any
    connections: set[Any]
    loop: asyncio.AbstractEventLoop

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.head_since: float | None = None
        self.head_size = 0
        self.heard = 0.0
        self.chunk = 0
        self.access_log = self.rules.access_log

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or close it where there are too many."""
        super().connection_made(transport)  # type: ignore[misc]  # of uvicorn's protocol, the next base
        # A client that says nothing at all is waited for as for a head.
        self.head_since = self.heard = self.loop.time()
        limit = self.rules.max_connections
        if limit is not None and len(self.connections) > limit:
            log.warning("connection refused: %d are open", limit)
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take what came; what it means is uvicorn's business."""
        self.heard = self.loop.time()
        self.chunk = len(data)
        super().data_received(data)  # type: ignore[misc]  # of uvicorn's protocol, the next base
        self.after_data()
        if self.rules.draining_since is not None and self.cycle is not None:
            self.cycle.keep_alive = False

    def after_data(self) -> None:
        """Note whether the head of a request is under way now."""
        if self.is_idle and self.has_partial_head():
            self.head_size += self.chunk
            if self.head_since is None:
                self.head_since = self.heard
            if self.head_size > self.rules.max_header_size:
                self.refuse(431)
        else:
            self.head_since = None
            self.head_size = 0

    def has_partial_head(self) -> bool:
        """Return whether the first part of a request's head has come, and not the last."""
        return False

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def shutdown(self) -> None:
        """Begin to drain: what is being answered is the last, or what comes next."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def look_after(self, now: float) -> None:
        """End a connection whose client takes too long over a head or a body."""
        if self.is_idle:
            if self.head_since is not None and now - self.head_since > self.rules.header_timeout:
                self.refuse(408)
        elif self.cycle.more_body and now - self.heard > self.rules.body_timeout:
            log.warning("a request's body stopped coming: the connection is ended")
            self.transport.abort()

    def leave_if_idle(self, since: float) -> None:
        """Close the connection when neither a request nor a part of one has come since then."""
        if self.is_idle and not self.has_partial_head() and self.heard <= since:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, or one with a head that is too large."""
        if self.head_size > self.rules.max_header_size:
            self.refuse(431)
        else:
            super().send_400_response(msg)  # type: ignore[misc]  # of uvicorn's protocol, the next base

    def refuse(self, status: int) -> None:
        """Answer a request whose head can't be taken, and end the connection."""
        if self.transport.is_closing():
            return
        if status != 408 or self.head_size:
            line = f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
            self.transport.write(f"{line}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        self.transport.close()


def protocol_class(http: Literal["auto", "h11", "httptools"], obeyed: Rules) -> type[Any]:
    """Return the class of an engine's connections; raise ImportError where its parser is missing."""
    if http != "h11":
        try:
            return _httptools(obeyed)
        except ImportError:
            if http == "httptools":
                raise
    return _h11(obeyed)


def _httptools(obeyed: Rules) -> type[Any]:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class BoundedHttpTools(Bounded, HttpToolsProtocol):
        """uvicorn's protocol on httptools."""

        rules = obeyed
        in_head = False

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.in_head = True

        def on_headers_complete(self) -> None:
            self.in_head = False
            headers = self.headers
            # Duplicates vanish in the dict, which is made in C: it is shorter then. httptools itself refuses
            # two lengths.
            names = dict(headers)
            parser: Any = self.parser
            if b"host" not in names and parser.get_http_version() != "1.0":
                raise ValueError("there is no Host (RFC 9112, section 3.2)")
            if len(names) != len(headers) and sum(name == b"host" for name, _ in headers) > 1:
                raise ValueError("there are two Hosts")
            if self.chunk > self.rules.max_header_size and self.size_of_head() > self.rules.max_header_size:
                self.head_size = self.size_of_head()
                raise ValueError("the head is too large")
            super().on_headers_complete()

        def size_of_head(self) -> int:
            return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

        def has_partial_head(self) -> bool:
            return self.in_head

    return BoundedHttpTools


def _h11(obeyed: Rules) -> type[Any]:
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class StrictConnection(h11.Connection):
        """h11's connection without requests of two lengths (RFC 9112, section 6.1, allows to refuse them)."""

        def next_event(self) -> Any:
            event = super().next_event()
            if isinstance(event, h11.Request):
                names = {name for name, _ in event.headers}
                if b"transfer-encoding" in names and b"content-length" in names:
                    raise h11.RemoteProtocolError("both Transfer-Encoding and Content-Length")
            return event

    class BoundedH11(Bounded, H11Protocol):
        """uvicorn's protocol on h11."""

        rules = obeyed

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.conn = StrictConnection(h11.SERVER, self.rules.max_header_size)

        def data_received(self, data: bytes) -> None:
            # h11 counts by itself, and refuses what is too large before anybody else could look at it.
            self.head_size = len(self.conn.trailing_data[0]) + len(data) if self.is_idle else 0
            super().data_received(data)

        def has_partial_head(self) -> bool:
            return self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])

    return BoundedH11
