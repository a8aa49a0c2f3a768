"""Request ids: one name for a request in its answer, in its log records, and in those of other services."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Final, Protocol, cast

from qicore.web.middleware.checks import header_name
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["RequestIdFilter", "current_request_id", "request_id"]

# structlog's `merge_contextvars` takes every variable whose name begins like this: so its log lines have the
# field `request_id`, and neither side imports the other.
_CURRENT: Final[ContextVar[str | None]] = ContextVar("structlog_request_id", default=None)
_VALID: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._~=+/-]{0,127}")
_KEY: Final = "qicore.request_id"


class Bind(Protocol):
    """Puts fields on log lines until its context is left."""

    def __call__(self, *, request_id: str) -> AbstractContextManager[object]:
        """Return the context."""
        ...


def request_id(
    *,
    header: str = "X-Request-ID",
    trust: bool = False,
    generate: Callable[[], str] | None = None,
    bind: Bind | None = None,
) -> ASGIMiddleware:
    """Give every request an id, tell it in the answer, and let log records show it.

    Every answer carries it, problems and 500s too. `current_request_id` reads it while the request runs, in
    threads of handlers too; `RequestIdFilter` puts it on log records, and structlog's `merge_contextvars`
    finds it by itself. It should be the outermost middleware.

    Args:
        header: the field that carries it, in requests and answers.
        trust: take the id that the request brings. Only behind a proxy that sets the field: a client could
            otherwise give its requests the ids of others. It is taken when it comes once, with at most 128
            letters, digits and `._~=+/-`; otherwise a new one is made.
        generate: what makes a new id: 32 hexadecimal digits, where nothing is said.
        bind: what puts fields on log lines for the time of a request, such as `bound_contextvars` of
            qicore.logging. It is called as `bind(request_id=...)`, and gives a context manager.

    >>> request_id(trust=True)
    Middleware(_RequestId, header=b'x-request-id', trust=True, generate=None, bind=None)
    """
    for name, function in (("generate", generate), ("bind", bind)):
        if function is not None and not callable(cast("object", function)):
            raise ValueError(f"{name} must be a function")
    return ASGIMiddleware(
        _RequestId, header=header_name("header", header), trust=bool(trust), generate=generate, bind=bind
    )


def current_request_id() -> str | None:
    """Return the id of the request that is being answered here, or None outside of one.

    >>> current_request_id() is None
    True
    """
    return _CURRENT.get()


class RequestIdFilter(logging.Filter):
    """Puts `request_id` on every log record, for formatters and JSON writers; "-" outside of a request.

    It belongs on a handler: filters of a logger do not see the records of the loggers below it.

    >>> handler = logging.StreamHandler()
    >>> handler.addFilter(RequestIdFilter())
    >>> handler.setFormatter(logging.Formatter("%(request_id)s %(name)s %(message)s"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Put the id on the record, where it has none yet."""
        if not hasattr(record, "request_id"):
            record.request_id = _CURRENT.get() or "-"
        return True


def _new_id() -> str:
    """Return a random UUID (RFC 9562, version 4) as `uuid4().hex`, in a third of the time.

    >>> from uuid import UUID
    >>> UUID(_new_id()).version
    4
    """
    digits = os.urandom(16).hex()
    return f"{digits[:12]}4{digits[13:16]}a{digits[17:]}"


class _RequestId:
    def __init__(
        self,
        app: ASGIApp,
        *,
        header: bytes,
        trust: bool,
        generate: Callable[[], str] | None,
        bind: Bind | None,
    ) -> None:
        self._app = app
        self._header = header
        self._trust = trust
        self._generate = generate
        self._bind = bind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind != "http" and kind != "websocket":
            await self._app(scope, receive, send)
            return
        # Around this there may be another one, of an application in which this one is mounted.
        found = scope.get(_KEY) or (self._brought(scope) if self._trust else None) or self._made()
        scope[_KEY] = found
        if kind == "http":
            send = self._telling(found, send)
        token = _CURRENT.set(found)
        try:
            if self._bind is None:
                await self._app(scope, receive, send)
            else:
                with self._bind(request_id=found):
                    await self._app(scope, receive, send)
        finally:
            _CURRENT.reset(token)

    def _made(self) -> str:
        if self._generate is None:
            return _new_id()
        made = self._generate()
        if not _VALID.fullmatch(made.encode("utf-8", "replace")):
            raise ValueError("generate must make ids of letters, digits and ._~=+/-, at most 128 of them")
        return made

    def _brought(self, scope: Scope) -> str | None:
        """Return the id of the request, unless it is missing, not valid, or there twice."""
        found: bytes | None = None
        for name, value in scope["headers"]:
            if name == self._header:
                if found is not None:
                    return None
                found = value
        return found.decode("ascii") if found is not None and _VALID.fullmatch(found) else None

    def _telling(self, found: str, send: Send) -> Send:
        header = self._header
        field = (header, found.encode("ascii"))

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[Any] = [pair for pair in message.get("headers", ()) if pair[0] != header]
                headers.append(field)
                message = {**message, "headers": headers}
            await send(message)

        return tell
