"""A transport under observation: its end is noticed when it comes, and nobody waits for a full one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Self

import anyio

__all__ = ["watched"]

_COURTESY: Final = 1.0
"""Seconds for telling a server that nobody waits for an answer any more; the SDK would take five."""


class _End:
    """One end of a transport."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)  # `last_context`, and whatever else the SDK asks for

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> bool | None:
        left: bool | None = await self._stream.__aexit__(*exception)
        return left


class _Writing(_End):
    """The writing end, on which whoever gives a call up does not wait for a server that reads no more."""

    async def send(self, item: Any) -> None:
        if getattr(item.message, "method", None) != "notifications/cancelled":
            await self._stream.send(item)
            return
        with anyio.move_on_after(_COURTESY):
            await self._stream.send(item)


class _Reading(_End):
    """The reading end, which calls `ended` when nothing more can come."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        super().__init__(stream)
        self._ended = ended

    async def receive(self) -> Any:
        try:
            return await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._ended()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._ended()
            raise StopAsyncIteration from None


@asynccontextmanager
async def watched(
    transport: AbstractAsyncContextManager[Any], ended: Callable[[], None]
) -> AsyncGenerator[tuple[Any, Any], None]:
    """Return a transport that calls `ended` when the other side is gone."""
    async with transport as (read, write):
        yield _Reading(read, ended), _Writing(write)
