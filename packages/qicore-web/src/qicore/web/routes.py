"""Declaring routes: the application and its groups share this face."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar, Unpack, cast, overload

from qicore.base import ErrorCategory, Result
from qicore.web.handlers import Middleware
from qicore.web.levels import (
    Declarations,
    Declared,
    ErrorHandler,
    GroupOptions,
    Level,
    Mounted,
    RouteOptions,
    StaticOptions,
)
from qicore.web.static import StaticDirectory
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.types import ASGIApp

__all__ = ["Group", "Resolver", "Routes"]

H = TypeVar("H", bound=Callable[..., Any])

Resolver: TypeAlias = Callable[..., "Result[Any] | Awaitable[Result[Any]]"]
"""What makes the value of a path parameter: of its text, or of the type that its first parameter has."""

METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"))


class Routes:
    """What the application and its groups have in common: routes, middleware, resolvers, error handlers."""

    def __init__(self, level: Level, declarations: Declarations) -> None:
        self._level = level
        self._declarations = declarations

    @property
    def prefix(self) -> str:
        """What the path of each route here begins with."""
        return self._level.prefix

    @overload
    def route(
        self, method: str | Sequence[str], path: str, /, **options: Unpack[RouteOptions]
    ) -> Callable[[H], H]: ...
    @overload
    def route(
        self, method: str | Sequence[str], path: str, handler: H, /, **options: Unpack[RouteOptions]
    ) -> H: ...
    def route(
        self,
        method: str | Sequence[str],
        path: str,
        handler: H | None = None,
        /,
        **options: Unpack[RouteOptions],
    ) -> Callable[[H], H] | H:
        """Declare what answers a method at a path; with no handler it is a decorator.

        The handler answers `Result[T]`, `T`, or an awaitable of either. Its parameters, dependencies and
        annotations mean what they mean to FastAPI. A GET answers HEAD, too. Raises ValueError for a method or
        path that is none, and for a second handler of one method and path when the application starts.
        """
        methods = (method,) if isinstance(method, str) else tuple(method)
        wrong = [name for name in cast("tuple[object, ...]", methods) if not _is_method(name)]
        if wrong or not methods:
            raise ValueError(f"methods are {', '.join(sorted(METHODS))}, not {method!r}")
        full = self._level.full_path(path)
        upper = tuple(name.upper() for name in methods)

        def declare(function: H) -> H:
            if not callable(function):
                raise TypeError(f"the handler of {full} must be a function, not {type(function).__name__}")
            self._declarations.routes.append(Declared(upper, full, function, options, self._level))
            self._declarations.changed = True
            return function

        return declare if handler is None else declare(handler)

    def get(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Declare what answers GET (and HEAD) at a path."""
        return self.route("GET", path, **options)

    def post(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Declare what answers POST at a path."""
        return self.route("POST", path, **options)

    def put(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Declare what answers PUT at a path."""
        return self.route("PUT", path, **options)

    def patch(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Declare what answers PATCH at a path."""
        return self.route("PATCH", path, **options)

    def delete(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Declare what answers DELETE at a path."""
        return self.route("DELETE", path, **options)

    def group(
        self, prefix: str, *middleware: Middleware | ASGIMiddleware, **options: Unpack[GroupOptions]
    ) -> Group:
        """Return a group of routes below a prefix, with its own middleware. Groups nest."""
        level = Level(self._level.full_path(prefix), self._level, options)
        group = Group(level, self._declarations)
        group.use(*middleware)
        return group

    def use(self, *middleware: Middleware | ASGIMiddleware) -> None:
        """Put middleware around every route here, also those declared before; the first is the outermost.

        A function over handlers, or Starlette's `Middleware(cls, ...)` for a pure ASGI one. The ASGI ones lie
        around the others, since they see what is sent, when every Result has become a response.
        """
        for item in middleware:
            if isinstance(item, ASGIMiddleware):
                self._level.asgi.append(item)
            elif _is_function(item):
                self._level.middleware.append(item)
            else:
                raise TypeError(
                    "middleware is a function over handlers, or starlette.middleware.Middleware(cls, ...),"
                    f" not {item!r}"
                )
        self._declarations.changed = True

    def param(self, name: str, resolver: Resolver) -> None:
        """Let `resolver(raw)` make the value of the parameter `{name}` of every path here.

        It answers a Result, or an awaitable of one: the value goes to the handler, a Failure is the response.
        Its first parameter gets the text from the path, converted to its annotation; the others are
        dependencies, as in any handler.
        """
        if not name.isidentifier():
            raise ValueError(f"a parameter's name is an identifier, not {name!r}")
        if not callable(resolver):
            raise TypeError(f"a resolver is a function, not {type(resolver).__name__}")
        self._level.resolvers[name] = resolver
        self._declarations.changed = True

    @overload
    def error_handler(self, category_or_code: ErrorCategory | str, /) -> Callable[[H], H]: ...
    @overload
    def error_handler(self, category_or_code: ErrorCategory | str, handler: H, /) -> H: ...
    def error_handler(
        self, category_or_code: ErrorCategory | str, handler: H | None = None, /
    ) -> Callable[[H], H] | H:
        """Let `handler(request, error)` answer failures of a category or code; without it, a decorator.

        A code's handler goes before its category's, and a group's before those around it. The handler answers
        a response, or a Failure with the error to tell as a problem.
        """
        given = cast("object", category_or_code)
        if not isinstance(given, str) or not given:
            raise ValueError(f"errors are handled by category or code, not by {category_or_code!r}")
        is_category = isinstance(category_or_code, ErrorCategory)
        slot = category_or_code if is_category else f"code:{category_or_code}"

        def declare(function: H) -> H:
            if not callable(function):
                raise TypeError(f"an error handler is a function, not {type(function).__name__}")
            self._level.error_handlers[slot] = cast("ErrorHandler", function)
            self._declarations.changed = True
            return function

        return declare if handler is None else declare(handler)

    def mount(self, path: str, app: ASGIApp) -> None:
        """Hand everything below a path to another ASGI application.

        Middleware is around it; a function over handlers sees its answer before it is sent, without its body.
        """
        if not callable(app):
            raise TypeError(f"an ASGI application is callable; {type(app).__name__} is not")
        self._declarations.mounts.append(Mounted(self._level.full_path(path).rstrip("/"), app, self._level))
        self._declarations.changed = True

    def static(
        self, path: str, directory: str | os.PathLike[str], /, **options: Unpack[StaticOptions]
    ) -> None:
        """Serve the files of a directory below a path, and nothing outside it; see `StaticDirectory`."""
        self.mount(path, StaticDirectory(directory, **options))


def _is_function(item: object) -> bool:
    return callable(item) and not isinstance(item, type)


def _is_method(name: object) -> bool:
    return isinstance(name, str) and name.upper() in METHODS


class Group(Routes):
    """Routes below a common prefix, with their own middleware, resolvers and error handlers.

    `app.group("/admin")` makes one.
    """
