"""A target for each protocol: whatever a peer sends, a Result comes back, and a server goes on serving."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from datetime import datetime
from typing import Any

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qicore.ai import LLMClient, LLMConfig
from qicore.asgi import Server, ServerConfig
from qicore.base import Result, Success
from qicore.database import Database
from qicore.http import EventOptions, HTTPClient, HTTPConfig
from qicore.mcp import MCPClient, MCPConfig, MCPServer
from qicore.resilience import RetryConfig
from qicore.web import WebApp
from qicore_testkit.fault_server import Exchange, FaultServer
from qicore_testkit.spoiling import around, fine, text_of

ONCE = RetryConfig(attempts=1)
HTTP_CODES = (
    *(
        "HTTP_ERROR",
        "NETWORK_ERROR",
        "SSL_ERROR",
        "PARSE_ERROR",
        "TIMEOUT_ERROR",
        "RESPONSE_TOO_LARGE",
        "INVALID_URL",
    ),
)
LLM_CODES = ("LLM_", "MODEL_NOT_FOUND", "INVALID_PROMPT")


@pytest.fixture
def run() -> Generator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Runs coroutines of one test in one event loop."""
    with asyncio.Runner() as runner:
        yield runner.run


Run = Callable[[Coroutine[Any, Any, None]], None]


async def every(one: Callable[[Any], Awaitable[None]], strategy: st.SearchStrategy[Any]) -> None:
    """Await `one` for each example, in this event loop."""
    loop = asyncio.get_running_loop()

    async def awaited(data: Any) -> None:
        await one(data)

    @given(strategy)
    def target(data: Any) -> None:
        asyncio.run_coroutine_threadsafe(awaited(data), loop).result()

    await asyncio.to_thread(target)


class Line(pydantic.BaseModel):
    item: str
    count: int = 1


def test_requests_to_an_application(run: Run) -> None:
    app = WebApp()

    @app.post("/lines/{number}")
    async def add(number: int, line: Line, q: str = "", since: datetime | None = None) -> Result[Line]:
        return Success(line)

    parts = st.tuples(
        around(b"/lines/1?q=x&since=2020-01-01", b"/openapi.json", b"/lines/%2e%2e/x"),
        around(b"application/json; charset=utf-8", b"text/plain", b"multipart/form-data; boundary=x"),
        around(b"gzip;q=0.5, *;q=0", b"bytes=0-3,5-", b'W/"a", "b"'),
        around(b'{"item": "tea", "count": 2}', b"item=tea"),
    )

    @given(parts)
    def target(given_parts: tuple[bytes, bytes, bytes, bytes]) -> None:
        url, kind, fields, body = given_parts
        path, _, query = url.partition(b"?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": text_of(path),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": [
                (b"host", b"localhost"),
                (b"content-type", kind),
                (b"accept", fields),
                (b"if-match", fields),
            ],
        }
        run(answered(app, scope, body))

    target()


