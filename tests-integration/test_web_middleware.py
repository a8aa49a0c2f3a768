"""The middleware of qicore-web beside the components that it knows by their shape alone."""

import io
import logging
from typing import Any

import structlog
from qicore.base import Result, Success
from qicore.cache import Cache, CacheConfig
from qicore.logging import bound_contextvars, get_contextvars
from qicore.web import WebApp
from qicore.web.middleware import BytesStore, RequestIdFilter, request_id, response_cache


async def ask(app: WebApp, method: str = "GET", **headers: str) -> tuple[dict[str, str], bytes]:
    fields: dict[str, str] = {}
    body = b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal body
        fields.update({name.decode(): value.decode() for name, value in message.get("headers", ())})
        body += message.get("body", b"")

    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": "/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    await app(scope, receive, send)
    return fields, body


def counting(*middleware: Any) -> WebApp:
    app, asked = WebApp(), 0
    app.use(*middleware)

    async def count() -> Result[int]:
        nonlocal asked
        asked += 1
        return Success(asked)

    app.route(["GET", "POST"], "/", count)
    return app


async def test_a_cache_of_qicore_cache_is_a_store_of_responses(tmp_path: Any) -> None:
    memory = Cache.create_memory(CacheConfig()).unwrap()
    path = str(tmp_path / "cache.db")
    file = (await Cache.create_persistent(path, CacheConfig())).unwrap()
    stores: list[BytesStore] = [memory, file]
    for store in stores:
        app = counting(response_cache(ttl=60, store=store))
        assert [(await ask(app))[1] for _ in range(2)] == [b"1", b"1"]
        again = counting(response_cache(ttl=60, store=store))
        headers, body = await ask(again)
        assert (headers["age"], body) == ("0", b"1"), "another worker has it, too"
        await ask(again, "POST")
        assert (await ask(app))[1] == b"2", "what was written made forget it, in all workers"
    await file.close()


async def test_logs_of_all_kinds_show_the_request() -> None:
    stream = io.StringIO()
    handler, log = logging.StreamHandler(stream), logging.getLogger("qicore.test.web")
    handler.addFilter(RequestIdFilter())
    handler.setFormatter(logging.Formatter("%(request_id)s %(message)s"))
    log.addHandler(handler)
    seen: list[Any] = []
    app = WebApp()
    app.use(request_id(bind=bound_contextvars, generate=lambda: "r-1"))

    @app.get("/")
    async def look() -> Result[int]:
        log.warning("hello")
        seen.append(structlog.contextvars.merge_contextvars(None, "info", {}))
        seen.append(dict(get_contextvars()))
        return Success(1)

    try:
        assert (await ask(app))[0]["x-request-id"] == "r-1"
    finally:
        log.removeHandler(handler)
    assert stream.getvalue() == "r-1 hello\n"
    assert seen == [{"request_id": "r-1"}] * 2
