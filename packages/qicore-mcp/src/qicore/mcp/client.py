# ruff: noqa: ASYNC109 - the limits bound more than an await: the request is cancelled at the server, too
"""MCPClient: what users of MCP servers hold in their hands."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar, cast

import mcp_types as types
from pydantic import TypeAdapter
from qicore.base import Failure, Result, Success
from qicore.mcp.callbacks import (
    Callbacks,
    ElicitationCallback,
    Inbox,
    LogCallback,
    RootsCallback,
    SamplingCallback,
)
from qicore.mcp.config import MCPConfig
from qicore.mcp.errors import disconnected, invalid_message, tool_error
from qicore.mcp.given import given
from qicore.mcp.opening import Target, opener
from qicore.mcp.pages import every_page
from qicore.mcp.reach import Reach
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig

from mcp import Client
from mcp.shared.exceptions import MCPDeprecationWarning

__all__ = ["MCPClient", "OnProgress", "ServerInfo"]

T = TypeVar("T")
_ANY: TypeAdapter[Any] = TypeAdapter(dict[str, Any])


class OnProgress(Protocol):
    """Hears how far a call is: how much is done, of how much, and a word on it."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Take note of it."""
        ...


class ServerInfo:
    """Who answered, and what it can do.

    Attributes:
        name: of the server; empty when it does not say.
        version: of the server.
        protocol_version: that both agreed on.
        capabilities: what the server offers.
        instructions: how it wants to be used, for a model to read.
    """

    __slots__ = ("capabilities", "instructions", "name", "protocol_version", "version")

    def __init__(self, client: Client) -> None:
        info = client.server_info
        self.name = "" if info is None else info.name
        self.version = "" if info is None else info.version
        self.protocol_version = client.protocol_version
        self.capabilities = client.server_capabilities
        self.instructions = client.instructions or ""

    def __repr__(self) -> str:
        return f"ServerInfo({self.name!r}, {self.version!r}, protocol_version={self.protocol_version!r})"