async def answered(app: Any, scope: dict[str, Any], body: bytes) -> None:
    """Check that an application answers a request, and blames the client if anybody."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    assert sent[0]["type"] == "http.response.start"
    assert sent[0]["status"] < 500, sent
    assert not sent[-1].get("more_body", False)


@pytest.mark.parametrize("parser", ["h11", "httptools"])
def test_bytes_sent_to_a_server(run: Run, parser: Any) -> None:
    seeds = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ]

    async def exchange(port: int, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def all_of_them() -> None:
        async with Server(WebApp(), ServerConfig(port=0, http=parser)) as server:
            port = server.port
            assert port is not None

            async def one(data: bytes) -> None:
                answer = await exchange(port, data)
                assert answer == b"" or answer.startswith(b"HTTP/1."), answer
                assert b" 500 " not in answer.partition(b"\r\n")[0]

            await every(one, around(*seeds))
            assert (await exchange(port, seeds[0])).startswith(b"HTTP/1.1 404")

    run(all_of_them())


@pytest.fixture
def answering() -> Generator[FaultServer]:
    """A server whose next answer is `answering.default`."""
    with FaultServer() as server:
        yield server


def says(data: bytes) -> Callable[[Exchange], None]:
    """Answer with these bytes, and close."""

    def behave(exchange: Exchange) -> None:
        exchange.send(data)
        exchange.close()

    return behave


@pytest.mark.parametrize("engine", ["httpx", "httpx2", "aiohttp"])
def test_answers_to_an_http_client(run: Run, answering: FaultServer, engine: Any) -> None:
    seeds = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nCache-Control: max-age=60\r\nVary: Accept\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\nSet-Cookie: a=b; Max-Age=1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 No\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-Length: 0\r\n\r\n",
        b'HTTP/1.0 401 No\r\nContent-Type: application/problem+json\r\n\r\n{"title": "no", "status": 401}',
    ]
    # Where a redirect leads is nobody's: none is followed.
    config = HTTPConfig(retry=ONCE, timeout=5.0, engine=engine, follow_redirects=False)

    async def one(data: bytes) -> None:
        answering.default = says(data)
        async with HTTPClient.create(config).unwrap() as client:
            fine(await client.get(answering.url), *HTTP_CODES)

    @given(around(*seeds))
    def target(data: bytes) -> None:
        run(one(data))

    target()


def test_events_to_an_http_client(run: Run, answering: FaultServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    config = HTTPConfig(retry=ONCE, timeout=5.0)

    async def one(data: bytes) -> None:
        answering.default = says(head + data)
        once = EventOptions(reconnects=0)
        async with (
            HTTPClient.create(config).unwrap() as client,
            client.events(answering.url, event_options=once) as events,
        ):
            async for event in events:
                fine(event, *HTTP_CODES)

    @given(around(b"event: x\ndata: one\ndata: two\nid: 7\nretry: 10\n\n: note\n\ndata: y\r\n\r\n"))
    def target(data: bytes) -> None:
        run(one(data))

    target()


MODELS = {
    "ollama": [
        b'{"message":{"content":"hi"},"done":false}\n{"message":{"content":""},"done":true,"eval_count":2}\n',
        b'{"error":"no such model"}\n',
        b'{"model":"m","embeddings":[[0.5,1.0]]}',
    ],
    "openai": [
        b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n',
        b'{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}',
        b'{"error":{"message":"no such model","code":"model_not_found"}}',
    ],
}


@pytest.mark.parametrize("provider", MODELS)
def test_answers_to_a_client_of_models(run: Run, answering: FaultServer, provider: str) -> None:
    config = LLMConfig(model="m", base_url=answering.url, api_key="k", timeout=5.0)

    async def one(status: int, kind: bytes, data: bytes) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: ".encode() + kind + b"\r\n\r\n"
        answering.default = says(head + data)
        async with LLMClient.create(provider, config).unwrap() as client:
            fine(await client.chat("hello"), *LLM_CODES)
            fine(await client.embedding("hello"), *LLM_CODES)
            async for piece in client.chat_stream("hello"):
                fine(piece, *LLM_CODES)

    kinds = st.sampled_from([b"application/json", b"application/x-ndjson", b"text/event-stream"])

    @given(st.sampled_from([200, 400, 404, 500]), kinds, around(*MODELS[provider]))
    def target(status: int, kind: bytes, data: bytes) -> None:
        run(one(status, kind, data))

    target()


MESSAGES = [
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2}}}',
    b'{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{}}}',
    b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
    b'{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"no"}}',
]


def test_answers_to_an_mcp_client(run: Run, answering: FaultServer) -> None:
    config = MCPConfig(reconnect=ONCE, connect_timeout=0.5, timeout=0.5)

    async def one(kind: bytes, data: bytes) -> None:
        answering.default = says(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\n\r\n" + data)
        async with MCPClient.create(f"{answering.url}/mcp", config).unwrap() as client:
            fine(await client.call_tool("add", {"a": 1}), "MCP_")

    @settings(max_examples=40)  # where the answer is none, each waits for half a second
    @given(st.sampled_from([b"application/json", b"text/event-stream"]), around(*MESSAGES))
    def target(kind: bytes, data: bytes) -> None:
        run(one(kind, data))

    target()


def test_messages_to_an_mcp_server(run: Run) -> None:
    server = MCPServer("sums")

    @server.tool()
    def add(a: int, b: int) -> Result[int]:
        return Success(a + b)

    async def all_of_them() -> None:
        async with Server(server.asgi_app(), ServerConfig(port=0)) as serving:
            headers = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
            async with HTTPClient.create(HTTPConfig(headers=headers, retry=None)).unwrap() as client:

                async def one(data: bytes) -> None:
                    error = (await client.post(f"{serving.url}/mcp", content=data)).error
                    assert error is None or error.context["status"] in range(400, 500), error

                await every(one, around(*MESSAGES))

    run(all_of_them())


def test_names_and_values_in_a_database(run: Run) -> None:
    async def all_of_them() -> None:
        async with (await Database.connect(":memory:")).unwrap() as database:
            await database.execute("CREATE TABLE keep (name TEXT)")

            async def one(data: bytes) -> None:
                text = text_of(data)
                fine(await database.create(text, {"name": "x"}), "DB_")
                fine(await database.read(text, {text: text}), "DB_")
                fine(await database.update("keep", {text: text}, {text: text}), "DB_")
                fine(await database.delete("keep", {text: text}), "DB_")
                fine(await database.query("SELECT ?", [text]), "DB_")
                assert (await database.query("SELECT name FROM keep")).is_success

            await every(
                one, around(b"keep", b"main.keep", b"name", b'x"; DROP TABLE keep; --', b"a' OR '1'='1")
            )

    run(all_of_them())
