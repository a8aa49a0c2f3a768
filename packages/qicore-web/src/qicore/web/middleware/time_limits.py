"""Time limits: a handler that takes too long is ended."""

from __future__ import annotations

from qicore.base import Result
from qicore.resilience import Timeout
from qicore.web.answering import caught
from qicore.web.handlers import Handler, Middleware
from qicore.web.middleware.checks import check_seconds
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["timeout"]


def timeout(seconds: float) -> Middleware:
    """End handlers that take longer than `seconds`: TIMEOUT_ERROR [TIMEOUT], which is a 504.

    The handler, its dependencies and the reading of its body are cancelled, and waited for until they have
    cleaned up. An answer that the handler gives nonetheless counts. A handler that is not async runs in a
    thread, which Python can't stop: the answer is the 504, and the thread goes on, unheard.

    The limit ends with the head of the answer: a body that is streamed (`StreamingResponse`, server-sent
    events, files) may take longer, and so may WebSockets and background tasks.

    >>> import asyncio
    >>> async def slow(request: Request) -> Result[Response]:
    ...     await asyncio.sleep(60)
    ...     return Result.success(Response())
    >>> asyncio.run(timeout(0.01)(slow)(Request({"type": "http"}))).error.code
    'TIMEOUT_ERROR'
    """
    limit = Timeout(check_seconds("seconds", seconds))

    def around(handler: Handler) -> Handler:
        # What middleware between here and the handler raises keeps its status.
        inner = caught(handler)

        async def handle(request: Request) -> Result[Response]:
            async def call() -> Result[Response]:
                return await inner(request)

            return await limit.call(call)

        return handle

    return around
