"""MCP client and server in Results, on the official SDK.

>>> import asyncio
>>> from qicore.mcp import MCPClient, MCPServer
>>> server = MCPServer("greetings")
>>> @server.tool()
... def greet(name: str) -> str:
...     '''Greet somebody.'''
...     return f"Hello, {name}!"
>>> async def main():
...     async with MCPClient.create(server).unwrap() as client:
...         return (await client.call_tool("greet", {"name": 5})).error
>>> print(asyncio.run(main()))
VALIDATION/MCP_TOOL_ERROR: greet: INVALID_ARGUMENTS: name: Input should be a valid string
"""

from qicore.mcp.callbacks import ElicitationCallback, LogCallback, RootsCallback, SamplingCallback
from qicore.mcp.client import MCPClient, OnProgress, ServerInfo
from qicore.mcp.config import MCPConfig
from qicore.mcp.server import MCPServer
from qicore.mcp.server_config import MCPServerConfig

__all__ = [
    "ElicitationCallback",
    "LogCallback",
    "MCPClient",
    "MCPConfig",
    "MCPServer",
    "MCPServerConfig",
    "OnProgress",
    "RootsCallback",
    "SamplingCallback",
    "ServerInfo",
]
