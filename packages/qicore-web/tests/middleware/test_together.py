"""All of them on one application, over real sockets."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import websockets
from fastapi import WebSocket
from qicore.base import Failure, QiError, Result, Success
from qicore.web import WebApp
from qicore.web.middleware import (
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
from starlette.responses import StreamingResponse

ORIGIN = "https://app.example.org"


class Keeping(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)


@pytest.fixture
def records() -> Iterator[list[Any]]:
    log, handler = logging.getLogger("qicore.web.access"), Keeping()
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler.kept
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


class Application:
    def __init__(self) -> None:
        self.lists = 0
        self.app = app = WebApp()
        app.use(
            request_id(trust=True),
            access_log(exclude=["/health/"]),
            trusted_hosts("127.0.0.1", "localhost"),
            security_headers(content_security_policy="default-src 'none'"),
            cors(origins=[ORIGIN], expose=["X-Request-ID"]),
            compression(),
            body_limit(100_000),
            rate_limit(1000, 60, name="all"),
            timeout(0.5),
            response_cache(),
        )
        limited = app.group("/limited", rate_limit(2, 3600, name="few"))
        app.get("/users")(self.users)
        app.get("/slow")(self.slow)
        app.get("/breaking")(self.breaking)
        app.get("/events")(self.events)
        app.post("/bodies")(self.bodies)
        limited.get("/one")(self.failing)
        app.raw.add_api_websocket_route("/echo", self.echo)

    async def users(self) -> Result[list[str]]:
        self.lists += 1
        return Success([f"user {self.lists}"] * 1000)

    async def slow(self) -> Result[int]:
        await asyncio.sleep(60)
        return Success(1)

    async def breaking(self) -> Result[int]:
        raise RuntimeError("secret")

    async def failing(self) -> Result[int]:
        return Failure(QiError.validation("NOT_FOUND", current_request_id() or ""))

    async def bodies(self, body: list[int]) -> Result[int]:
        return Success(sum(body))

    async def events(self) -> StreamingResponse:
        async def events() -> AsyncIterator[str]:
            for number in range(3):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.01)

        return StreamingResponse(events(), media_type="text/event-stream")

    async def echo(self, socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(f"{await socket.receive_text()} {len(current_request_id() or '')}")
        await socket.close()


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_all_together(serve: Any, records: list[Any], http: str) -> None:
    application = Application()
    async with (
        serve(application.app, http=http) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        headers = {"origin": ORIGIN, "accept-encoding": "gzip", "x-request-id": "r-1"}

        users = await client.get("/users", headers=headers)
        assert users.json() == ["user 1"] * 1000
        assert users.headers["content-encoding"] == "gzip"
        assert users.headers["vary"] == "Accept-Encoding, Origin"
        assert users.headers["etag"].startswith('W/"')
        assert users.headers["x-request-id"] == "r-1"
        assert users.headers["access-control-allow-origin"] == ORIGIN
        assert users.headers["x-frame-options"] == "DENY"
        assert users.headers["ratelimit"].startswith('"all";r=999')
        again = await client.get("/users", headers={**headers, "if-none-match": users.headers["etag"]})
        assert again.status_code == 200, "its body is another one by now"
        same = await client.request("HEAD", "/health")
        assert same.status_code == 404

        failing = await client.get("/limited/one", headers=headers)
        assert (failing.status_code, failing.json()["detail"]) == (404, "r-1")
        await client.get("/limited/one")
        many = await client.get("/limited/one", headers=headers)
        assert (many.status_code, many.json()["code"]) == (429, "RATE_LIMITED")
        assert int(many.headers["retry-after"]) > 1000
        assert many.headers["access-control-allow-origin"] == ORIGIN

        slow = await client.get("/slow")
        assert (slow.status_code, slow.json()["code"]) == (504, "TIMEOUT_ERROR")
        breaking = await client.get("/breaking", headers=headers)
        assert (breaking.status_code, breaking.headers["x-request-id"]) == (500, "r-1")
        assert "secret" not in breaking.text
        large = await client.post("/bodies", content=b"[" + b"1," * 100_000 + b"1]")
        assert (large.status_code, large.json()["code"]) == (413, "CONTENT_TOO_LARGE")
        assert large.headers["x-content-type-options"] == "nosniff"
        assert (await client.post("/bodies", json=[1, 2])).json() == 3
        stranger = await client.get("/users", headers={"host": "evil.example"})
        assert (stranger.status_code, stranger.json()["code"]) == (400, "BAD_REQUEST")
        preflight = await client.options(
            "/users", headers={"origin": ORIGIN, "access-control-request-method": "GET"}
        )
        assert (preflight.status_code, preflight.text) == (200, "OK")

        async with client.stream("GET", "/events", headers=headers) as stream:
            assert "content-encoding" not in stream.headers
            assert [line async for line in stream.aiter_lines() if line] == ["data: 0", "data: 1", "data: 2"]

        async with websockets.connect(f"ws://127.0.0.1:{port}/echo") as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello 32"
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(f"ws://127.0.0.1:{port}/echo", additional_headers={"Host": "evil"}):
                pass
        assert refused.value.response.status_code in (400, 403)

        gone_reader, gone = await asyncio.open_connection("127.0.0.1", port)
        gone.write(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await gone.drain()
        gone.close()
        del gone_reader
        assert (await client.get("/users")).status_code == 200, "it serves on"

    statuses = [record.status for record in records]
    assert statuses[:6] == [200, 200, 404, 404, 404, 429]
    first = records[0]
    assert (first.route, first.request_id, first.path) == ("/users", "r-1", "/users")
    assert first.bytes == len(users.content) or first.bytes == int(users.headers["content-length"])


async def test_on_fastapis_own_routes_and_mounts_too(ask: Any) -> None:
    app = WebApp()
    app.use(security_headers(), rate_limit(100), timeout(1), response_cache(ttl=60), compression())

    @app.raw.get("/raw")
    async def raw() -> dict[str, str]:
        return {"a": "b" * 2000}

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"in"})

    app.mount("/in", mounted)
    for _ in range(2):
        answer = await ask(app, path="/raw", headers=[("accept-encoding", "gzip")])
        assert json.loads(gzip.decompress(answer.body)) == {"a": "b" * 2000}
        assert answer.get("ratelimit") is not None
        assert (await ask(app, path="/in/x")).body == b"in"
