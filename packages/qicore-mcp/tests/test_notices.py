"""What clients ask a server for beside its tools: suggestions, log levels, news of resources, lists."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.server.mcpserver import Context
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.mcp import MCPClient, MCPConfig, MCPServer

from .conftest import HTTPServer

ORIGINAL = {"type": "object", "properties": {"city": {"type": "string", "examples": ["Hull"]}}}


@pytest.fixture
def server() -> MCPServer:
    return MCPServer("test")


def client_of(server: MCPServer, **options: Any) -> MCPClient:
    return MCPClient.create(server, MCPConfig(mode="legacy"), **options).unwrap()


def answering(answer: Any) -> Callable[[str], Any]:
    return lambda _: answer


class TestCompletions:
    PROMPT = types.PromptReference(type="ref/prompt", name="visit")
    TEMPLATE = types.ResourceTemplateReference(type="ref/resource", uri="city://{name}")

    async def values(self, server: MCPServer, reference: Any, argument: str, typed: str) -> Result[list[str]]:
        async with client_of(server) as client:
            completed = await client.complete(reference, argument, typed)
            return completed.map(lambda completion: completion.values)

    async def test_each_argument_has_its_own(self, server: MCPServer) -> None:
        @server.completion("visit", "city")
        def city(typed: str) -> Result[list[str]]:
            return Success([name for name in ("Hull", "Hamburg", "Oslo") if name.startswith(typed)])

        @server.completion("city://{name}", "name")
        async def name(typed: str) -> list[str]:
            return [typed + "!"]

        assert assert_success(await self.values(server, self.PROMPT, "city", "H")) == ["Hull", "Hamburg"]
        assert assert_success(await self.values(server, self.TEMPLATE, "name", "x")) == ["x!"]
        assert assert_success(await self.values(server, self.PROMPT, "other", "H")) == []

    async def test_100_are_sent_and_the_rest_is_counted(self, server: MCPServer) -> None:
        server.register_completion("visit", "city", answering([str(n) for n in range(250)])).unwrap()
        async with client_of(server) as client:
            completion = assert_success(await client.complete(self.PROMPT, "city", ""))
        assert (len(completion.values), completion.total, completion.has_more) == (100, 250, True)

    @pytest.mark.parametrize("answer", ["text", None, [1]])
    async def test_what_is_no_texts_is_told_as_that(
        self, server: MCPServer, answer: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.register_completion("visit", "city", answering(answer)).unwrap()
        error = assert_failure(await self.values(server, self.PROMPT, "city", ""))
        assert "INTERNAL_ERROR" in error.message
        assert "answered no texts" in caplog.text

    async def test_a_failure_is_told(self, server: MCPServer) -> None:
        refused = Failure(QiError.validation("TOO_SHORT", "type more", secret="k3y"))
        server.register_completion("visit", "city", answering(refused)).unwrap()
        error = assert_failure(await self.values(server, self.PROMPT, "city", ""))
        assert "TOO_SHORT: type more" in error.message
        assert "k3y" not in repr(error)

    def test_one_for_each(self, server: MCPServer) -> None:
        server.register_completion("visit", "city", answering([])).unwrap()
        again = server.register_completion("visit", "city", answering([]))
        assert_failure(again, "INVALID_COMPLETION")
        assert_failure(server.register_completion("visit", "to", "no function"), "INVALID_COMPLETION")  # type: ignore[arg-type]  # what is wrong with it
        with pytest.raises(ValueError, match="already"):
            server.completion("visit", "city")(answering([]))

    async def test_without_any_there_is_no_such_capability(self, server: MCPServer) -> None:
        async with client_of(server) as client:
            assert assert_success(await client.connect()).capabilities.completions is None


@pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")
class TestLogLevels:
    async def logged(self, server: MCPServer, level: types.LoggingLevel | None) -> list[str]:
        heard: list[str] = []

        async def hear(params: types.LoggingMessageNotificationParams) -> None:
            heard.append(params.level)

        async with client_of(server, on_log=hear) as client:
            if level is not None:
                assert_success(await client.set_logging_level(level))
            assert_success(await client.call_tool("work"))
        return heard

    @pytest.fixture(autouse=True)
    def work(self, server: MCPServer) -> None:
        @server.tool()
        async def work(context: Context[Any, Any]) -> None:
            for level in ("debug", "info", "error"):
                await context.session.send_log_message(  # pyright: ignore[reportDeprecated]  # older clients
                    level, level, related_request_id=context.request_id
                )

    async def test_a_client_hears_what_it_asked_for(self, server: MCPServer) -> None:
        assert await self.logged(server, None) == ["debug", "info", "error"]
        assert await self.logged(server, "info") == ["info", "error"]
        assert await self.logged(server, "emergency") == []

    async def test_each_client_asks_for_itself(self, server: MCPServer) -> None:
        first, second = await asyncio.gather(self.logged(server, "error"), self.logged(server, "debug"))
        assert (first, second) == (["error"], ["debug", "info", "error"])


class TestWatching:
    URI = "item://7"

    async def next_of(self, client: MCPClient) -> str:
        message = assert_success(await client.receive(5.0))
        assert isinstance(message, types.ResourceUpdatedNotification)
        return str(message.params.uri)

    async def test_those_who_watch_are_told(self, server: MCPServer) -> None:
        async with client_of(server) as watching, client_of(server) as other:
            assert_success(await watching.subscribe_resource(self.URI))
            assert_success(await watching.subscribe_resource(self.URI))
            assert_success(await other.subscribe_resource("item://8"))
            await server.resource_updated(self.URI)
            assert await self.next_of(watching) == self.URI
            assert_failure(await watching.receive(0.05), "MCP_TIMEOUT")
            assert_failure(await other.receive(0.05), "MCP_TIMEOUT")
            assert_success(await watching.unsubscribe_resource(self.URI))
            assert_success(await watching.unsubscribe_resource("item://never"))
            await server.resource_updated(self.URI)
            assert_failure(await watching.receive(0.05), "MCP_TIMEOUT")

    async def test_one_that_has_gone_is_forgotten(self, server: MCPServer) -> None:
        async with client_of(server) as client:
            assert_success(await client.subscribe_resource(self.URI))
        await server.resource_updated(self.URI)
        assert server._notices._watchers == {}  # pyright: ignore[reportPrivateUsage]  # nothing else shows a leak

    async def test_streams_of_the_later_protocol_are_told(self, server: MCPServer) -> None:
        async with (
            Client(server.raw, mode="2026-07-28") as client,
            client.listen(resource_subscriptions=[self.URI]) as changes,
        ):
            await server.resource_updated("item://8")
            await server.resource_updated(self.URI)
            async for change in changes:
                assert getattr(change, "uri", None) == self.URI
                break


class TestListings:
    def items(self, count: int) -> Callable[[], Result[list[types.Resource]]]:
        return lambda: Success([types.Resource(uri=f"item://{n}", name=f"item {n}") for n in range(count)])

    async def test_the_resources_of_a_template_are_listed_in_pages(self, server: MCPServer) -> None:
        @server.resource("item://{number}", listing=self.items(250))
        def item(number: str) -> str:
            return f"item {number}"

        @server.resource("note://one")
        def note() -> str:
            return "one"

        async with client_of(server) as client:
            listed = assert_success(await client.list_resources())
            assert [resource.uri for resource in listed] == [
                "note://one",
                *(f"item://{n}" for n in range(250)),
            ]
            assert len(assert_success(await client.list_resource_templates())) == 1
            (content,) = assert_success(await client.read_resource(listed[-1].uri)).contents
            assert getattr(content, "text", None) == "item 249"

    async def test_a_listing_that_fails(self, server: MCPServer) -> None:
        def listing() -> Result[list[types.Resource]]:
            return Failure(QiError.network("DB_AWAY", "the database is away", host="secret"))

        server.register_resource("item://{number}", _item, listing=listing).unwrap()
        async with client_of(server) as client:
            error = assert_failure(await client.list_resources())
            assert "DB_AWAY" in error.message
            assert "secret" not in repr(error)


def _item(number: str) -> str:
    return number


async def test_a_schema_of_ones_own_is_shown_and_the_annotations_check(server: MCPServer) -> None:
    @server.tool(input_schema=ORIGINAL)
    def visit(city: str) -> str:
        return city

    async with client_of(server) as client:
        (tool,) = assert_success(await client.list_tools())
        assert tool.input_schema == ORIGINAL
        assert_success(await client.call_tool("visit", {"city": "Hull"}))
        assert_failure(await client.call_tool("visit", {"city": 1}), "MCP_TOOL_ERROR")


async def test_prompts_may_answer_the_messages_of_the_protocol(server: MCPServer) -> None:
    @server.prompt()
    def visit(city: str) -> list[types.PromptMessage]:
        text = types.TextContent(type="text", text=city)
        return [
            types.PromptMessage(role="user", content=text),
            types.PromptMessage(role="assistant", content=text),
        ]

    async with client_of(server) as client:
        messages = assert_success(await client.get_prompt("visit", {"city": "Hull"})).messages
        assert [(message.role, getattr(message.content, "text", "")) for message in messages] == [
            ("user", "Hull"),
            ("assistant", "Hull"),
        ]


class Token(httpx2.Auth):
    def auth_flow(self, request: httpx2.Request) -> Any:
        request.headers["Authorization"] = "Bearer t0ken"
        yield request


async def test_requests_prove_who_sends_them(shared_server: HTTPServer) -> None:
    config = MCPConfig(auth=Token())
    async with MCPClient.create(shared_server.url, config).unwrap() as client:
        answer = assert_success(await client.call_tool("header", {"name": "authorization"}))
    assert answer.structured_content == {"result": "Bearer t0ken"}
    assert "t0ken" not in repr(config)


async def test_a_password_in_the_address_is_sent_and_not_logged(
    shared_server: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    address = shared_server.url.replace("://", "://ann:hunter2@")
    with caplog.at_level("DEBUG"):
        async with MCPClient.create(address).unwrap() as client:
            answer = assert_success(await client.call_tool("header", {"name": "authorization"}))
    assert answer.structured_content == {"result": httpx2.BasicAuth("ann", "hunter2")._auth_header}  # pyright: ignore[reportPrivateUsage]  # what it sends
    assert "HTTP Request" in caplog.text
    assert "hunter2" not in caplog.text


def test_auth_is_checked() -> None:
    error = assert_failure(MCPConfig(auth="Bearer t0ken").check(), "INVALID_MCP_CONFIG")  # type: ignore[arg-type]  # what is wrong with it
    assert error.message == "auth must be an httpx2.Auth, or None"
