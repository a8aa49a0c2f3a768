"""MCPServer: tools, resources and prompts whose handlers answer Results."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import mcp_types as types
from pydantic import PydanticUserError
from qicore.base import Failure, QiError, Result, Success
from qicore.mcp.annotations import plain_signature, shaped_like
from qicore.mcp.errors import to_error
from qicore.mcp.handling import call_handler, failed, protocol_error
from qicore.mcp.http_app import HTTPApp
from qicore.mcp.paging import paging
from qicore.mcp.server_config import MCPServerConfig
from qicore.mcp.tools import ServerTool
from starlette.types import ASGIApp

from mcp.server.mcpserver import Context
from mcp.server.mcpserver import MCPServer as SDKServer
from mcp.server.mcpserver.exceptions import InvalidSignature

__all__ = ["MCPServer"]

F = TypeVar("F", bound=Callable[..., Any])


class MCPServer:
    """Serves tools, resources and prompts over stdio, streamable HTTP, or within a process.

    A handler is a function, sync or async, that answers a `Result[T]` or a T. Its arguments are checked
    against its signature; a Failure is told with code, category and message; what it raises is logged, and
    nothing of it is told. A parameter annotated as `mcp.server.mcpserver.Context` is given the request's
    context: progress, logging, sampling, elicitation.

    >>> server = MCPServer("sums")
    >>> @server.tool()
    ... def divide(a: float, b: float) -> Result[float]:
    ...     '''Divide a by b.'''
    ...     if b == 0:
    ...         return Failure(QiError.validation("ZERO_DIVISOR", "b must not be 0"))
    ...     return Success(a / b)
    >>> [tool.name for tool in server.tools]
    ['divide']

    Args:
        name: what clients are told that the server is.
        config: options; ValueError when they are wrong.
    """

    def __init__(self, name: str, config: MCPServerConfig | None = None) -> None:
        options = config or MCPServerConfig()
        wrong = options.check().error
        if wrong is not None:
            raise ValueError(wrong.message)
        if not isinstance(cast("object", name), str) or not name.strip():
            raise ValueError("a server needs a name")
        self.config = options
        self._tools: dict[str, ServerTool] = {}
        self._server = _quietly_made(name, options, self._tools)

    @classmethod
    def create(cls, name: str, config: MCPServerConfig | None = None) -> Result[MCPServer]:
        """Check the options and return a server; INVALID_MCP_CONFIG [VALIDATION]."""
        try:
            return Success(cls(name, config))
        except ValueError as error:
            return Failure(QiError.validation("INVALID_MCP_CONFIG", str(error)))

    @property
    def name(self) -> str:
        """What clients are told that the server is."""
        return self._server.name

    @property
    def raw(self) -> SDKServer[Any]:
        """The SDK's server."""
        return self._server

    @property
    def tools(self) -> tuple[types.Tool, ...]:
        """The tools, as clients see them."""
        return tuple(tool.description for tool in self._tools.values())

    def register_tool(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        annotations: types.ToolAnnotations | None = None,
    ) -> Result[types.Tool]:
        """Add a tool, and return it as clients see it; INVALID_TOOL [VALIDATION].

        Name, description and schemas come from the function: its name, docstring and annotations. An answer
        that has a schema goes out as structured content, too.
        """
        try:
            tool = ServerTool(
                function, name=name, title=title, description=description, annotations=annotations
            )
        except (TypeError, ValueError, NameError, InvalidSignature, PydanticUserError) as error:
            return Failure(QiError.validation("INVALID_TOOL", f"{name or function!r}: {error}"))
        chosen = tool.description.name
        if chosen in self._tools:
            return Failure(QiError.validation("INVALID_TOOL", f"there is a tool {chosen} already"))
        self._tools[chosen] = tool
        return Success(tool.description)

    def register_resource(
        self,
        uri: str,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        mime_type: str | None = None,
    ) -> Result[None]:
        """Add a resource, or with `{variables}` in `uri` a template of resources.

        INVALID_RESOURCE [VALIDATION]. The function takes the variables as texts, and answers text, bytes, or
        what becomes JSON.
        """
        try:
            signature = plain_signature(function)
            shape = shaped_like(function, signature, _resource(uri, function))
            self._server.resource(uri, name=name, title=title, description=description, mime_type=mime_type)(
                shape
            )
        except (TypeError, ValueError, NameError) as error:
            return Failure(QiError.validation("INVALID_RESOURCE", f"{uri}: {error}"))
        return Success(None)

    def register_prompt(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
    ) -> Result[None]:
        """Add a prompt; INVALID_PROMPT [VALIDATION].

        The function takes texts, and answers a text, a message of the SDK, or several.
        """
        try:
            signature = plain_signature(function)
            shape = shaped_like(function, signature, _prompt(function))
            self._server.prompt(name=name, title=title, description=description)(shape)
        except (TypeError, ValueError, NameError) as error:
            return Failure(QiError.validation("INVALID_PROMPT", f"{name or function!r}: {error}"))
        return Success(None)

    def tool(
        self,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        annotations: types.ToolAnnotations | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function as a tool: see `register_tool`. ValueError for one that can be none."""

        def decorate(function: F) -> F:
            _must(
                self.register_tool(
                    function, name=name, title=title, description=description, annotations=annotations
                )
            )
            return function

        return decorate

    def resource(
        self,
        uri: str,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        mime_type: str | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function as a resource: see `register_resource`. ValueError for one that can be none."""

        def decorate(function: F) -> F:
            _must(
                self.register_resource(
                    uri, function, name=name, title=title, description=description, mime_type=mime_type
                )
            )
            return function

        return decorate

    def prompt(
        self, *, name: str | None = None, title: str | None = None, description: str | None = None
    ) -> Callable[[F], F]:
        """Decorate a function as a prompt: see `register_prompt`. ValueError for one that can be none."""

        def decorate(function: F) -> F:
            _must(self.register_prompt(function, name=name, title=title, description=description))
            return function

        return decorate

    def asgi_app(self) -> ASGIApp:
        """Return an ASGI application that speaks streamable HTTP, at `config.path`.

        It may be served by itself, or mounted in another application. Requests whose Host or Origin is not
        of this machine, or among those that the configuration allows, are refused: DNS rebinding.
        """
        return HTTPApp(self._server, self.config)

    async def serve_stdio(self) -> Result[None]:
        """Serve one client over standard input and output, until it closes them.

        While it does, what handlers print goes to standard error.
        """
        try:
            await self._server.run_stdio_async()
        except Exception as error:  # noqa: BLE001 - it becomes a Failure
            return Failure(to_error(error, operation="serve_stdio"))
        return Success(None)

    def run_stdio(self) -> Result[None]:
        """Serve standard input and output, as the whole of a script."""
        return asyncio.run(self.serve_stdio())


class _Server(SDKServer[Any]):
    """The SDK's server, whose tools are ours."""

    def __init__(self, tools: Mapping[str, ServerTool], **options: Any) -> None:
        super().__init__(**options)
        self._ours = tools

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


def _quietly_made(name: str, options: MCPServerConfig, tools: Mapping[str, ServerTool]) -> SDKServer[Any]:
    """Return the SDK's server, made so that the root logger keeps its handlers and its level."""
    root, guard = logging.getLogger(), logging.NullHandler()
    root.addHandler(guard)
    try:
        return _Server(
            tools,
            name=name,
            version=options.version,
            title=options.title,
            instructions=options.instructions or None,
            middleware=[paging(options.page_size)],
        )
    finally:
        root.removeHandler(guard)


def _must(result: Result[Any]) -> None:
    if result.error is not None:
        raise ValueError(result.error.message)


def _resource(uri: str, function: Callable[..., Any]) -> Callable[..., Any]:
    async def read(**values: Any) -> Any:
        answered = await call_handler(f"the resource {uri}", function, values)
        if isinstance(answered, Failure):
            raise protocol_error(answered.error)
        return answered.unwrap()

    return read


def _prompt(function: Callable[..., Any]) -> Callable[..., Any]:
    async def fill(**values: Any) -> Any:
        answered = await call_handler("the prompt", function, values)
        if isinstance(answered, Failure):
            raise protocol_error(answered.error)
        return answered.unwrap()

    return fill
