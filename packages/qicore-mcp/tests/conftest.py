"""A server with everything, within the process, as a child, and over HTTP."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from qicore.mcp import MCPClient, MCPConfig

SCRIPT = str(Path(__file__).with_name("everything_server.py"))
Opens = Callable[..., MCPClient]


class HTTPServer:
    """The server in a process of its own, which can be killed and started again at the same address."""

    def __init__(self) -> None:
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, "--http", str(self.port)], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"


@pytest.fixture
def http_server() -> Iterator[HTTPServer]:
    server = HTTPServer()
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def shared_server() -> Iterator[HTTPServer]:
    server = HTTPServer()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def child() -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=[SCRIPT])


async def until(client: MCPClient, *, connected: bool) -> None:
    """Wait until a client that nobody calls is connected, or is no more."""
    for _ in range(6000):
        if client.connected is connected:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never connected={connected}")


WAYS = [("memory", "auto"), ("memory", "legacy"), ("stdio", "auto"), ("http", "auto"), ("http", "legacy")]


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: Any) -> tuple[str, str]:
    """A transport, with the newest protocol or with the older ones."""
    transport, mode = request.param
    return transport, mode


@pytest.fixture
def mode(way: tuple[str, str]) -> str:
    return way[1]


@pytest.fixture
async def client_of(way: tuple[str, str], request: Any) -> AsyncIterator[Opens]:
    """Open clients of the server over each transport."""
    transport, mode = way
    opened: list[MCPClient] = []
    target: Any
    if transport == "memory":
        from .everything_server import make

        target = make()
    elif transport == "stdio":
        target = request.getfixturevalue("child")
    else:
        target = request.getfixturevalue("shared_server").url

    def open_one(*, callbacks: dict[str, Any] | None = None, **options: Any) -> MCPClient:
        chosen: dict[str, Any] = {"mode": mode, **options}
        opened.append(MCPClient.create(target, MCPConfig(**chosen), **(callbacks or {})).unwrap())
        return opened[-1]

    yield open_one
    for client in opened:
        await client.close()


@pytest.fixture
def client(client_of: Opens) -> MCPClient:
    return client_of()
