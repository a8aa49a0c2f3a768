"""From a Result to what is sent, and the boundaries at which exceptions become Failures."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from typing import Final, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from qicore.base import Failure, QiError, Result, Success
from qicore.web.correlation import correlation_id
from qicore.web.errors import translate
from qicore.web.handlers import Handler
from qicore.web.levels import Level
from qicore.web.problems import Problems, problem_response
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["answering", "caught", "failure_of", "guarded", "handing_over", "tell_problems", "wrapped"]

log: Final = logging.getLogger("qicore.web")
_SERVER_ERRORS: Final = 500
_INTERNAL: Final = "INTERNAL_ERROR"


def caught(handler: Handler) -> Handler:
    """Return the handler with its exceptions as Failures, so that middleware sees one shape of failing."""

    async def handle(request: Request) -> Result[Response]:
        try:
            return await handler(request)
        except Exception as exception:  # noqa: BLE001 - this is the boundary
            return failure_of(request.scope, exception)

    return handle


def failure_of(scope: Scope, exception: Exception) -> Failure:
    """Return the Failure for an exception; one that nobody foresaw is logged, and INTERNAL_ERROR."""
    error = translate(exception)
    if error is None:
        log.error(
            "%s %s: %s",
            scope.get("method"),
            _route_of(scope),
            type(exception).__name__,
            exc_info=exception,
            extra={"request_id": correlation_id(scope)},
        )
        error = QiError.unknown(_INTERNAL, "an unforeseen exception ended the request")
        error.__cause__ = exception
    return Failure(error)


def _route_of(scope: Scope) -> str:
    """Return the path as it was declared: the one that was asked for may hold what must not be logged."""
    return getattr(scope.get("route"), "path", None) or "(no route)"


def answering(handler: Handler, level: Level, problems: Problems) -> ASGIApp:
    """Return the ASGI application that sends what the handler answers: a response, or a problem."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            result = await handler(request)
        except Exception as exception:  # noqa: BLE001 - this is the boundary
            result = failure_of(scope, exception)
        response: object = (
            result.data if isinstance(result, Success) else await _told(request, result, level, problems)
        )
        if not isinstance(response, Response):
            wrong = TypeError(f"middleware answered {type(response).__name__}, not a Result of a response")
            response = problems.response(scope, failure_of(scope, wrong).error)
        await response(scope, receive, send)

    return answer


async def _told(request: Request, result: Result[Response], level: Level, problems: Problems) -> object:
    """Return the response for a Failure: that of the error handler nearest to the route, or a problem."""
    if not isinstance(result, Failure):
        return result
    error = result.error
    request.scope["qicore.error"] = error
    handler = level.handler_of(error)
    if handler is not None:
        try:
            answer: object = handler(request, error)
            if not isinstance(answer, Result) and inspect.isawaitable(answer):
                answer = await answer
            if isinstance(answer, Response):
                return answer
            if isinstance(answer, Success):
                return cast("Success[object]", answer).data
            if not isinstance(answer, Failure):
                raise TypeError("an error handler answered neither a response nor a Failure")
            error = answer.error
        except Exception as exception:  # noqa: BLE001 - this is the boundary
            error = failure_of(request.scope, exception).error
    if problems.status_of(error) >= _SERVER_ERRORS and error.code != _INTERNAL:
        log.error(
            "%s %s: %s",
            request.method,
            _route_of(request.scope),
            error,
            extra={"request_id": correlation_id(request.scope), "error": error.to_structured_data()},
        )
    return problems.response(request.scope, error)


class _HandedOver(Response):
    """A response that another ASGI application will give; headers set on it are added to those."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.status_code = 200
        self.background = None
        self.body = b""
        self.raw_headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        added = self.raw_headers

        async def adding(message: Message) -> None:
            if added and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        await self._app(scope, receive, adding)


def handing_over(app: ASGIApp) -> Handler:
    """Return the handler that lets another ASGI application answer, once all middleware has let it pass."""

    async def handle(_: Request) -> Result[Response]:
        return Success(_HandedOver(app))

    return handle


def wrapped(app: ASGIApp, middleware: Sequence[ASGIMiddleware]) -> ASGIApp:
    """Return the ASGI application with pure ASGI middleware around it, the first outermost."""
    for factory, args, options in reversed(middleware):
        app = factory(app, *args, **options)
    return app


def guarded(app: ASGIApp, problems: Problems) -> ASGIApp:
    """Return the ASGI application with the last boundary around it: for what ASGI middleware raises."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await app(scope, receive, watched)
        except Exception as exception:
            if (
                started
            ):  # the answer can't be taken back: the server ends the connection, and the client sees it
                raise
            error = failure_of(scope, exception).error
            await problems.response(scope, error)(scope, receive, send)

    return guard


def tell_problems(raw: FastAPI) -> None:
    """Let the FastAPI application tell its errors as problems, where it gets no other handler for them."""

    async def tell(request: Request, exception: Exception) -> Response:
        return problem_response(request.scope, failure_of(request.scope, exception).error)

    for kind in (HTTPException, RequestValidationError, QiError, Exception):
        raw.add_exception_handler(kind, tell)
