"""The SDK's server that ours stands on: its tools are ours, and its handlers call the user's."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import mcp_types as types
from qicore.base import Failure, QiError, Result
from qicore.mcp.handling import call_handler, failed, protocol_error
from qicore.mcp.paging import paging
from qicore.mcp.server_config import MCPServerConfig
from qicore.mcp.tools import ServerTool

from mcp.server.mcpserver import Context
from mcp.server.mcpserver import MCPServer as SDKServer
from mcp.server.mcpserver.prompts.base import Message
from mcp.server.subscriptions import SubscriptionBus

__all__ = ["Listing", "prompt_filler", "quietly_made", "resource_reader"]

_Resources: TypeAlias = "Result[list[types.Resource]] | list[types.Resource]"
Listing: TypeAlias = Callable[[], "_Resources | Awaitable[_Resources]"]
"""Answers the resources that there are."""


class _Server(SDKServer[Any]):
    """The SDK's server, whose tools are ours."""

    def __init__(self, tools: Mapping[str, ServerTool], listings: Sequence[Listing], **options: Any) -> None:
        super().__init__(**options)
        self._ours = tools
        self._listings = listings

    async def list_resources(self) -> list[types.Resource]:
        every = await super().list_resources()
        for listing in self._listings:
            answered = await call_handler("the list of resources", listing, {})
            if isinstance(answered, Failure):
                raise protocol_error(answered.error)
            every += answered.unwrap()
        return every

    async def list_tools(self) -> list[types.Tool]:
        return [*(tool.description for tool in self._ours.values()), *await super().list_tools()]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> types.CallToolResult | types.InputRequiredResult:
        tool = self._ours.get(name)
        if tool is not None:
            return await tool.run(arguments, context or Context(mcp_server=self))
        known = await super().list_tools()
        if any(each.name == name for each in known):
            return await super().call_tool(name, arguments, context)
        return failed(QiError.validation("UNKNOWN_TOOL", f"Unknown tool: {name}"))


def quietly_made(
    name: str,
    options: MCPServerConfig,
    tools: Mapping[str, ServerTool],
    listings: Sequence[Listing],
    changes: SubscriptionBus,
) -> SDKServer[Any]:
    """Return the SDK's server, made so that the root logger keeps its handlers and its level."""
    root, guard = logging.getLogger(), logging.NullHandler()
    root.addHandler(guard)
    try:
        return _Server(
            tools,
            listings,
            name=name,
            version=options.version,
            title=options.title,
            instructions=options.instructions or None,
            middleware=[paging(options.page_size)],
            subscriptions=changes,
        )
    finally:
        root.removeHandler(guard)


def resource_reader(uri: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what the SDK calls to read a resource."""

    async def read(**values: Any) -> Any:
        answered = await call_handler(f"the resource {uri}", function, values)
        if isinstance(answered, Failure):
            raise protocol_error(answered.error)
        return answered.unwrap()

    return read


def prompt_filler(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what the SDK calls to fill a prompt in."""

    async def fill(**values: Any) -> Any:
        answered = await call_handler("the prompt", function, values)
        if isinstance(answered, Failure):
            raise protocol_error(answered.error)
        given: object = answered.unwrap()
        if isinstance(given, list | tuple):
            return [_message(each) for each in cast("Sequence[object]", given)]
        return _message(given)

    return fill


def _message(given: object) -> object:
    # The SDK takes the messages of its server, and not the protocol's, which say the same.
    return Message(given.content, role=given.role) if isinstance(given, types.PromptMessage) else given