class MCPClient:
    """Uses the tools, resources and prompts of an MCP server under asyncio; each call gives a Result.

    It connects when it is first used, or by `connect`, and closes with `disconnect` or at the end of an
    `async with`. Any task may do either, and any number of them may call at once. When the connection is
    lost, what is in flight answers MCP_DISCONNECTED [NETWORK] at once, and the next call connects anew.

    >>> from qicore.mcp import MCPServer
    >>> import asyncio
    >>> server = MCPServer("sums")
    >>> @server.tool()
    ... def add(a: int, b: int) -> int:
    ...     return a + b
    >>> async def main():
    ...     async with MCPClient.create(server).unwrap() as client:
    ...         return (await client.call_tool("add", {"a": 2, "b": 3})).unwrap().structured_content
    >>> asyncio.run(main())
    {'result': 5}

    Codes of every call: MCP_CONNECT_FAILED, MCP_DISCONNECTED, MCP_SERVER_ERROR, CIRCUIT_OPEN [NETWORK];
    MCP_INVALID_MESSAGE [VALIDATION]; MCP_TIMEOUT [TIMEOUT].
    """

    def __init__(self, reach: Reach, breaker: CircuitBreaker | None = None) -> None:
        if not isinstance(cast("object", reach), Reach):  # what many try first
            raise TypeError("use MCPClient.create(target, config), which checks the options")
        self._reach = reach
        self._breaker = breaker

    @classmethod
    def create(
        cls,
        target: Target,
        config: MCPConfig | None = None,
        *,
        sampling: SamplingCallback | None = None,
        elicitation: ElicitationCallback | None = None,
        roots: RootsCallback | None = None,
        on_log: LogCallback | None = None,
    ) -> Result[Self]:
        """Check the options and return a client; INVALID_MCP_CONFIG [VALIDATION]. Nothing is connected yet.

        `target` is `StdioServerParameters` (a child process), an http or https URL (streamable HTTP), a
        server in this process, or a transport of the SDK. The callbacks answer what the server asks of the
        client; they may give a Result.
        """
        options = config or MCPConfig()
        checked = options.check()
        if isinstance(checked, Failure):
            return checked
        inbox = Inbox(options.max_messages)
        callbacks = Callbacks(inbox, sampling, elicitation, roots, on_log)
        return opener(target, options, callbacks).map(lambda opens: cls(Reach(opens, options, inbox)))

    @property
    def config(self) -> MCPConfig:
        """The options it was made with."""
        return self._reach.config

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._reach.client is not None

    @property
    def raw(self) -> Client | None:
        """The SDK's client, which raises; None while there is no connection."""
        return self._reach.client

    def with_circuit_breaker(self, config: CircuitBreakerConfig | CircuitBreaker | None = None) -> Self:
        """Return a client that shares this one's connection, with a circuit breaker around each call.

        While the circuit is open, calls answer CIRCUIT_OPEN [NETWORK] at once. ValueError for bad options.
        Instead of options it takes a breaker that others use, too.
        """
        breaker = config if isinstance(config, CircuitBreaker) else CircuitBreaker(config, name="mcp")
        return type(self)(self._reach, breaker)

    async def connect(self) -> Result[ServerInfo]:
        """Connect, if that has not happened yet, and tell who is there; MCP_CONNECT_FAILED [NETWORK]."""
        self._reach.allow()
        return await self._run(_info, "connect")

    async def disconnect(self) -> Result[None]:
        """Close the connection; a child process has ended then. Calls fail until `connect` is called.

        A second call changes nothing.
        """
        await self._reach.close()
        return Success(None)

    async def close(self) -> Result[None]:
        """Disconnect: by the name that it has in every component."""
        return await self.disconnect()

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        on_progress: OnProgress | None = None,
    ) -> Result[types.CallToolResult]:
        """Call a tool, and return what it gives: `content`, and `structured_content` where it has a schema.

        A tool that says that it failed is MCP_TOOL_ERROR [VALIDATION], with its own words; one that the
        server does not have is MCP_UNKNOWN_TOOL. `timeout` stands for that of the configuration. A call that
        is cancelled or too late is cancelled at the server too.
        """
        checked = given("tools/call", name, arguments)
        if isinstance(checked, Failure):
            return checked
        values = checked.unwrap()

        async def call(client: Client) -> types.CallToolResult:
            return await client.call_tool(name, values, progress_callback=on_progress)

        result = await self._run(call, "tools/call", timeout=timeout)
        value = result.data
        if value is not None and value.is_error:
            return Failure(tool_error(name, value))
        return result

    async def list_tools(self) -> Result[list[types.Tool]]:
        """Return all tools, from all pages."""
        return await self._list(lambda client, cursor: client.list_tools(cursor=cursor), "tools")

    async def list_resources(self) -> Result[list[types.Resource]]:
        """Return all resources, from all pages."""
        return await self._list(lambda client, cursor: client.list_resources(cursor=cursor), "resources")

    async def list_resource_templates(self) -> Result[list[types.ResourceTemplate]]:
        """Return all templates of resources, from all pages."""
        return await self._list(
            lambda client, cursor: client.list_resource_templates(cursor=cursor), "resource_templates"
        )

    async def list_prompts(self) -> Result[list[types.Prompt]]:
        """Return all prompts, from all pages."""
        return await self._list(lambda client, cursor: client.list_prompts(cursor=cursor), "prompts")

    async def read_resource(self, uri: str) -> Result[types.ReadResourceResult]:
        """Return the contents of a resource; MCP_UNKNOWN_RESOURCE [VALIDATION]."""
        checked = given("resources/read", str(uri))
        if isinstance(checked, Failure):
            return checked
        return await self._run(lambda client: client.read_resource(str(uri)), "resources/read")

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None
    ) -> Result[types.GetPromptResult]:
        """Return a prompt, filled in; MCP_INVALID_MESSAGE [VALIDATION] when it is not there, or can't be."""
        checked = given("prompts/get", name, arguments)
        if isinstance(checked, Failure):
            return checked
        values = checked.unwrap()
        if not all(isinstance(value, str) for value in (values or {}).values()):
            return Failure(invalid_message("the arguments of a prompt are texts", operation="prompts/get"))
        return await self._run(lambda client: client.get_prompt(name, values), "prompts/get")

    async def complete(
        self,
        ref: types.PromptReference | types.ResourceTemplateReference,
        argument: str,
        value: str,
        context: Mapping[str, str] | None = None,
    ) -> Result[types.Completion]:
        """Return what an argument of a prompt or a template may be that begins like `value`."""
        checked = given("completion/complete", argument, {"value": value, "context": context})
        if isinstance(checked, Failure):
            return checked
        known = None if context is None else dict(context)
        answered = await self._run(
            lambda client: client.complete(ref, {"name": argument, "value": value}, known),
            "completion/complete",
        )
        return answered.map(lambda result: result.completion)

    async def ping(self) -> Result[None]:
        """Ask whether the server is there, and answers."""

        async def ping(client: Client) -> None:
            # From 2026-07-28 on there is no ping any more; asking who is there does as well.
            if client.session.discover_result is not None:
                await client.session.discover()
            else:
                await _quietly(client.session.send_ping)  # pyright: ignore[reportDeprecated]  # it is theirs to need it

        return await self._run(ping, "ping")

    async def set_logging_level(self, level: types.LoggingLevel) -> Result[None]:
        """Say from which level on the server shall send its log: with versions before 2026-07-28.

        Later versions have the client say so with each request: `MCPConfig(log_level=…)`.
        """

        async def say(client: Client) -> None:
            await _quietly(client.session.set_logging_level, level)  # pyright: ignore[reportDeprecated]  # older servers

        return await self._run(say, "logging/setLevel")

    async def subscribe_resource(self, uri: str) -> Result[None]:
        """Have the server tell of changes of a resource, by `receive`: with versions before 2026-07-28."""

        async def subscribe(client: Client) -> None:
            await _quietly(client.session.subscribe_resource, uri)  # pyright: ignore[reportDeprecated]  # older servers

        return await self._run(subscribe, "resources/subscribe")

    async def unsubscribe_resource(self, uri: str) -> Result[None]:
        """Have it tell no more."""

        async def unsubscribe(client: Client) -> None:
            await _quietly(client.session.unsubscribe_resource, uri)  # pyright: ignore[reportDeprecated]  # older servers

        return await self._run(unsubscribe, "resources/unsubscribe")

    async def send(
        self, method: str, params: Mapping[str, Any] | None = None, *, timeout: float | None = None
    ) -> Result[dict[str, Any]]:
        """Send a request that has no method here, and return the result as it came.

        A notification (its name begins with `notifications/`) has no answer: the result is empty.
        """
        checked = given("send", method, params)
        if isinstance(checked, Failure):
            return checked
        values = checked.unwrap()

        async def send(client: Client) -> dict[str, Any]:
            message = {"method": method} if values is None else {"method": method, "params": values}
            if method.startswith("notifications/"):
                notification = types.Notification[Any, Any].model_validate(message)
                await client.session.send_notification(cast("types.ClientNotification", notification))
                return {}
            request = types.Request[Any, Any].model_validate(message)
            return cast("dict[str, Any]", await client.session.send_request(request, _ANY))

        return await self._run(send, method, timeout=timeout)

    async def receive(self, timeout: float | None = None) -> Result[types.ServerNotification]:
        """Wait for something that the server says by itself, `timeout` seconds at most.

        MCP_TIMEOUT [TIMEOUT] when nothing came; MCP_DISCONNECTED when the connection was lost meanwhile: what
        was subscribed to must be subscribed to again. Messages are kept for this, `max_messages` at most.
        What is no message is a Failure of its own: MCP_INVALID_MESSAGE [VALIDATION].
        """
        inbox = self._reach.inbox
        if not inbox and not self.connected:
            connected = await self._run(_info, "receive", timeout=timeout)
            if isinstance(connected, Failure):
                return connected
            if not self.connected:  # it was lost as soon as it was made
                return Failure(disconnected(operation="receive"))
        return await inbox.get(timeout)

    async def _list(self, page: Callable[[Client, str | None], Awaitable[Any]], name: str) -> Result[Any]:
        config = self.config
        return await self._run(
            lambda client: every_page(lambda cursor: page(client, cursor), name, config.max_pages),
            f"{name}/list",
        )

    async def _run(
        self, operation: Callable[[Client], Awaitable[T]], name: str, *, timeout: float | None = None
    ) -> Result[T]:
        breaker = self._breaker
        if breaker is None or self._reach.shut:  # that it was closed says nothing of the server
            return await self._reach.run(operation, name, timeout)
        return await breaker.call(lambda: self._reach.run(operation, name, timeout))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()


async def _info(client: Client) -> ServerInfo:
    return ServerInfo(client)


async def _quietly(method: Callable[..., Awaitable[object]], *arguments: object) -> None:
    """Call what newer versions of the protocol have no more: whoever asks for it has an older server."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        waiting = method(*arguments)
    await waiting
