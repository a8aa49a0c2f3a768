"""Sending pieces of a file: read in threads, closed on every way out, and never passed off as whole."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio.to_thread
from qicore.web.ranges import Part
from starlette.types import Receive, Send

__all__ = ["PIECE", "FileReader", "TornFileError", "Transfer", "send_transfer"]

PIECE: Final = 256 * 1024
"""Bytes that are read and sent at a time: what one transfer holds in memory."""


class TornFileError(Exception):
    """A file changed while it was sent. The server ends the connection, so that the client knows."""


class FileReader:
    """A file that threads open and read, and that any task may close at any moment.

    A cancelled task does not stop its thread, so a descriptor that is in use is closed by its user: otherwise
    the thread could read from whatever gets the same number next.
    """

    __slots__ = ("_busy", "_closed", "_descriptor", "_lock", "_status")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._descriptor = -1
        self._status: os.stat_result | None = None
        self._busy = False
        self._closed = False

    def open(self, opener: Callable[[], tuple[int, os.stat_result]]) -> os.stat_result:
        """Open the file, and return its status. It may raise what `opener` raises."""
        self._begin()
        try:
            self._descriptor, status = opener()
        finally:
            self._end()
        self._status = status
        return status

    def read(self, start: int, size: int) -> bytes:
        """Return the `size` bytes from `start` on, or raise TornFileError when the file changed."""
        self._begin()
        try:
            os.lseek(self._descriptor, start, os.SEEK_SET)
            pieces: list[bytes] = []
            while size > 0:
                data = os.read(self._descriptor, size)
                if not data:
                    raise TornFileError("a file became shorter while it was sent")
                pieces.append(data)
                size -= len(data)
            # Looked at after the reading: what was read before is of the version that was announced.
            now, then = os.fstat(self._descriptor), self._status
            if then is None or (now.st_mtime_ns, now.st_size) != (then.st_mtime_ns, then.st_size):
                raise TornFileError("a file changed while it was sent")
        finally:
            self._end()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Close the file now, or when the thread that uses it is done."""
        with self._lock:
            self._closed = True
            if not self._busy:
                self._release()

    def _begin(self) -> None:
        with self._lock:
            if self._closed:
                raise TornFileError("a file was closed before it was read")
            self._busy = True

    def _end(self) -> None:
        with self._lock:
            self._busy = False
            if self._closed:
                self._release()

    def _release(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A response: its status, its header fields, the pieces of a file that are its body, and what ends it."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    parts: Sequence[Part] = ()
    tail: bytes = b""

    @property
    def size(self) -> int:
        """The number of bytes of its body."""
        return sum(part.size for part in self.parts) + len(self.tail)

    def read(self, reader: FileReader) -> Transfer:
        """Return it with its body read already."""
        pieces = [part.head + reader.read(part.start, part.end - part.start) for part in self.parts]
        return Transfer(self.status, self.headers, (), b"".join(pieces) + self.tail)


async def send_transfer(transfer: Transfer, reader: FileReader, receive: Receive, send: Send) -> None:
    """Send the response; a client that leaves ends it.

    Servers before ASGI 2.4 say nothing when they are sent more for a client that left: it is listened for.
    """
    await send({"type": "http.response.start", "status": transfer.status, "headers": transfer.headers})
    if transfer.parts:
        left = asyncio.ensure_future(_until_disconnected(receive))
        left.add_done_callback(_seen)
        try:
            for part in transfer.parts:
                if part.head:
                    await send({"type": "http.response.body", "body": part.head, "more_body": True})
                for start in range(part.start, part.end, PIECE):
                    size = min(PIECE, part.end - start)
                    data = await anyio.to_thread.run_sync(reader.read, start, size)
                    if left.done():
                        return
                    await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            left.cancel()
    await send({"type": "http.response.body", "body": transfer.tail, "more_body": False})


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _seen(task: asyncio.Future[None]) -> None:
    """Look at how the listening ended: what a server raises for a client that left is no news."""
    if not task.cancelled():
        task.exception()
