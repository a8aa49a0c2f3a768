"""A stream of server-sent events that goes on where it broke off.

The rules of a subscription are one object without I/O, `Subscription`; `EventStream` does what it says.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TypeAlias

import httpx
from qicore.base import Failure, QiError, Result, Success
from qicore.http.sse import EventParser, ServerSentEvent, TooLongError
from qicore.http.stream import HTTPStream
from qicore.http.sync_stream import SyncHTTPStream
from qicore.http.urls import show_url
from qicore.resilience import is_transient

__all__ = ["EventOptions", "EventStream", "Subscription", "SyncEventStream", "event_options_for"]

_Connect: TypeAlias = Callable[[dict[str, str]], AbstractAsyncContextManager[Result[HTTPStream]]]
_SyncConnect: TypeAlias = Callable[[dict[str, str]], AbstractContextManager[Result[SyncHTTPStream]]]

_MEDIA_TYPE: Final = "text/event-stream"


@dataclass(frozen=True, kw_only=True, slots=True)
class EventOptions:
    """How a stream of events is kept up.

    Attributes:
        last_event_id: id of the last event that was seen before, to go on behind it.
        reconnects: how often in a row to connect anew while nothing at all arrives; 0 for never.
        wait: seconds before a reconnection until the server says another time; doubled for each in a row.
        wait_max: the most seconds of it, whatever the server says.
        max_event_size: bytes that an event may have: RESPONSE_TOO_LARGE.
    """

    last_event_id: str = ""
    reconnects: int = 5
    wait: float = 1.0
    wait_max: float = 60.0
    max_event_size: int = 1_048_576


def event_options_for(method: str, given: EventOptions | None) -> EventOptions:
    """Return the options: what may change something is not sent again unless the caller says so."""
    return given or (EventOptions() if method.upper() == "GET" else EventOptions(reconnects=0))


class Subscription:
    """Where a stream of events is, and what follows: pure but for the dice that spread reconnections."""

    def __init__(self, options: EventOptions, dice: Callable[[], float] = random.random) -> None:
        self._options = options
        self._dice = dice
        self._last_id = options.last_event_id
        self._wait = options.wait
        self._failures = 0
        self._parser = self._new_parser()

    def _new_parser(self) -> EventParser:
        return EventParser(max_size=self._options.max_event_size, last_id=self._last_id)

    def headers(self) -> dict[str, str]:
        """Return what a request for the stream says, and begin to read a new response."""
        self._parser = self._new_parser()
        headers = {"Accept": _MEDIA_TYPE, "Cache-Control": "no-store"}
        return {**headers, "Last-Event-ID": self._last_id} if self._last_id else headers

    def refuse(self, response: httpx.Response) -> QiError | None:
        """Return why this response is no stream of events, or None when it is one."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == _MEDIA_TYPE:
            return None
        shown = show_url(response.request.url)
        return QiError.validation(
            "PARSE_ERROR", f"{shown}: no stream of events but {kind or 'something untold'}", url=shown
        )

    def feed(self, chunk: bytes) -> Iterator[Result[ServerSentEvent]]:
        """Yield the events that this piece completes; a Failure is the last item."""
        self._failures = 0
        try:
            events: Iterable[ServerSentEvent] = self._parser.feed(chunk)
        except TooLongError as error:
            limit = self._options.max_event_size
            yield Failure(QiError.network("RESPONSE_TOO_LARGE", str(error), limit=limit))
            return
        if self._parser.retry is not None:
            self._wait = self._parser.retry
        for event in events:
            self._last_id = event.id
            yield Success(event)
        self._last_id = self._parser.last_id

    def wait(self, error: QiError | None) -> float | None:
        """Return the seconds until the next connection, None for no other; `error` ended the last one."""
        if self._failures >= self._options.reconnects or (error is not None and not is_transient(error)):
            return None
        self._failures += 1
        seconds = self._wait * 2 ** (self._failures - 1)
        told: object = None if error is None else error.context.get("retry_after")
        if isinstance(told, int | float):
            seconds = max(seconds, told)
        # Up to a quarter more, lest all clients of a server come back at the same moment.
        spread: float = seconds * (1 + self._dice() / 4)
        return min(spread, self._options.wait_max)


class EventStream:
    """The events of a stream, as an async iterator of Results; a Failure is its last item.

    Use it in an `async with`, which ends the connection however the block is left.
    """

    def __init__(self, connect: _Connect, options: EventOptions) -> None:
        self._events = _events(connect, Subscription(options))

    def __aiter__(self) -> AsyncIterator[Result[ServerSentEvent]]:
        return self

    async def __anext__(self) -> Result[ServerSentEvent]:
        return await anext(self._events)

    async def close(self) -> Result[None]:
        """End the stream and its connection; idempotent."""
        await self._events.aclose()
        return Success(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _events(
    connect: _Connect, subscription: Subscription
) -> AsyncGenerator[Result[ServerSentEvent], None]:
    while True:
        error: QiError | None = None
        async with connect(subscription.headers()) as opened:
            stream = opened.data
            if stream is None:
                error = opened.error
            elif stream.status_code == 204:
                return  # the server's way to say that there is no more, and nobody should come back
            else:
                refused = subscription.refuse(stream.response)
                if refused is not None:
                    yield Failure(refused)
                    return
                async for piece in stream:
                    if piece.data is None:
                        error = piece.error
                        break
                    for event in subscription.feed(piece.data):
                        yield event
                        if event.is_failure:
                            return
        seconds = subscription.wait(error)
        if seconds is None:
            if error is not None:
                yield Failure(error)
            return
        await asyncio.sleep(seconds)


class SyncEventStream:
    """The same, blocking: an iterator of Results, to be used in a `with`."""

    def __init__(self, connect: _SyncConnect, options: EventOptions) -> None:
        self._events = _sync_events(connect, Subscription(options))

    def __iter__(self) -> Iterator[Result[ServerSentEvent]]:
        return self

    def __next__(self) -> Result[ServerSentEvent]:
        return next(self._events)

    def close(self) -> Result[None]:
        """End the stream and its connection; idempotent."""
        self._events.close()
        return Success(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sync_events(
    connect: _SyncConnect, subscription: Subscription
) -> Generator[Result[ServerSentEvent], None, None]:
    while True:
        error: QiError | None = None
        with connect(subscription.headers()) as opened:
            stream = opened.data
            if stream is None:
                error = opened.error
            elif stream.status_code == 204:
                return
            else:
                refused = subscription.refuse(stream.response)
                if refused is not None:
                    yield Failure(refused)
                    return
                for piece in stream:
                    if piece.data is None:
                        error = piece.error
                        break
                    for event in subscription.feed(piece.data):
                        yield event
                        if event.is_failure:
                            return
        seconds = subscription.wait(error)
        if seconds is None:
            if error is not None:
                yield Failure(error)
            return
        time.sleep(seconds)
