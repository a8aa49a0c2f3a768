"""What was declared: routes and mounts, each at a level of nested groups."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias, TypedDict, cast

from fastapi import params
from qicore.base import ErrorCategory, QiError, Result
from qicore.web.handlers import Middleware
from qicore.web.matching import parameters_of
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

__all__ = ["Declarations", "Declared", "ErrorHandler", "GroupOptions", "Level", "Mounted", "RouteOptions"]

ErrorHandler: TypeAlias = Callable[
    [Request, QiError], "Response | Result[Response] | Awaitable[Response | Result[Response]]"
]
"""What answers a request that failed: a response, or a Failure with the error to tell instead."""


class GroupOptions(TypedDict, total=False):
    """Options for all routes of a group, as FastAPI has them."""

    tags: list[str | Enum]
    dependencies: Sequence[params.Depends]
    responses: dict[int | str, dict[str, Any]]
    deprecated: bool
    include_in_schema: bool


class RouteOptions(GroupOptions, total=False):
    """Options of a route: those of FastAPI's path operations, and `errors`.

    `errors` are the codes and categories that the handler fails with, for the OpenAPI document.
    """

    errors: Iterable[str | ErrorCategory]
    name: str
    status_code: int
    summary: str
    description: str
    response_description: str
    operation_id: str
    response_model: Any
    response_class: type[Response]
    response_model_include: Any
    response_model_exclude: Any
    response_model_by_alias: bool
    response_model_exclude_unset: bool
    response_model_exclude_defaults: bool
    response_model_exclude_none: bool
    openapi_extra: dict[str, Any]


class StaticOptions(TypedDict, total=False):
    """Options of `static`: those of `StaticDirectory`."""

    index: str | None
    cache_control: str | Callable[[str], str]
    precompressed: Sequence[str]
    follow_symlinks: bool
    hidden: bool
    media_types: Mapping[str, str]


@dataclass(slots=True)
class Level:
    """The application or a group, as far as the routes in it are concerned."""

    prefix: str = ""
    above: Level | None = None
    options: GroupOptions = field(default_factory=GroupOptions)
    middleware: list[Middleware] = field(default_factory=list[Middleware])
    asgi: list[ASGIMiddleware] = field(default_factory=list[ASGIMiddleware])
    resolvers: dict[str, Callable[..., Any]] = field(default_factory=dict[str, Callable[..., Any]])
    error_handlers: dict[ErrorCategory | str, ErrorHandler] = field(
        default_factory=dict["ErrorCategory | str", ErrorHandler]
    )

    def lineage(self) -> list[Level]:
        """Return this level and those around it, the outermost first."""
        return [self] if self.above is None else [*self.above.lineage(), self]

    def full_path(self, path: str) -> str:
        """Return a path with the prefixes before it; raise ValueError where it is none."""
        given = cast("object", path)
        if not isinstance(given, str) or (given and not given.startswith("/")):
            raise ValueError(f"a path begins with '/', not {path!r}")
        return self.prefix.rstrip("/") + path or "/"

    def all_middleware(self) -> list[Middleware]:
        """Return the functions over handlers of all levels, the outermost first."""
        return [item for level in self.lineage() for item in level.middleware]

    def resolvers_of(self, path: str) -> dict[str, Callable[..., Any]]:
        """Return the resolvers of the parameters in a path, the innermost where there are several."""
        found: dict[str, Callable[..., Any]] = {}
        for level in self.lineage():
            found.update(level.resolvers)
        return {name: found[name] for name in parameters_of(path) if name in found}

    def handler_of(self, error: QiError) -> ErrorHandler | None:
        """Return the nearest handler of an error: of its code, else of its category."""
        level: Level | None = self
        while level is not None:
            handlers = level.error_handlers
            if handlers:
                # A category is a str, too, but its name may be somebody's code: it is found by identity.
                found = handlers.get(f"code:{error.code}") or handlers.get(error.category)
                if found is not None:
                    return found
            level = level.above
        return None

    def merged(self, route: Mapping[str, Any]) -> dict[str, Any]:
        """Return a route's options over those of its levels; tags, dependencies and responses add up."""
        result: dict[str, Any] = {}
        layers: list[Mapping[str, Any]] = [*(level.options for level in self.lineage()), route]
        for options in layers:
            for key, value in options.items():
                if key in ("tags", "dependencies"):
                    result[key] = [*result.get(key, ()), *value]
                elif key == "responses":
                    result[key] = {**result.get(key, {}), **value}
                else:
                    result[key] = value
        return result


@dataclass(frozen=True, slots=True)
class Declared:
    """A route as it was declared."""

    methods: tuple[str, ...]
    path: str
    handler: Callable[..., Any]
    options: RouteOptions
    level: Level


@dataclass(frozen=True, slots=True)
class Mounted:
    """An ASGI application as it was mounted."""

    path: str
    app: ASGIApp
    level: Level


@dataclass(slots=True)
class Declarations:
    """All that an application and its groups declare, and whether there is news since it was built."""

    routes: list[Declared] = field(default_factory=list[Declared])
    mounts: list[Mounted] = field(default_factory=list[Mounted])
    changed: bool = True
