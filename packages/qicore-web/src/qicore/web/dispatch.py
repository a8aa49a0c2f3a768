"""From a request to what answers it: our routes, what is mounted, and FastAPI's own routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from qicore.base import Failure, Result
from qicore.web.bodies import limited
from qicore.web.errors import http_error
from qicore.web.matching import Index, Match
from starlette._utils import get_route_path
from starlette.datastructures import URL, URLPath
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Match as Fit
from starlette.routing import Mount
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Dispatcher", "Endpoint", "refuse"]

_BODILESS: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What answers a route."""

    app: ASGIApp
    route: APIRoute
    handler: Callable[..., Any]


async def refuse(request: Request) -> Result[Response]:
    """Answer a path with nothing at it, or a method that it does not have: NOT_FOUND, METHOD_NOT_ALLOWED."""
    methods: Sequence[str] | None = request.scope.get("qicore.allowed")
    if methods is None:
        return Failure(http_error(HTTPException(404, "there is nothing at this path")))
    allowed = ", ".join(methods)
    return Failure(http_error(HTTPException(405, f"this path answers {allowed}", {"Allow": allowed})))


class Dispatcher:
    """The ASGI application that finds what answers a request."""

    def __init__(
        self,
        raw: FastAPI,
        index: Index[Endpoint],
        mounts: Sequence[Mount],
        *,
        foreign: ASGIApp,
        refusing: ASGIApp,
        url_path_for: Callable[..., URLPath],
        max_body_size: int | None,
        redirect_slashes: bool,
    ) -> None:
        self._raw = raw
        self._index = index
        self._mounts = mounts
        self._foreign = foreign
        self._refusing = refusing
        self._limit = max_body_size
        self._redirect = redirect_slashes
        self.url_path_for = url_path_for
        """The path of a named route, for `request.url_for`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        if scope["type"] != "http":
            await self._not_http(scope, receive, send)
            return
        path = get_route_path(scope) if scope.get("root_path") else scope["path"]
        method = scope["method"]
        if self._limit is not None and method not in _BODILESS:
            receive = limited(scope, receive, self._limit)
        found = self._index.find(path)
        if found is None:
            await self._elsewhere(scope, receive, send, path)
            return
        match, values = found
        endpoint = match.methods.get(method)
        if endpoint is None and method == "HEAD":
            endpoint = match.methods.get("GET")
        if endpoint is None:
            await self._other_method(scope, receive, send, match)
            return
        above = scope.get("path_params")
        scope["path_params"] = {**above, **values} if above else values
        scope["app"] = self._raw
        scope["router"] = self
        scope["route"] = endpoint.route
        scope["endpoint"] = endpoint.handler
        await endpoint.app(scope, receive, send)

    async def _not_http(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and (mount := self._mount_of(scope)) is not None:
            await mount.app(scope, receive, send)
        else:
            await self._raw(scope, receive, send)

    def _mount_of(self, scope: Scope) -> Mount | None:
        """Return what is mounted at the request's path, and let the scope say so."""
        path = get_route_path(scope)
        for mount in self._mounts:
            if path == mount.path:  # Starlette's own would have a slash behind it
                root = scope.get("root_path", "")
                outer = scope.get("app_root_path", root)
                scope.update(root_path=root + path, app_root_path=outer, endpoint=mount.app)
                return mount
            fit, child = mount.matches(scope)
            if fit is Fit.FULL:
                scope.update(child)
                return mount
        return None

    async def _elsewhere(self, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        """Answer a path that is none of our routes'."""
        scope["app"] = self._raw
        mount = self._mount_of(scope)
        if mount is not None:
            await mount.app(scope, receive, send)
        elif self._has_foreign(scope):
            await self._foreign(scope, receive, send)
        elif self._redirect and path != "/" and self._is_there(path):
            turned = scope["path"].rstrip("/") if path.endswith("/") else scope["path"] + "/"
            response = RedirectResponse(str(URL(scope={**scope, "path": turned})))
            await response(scope, receive, send)
        elif self._raw.routes or self._serves_frontend():
            await self._foreign(scope, receive, send)
        else:
            await self._refusing(scope, receive, send)

    async def _other_method(self, scope: Scope, receive: Receive, send: Send, match: Match[Endpoint]) -> None:
        """Answer a method that our route does not have: FastAPI's own may have it."""
        if self._has_foreign(scope):
            await self._foreign(scope, receive, send)
            return
        methods = set(match.methods)
        if "GET" in methods:
            methods.add("HEAD")
        scope["app"] = self._raw
        scope["qicore.allowed"] = sorted(methods)
        await self._refusing(scope, receive, send)

    def _has_foreign(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Fit.FULL for route in self._raw.routes)

    def _serves_frontend(self) -> bool:
        # Files that FastAPI serves where no route is (`app.raw.frontend()`); it keeps them apart.
        return getattr(self._raw.router, "_frontend_routes", None) is not None

    def _is_there(self, path: str) -> bool:
        """Return whether something stands at the path with its last slash added or taken away."""
        turned = path.rstrip("/") if path.endswith("/") else path + "/"
        return self._index.find(turned) is not None
