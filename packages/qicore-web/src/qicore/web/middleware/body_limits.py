"""Limits on the size of request bodies.

Starlette's RequestBodyLimitMiddleware answers plain text, also in place of a problem that the application has
made already, so this does not stand on it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from qicore.base import QiError
from qicore.web.middleware.checks import check_count
from qicore.web.problems import problem_response
from qicore.web.statuses import error_of_status
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["body_limit"]

_TOO_LARGE: Final = 413
_MAX_DIGITS: Final = 19
_LINGER: Final = 1.0
"""Seconds for which a refused body is read on, and dropped."""
_LINGER_BYTES: Final = 16 * 1024 * 1024


def body_limit(max_bytes: int) -> ASGIMiddleware:
    """Refuse requests whose body has more bytes: CONTENT_TOO_LARGE, a 413.

    One that announces more is refused before any of it is read, and before anything inside runs. One that
    does not say how long it is (chunked, HTTP/2) is counted as it is read, and nothing is held back: handlers
    may stream it. The connection is closed soon after the answer, so that the rest is not sent for nothing.

    A `WebApp` has a limit already, `WebConfig.max_body_size`; this is for a smaller one on a group.

    >>> body_limit(1024)
    Middleware(_BodyLimit, max_bytes=1024)
    """
    return ASGIMiddleware(_BodyLimit, max_bytes=check_count("max_bytes", max_bytes, least=0))


class _BodyLimit:
    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._limit = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced: int | None = None
        chunked = False
        for name, value in scope["headers"]:
            if name == b"content-length":
                announced = max(announced or 0, _length(value))
            elif name == b"transfer-encoding":
                chunked = True
        if announced is not None and announced > self._limit:
            await self._refuse(scope, receive, send)
        elif announced is None and not chunked and scope.get("http_version", "1.1").startswith("1"):
            await self._app(scope, receive, send)  # HTTP/1 has no other way to send a body
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._limit
        held = 0
        started = refused = False

        async def count() -> Message:
            nonlocal held
            message = await receive() if held <= limit else None
            if message is not None and message["type"] == "http.request":
                held += len(message.get("body", b""))
            if message is None or held > limit:
                raise _TooLargeError(_TOO_LARGE, _told(limit))
            return message

        async def watch(message: Message) -> None:
            nonlocal started, refused
            if held > limit and not started:
                # Whatever the application makes of the exception, this is the answer.
                started = refused = True
                await self._refuse(scope, receive, send)
            started = True
            if not refused:
                await send(message)

        try:
            await self._app(scope, count, watch)
        except _TooLargeError:
            if started and not refused:
                raise  # half an answer is out: the server ends the connection, and the client sees it
            if not refused:
                await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = problem_response(scope, _error(self._limit))
        closing = scope.get("http_version", "1.1").startswith("1")
        if closing:
            response.raw_headers.append((b"connection", b"close"))
        status, headers = response.status_code, response.raw_headers
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(response.body), "more_body": closing})
        if closing:
            # Closing at once would reset the connection of a client that is still sending, and many then drop
            # the answer that has just come.
            await _drop_the_rest(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drop_the_rest(receive: Receive) -> None:
    """Read what still comes, for a while."""
    left = _LINGER_BYTES
    try:
        async with asyncio.timeout(_LINGER):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        pass


class _TooLargeError(HTTPException):
    """An HTTPException, since FastAPI makes any other a 400 where it reads bodies itself."""


def _told(limit: int) -> str:
    return f"the body is larger than {limit} bytes"


def _error(limit: int) -> QiError:
    return error_of_status(_TOO_LARGE, _told(limit)).with_context({"limit": limit})


def _length(value: bytes) -> int:
    """Return what a Content-Length says; what is no length is more than any limit."""
    return int(value) if value.isdigit() and len(value) <= _MAX_DIGITS else 10**_MAX_DIGITS
