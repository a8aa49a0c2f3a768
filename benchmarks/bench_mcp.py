"""qicore-mcp against the bare SDK: a tool that adds two numbers, in memory, over stdio and over HTTP.

The client is compared with the SDK's client at the same server, the SDK's own; the server with the SDK's
server, under the SDK's client. Servers over stdio and HTTP are processes of their own.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import uvicorn
from harness import Suite, run
from mcp import Client, StdioServerParameters
from mcp.server.mcpserver import MCPServer as SDKServer
from qicore.mcp import MCPClient, MCPConfig, MCPServer

ARGUMENTS = {"a": 2, "b": 3}
TARGET = "ours at most 1.05 times the SDK"

Call = Callable[[], Awaitable[object]]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def sdk_server() -> SDKServer[Any]:
    server: SDKServer[Any] = SDKServer("bench", log_level="ERROR")
    server.add_tool(add)
    return server


def our_server() -> MCPServer:
    server = MCPServer("bench")
    server.register_tool(add).unwrap()
    return server


def serve(kind: str, transport: str) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sdk = sdk_server() if kind == "sdk" else our_server().raw
    if transport == "stdio":
        sdk.run()
        return
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    app = sdk.streamable_http_app() if kind == "sdk" else our_server().asgi_app()
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run([listener])


def child(kind: str) -> StdioServerParameters:
    return StdioServerParameters(command=sys.executable, args=[__file__, kind, "stdio"])


@contextmanager
def over_http(kind: str) -> Generator[str]:
    """Run the server on the core that the harness does not use, if there is one; yield its address."""
    process = subprocess.Popen([sys.executable, __file__, kind, "http"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
    finally:
        process.terminate()
        process.wait()


def bare(client: Client) -> Call:
    async def call() -> object:
        return await client.call_tool("add", ARGUMENTS)

    return call


def ours(client: MCPClient) -> Call:
    async def call() -> object:
        return (await client.call_tool("add", ARGUMENTS)).unwrap()

    return call


async def clients(suite: Suite, http: str) -> None:
    for name, target in (("in memory", sdk_server()), ("stdio", child("sdk")), ("HTTP", http)):
        for mode in ("auto", "legacy"):
            async with AsyncExitStack() as stack:
                theirs = await stack.enter_async_context(Client(target, mode=mode))
                client = MCPClient.create(target, MCPConfig(mode=mode)).unwrap()
                await stack.enter_async_context(client)
                await suite.compare_async(
                    f"call a tool, {name}, {mode}",
                    {"SDK client": bare(theirs), "qicore client": ours(client)},
                    target=TARGET,
                )


async def servers(suite: Suite, urls: dict[str, str]) -> None:
    own: dict[str, dict[str, Any]] = {
        "in memory": {"SDK server": sdk_server(), "qicore server": our_server().raw},
        "stdio": {"SDK server": child("sdk"), "qicore server": child("qicore")},
        "HTTP": {"SDK server": urls["sdk"], "qicore server": urls["qicore"]},
    }
    for name, targets in own.items():
        async with AsyncExitStack() as stack:
            calls = {
                kind: bare(await stack.enter_async_context(Client(target)))
                for kind, target in targets.items()
            }
            await suite.compare_async(f"serve a tool, {name}", calls, target=TARGET)


async def main() -> None:
    # More rounds than usual: over pipes and sockets a round is few calls, whose times scatter.
    suite = Suite("mcp", ("qicore-mcp", "mcp", "anyio", "uvicorn"), rounds=61)
    with over_http("sdk") as theirs, over_http("qicore") as mine:
        await clients(suite, theirs)
        await servers(suite, {"sdk": theirs, "qicore": mine})
    suite.save()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        serve(sys.argv[1], sys.argv[2])
    else:
        run(main)
