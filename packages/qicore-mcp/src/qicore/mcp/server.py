"""MCPServer: tools, resources and prompts whose handlers answer Results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import mcp_types as types
from pydantic import PydanticUserError
from qicore.base import Failure, QiError, Result, Success
from qicore.mcp.annotations import name_of, plain_signature, shaped_like
from qicore.mcp.completions import Completions
from qicore.mcp.errors import to_error
from qicore.mcp.http_app import HTTPApp
from qicore.mcp.notices import Notices
from qicore.mcp.server_config import MCPServerConfig
from qicore.mcp.standing import Listing, prompt_filler, quietly_made, resource_reader
from qicore.mcp.tools import ServerTool
from starlette.types import ASGIApp

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer as SDKServer
from mcp.server.mcpserver.exceptions import InvalidSignature
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated

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
        self._changes = InMemorySubscriptionBus()
        self._listings: list[Listing] = []
        self._prompts: set[str] = set()
        self._resources: set[str] = set()
        self._server = quietly_made(name, options, self._tools, self._listings, self._changes)
        # Not public: the one way to methods of the protocol that MCPServer has no name for.
        lowlevel: Server[Any] = self._server._lowlevel_server  # pyright: ignore[reportPrivateUsage]
        self._notices = Notices(lowlevel)
        self._completions = Completions(lowlevel)

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
        input_schema: Mapping[str, Any] | None = None,
    ) -> Result[types.Tool]:
        """Add a tool, and return it as clients see it; INVALID_TOOL [VALIDATION].

        Name, description and schemas come from the function: its name, docstring and annotations. An answer
        that has a schema goes out as structured content, too. `input_schema` is shown in the place of the
        one from the annotations, when it says more than they can; arguments are still checked by these.
        """
        try:
            tool = ServerTool(
                function,
                name=name,
                title=title,
                description=description,
                annotations=annotations,
                input_schema=input_schema,
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
        listing: Listing | None = None,
    ) -> Result[None]:
        """Add a resource, or with `{variables}` in `uri` a template of resources.

        INVALID_RESOURCE [VALIDATION]. The function takes the variables as texts, and answers text, bytes, or
        what becomes JSON. `listing` answers those of a template's resources that there are, for clients that
        list them; without it they see the template alone.
        """
        if uri in self._resources:  # the SDK would drop one of them without a word
            return Failure(QiError.validation("INVALID_RESOURCE", f"there is a resource {uri} already"))
        try:
            signature = plain_signature(function)
            shape = shaped_like(function, signature, resource_reader(uri, function))
            self._server.resource(uri, name=name, title=title, description=description, mime_type=mime_type)(
                shape
            )
        except (TypeError, ValueError, NameError) as error:
            return Failure(QiError.validation("INVALID_RESOURCE", f"{uri}: {error}"))
        self._resources.add(uri)
        if listing is not None:
            self._listings.append(listing)
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

        The function takes texts, and answers a text, a `PromptMessage` of `mcp_types`, or several.
        """
        try:
            signature = plain_signature(function)
            chosen = name or name_of(function)
            if chosen in self._prompts:  # the SDK would drop this one without a word
                raise ValueError("there is such a prompt already")
            shape = shaped_like(function, signature, prompt_filler(chosen, function))
            self._server.prompt(name=name, title=title, description=description)(shape)
        except (TypeError, ValueError, NameError) as error:
            return Failure(QiError.validation("INVALID_PROMPT", f"{name or function!r}: {error}"))
        self._prompts.add(chosen)
        return Success(None)

    def register_completion(self, of: str, argument: str, function: Callable[[str], Any]) -> Result[None]:
        """Complete an argument of a prompt, or a variable of a template of resources, as it is typed.

        INVALID_COMPLETION [VALIDATION]. `of` is the name of the prompt, or the text of the template. The
        function takes what was typed so far, and answers texts, the best first; 100 of them are sent, as the
        protocol bounds it.
        """
        return self._completions.add(of, argument, function)

    def tool(
        self,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        annotations: types.ToolAnnotations | None = None,
        input_schema: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function as a tool: see `register_tool`. ValueError for one that can be none."""

        def decorate(function: F) -> F:
            _must(
                self.register_tool(
                    function,
                    name=name,
                    title=title,
                    description=description,
                    annotations=annotations,
                    input_schema=input_schema,
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
        listing: Listing | None = None,
    ) -> Callable[[F], F]:
        """Decorate a function as a resource: see `register_resource`. ValueError for one that can be none."""

        def decorate(function: F) -> F:
            _must(
                self.register_resource(
                    uri,
                    function,
                    name=name,
                    title=title,
                    description=description,
                    mime_type=mime_type,
                    listing=listing,
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

    def completion(self, of: str, argument: str) -> Callable[[F], F]:
        """Decorate a function as a completion: see `register_completion`. ValueError where there is one."""

        def decorate(function: F) -> F:
            _must(self.register_completion(of, argument, function))
            return function

        return decorate

    async def resource_updated(self, uri: str) -> None:
        """Tell the clients that watch this resource that it has changed. One that is gone is passed over."""
        await self._changes.publish(ResourceUpdated(uri=uri))
        await self._notices.updated(uri)

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


def _must(result: Result[Any]) -> None:
    if result.error is not None:
        raise ValueError(result.error.message)
