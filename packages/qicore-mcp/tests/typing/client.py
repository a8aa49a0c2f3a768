"""Checked by mypy and pyright, never run."""

from typing import Any, assert_type

import mcp_types as types
from mcp import Client, StdioServerParameters
from qicore.base import Failure, QiError, Result, Success
from qicore.mcp import MCPClient, MCPConfig, MCPServer, MCPServerConfig, ServerInfo

server = MCPServer("sums", MCPServerConfig(page_size=10))
assert_type(MCPServer.create("sums"), Result[MCPServer])


@server.tool(title="Add")
def add(a: int, b: int) -> Result[int]:
    return Success(a + b)


@server.resource("item://{number}")
async def item(number: str) -> str:
    return number


@server.prompt()
def review(code: str) -> str:
    return code


assert_type(add(1, 2), Result[int])
assert_type(server.register_tool(add), Result[types.Tool])
assert_type(MCPClient.create(server), Result[MCPClient])
assert_type(MCPClient.create("http://127.0.0.1/mcp", MCPConfig(timeout=5)), Result[MCPClient])
assert_type(MCPClient.create(StdioServerParameters(command="server")), Result[MCPClient])


async def sample(params: types.CreateMessageRequestParams) -> Result[types.CreateMessageResult]:
    return Failure(QiError.permission("NO_MODEL", str(params.max_tokens)))


async def use(client: MCPClient) -> None:
    assert_type(MCPClient.create(server, sampling=sample), Result[MCPClient])
    assert_type(await client.connect(), Result[ServerInfo])
    assert_type(await client.call_tool("add", {"a": 1}), Result[types.CallToolResult])
    assert_type(await client.list_tools(), Result[list[types.Tool]])
    assert_type(await client.list_resources(), Result[list[types.Resource]])
    assert_type(await client.read_resource("item://1"), Result[types.ReadResourceResult])
    assert_type(await client.send("tools/list"), Result[dict[str, Any]])
    assert_type(await client.receive(), Result[types.ServerNotification])
    assert_type(client.with_circuit_breaker(), MCPClient)
    assert_type(client.raw, Client | None)
    await client.call_tool(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # no name
