from typing import Any, assert_type

from qicore.base import Result
from qicore.cache import Cache, MemoryCache
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


# A cache of qicore-cache is a store, by shape.
def stores(memory: MemoryCache[Any], cache: Cache[bytes]) -> list[BytesStore]:
    return [memory, cache]
