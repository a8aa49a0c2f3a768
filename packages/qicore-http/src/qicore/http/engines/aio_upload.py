"""A body that is sent while the engine `aiohttp` listens for the answer already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final, cast

import httpx
from aiohttp.http import StreamWriter
from qicore.http.engines.aio_line import AioLine
from qicore.http.engines.aio_protocol import AioProtocol

__all__ = ["PIECE", "AioUpload"]

PIECE: Final = 64 * 1024
"""Bytes that are handed to the transport at once."""


class AioUpload:
    """Sends a request with a long body, in a task of its own, each piece when most before it are gone.

    A server may answer before it has read everything: with an error, or piece by piece as it reads.

    Attributes:
        answered: whether the answer has begun, so that its silence is no longer timed from here.
    """

    def __init__(
        self, line: AioLine, protocol: AioProtocol, head: bytes, request: httpx.Request, seconds: float | None
    ) -> None:
        self._line = line
        self._protocol = protocol
        self._seconds = seconds
        self.answered = False
        self._task = asyncio.get_running_loop().create_task(self._send(head, request))
        self._task.add_done_callback(self._settle)

    async def _send(self, head: bytes, request: httpx.Request) -> None:
        writer = StreamWriter(self._protocol, asyncio.get_running_loop())
        self._line.sent += len(head)
        await self._write(writer, head)
        pieces = cast("AsyncIterator[bytes]", request.stream)
        if request.headers.get("transfer-encoding") == "chunked":
            writer.enable_chunking()
            async for piece in pieces:
                await self._write(writer, piece)
        else:
            # The last piece waits until the body has ended: one that is longer than its Content-Length raises
            # then, before the server takes it for complete.
            held = b""
            async for piece in pieces:
                await self._write(writer, held)
                held = piece
            await self._write(writer, held)
        await writer.write_eof()

    async def _write(self, writer: StreamWriter, data: bytes) -> None:
        for start in range(0, len(data), PIECE):
            try:
                async with asyncio.timeout(self._seconds):
                    await writer.write(data[start : start + PIECE])
            except TimeoutError as error:
                raise httpx.WriteTimeout("the server took nothing for too long") from error

    def _settle(self, task: asyncio.Task[None]) -> None:
        problem = None if task.cancelled() else task.exception()
        if problem is not None:
            if self._protocol.exception() is None:
                self._protocol.set_exception(problem)
        elif not self.answered:
            self._protocol.start_timeout()

    def stop(self) -> None:
        """Give up what is not sent yet; the connection is good for nothing then."""
        if not self._task.done():
            self._protocol.force_close()
            self._task.cancel()

    async def gone(self) -> None:
        """Wait until it has let go of the body."""
        if not self._task.done():
            await asyncio.wait((self._task,))
