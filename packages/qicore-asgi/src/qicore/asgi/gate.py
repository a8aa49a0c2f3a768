"""The gate before the application: it admits requests, lets some wait, and turns the others away."""

from __future__ import annotations

import asyncio
import json
import math
from collections import deque
from typing import Any, Final

from qicore.asgi.apps import ASGIApp

__all__ = ["Gate"]

_DETAIL: Final = "The service takes no more requests just now. Try again later."


class Gate:
    """An ASGI application in front of another.

    Args:
        app: the application.
        concurrency: requests that run at once, or None for any number.
        queue: requests that wait past that; further ones are answered 503.
        retry_after: seconds that the 503 asks clients to wait.
    """

    __slots__ = (
        "_app",
        "_concurrency",
        "_is_open",
        "_queue",
        "_running",
        "_unavailable",
        "_waiting",
        "rejected",
    )

    def __init__(self, app: ASGIApp, *, concurrency: int | None, queue: int, retry_after: float) -> None:
        self._app = app
        self._concurrency = concurrency
        self._queue = queue
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_open = True
        self._unavailable = _Unavailable(retry_after)
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

    def close(self) -> None:
        """Turn new requests away; those that were admitted go on, waiting ones too."""
        self._is_open = False

    def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        """Return what answers the request: the application's own coroutine where nothing is to be done."""
        if self._concurrency is None and self._is_open:
            return self._app(scope, receive, send)
        return self._guarded(scope, receive, send)

    async def _guarded(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if not self._is_open:
            await self._turn_away(scope, receive, send)
            return
        limit = self._concurrency
        # A WebSocket stays for hours: it takes no place among the requests.
        if limit is None or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._running >= limit or self._waiting:
            if len(self._waiting) >= self._queue:
                await self._turn_away(scope, receive, send)
                return
            await self._turn()
        else:
            self._running += 1
        try:
            await self._app(scope, receive, send)
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


class _Unavailable:
    """Answers 503 with Retry-After, and a problem (RFC 9457)."""

    def __init__(self, retry_after: float) -> None:
        problem = {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": _DETAIL,
            "code": "SERVICE_UNAVAILABLE",
        }
        self._body = json.dumps(problem).encode()
        self._headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(self._body)).encode()),
            (b"retry-after", str(math.ceil(retry_after)).encode()),
            (b"cache-control", b"no-store"),
        ]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        kind = "http.response"
        if scope["type"] == "websocket":
            await receive()
            if "websocket.http.response" not in scope.get("extensions", {}):
                await send({"type": "websocket.close", "code": 1013})
                return
            kind = "websocket.http.response"
        await send({"type": f"{kind}.start", "status": 503, "headers": self._headers})
        await send({"type": f"{kind}.body", "body": self._body})
