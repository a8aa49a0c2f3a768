from typing import assert_type

from qicore.base import Result, Success
from qicore.web.handlers import Handler, Middleware, compose
from qicore.web.middleware import (
    BytesStore,
    access_log,
    body_limit,
    compression,
    cors,
    current_request_id,
    rate_limit,
    request_id,
    response_cache,
    security_headers,
    timeout,
    trusted_hosts,
)
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.requests import Request
from starlette.responses import Response

assert_type(rate_limit(10, 60, key=lambda request: request.headers.get("x-key")), Middleware)
assert_type(timeout(10), Middleware)
assert_type(response_cache(ttl=60), Middleware)
assert_type(access_log(exclude=["/health/"]), ASGIMiddleware)
assert_type(body_limit(10), ASGIMiddleware)
assert_type(compression(), ASGIMiddleware)
assert_type(cors(origins=["https://example.org"]), ASGIMiddleware)
assert_type(request_id(), ASGIMiddleware)
assert_type(security_headers(frame_options=None), ASGIMiddleware)
assert_type(trusted_hosts("example.org"), ASGIMiddleware)
assert_type(current_request_id(), str | None)


def wrapped(handler: Handler) -> Handler:
    return compose(timeout(10), rate_limit(10))(handler)


async def asked(handler: Handler, request: Request) -> None:
    assert_type(await wrapped(handler)(request), Result[Response])


class Remote:
    async def get(self, key: str, /) -> Result[bytes]:
        return Success(b"")

    async def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Result[None]:
        return Success(None)

    async def remove(self, key: str, /) -> Result[bool]:
        return Success(True)


# A store is one by its shape.
def stores(remote: Remote) -> BytesStore:
    return remote
