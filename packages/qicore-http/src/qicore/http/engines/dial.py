"""Connect a socket to a host, whichever of its addresses answers first (RFC 8305), and lose none on the way.

asyncio's own `create_connection(..., happy_eyeballs_delay=...)` leaves a socket open when it is cancelled
just as the race for it is won; the tests of cancellation found that. Here every socket always has an owner.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import Any, Final, TypeAlias

from qicore.http.guard import NetworkGuard

__all__ = ["dial", "look_up"]

_HEAD_START: Final = 0.25
"""Seconds that an address has before the next one is tried as well (RFC 8305, section 5)."""

Address: TypeAlias = tuple[socket.AddressFamily, Any]


async def look_up(
    loop: asyncio.AbstractEventLoop, host: str, port: int, guard: NetworkGuard | None
) -> list[Address]:
    """Return the addresses of a host, the families in turn; OSError, PrivateNetworkError of the guard too.

    Those that the guard has seen are those that are returned: asking again might give others.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        # A name: that may take its time, in a thread.
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, f"this is no name: {error}") from None
    addresses: list[Address] = list(dict.fromkeys((entry[0], entry[4]) for entry in found))
    if guard is not None:
        guard.check(host, [str(address[0]) for _, address in addresses])
    preferred = addresses[0][0] if addresses else socket.AF_INET
    first = [one for one in addresses if one[0] == preferred]
    second = [one for one in addresses if one[0] != preferred]
    return [one for pair in itertools.zip_longest(first, second) for one in pair if one is not None]


async def dial(loop: asyncio.AbstractEventLoop, addresses: list[Address]) -> socket.socket:
    """Return a socket that is connected to one of them; the OSError of the first if none answers."""
    if len(addresses) == 1:
        return await _connect(loop, addresses[0])
    attempts: set[asyncio.Task[socket.socket]] = set()
    waiting = list(reversed(addresses))
    problems: list[OSError] = []
    try:
        while waiting or any(not task.done() for task in attempts):
            if waiting:
                attempts.add(loop.create_task(_connect(loop, waiting.pop())))
            pending = [task for task in attempts if not task.done()]
            await asyncio.wait(
                pending, timeout=_HEAD_START if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in [task for task in pending if task.done()]:
                try:
                    winner = task.result()
                except OSError as problem:
                    problems.append(problem)
                else:
                    attempts.discard(task)
                    return winner
    finally:
        for task in attempts:
            # It closes its socket when it is cancelled; if it has been connected meanwhile, `_discard` does.
            task.add_done_callback(_discard)
            task.cancel()
    raise problems[0] if problems else OSError("the host has no address")


async def _connect(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    family, place = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await loop.sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock


def _discard(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
