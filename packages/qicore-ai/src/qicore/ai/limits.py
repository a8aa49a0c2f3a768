"""The bound on the size of answers, for httpx and httpx2, whose types are not the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from qicore.ai.errors import unreadable

__all__ = ["response_hooks"]


def response_hooks(base: type[Any], limit: int) -> dict[str, list[Callable[[Any], Awaitable[None]]]]:
    """Return event hooks of a client that end an answer of more than `limit` bytes with LLM_ERROR [NETWORK].

    `base` is the `AsyncByteStream` of the client's library. An answer in an encoding that nobody asked for is
    refused: it could become any size.
    """

    class Bounded(base):  # type: ignore[misc]  # the class of either library
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            left = limit
            async for chunk in self._stream:
                left -= len(chunk)
                if left < 0:
                    raise unreadable(f"more than {limit} bytes")
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def bound(response: Any) -> None:
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise unreadable("an encoding that was not asked for")
        response.stream = Bounded(response.stream)

    return {"response": [bound]}
