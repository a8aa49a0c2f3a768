"""The application: routes whose handlers answer Results, on FastAPI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, cast

from fastapi import APIRouter, FastAPI
from qicore.base import Failure, QiError, Result, Success
from qicore.web.answering import tell_problems
from qicore.web.build import Built, build
from qicore.web.config import WebConfig
from qicore.web.health import HealthCheck, health_routes
from qicore.web.levels import Declarations, Level
from qicore.web.routes import Routes
from starlette.datastructures import URLPath
from starlette.types import Receive, Scope, Send

__all__ = ["WebApp"]


class WebApp(Routes):
    """A web application: an ASGI application whose handlers answer Results.

    Args:
        config: its options; ValueError when they are wrong. `create` answers a Failure instead.
        lifespan: what is open while it runs: `lifespan(app)` gives an async context manager, entered before
            the first request, and left after the last one.

    A Success is sent as JSON, as the annotation says; a Failure as a problem (RFC 9457), with the status of
    its code or category. The FastAPI application beneath, `raw`, has all that is not here: WebSockets,
    webhooks, state. What is declared there works unchanged, with problems for its errors, too.

    >>> from qicore.base import QiError, Result, Success
    >>> app = WebApp()
    >>> @app.get("/halves/{number}")
    ... async def half(number: int) -> Result[int]:
    ...     if number % 2:
    ...         return Result.failure(QiError.validation("ODD_NUMBER", f"{number} is odd"))
    ...     return Success(number // 2)
    >>> sorted(app.openapi()["paths"]["/halves/{number}"]["get"]["responses"])
    ['200', '422', '500', 'default']
    """

    def __init__(
        self,
        config: WebConfig | None = None,
        *,
        lifespan: Callable[[WebApp], AbstractAsyncContextManager[Any]] | None = None,
    ) -> None:
        checked = _checked(config)
        if checked.error is not None:
            raise ValueError(checked.error.message)
        self.config: WebConfig = checked.unwrap()
        super().__init__(Level(), Declarations())
        self._built: Built | None = None
        self._raw = FastAPI(
            title=self.config.title,
            version=self.config.version,
            description=self.config.description,
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=self.config.redirect_slashes,
            lifespan=None if lifespan is None else (lambda _: lifespan(self)),
        )
        tell_problems(self._raw)
        self._raw.openapi = self.openapi  # type: ignore[method-assign]  # one document for both

    @classmethod
    def create(
        cls,
        config: WebConfig | None = None,
        *,
        lifespan: Callable[[WebApp], AbstractAsyncContextManager[Any]] | None = None,
    ) -> Result[WebApp]:
        """Return a new application, or INVALID_WEB_CONFIG [VALIDATION]."""
        return _checked(config).map(lambda checked: cls(checked, lifespan=lifespan))

    @property
    def raw(self) -> FastAPI:
        """The FastAPI application: for WebSockets, dependency overrides, state, and whatever else it has."""
        return self._raw

    def include_router(self, router: APIRouter, **options: Any) -> None:
        """Take over the routes of a FastAPI router, unchanged. The options are FastAPI's."""
        self._raw.include_router(router, **options)
        self._declarations.changed = True

    def health(
        self,
        checks: Mapping[str, HealthCheck] | None = None,
        *,
        prefix: str = "/health",
        timeout: float = 2.0,
        max_age: float = 1.0,
        draining: Callable[[], bool] = lambda: False,
    ) -> None:
        """Declare `/health/live`, which is 200 while the process answers, and `/health/ready`.

        That is 200 when every check answers a Success within `timeout` seconds, and 503 otherwise, or while
        `draining()` is true. What the checks said holds for `max_age` seconds. Their names are shown, and the
        codes of their errors.
        """
        for path, answer in health_routes(
            checks, prefix=prefix, timeout=timeout, max_age=max_age, draining=draining
        ):
            self.get(path, include_in_schema=False)(answer)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, version 3.1. It is made once, after the last declaration."""
        return self._up_to_date().document()

    def url_path_for(self, name: str, /, **parameters: Any) -> URLPath:
        """Return the path of the route with this name; `NoMatchFound` where there is none."""
        return self._up_to_date().url_path_for(name, **parameters)

    def check(self) -> Result[None]:
        """Build the application as its first request would, and tell what is wrong with its declarations.

        INVALID_ROUTE [CONFIGURATION] names the route: two handlers for one method and path, a parameter
        that FastAPI has no place for, a type that pydantic can't read.
        """
        try:
            self._up_to_date()
        except (ValueError, TypeError) as wrong:
            return Failure(QiError.configuration("INVALID_ROUTE", str(wrong)))
        return Success(None)

    def _up_to_date(self) -> Built:
        built = self._built
        if built is None or self._declarations.changed:
            built = self._built = build(self.config, self._raw, self._declarations, self._level)
            self._declarations.changed = False
        return built

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, as ASGI describes."""
        built = self._built
        if built is None or self._declarations.changed:
            if scope["type"] == "lifespan":
                await _start(self, scope, receive, send)
                return
            built = self._up_to_date()
        await built.app(scope, receive, send)


def _checked(config: WebConfig | None) -> Result[WebConfig]:
    given = cast("object", WebConfig() if config is None else config)
    if not isinstance(given, WebConfig):
        return Failure(QiError.validation("INVALID_WEB_CONFIG", "config must be a WebConfig"))
    return given.check()


async def _start(app: WebApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run the lifespan of an application that is not built yet; a wrong one does not start."""
    checked = app.check()
    if checked.error is None:
        await app(scope, receive, send)
        return
    await receive()
    await send({"type": "lifespan.startup.failed", "message": checked.error.message})
