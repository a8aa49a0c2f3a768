"""What an engine gives back: the head of a response, and its body as it arrives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

__all__ = ["AsyncBody", "Deadline", "RawHeaders", "Reply", "SyncBody", "SyncReply"]

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]


class AsyncBody(Protocol):
    """The bytes of a response as they come from the wire; closing is idempotent and frees the connection."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None:
        """Give up what is still to come."""
        ...


class SyncBody(Protocol):
    """The same, blocking."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None:
        """Give up what is still to come."""
        ...


@dataclass(slots=True)
class Reply:
    """The head of a response and its body, still encoded as the server sent it."""

    status: int
    headers: RawHeaders
    version: bytes
    reason: bytes
    body: AsyncBody


@dataclass(slots=True)
class SyncReply:
    """The same, blocking."""

    status: int
    headers: RawHeaders
    version: bytes
    reason: bytes
    body: SyncBody


@dataclass(slots=True)
class Deadline:
    """When a blocking exchange has to be over, on the monotonic clock; it may be lifted for the body."""

    at: float | None = None
