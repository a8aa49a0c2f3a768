"""What runs for a route: the handler itself where it is plain, else FastAPI's dependency machinery."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, cast

from fastapi.datastructures import DefaultPlaceholder
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from qicore.base import Failure, Result, Success
from qicore.web.arguments import Arguments, is_plain, names_of_parameters
from qicore.web.bodies import JSONBody, is_json_body, read_body, replayed
from qicore.web.errors import invalid_request
from qicore.web.handlers import Handler
from qicore.web.json_response import JSONBytes, serializer
from qicore.web.returns import UNKNOWN_TYPE, is_stream, value_of
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["adapted", "fastapi_handler", "is_direct", "plain_handler", "with_stack"]


def adapted(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return the handler as FastAPI calls it: it gives a Success's value, and raises a Failure's error."""
    if is_stream(handler):
        return handler
    if _is_async(handler):

        async def endpoint(*args: Any, **kwargs: Any) -> Any:
            return await _settled(await handler(*args, **kwargs))
    else:

        async def endpoint(*args: Any, **kwargs: Any) -> Any:
            return await _settled(await run_in_threadpool(handler, *args, **kwargs))

    return functools.wraps(handler)(endpoint)


async def _settled(outcome: Any) -> Any:
    # A Result may be awaited, too, but that would take a turn for nothing.
    if not isinstance(outcome, Result) and inspect.isawaitable(outcome):
        outcome = await outcome
    return value_of(outcome)


def _is_async(handler: Callable[..., Any]) -> bool:
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - an object with an async __call__
    )


def is_direct(route: APIRoute) -> bool:
    """Return whether a route's handler can be called with no help of FastAPI's."""
    info = None if route.body_field is None else route.body_field.field_info
    return (
        is_plain(route.dependant)
        and not is_stream(route.endpoint)
        and isinstance(route.response_class, DefaultPlaceholder)
        and (info is None or (is_json_body(info) and len(route.dependant.body_params) == 1))
        and not route._embed_body_fields  # pyright: ignore[reportPrivateUsage]  # FastAPI has no other name for it
        and route.response_model_by_alias
        and not (
            route.response_model_include
            or route.response_model_exclude
            or route.response_model_exclude_unset
            or route.response_model_exclude_defaults
            or route.response_model_exclude_none
        )
    )


def plain_handler(handler: Callable[..., Any], route: APIRoute, *, strict: bool) -> Handler:
    """Return the handler of a route that `is_direct`."""
    body = None
    if route.dependant.body_params:
        field = route.dependant.body_params[0]
        body = (field.name, JSONBody(field.field_info, strict=strict))
    arguments = Arguments(route.dependant, body)
    status = route.status_code or 200
    to_json = serializer(UNKNOWN_TYPE if route.response_model is None else route.response_model)
    take = None if arguments.is_empty else arguments.take
    call = handler if _is_async(handler) else functools.partial(run_in_threadpool, handler)

    async def handle(request: Request) -> Result[Response]:
        outcome = await (call() if take is None else call(**await take(request)))
        if type(outcome) is Success:
            value = outcome.data  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # any
        elif type(outcome) is Failure:
            return outcome
        elif isinstance(outcome, Awaitable):
            value = await _settled(outcome)
        else:
            value = outcome
        if isinstance(value, Response):
            return Success(value)
        return Success(JSONBytes(to_json(value), status))

    return handle


def fastapi_handler(route: APIRoute, *, strict: bool) -> Handler:
    """Return the handler of any other route: FastAPI's, after a look at a body of JSON."""
    inner = route.get_route_handler()
    known = names_of_parameters(route.dependant)
    body = None
    if strict and route.body_field is not None and is_json_body(route.body_field.field_info):
        body = JSONBody(route.body_field.field_info, strict=True)

    async def handle(request: Request) -> Result[Response]:
        if body is not None:
            sent = await read_body(request.receive)
            _, errors = body.parse(request.scope, sent)
            if errors:
                return Failure(invalid_request(errors, body.names))
            request = Request(request.scope, replayed(sent, request.receive))
        try:
            return Success(await _within_stacks(inner, request))
        except RequestValidationError as wrong:
            names = known if body is None else known | body.names
            return Failure(invalid_request(cast("Sequence[Mapping[str, Any]]", wrong.errors()), names))

    return handle


async def _within_stacks(inner: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    """Return FastAPI's response, with the stacks around it that close its dependencies.

    A dependency that yields is closed when the response was sent, one of scope "function" before it. Each
    sees the exception that ends the handler, a Failure's error among them, and may roll back.
    """
    scope = request.scope
    response: Response | None = None
    async with AsyncExitStack() as of_request:
        scope["fastapi_inner_astack"] = of_request
        async with AsyncExitStack() as of_function:
            scope["fastapi_function_astack"] = of_function
            response = await inner(request)
        scope["fastapi_middleware_astack"].push_async_exit(of_request.pop_all())
    # pyright does not see that a stack may swallow an exception.
    if response is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise RuntimeError("a dependency that yields swallowed an exception: it must raise it again")
    return response


def with_stack(app: ASGIApp) -> ASGIApp:
    """Return the ASGI application with the stack around it of what is closed when the response was sent."""

    async def run(scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            scope["fastapi_middleware_astack"] = stack
            await app(scope, receive, send)

    return run
