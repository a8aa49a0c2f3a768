"""What each middleware of qicore-web adds to a request, beside Starlette's own where it has one.

No server and no socket: the application is called as a server calls it, so that the microseconds of the
middleware are not lost in those of the network. The reference of each comparison is the application alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from harness import Suite
from qicore.base import Result, Success
from qicore.cache import Cache
from qicore.web import WebApp
from qicore.web.handlers import Handler
from qicore.web.middleware import (
    access_log,
    body_limit,
    compression,
    cors,
    rate_limit,
    request_id,
    response_cache,
    security_headers,
    timeout,
    trusted_hosts,
)
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response

BODY = b'{"message":"hello"}'
LONG = b'{"name":"Ada","born":1815},' * 200
ORIGIN = "https://app.example.org"
HEADERS = [
    (b"host", b"api.example.org"),
    (b"user-agent", b"bench/1.0"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"origin", ORIGIN.encode()),
]
ASGI = Callable[[Any, Any, Any], Awaitable[None]]


async def receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def chunk() -> Any:
    return {"type": "http.request", "body": b"x" * 1000, "more_body": False}


async def send(message: Any) -> None: ...


def answer(body: bytes) -> ASGI:
    """An application as small as one can be."""
    fields = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await receive()
        await send({"type": "http.response.start", "status": 200, "headers": list(fields)})
        await send({"type": "http.response.body", "body": body})

    return app


def called(app: ASGI, method: str = "GET", receive: Any = receive) -> Callable[[], Awaitable[None]]:
    headers = [*HEADERS, (b"transfer-encoding", b"chunked")] if method == "POST" else HEADERS

    async def call() -> None:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": "/users/7",
            "raw_path": b"/users/7",
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": ("192.0.2.7", 5000),
        }
        await app(scope, receive, send)

    return call


def around(app: ASGI, *middleware: Any) -> ASGI:
    for factory, args, options in reversed(middleware):
        app = factory(app, *args, **options)
    return app


async def adding(request: Request, call_next: Any) -> Response:
    """Security headers as they are often written."""
    response: Response = await call_next(request)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    return response


async def compare_asgi(suite: Suite) -> None:
    small, long = answer(BODY), answer(LONG)
    alone = {"bare app": called(small)}
    await suite.compare_async("request_id", {**alone, "qicore": called(around(small, request_id()))})
    log = logging.getLogger("qicore.web.access")
    log.propagate = False
    log.addHandler(logging.NullHandler())
    log.setLevel(logging.INFO)
    contenders = {"qicore": called(around(small, access_log()))}
    contenders["qicore, path excluded"] = called(around(small, access_log(exclude=["/users/7"])))
    await suite.compare_async("access_log, to no handler", {**alone, **contenders})
    contenders = {
        "qicore": called(around(small, security_headers())),
        "two headers by BaseHTTPMiddleware": called(BaseHTTPMiddleware(small, dispatch=adding)),
    }
    await suite.compare_async("security_headers", {**alone, **contenders})
    contenders = {
        "starlette": called(
            around(small, Middleware(TrustedHostMiddleware, allowed_hosts=["api.example.org"]))
        ),
        "qicore": called(around(small, trusted_hosts("api.example.org"))),
    }
    await suite.compare_async("trusted_hosts", {**alone, **contenders})
    contenders = {
        "starlette": called(around(small, Middleware(CORSMiddleware, allow_origins=[ORIGIN]))),
        "qicore": called(around(small, cors(origins=[ORIGIN]))),
    }
    await suite.compare_async("cors (Starlette's own)", {**alone, **contenders})
    starlette = Middleware(RequestBodyLimitMiddleware, max_body_size=10_000)
    for what, method, source in (("GET", "GET", receive), ("a chunked POST", "POST", chunk)):
        contenders = {
            "bare app": called(small, method, source),
            "starlette": called(around(small, starlette), method, source),
            "qicore": called(around(small, body_limit(10_000)), method, source),
        }
        await suite.compare_async(f"body_limit, {what}", contenders)
    zipped = Middleware(GZipMiddleware, minimum_size=1000, compresslevel=6)
    for what, app in (("too short", small), (f"{len(LONG)} bytes", long)):
        contenders = {
            "bare app": called(app),
            "starlette": called(around(app, zipped)),
            "qicore": called(around(app, compression())),
        }
        await suite.compare_async(f"compression, {what}", contenders)


async def compare_results(suite: Suite) -> None:
    async def hello(request: Request) -> Result[Response]:
        return Success(Response(BODY, headers={"cache-control": "max-age=3600"}))

    async def untold(request: Request) -> Result[Response]:
        return Success(Response(BODY))

    def asked(handler: Handler) -> Callable[[], Awaitable[None]]:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await handler(Request(scope, receive, send))

        return called(app)

    alone = {"bare app": asked(hello)}
    await suite.compare_async("timeout", {**alone, "qicore": asked(timeout(10)(hello))})
    await suite.compare_async("rate_limit", {**alone, "qicore": asked(rate_limit(10**8, 1.0)(hello))})
    memory = Cache.create_memory().unwrap()
    contenders = {
        "qicore, a hit": asked(response_cache()(hello)),
        "qicore, a hit in a qicore-cache": asked(response_cache(store=memory)(hello)),
        "qicore, nothing to store": asked(response_cache()(untold)),
    }
    await suite.compare_async("response_cache", {**alone, **contenders})


async def compare_all(suite: Suite) -> None:
    def application(*middleware: Any) -> ASGI:
        app = WebApp()
        app.use(*middleware)

        @app.get("/users/{number}")
        async def user(number: int) -> Result[dict[str, int]]:
            return Success({"number": number})

        return app

    cheap = (request_id(), access_log(), trusted_hosts("api.example.org"), security_headers())
    rest = (cors(origins=[ORIGIN]), compression(), body_limit(10_000), rate_limit(10**8, 1.0), timeout(10))
    based = Middleware(BaseHTTPMiddleware, dispatch=adding)
    contenders = {
        "bare app": called(application()),
        "qicore, four: id, log, hosts, headers": called(application(*cheap)),
        "qicore, nine: all but the cache": called(application(*cheap, *rest)),
        "qicore, ten: a hit in the cache": called(application(*cheap, *rest, response_cache(ttl=3600))),
        "one BaseHTTPMiddleware": called(application(based)),
    }
    await suite.compare_async("a WebApp with them", contenders)


async def main() -> None:
    suite = Suite("web_middleware", packages=("starlette", "fastapi"))
    await compare_asgi(suite)
    await compare_results(suite)
    await compare_all(suite)
    suite.save()


if __name__ == "__main__":
    asyncio.run(main())
