"""What needs a connection that stays: WebSockets and server-sent events, through a real server."""

import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
import websockets
from fastapi import WebSocket
from fastapi.sse import EventSourceResponse
from qicore.base import QiError, Result, Success
from qicore.web import WebApp
from qicore.web.middleware import access_log, compression, request_id, security_headers


def made() -> WebApp:
    app = WebApp()
    app.use(request_id(), access_log(), security_headers(), compression())
    app.get("/plain")(lambda: Success("plain"))

    @app.raw.websocket("/echo")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text((await socket.receive_text()).upper())
        await socket.close()

    @app.raw.websocket("/closed")
    async def closed(socket: WebSocket) -> None:
        raise QiError.permission("FORBIDDEN", "not for you")

    @app.get("/events", response_class=EventSourceResponse)
    async def events() -> AsyncIterator[dict[str, int]]:
        for number in range(3):
            yield {"number": number}

    @app.get("/result")
    async def result() -> Result[str]:
        return Success("result")

    return app


@asynccontextmanager
async def serving(app: WebApp) -> AsyncGenerator[str]:
    import asyncio

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


async def test_websockets_stay_fastapis() -> None:
    async with serving(made()) as place:
        async with websockets.connect(f"ws://{place}/echo") as connection:
            await connection.send("hello")
            assert await connection.recv() == "HELLO"
        for path in ("/closed", "/nowhere"):
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(f"ws://{place}{path}")
        async with httpx.AsyncClient(base_url=f"http://{place}") as client:
            assert (await client.get("/plain")).json() == "plain"


async def test_server_sent_events_stay_fastapis() -> None:
    async with serving(made()) as place, httpx.AsyncClient(base_url=f"http://{place}") as client:
        async with client.stream("GET", "/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = [line async for line in response.aiter_lines() if line.startswith("data:")]
        assert [line.partition(":")[2].replace(" ", "") for line in lines] == [
            '{"number":0}',
            '{"number":1}',
            '{"number":2}',
        ]
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert "text/event-stream" in paths["/events"]["get"]["responses"]["200"]["content"]
