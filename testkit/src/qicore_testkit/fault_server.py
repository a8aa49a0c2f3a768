"""An HTTP server on a raw socket that misbehaves as it is told, and remembers every byte it was sent.

A test gives each path a script: one behaviour per request, the last one for all that follow.

    with FaultServer() as server:
        server.on("/flaky", reset(), answer(200, b"done"))
        ...  # the first request of /flaky is reset, the next ones are answered
        assert server.count("/flaky") == 2

Each connection has a thread; a behaviour is a function of the `Exchange` that it may do anything with.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from qicore_testkit.raw_http import Reader, Request, response

__all__ = ["Behaviour", "Exchange", "FaultServer", "wait_until"]


@dataclass(slots=True)
class Exchange:
    """One request of one connection. A behaviour that returns keeps the connection, unless it was closed."""

    connection: socket.socket
    request: Request
    stopping: threading.Event
    closed: bool = False

    def send(self, data: bytes) -> None:
        """Send bytes as they are; BrokenPipeError and the like mean that the client has gone."""
        self.connection.sendall(data)

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than the server lives."""
        if self.stopping.wait(seconds):
            raise ConnectionAbortedError("the server stops")

    def wait_for_close(self) -> None:
        """Wait until the client closes the connection, or the server stops."""
        while self.connection.recv(65536):
            pass

    def close(self) -> None:
        """Close the connection in the orderly way, after what was sent."""
        self.closed = True

    def reset(self) -> None:
        """Close the connection with a reset: the client gets ECONNRESET."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.closed = True


Behaviour = Callable[[Exchange], None]


def _not_found(exchange: Exchange) -> None:
    exchange.send(response(404, b"nothing is scripted for this path"))


@dataclass
class FaultServer:
    """Listens on a free port of `host` from `with` on; everything is stopped and joined on the way out.

    With `tls` (a server's SSLContext) it speaks TLS. `on_connect` sees each connection before anything is
    read: one behaviour per connection, in order, then none; it gets an Exchange whose request is empty.
    """

    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    default: Behaviour = _not_found
    """What happens to a request whose path has no script."""
    on_connect: list[Behaviour] = field(default_factory=list[Behaviour])
    requests: list[Request] = field(default_factory=list[Request])
    """Every request whose head arrived, in order, whatever became of it."""
    connections: int = 0
    """How many connections were accepted."""

    def __post_init__(self) -> None:
        self._scripts: dict[str, list[Behaviour]] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family, backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="fault-server")
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._wake()
        self._acceptor.join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                _shut(connection)
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        """The address of the root, without a slash at its end."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{name}:{self.port}"

    def on(self, path: str, *behaviours: Behaviour) -> str:
        """Script the requests of `path` (without its query) and return its address."""
        with self._lock:
            self._scripts[path] = list(behaviours)
        return self.url + path

    def count(self, path: str) -> int:
        """How many requests of `path` (without its query) arrived."""
        return sum(urlsplit(request.target).path == path for request in list(self.requests))

    def open_connections(self) -> int:
        """How many connections are open now."""
        with self._lock:
            return len(self._open)

    def _wake(self) -> None:
        with socket.socket(self._listener.family) as last:
            last.connect(self._listener.getsockname()[:2])

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._stopping.is_set():
                connection.close()
                return
            with self._lock:
                self.connections += 1
                number = self.connections
                self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection, number))
            self._threads.append(thread)
            thread.start()

    def _serve(self, raw: socket.socket, number: int) -> None:
        connection: socket.socket = raw
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                first = self.on_connect.pop(0) if self.on_connect else None
            if first is not None:
                exchange = Exchange(connection, Request(b"", "", "", (), b"", number), self._stopping)
                first(exchange)
                if exchange.closed:
                    return
            if self.tls is not None:
                connection = self.tls.wrap_socket(raw, server_side=True)
                with self._lock:  # wrapping took the descriptor over
                    self._open.discard(raw)
                    self._open.add(connection)
            self._converse(connection, number)
        except OSError:
            pass  # the client, or the end of the server, closed the connection: both are business as usual
        finally:
            with self._lock:
                self._open.discard(raw)
                self._open.discard(connection)
            connection.close()
            raw.close()

    def _converse(self, connection: socket.socket, number: int) -> None:
        reader = Reader(connection)
        while not self._stopping.is_set():
            request = reader.request(number, self.requests.append)
            if request is None:
                return
            exchange = Exchange(connection, request, self._stopping)
            self._behaviour(urlsplit(request.target).path)(exchange)
            if exchange.closed:
                return

    def _behaviour(self, path: str) -> Behaviour:
        with self._lock:
            script = self._scripts.get(path)
            if not script:
                return self.default
            return script.pop(0) if len(script) > 1 else script[0]


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may be closed already
        # The plain socket's: a TLS one would first want to say goodbye.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait for what another thread or process brings about; whether it came within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True
