"""The SDK's server that ours stands on: its tools are ours, and its handlers call the user's."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast

import mcp_types as types
from qicore.base import QiError, Result
from qicore.mcp.handling import Handler, failed
from qicore.mcp.paging import in_pages
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

    def __init__(
        self, tools: Mapping[str, ServerTool], listings: Sequence[Listing], page_size: int, **options: Any
    ) -> None:
        super().__init__(**options)
        self._ours = tools
        self._listings = listings
        for method, field, answer, entries in (
            ("tools/list", "tools", types.ListToolsResult, self.list_tools),
            ("resources/list", "resources", types.ListResourcesResult, self.list_resources),
            (
                *("resources/templates/list", "resource_templates"),
                *(types.ListResourceTemplatesResult, self.list_resource_templates),
            ),
            ("prompts/list", "prompts", types.ListPromptsResult, self.list_prompts),
        ):
            self._lowlevel_server.add_request_handler(
                method, types.PaginatedRequestParams, in_pages(entries, field, answer, page_size)
            )

    async def list_resources(self) -> list[types.Resource]:
        every = await super().list_resources()
        for listing in self._listings:
            every += await Handler("the list of resources", listing).value()
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
            options.page_size,
            name=name,
            version=options.version,
            title=options.title,
            instructions=options.instructions or None,
            subscriptions=changes,
        )
    finally:
        root.removeHandler(guard)


def resource_reader(uri: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what the SDK calls to read a resource."""
    handler = Handler(f"the resource {uri}", function)

    async def read(**values: Any) -> Any:
        return await handler.value(**values)

    return read


def prompt_filler(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what the SDK calls to fill a prompt in."""
    handler = Handler("the prompt", function)

    async def fill(**values: Any) -> Any:
        given: object = await handler.value(**values)
        if isinstance(given, list | tuple):
            return [_message(each) for each in cast("Sequence[object]", given)]
        return _message(given)

    return fill


def _message(given: object) -> object:
    # The SDK takes the messages of its server, and not the protocol's, which say the same.
    return Message(given.content, role=given.role) if isinstance(given, types.PromptMessage) else given
