"""The access log: one record for each request, made of fields."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import quote

from qicore.base import QiError
from qicore.web.correlation import correlation_id
from qicore.web.middleware.checks import check_texts
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["access_log"]

log: Final = logging.getLogger("qicore.web.access")
_MESSAGE: Final = "%s %s %d %.1f ms"
_LONGEST_PATH: Final = 1024
_CLIENT_LEFT: Final = 499  # nginx's status for a client that left before its answer began


def access_log(
    *,
    exclude: Iterable[str] = (),
    query: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> ASGIMiddleware:
    """Log every request when it is over, by the logger `qicore.web.access`.

    ERROR for statuses of 500 and above, WARNING for 400 and above, else INFO. The fields stand on the record,
    for writers of JSON: `method`, `path` (percent-encoded, cut at 1024 characters), `route` (as declared,
    where one answered), `status`, `duration` (seconds until the last byte was handed to the server), `bytes`
    (of the body), `client` (address), `request_id`, and `code` where the answer is a problem. What ends by an
    exception before its answer began has status 500, what was cancelled before that 499.

    Args:
        exclude: paths that are not logged; one that ends with `/` stands for all below it.
        query: log the query, too. It is left out by default, for queries carry tokens and names.
        clock: seconds, for durations.

    >>> access_log(exclude=["/health/"]).kwargs["exact"]
    frozenset()
    """
    paths = check_texts("exclude", exclude)
    wrong = [path for path in paths if not path.startswith("/")]
    if wrong:
        raise ValueError(f"exclude: a path begins with '/', not {wrong[0]!r}")
    return ASGIMiddleware(
        _AccessLog,
        exact=frozenset(path for path in paths if path == "/" or not path.endswith("/")),
        below=tuple(path for path in paths if path != "/" and path.endswith("/")),
        query=bool(query),
        clock=clock,
    )


class _AccessLog:
    def __init__(
        self,
        app: ASGIApp,
        *,
        exact: frozenset[str],
        below: tuple[str, ...],
        query: bool,
        clock: Callable[[], float],
    ) -> None:
        self._app = app
        self._exact = exact
        self._below = below
        self._query = query
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not log.isEnabledFor(logging.ERROR) or self._is_excluded(scope["path"]):
            await self._app(scope, receive, send)
            return
        status = sent = 0

        async def count(message: Message) -> None:
            nonlocal status, sent
            kind = message["type"]
            if kind == "http.response.body":
                sent += len(message.get("body", b""))
            elif kind == "http.response.start":
                status = message["status"]
            await send(message)

        method, path = scope["method"], scope["path"]  # a mount below may change what the scope says
        start = self._clock()
        try:
            await self._app(scope, receive, count)
        except asyncio.CancelledError:
            status = status or _CLIENT_LEFT
            raise
        finally:
            # Of an application that raises, or answers nothing, the server makes a 500.
            self._log(scope, method, path, status or 500, self._clock() - start, sent)

    def _is_excluded(self, path: str) -> bool:
        return path in self._exact or (bool(self._below) and path.startswith(self._below))

    def _log(self, scope: Scope, method: str, path: str, status: int, duration: float, sent: int) -> None:
        level = logging.ERROR if status >= 500 else logging.WARNING if status >= 400 else logging.INFO
        if not log.isEnabledFor(level):
            return
        shown = _shown(path)
        if self._query and scope.get("query_string"):
            shown = _cut(f"{shown}?{quote(scope['query_string'], safe=_IN_QUERIES)}")
        client = scope.get("client")
        fields: dict[str, Any] = {
            "method": method,
            "path": shown,
            "route": getattr(scope.get("route"), "path", None),
            "status": status,
            "duration": duration,
            "bytes": sent,
            "client": client[0] if client else None,
            "request_id": correlation_id(scope),
        }
        error = scope.get("qicore.error")
        if isinstance(error, QiError):
            fields["code"] = error.code
        # Not `log.log`: to find the line that calls it takes as long as the rest, and it is always this one.
        arguments = (method, shown, status, duration * 1000)
        record = log.makeRecord(log.name, level, __file__, 0, _MESSAGE, arguments, None, "_log", fields)
        log.handle(record)


_IN_PATHS: Final = "/:@!$&'()*+,;=~-._"
_IN_QUERIES: Final = _IN_PATHS + "?%"


def _shown(path: str) -> str:
    """Return the path in one line of ASCII: what was asked for may hold line breaks and terminal codes."""
    return _cut(quote(path[: _LONGEST_PATH + 1], safe=_IN_PATHS, errors="replace"))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_PATH else text[:_LONGEST_PATH] + "..."
