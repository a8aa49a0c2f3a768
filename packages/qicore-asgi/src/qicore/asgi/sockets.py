"""Listening sockets: bound once, shared by every process that serves, closed without losing a request."""

from __future__ import annotations

import asyncio
import ctypes
import os
import selectors
import socket
import stat
import struct
import sys
from typing import Any, Final

from qicore.asgi.config import ServerConfig
from qicore.asgi.errors import bind_failed
from qicore.base import Failure, Result, Success

__all__ = ["bind", "place_of", "stop_new_connections", "url_of", "wait_until_empty"]

_MAX_WAIT: Final = 1.0

# Classic BPF (linux/filter.h): let all packets pass but those that open a connection, which have SYN and no
# ACK among the flags, the 14th byte of the TCP header. What is dropped is sent again by the client's system.
_SO_ATTACH_FILTER: Final = 26
_REFUSE_SYN: Final = (
    (0x30, 0, 0, 13),  # ldb [13]
    (0x54, 0, 0, 0x12),  # and #SYN|ACK
    (0x15, 0, 1, 0x02),  # jeq #SYN
    (0x06, 0, 0, 0),  # ret #0: drop
    (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1: keep
)


def bind(config: ServerConfig) -> Result[socket.socket]:
    """Return a socket that listens where the options say, or ASGI_BIND_FAILED.

    It is not inheritable until it is handed to a worker.
    """
    if config.uds is not None:
        return _bind_path(config.uds, config.backlog)
    place = f"{config.host}:{config.port}"
    try:
        family, _, _, _, address = socket.getaddrinfo(
            config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # asyncio turns Nagle's algorithm off only where the protocol is named: it would hold the second
        # packet of an answer back for 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, ValueError) as cause:  # a name that is none is a UnicodeError
        return Failure(bind_failed(place, cause))
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(config.backlog)
    except (OSError, OverflowError) as cause:
        listener.close()
        return Failure(bind_failed(place, cause))
    listener.setblocking(False)
    return Success(listener)


def _bind_path(path: str, backlog: int) -> Result[socket.socket]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.bind(path)
        listener.listen(backlog)
    except (OSError, ValueError, OverflowError) as cause:
        listener.close()
        return Failure(bind_failed(path, cause))
    listener.setblocking(False)
    return Success(listener)


def _remove_stale(path: str) -> None:
    """Remove the socket of a server that is gone: one to which nobody listens. A file that is none stays."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 - a path of sockets is text
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108 - as above


def place_of(listener: socket.socket) -> tuple[str, int | None]:
    """Return the host and port that a socket listens at; the path and None for a Unix socket."""
    name: Any = listener.getsockname()
    return (name, None) if isinstance(name, str) else (name[0], name[1])


def url_of(listener: socket.socket, *, tls: bool) -> str:
    """Return the URL under which a socket is reached from this machine."""
    host, port = place_of(listener)
    if port is None:
        return f"unix:{host}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - it is looked for, not bound
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def stop_new_connections(listener: socket.socket) -> None:
    """Let no further client connect, so that the queue of connections can be emptied before it is closed.

    What is in that queue when a socket is closed is reset, though its clients may have sent requests already.
    A Unix socket's name is removed; on Linux, the system stops answering to those who want to connect by TCP.
    """
    host, port = place_of(listener)
    if port is None:
        if os.path.exists(host):  # noqa: PTH110 - text
            os.unlink(host)  # noqa: PTH108 - text
    elif sys.platform == "linux":
        instructions = b"".join(struct.pack("HBBI", *line) for line in _REFUSE_SYN)
        held = ctypes.create_string_buffer(instructions)
        program = struct.pack("HL", len(_REFUSE_SYN), ctypes.addressof(held))
        try:
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
        except OSError:  # not allowed here: a client may be reset in the instant before the socket is closed
            return


async def wait_until_empty(listener: socket.socket) -> None:
    """Wait until no connection is left to be accepted: what accepts them goes on meanwhile."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _MAX_WAIT
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        # Two looks apart, since a handshake may be between its packets.
        quiet = 0
        while quiet < 2 and loop.time() < deadline:
            quiet = 0 if selector.select(0) else quiet + 1
            await asyncio.sleep(0.01)
