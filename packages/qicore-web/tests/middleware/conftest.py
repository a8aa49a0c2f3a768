"""Driving ASGI applications message by message, and over real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest
import uvicorn

Pairs: TypeAlias = Sequence[tuple[str, str]]
Ask: TypeAlias = Callable[..., Awaitable["Answer"]]
Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[int]]


@dataclass
class Answer:
    """What an application sent."""

    scope: dict[str, Any]
    messages: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def status(self) -> int:
        starts = [message for message in self.messages if message["type"] == "http.response.start"]
        assert len(starts) == 1, self.messages
        status: int = starts[0]["status"]
        return status

    @property
    def headers(self) -> list[tuple[str, str]]:
        start = next(message for message in self.messages if message["type"] == "http.response.start")
        return [(name.decode(), value.decode("latin-1")) for name, value in start["headers"]]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, (name, values)
        return values[0] if values else None

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


async def ask(
    app: Any,
    method: str = "GET",
    path: str = "/",
    headers: Pairs = (),
    *,
    body: Iterable[bytes] = (b"",),
    **scope: Any,
) -> Answer:
    """Send one request to an application; `body` comes in these pieces, and then the client is gone."""
    path, _, query = path.partition("?")
    made: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("192.0.2.7", 5000),
        "server": ("127.0.0.1", 8000),
        "state": {},
        **scope,
    }
    answer = Answer(made)
    pieces = list(body)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        if not pieces:
            return {"type": "http.disconnect"}
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        answer.messages.append(dict(message))

    await app(made, receive, send)
    return answer


@contextlib.asynccontextmanager
async def serve(app: Any, **options: Any) -> AsyncGenerator[int]:
    """Serve an application by uvicorn in this loop; gives the port."""
    config = uvicorn.Config(app, port=0, log_config=None, **options)
    server = uvicorn.Server(config)
    with contextlib.closing(config.bind_socket()) as sock:
        running = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            while not server.started:
                assert not running.done(), "the server did not start"
                await asyncio.sleep(0.005)
            yield sock.getsockname()[1]
        finally:
            server.should_exit = True
            await running


@pytest.fixture(name="ask")
def _ask() -> Ask:
    return ask


@pytest.fixture(name="serve")
def _serve() -> Serve:
    return serve
