"""What a supervisor and a worker say to each other: lines of JSON over a pair of sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, Final, cast

__all__ = ["Control"]

_MAX_LINE: Final = 1024 * 1024


class Control:
    """One end of the connection between a supervisor and a worker; the end of one is seen by the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Control:
        """Return the connection over one of a pair of sockets, which belongs to it from now on."""
        end.setblocking(False)
        return cls(*await asyncio.open_connection(sock=end, limit=_MAX_LINE))

    def send(self, kind: str, **facts: object) -> None:
        """Say something; nobody hears it when the other end is gone."""
        if not self._writer.is_closing():
            self._writer.write(json.dumps({"type": kind, **facts}).encode() + b"\n")

    async def receive(self) -> dict[str, Any] | None:
        """Return what the other end says next, or None when it is gone."""
        try:
            line = await self._reader.readline()
        except (OSError, ValueError):
            return None
        if not line.endswith(b"\n"):
            return None
        return cast("dict[str, Any]", json.loads(line))

    async def close(self) -> None:
        """End the connection, after what was said has been sent."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return
