"""Making an application of what was declared: compiled handlers, the index of paths, the middleware."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic_core import to_json
from qicore.web.answering import answering, caught, guarded, handing_over, wrapped
from qicore.web.config import WebConfig
from qicore.web.dependencies import Dependencies, type_for_schema, with_resolvers
from qicore.web.dispatch import Dispatcher, Endpoint, refuse
from qicore.web.docs_page import docs_routes
from qicore.web.endpoints import adapted, fastapi_handler, is_direct, plain_handler, with_stack
from qicore.web.handlers import Handler, compose
from qicore.web.json_response import BODILESS, JSONBytes
from qicore.web.levels import Declarations, Declared, Level
from qicore.web.matching import Index
from qicore.web.openapi import document, problem_responses
from qicore.web.problems import Problems
from qicore.web.returns import is_stream
from starlette.datastructures import URLPath
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, NoMatchFound
from starlette.types import ASGIApp

__all__ = ["Built", "build"]


class Built:
    """An application as it runs, until something more is declared."""

    __slots__ = ("_document", "_raw", "_routes", "app")

    def __init__(self, raw: FastAPI, routes: Sequence[APIRoute]) -> None:
        self._raw = raw
        self._routes = routes
        self._document: tuple[int, dict[str, Any]] | None = None
        self.app: ASGIApp = raw
        """The whole, as an ASGI application."""

    def document(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        count = len(self._raw.routes)
        if self._document is None or self._document[0] != count:
            heads = [route for route in self._routes if "GET" in (route.methods or ())]
            self._document = count, document(self._raw, self._routes, heads)
        return self._document[1]

    def url_path_for(self, name: str, /, **parameters: Any) -> URLPath:
        """Return the path of the route with this name, ours or FastAPI's own."""
        for route in self._routes:
            try:
                return route.url_path_for(name, **parameters)
            except NoMatchFound:
                pass
        return self._raw.url_path_for(name, **parameters)


def build(config: WebConfig, raw: FastAPI, declarations: Declarations, root: Level) -> Built:
    """Return the application ready to run; raise ValueError or TypeError that names the route at fault."""
    problems = Problems(config)
    dependencies = Dependencies(lambda: raw.dependency_overrides)
    index: Index[Endpoint] = Index()
    routes: list[APIRoute] = []
    built = Built(raw, routes)
    for declared in [*declarations.routes, *_own(config, built, root)]:
        try:
            for method in declared.methods:
                endpoint = _compiled(declared, method, config, problems, dependencies)
                index.add(declared.path, method, endpoint)
                routes.append(endpoint.route)
        except (ValueError, TypeError, RuntimeError, AssertionError) as wrong:
            kind = TypeError if isinstance(wrong, TypeError) else ValueError
            raise kind(f"{'/'.join(declared.methods)} {declared.path}: {wrong}") from wrong
    mounts = [
        Mount(mounted.path, app=_answered(handing_over(mounted.app), mounted.level, problems))
        for mounted in declarations.mounts
    ]
    mounts.sort(key=lambda mount: -len(mount.path))
    app: ASGIApp = Dispatcher(
        raw,
        index,
        mounts,
        foreign=_answered(handing_over(raw), root, problems),
        refusing=_answered(refuse, root, problems),
        url_path_for=built.url_path_for,
        max_body_size=config.max_body_size,
        redirect_slashes=config.redirect_slashes,
    )
    if root.asgi:
        app = guarded(wrapped(app, root.asgi), problems)
    built.app = _introduced(app, problems)
    return built


def _introduced(app: ASGIApp, problems: Problems) -> ASGIApp:
    async def introduce(scope: Any, receive: Any, send: Any) -> None:
        scope["qicore.problems"] = problems
        await app(scope, receive, send)

    return introduce


def _answered(handler: Handler, level: Level, problems: Problems, *, stacked: bool = False) -> ASGIApp:
    """Return the ASGI application of a handler with the middleware of all its levels around it.

    The ASGI middleware of the application itself is not: it is around all of it.
    """
    layers = level.all_middleware()
    if layers:
        handler = compose(*layers)(caught(handler))
    app = answering(handler, level, problems)
    if stacked:
        app = with_stack(app)
    for below in reversed(level.lineage()[1:]):
        if below.asgi:
            app = guarded(wrapped(app, below.asgi), problems)
    return app


def _compiled(
    declared: Declared, method: str, config: WebConfig, problems: Problems, dependencies: Dependencies
) -> Endpoint:
    """Return what answers one method of a route; FastAPI analyses it, and documents it."""
    handler, level = declared.handler, declared.level
    options = level.merged(declared.options)
    errors = options.pop("errors", ())
    options["responses"] = {**problem_responses(errors, problems), **options.get("responses", {})}
    if "response_model" not in options and not is_stream(handler):
        bodiless = options.get("status_code") in BODILESS
        options["response_model"] = None if bodiless else type_for_schema(handler)
    endpoint = adapted(handler)
    resolvers = level.resolvers_of(declared.path)
    if resolvers:
        endpoint = _resolved(endpoint, handler, resolvers)
    route = APIRoute(
        declared.path,
        endpoint,
        methods=[method],
        dependency_overrides_provider=dependencies,
        **options,
    )
    dependencies.settle(route.dependant)
    direct = is_direct(route)
    make = functools.partial(plain_handler, handler) if direct else fastapi_handler
    app = _answered(make(route, strict=config.strict_bodies), level, problems, stacked=not direct)
    return Endpoint(app, route, handler)


def _resolved(
    endpoint: Callable[..., Any], handler: Callable[..., Any], resolvers: Mapping[str, Callable[..., Any]]
) -> Callable[..., Any]:
    """Return the endpoint with a signature in which the resolvers are dependencies."""
    signature = with_resolvers(handler, resolvers)
    unasked = [name for name in resolvers if name not in inspect.signature(handler).parameters]

    @functools.wraps(endpoint)
    async def asking(**values: Any) -> Any:
        for name in unasked:
            values.pop(name, None)
        return await endpoint(**values)

    asking.__signature__ = signature  # type: ignore[attr-defined]  # where inspect, and so FastAPI, looks
    return asking


def _own(config: WebConfig, built: Built, root: Level) -> list[Declared]:
    """Return the routes that the application adds itself."""
    if config.openapi_path is None:
        return []

    async def openapi(request: Request) -> Response:
        made = built.document()
        prefix = request.scope.get("root_path", "").rstrip("/")
        if prefix and not any(server.get("url") == prefix for server in made.get("servers", ())):
            made = {**made, "servers": [{"url": prefix}, *made.get("servers", ())]}
        return JSONBytes(to_json(made))

    own: list[tuple[str, Callable[..., Any]]] = [(config.openapi_path, openapi)]
    if config.docs_path is not None:
        own += docs_routes(config.docs_path, config.openapi_path, config.title)
    return [Declared(("GET",), path, handler, {"include_in_schema": False}, root) for path, handler in own]
