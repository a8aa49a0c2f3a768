"""The bounds on answers, for httpx and httpx2, whose types are not the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from qicore.ai.errors import unreadable

__all__ = ["response_hooks", "rest_of"]

logger = logging.getLogger("qicore.ai")

_END: Final = 2.0
"""Seconds that the end of a body may take after the answer in it."""
_PARTS: Final = 16


async def rest_of(parts: AsyncIterator[Any]) -> list[Any]:
    """Read on to the end of the body, after the answer, so that the connection can be used again.

    The answer is whole by then. So a body that does not end soon, or not well, costs its connection only.
    """
    read: list[Any] = []
    try:
        async with asyncio.timeout(_END):
            while len(read) < _PARTS:
                read.append(await anext(parts))
    except StopAsyncIteration:
        return read
    except Exception as error:  # noqa: BLE001 - whatever it is, the answer is here
        logger.debug("the body of a whole answer did not end: %s", type(error).__name__)
    return read


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
