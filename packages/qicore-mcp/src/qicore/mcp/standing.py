"""The SDK's server that ours stands on: its tools are ours, and its handlers call the user's."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast, get_args

import mcp_types as types
from pydantic import ValidationError
from pydantic_core import to_json
from qicore.base import QiError, Result
from qicore.mcp.handling import Handler, crashed, failed, logger, protocol_error, sendable
from qicore.mcp.paging import in_pages
from qicore.mcp.server_config import MCPServerConfig
from qicore.mcp.tools import ServerTool, problems_of

from mcp import MCPError
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Audio, Context, Image
from mcp.server.mcpserver import MCPServer as SDKServer
from mcp.server.mcpserver.exceptions import UnexpectedResourceError
from mcp.server.mcpserver.prompts.base import Message
from mcp.server.subscriptions import SubscriptionBus

__all__ = ["Listing", "prompt_filler", "quietly_made", "resource_reader"]

_CONTENT: Final = (str, Image, Audio, *get_args(types.ContentBlock))
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

    async def get_prompt(
        self, name: str, arguments: dict[str, Any] | None = None, context: Context[Any, Any] | None = None
    ) -> types.GetPromptResult | types.InputRequiredResult:
        prompt = next((each for each in await super().list_prompts() if each.name == name), None)
        if prompt is None:
            raise protocol_error(QiError.validation("UNKNOWN_PROMPT", f"Unknown prompt: {name}"))
        known = {each.name: each.required for each in prompt.arguments or ()}
        given = arguments or {}
        problems = [f"{each}: there is no such argument" for each in given if each not in known]
        problems += [
            f"{each}: Field required" for each, needed in known.items() if needed and each not in given
        ]
        if problems:
            raise _refused(problems)
        try:
            return await super().get_prompt(name, arguments, context)
        except ValueError as error:
            raise _refused_or(error) from error

    async def read_resource(
        self, uri: Any, context: Context[Any, Any] | None = None
    ) -> Iterable[ReadResourceContents] | types.InputRequiredResult:
        try:
            return await super().read_resource(uri, context)
        except UnexpectedResourceError as error:
            raise _refused_or(error) from error

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


def _refused(problems: Sequence[str]) -> MCPError:
    return protocol_error(QiError.validation("INVALID_ARGUMENTS", "; ".join(problems)))


def _refused_or(error: Exception) -> Exception:
    """Return that arguments are refused, when that is why the SDK did not call a function; else the error.

    What the function itself raises never gets as far.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ValidationError):
        cause = cause.__cause__
    return error if cause is None else _refused(problems_of(cause))


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
        given: object = await handler.value(**values)
        if isinstance(given, bytes | types.InputRequiredResult):
            return given
        # The SDK would show clients the repr of what JSON can't hold.
        sendable(handler.what, given)
        return given if isinstance(given, str) else to_json(given, indent=2).decode()

    return read


def prompt_filler(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what the SDK calls to fill a prompt in."""
    handler = Handler(f"the prompt {name}", function)

    async def fill(**values: Any) -> Any:
        given: object = await handler.value(**values)
        if isinstance(given, types.InputRequiredResult):
            return given
        every = [*cast("Sequence[object]", given)] if isinstance(given, list | tuple) else [given]
        return [_message(handler.what, each) for each in every]

    return fill


def _message(what: str, given: object) -> Message:
    # The SDK takes the messages of its server, and not the protocol's, which say the same.
    if isinstance(given, types.PromptMessage):
        given = Message(given.content, role=given.role)
    elif isinstance(given, _CONTENT):
        given = Message(cast("Any", given), role="user")
    if not isinstance(given, Message):
        logger.error("%s answered no messages", what)
        raise protocol_error(crashed(what))
    return sendable(what, given)
