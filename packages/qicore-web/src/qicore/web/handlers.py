"""Handlers of requests that answer Results, and the functions over them: middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from qicore.base import Result
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["Handler", "Middleware", "compose"]

Handler: TypeAlias = Callable[[Request], Awaitable[Result[Response]]]
"""What answers a request: a response, or the error that says why there is none."""

Middleware: TypeAlias = Callable[[Handler], Handler]
"""A function that puts something around a handler. It runs once for each route, before the first request."""


def compose(*middleware: Middleware) -> Middleware:
    """Return one middleware that is all of these around each other, the first outermost.

    It is associative, and `compose()` changes nothing: middleware under composition is a monoid.

    >>> import asyncio
    >>> from qicore.base import Result, Success
    >>> def tag(name: str) -> Middleware:
    ...     def around(inner: Handler) -> Handler:
    ...         async def handle(request: Request) -> Result[Response]:
    ...             result = await inner(request)
    ...             return result.tap(lambda response: response.headers.append("x-passed", name))
    ...         return handle
    ...     return around
    >>> async def hello(request: Request) -> Result[Response]:
    ...     return Success(Response("hello"))
    >>> handler = compose(tag("outer"), tag("inner"))(hello)
    >>> asyncio.run(handler(Request({"type": "http"}))).unwrap().headers.getlist("x-passed")
    ['inner', 'outer']
    """

    def around(handler: Handler) -> Handler:
        for layer in reversed(middleware):
            handler = layer(handler)
        return handler

    return around
