"""The gate before the application: it admits requests, lets some wait, and turns the others away."""

from __future__ import annotations

import asyncio
import json
import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from qicore.asgi.apps import ASGIApp

__all__ = ["BAD_HOST", "Gate"]

_DETAIL: Final = "The service takes no more requests just now. Try again later."


class Gate:
    """An ASGI application in front of another.

    Args:
        app: the application.
        concurrency: requests that run at once, or None for any number.
        queue: requests that wait past that; further ones are answered 503.
        retry_after: seconds that the 503 asks clients to wait.
        changed: called when `is_plain` may have changed.
    """

    __slots__ = (
        "_changed",
        "_concurrency",
        "_is_ending",
        "_is_open",
        "_queue",
        "_running",
        "_unavailable",
        "_waiting",
        "app",
        "is_plain",
        "rejected",
    )

    def __init__(
        self,
        app: ASGIApp,
        *,
        concurrency: int | None,
        queue: int,
        retry_after: float,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.app = app
        self._concurrency = concurrency
        self._queue = queue
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_open = True
        self._is_ending = False
        self._changed = changed
        self.is_plain = concurrency is None
        """Whether there is nothing to do but to pass requests on."""
        self._unavailable = _Refusal(503, "SERVICE_UNAVAILABLE", _DETAIL, retry_after=retry_after)
        self.rejected = 0
        """Requests that were turned away."""

    @property
    def is_open(self) -> bool:
        """Whether new requests are admitted."""
        return self._is_open

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._waiting)

    def open(self) -> None:
        """Admit new requests again."""
        self._is_open = True
        self._decide()

    def close(self) -> None:
        """Turn new requests away; those that were admitted go on, waiting ones too."""
        self._is_open = False
        self._decide()

    def say_goodbye(self) -> None:
        """Let each answer from now on be the last of its connection."""
        self._is_ending = True
        self._decide()

    def _decide(self) -> None:
        self.is_plain = self._concurrency is None and self._is_open and not self._is_ending
        self._changed()

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        """Return what answers the request: the application's own coroutine where nothing is to be done."""
        if self.is_plain:
            return self.app(scope, receive, send)
        return self._guarded(scope, receive, send)

    async def _guarded(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if self._is_ending:
            send = _saying_goodbye(send)
        if not self._is_open:
            await self._turn_away(scope, receive, send)
            return
        limit = self._concurrency
        # A WebSocket stays for hours: it takes no place among the requests.
        if limit is None or scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self._running >= limit or self._waiting:
            if len(self._waiting) >= self._queue:
                await self._turn_away(scope, receive, send)
                return
            await self._turn()
        else:
            self._running += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._leave()

    async def _turn(self) -> None:
        """Wait until a request that leaves hands its place over."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place was handed over in the same instant
                self._leave()
            else:
                self._waiting.remove(turn)
            raise

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1

    async def _turn_away(self, scope: Any, receive: Any, send: Any) -> None:
        self.rejected += 1
        await self._unavailable(scope, receive, send)


def _saying_goodbye(send: Any) -> Any:
    async def last(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return last


class _Refusal:
    """Answers requests in the place of the application: with a problem (RFC 9457)."""

    def __init__(self, status: int, code: str, detail: str, *, retry_after: float | None = None) -> None:
        title = code.replace("_", " ").title()
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail, "code": code}
        self._status = status
        self._body = json.dumps(problem).encode()
        self._headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(self._body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        if retry_after is not None:
            self._headers.append((b"retry-after", str(math.ceil(retry_after)).encode()))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = "http.response"
        if scope["type"] == "websocket":
            await receive()
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close", "code": 1013})
                return
            kind = "websocket.http.response"
        await send({"type": f"{kind}.start", "status": self._status, "headers": self._headers})
        await send({"type": f"{kind}.body", "body": self._body})


BAD_HOST: Final = _Refusal(400, "BAD_REQUEST", "A request must name its host, and only once.")
"""The application that answers requests whose Host can't be told (RFC 9112, section 3.2)."""
