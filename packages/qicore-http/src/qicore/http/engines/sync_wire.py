"""Blocking sockets for httpcore's connections: a `NetworkBackend` that knows the call's deadline.

httpcore has a timeout for each read only, and a server that sends a byte now and then is never late. Here no
wait is longer than what is left until the deadline of the call that the thread is carrying out.
"""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
from qicore.http.engines.library import Library
from qicore.http.engines.wire import bare
from qicore.http.guard import NetworkGuard

__all__ = ["SyncWire", "SyncWires", "Watch"]

_PIECE = 64 * 1024


class Watch(threading.local):
    """The deadline of what this thread is doing, on the monotonic clock, or None."""

    deadline: float | None = None

    def left(self, timeout: float | None, late: type[Exception]) -> float | None:
        """Return how long the next wait may take; raise `late` when there is no time left."""
        if self.deadline is None:
            return timeout
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise late("the time for the whole call is up")
        return left if timeout is None or left < timeout else timeout


class SyncWire:
    """A TCP connection, with or without TLS; what httpcore calls a NetworkStream."""

    def __init__(
        self, library: Library, stream: httpcore.NetworkStream, watch: Watch, handshakes: int
    ) -> None:
        self._library = library
        # Until so many are over, what is written is not the request, but asks a proxy for a tunnel.
        self._handshakes = handshakes
        self._stream = stream
        self._watch = watch
        self.sent = 0
        self.received = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has arrived, at least a byte unless the connection has ended."""
        data = self._stream.read(max_bytes, self._watch.left(timeout, self._library.ReadTimeout))
        self.received += len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of it."""
        for start in range(0, len(buffer), _PIECE):
            piece = buffer[start : start + _PIECE] if len(buffer) > _PIECE else buffer
            left = self._watch.left(timeout, self._library.WriteTimeout)
            if self._handshakes == 0:
                self.sent += len(piece)
            self._stream.write(piece, left)

    def close(self) -> None:
        """Close it."""
        self._stream.close()

    def abort(self) -> None:
        """Close it, whatever state it is in."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> SyncWire:
        """Return it with TLS inside."""
        try:
            left = self._watch.left(timeout, self._library.ConnectTimeout)
            self._stream = self._stream.start_tls(ssl_context, bare(server_hostname), left)
        except BaseException:
            self._stream.close()
            raise
        self._handshakes -= 1
        return self

    def get_extra_info(self, info: str) -> Any:
        """Answer what httpcore asks about the socket."""
        if info == "is_readable" and self._stream.get_extra_info("ssl_object") is not None:
            return self._has_ended()
        return self._stream.get_extra_info(info)

    def _has_ended(self) -> bool:
        """Whether an idle connection has been closed; a session ticket makes it readable only."""
        sock: Any = self._stream.get_extra_info("socket")
        if not self._stream.get_extra_info("is_readable"):
            return False
        try:
            sock.settimeout(0)
            return not sock.recv(1) or True
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        except (OSError, ValueError):
            return True


class SyncWires:
    """Opens them; what httpcore calls a NetworkBackend."""

    def __init__(
        self,
        library: Library,
        *,
        opened: Callable[[SyncWire], None],
        guard: NetworkGuard | None,
        watch: Watch,
        handshakes: int,
    ) -> None:
        self._library = library
        self._opened = opened
        self._guard = guard
        self._handshakes = handshakes
        self._watch = watch
        self._backend = library.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> SyncWire:
        """Connect to the first address of the host that answers. Looking up its name can't be hurried."""
        try:
            addresses = self._resolve(host, port)
        except OSError as error:
            raise self._library.ConnectError(str(error)) from error
        until = math.inf if timeout is None else time.monotonic() + timeout
        problem: Exception | None = None
        for address in addresses:
            left = timeout if timeout is None else max(until - time.monotonic(), 0.001)
            try:
                left = self._watch.left(left, self._library.ConnectTimeout)
                stream = self._backend.connect_tcp(address, port, left, local_address, socket_options)
            except (self._library.ConnectError, self._library.ConnectTimeout) as error:
                problem = error
                continue
            wire = SyncWire(self._library, stream, self._watch, self._handshakes)
            self._opened(wire)
            return wire
        raise problem or self._library.ConnectError(f"{host} has no address")

    def _resolve(self, host: str, port: int) -> list[str]:
        if self._guard is not None:
            return self._guard.resolve(host, port)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise socket.gaierror(socket.EAI_NONAME, f"this is no name: {error}") from None
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def sleep(self, seconds: float) -> None:
        """Wait between attempts to connect, of which httpcore makes one."""
        time.sleep(seconds)
