"""What a server promises: checked by the SDK's own client, and on the bare wire."""

import asyncio
import json
import logging
import subprocess
import sys
import threading
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

import httpx2
import mcp_types as types
import pytest
from mcp import Client, MCPError
from mcp.server.mcpserver import Context
from pydantic import BaseModel, Field
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.mcp import MCPClient, MCPServer, MCPServerConfig
from starlette.applications import Starlette
from starlette.routing import Mount

from .conftest import SCRIPT, HTTPServer


class Colour(Enum):
    RED = "red"


class Place(BaseModel):
    city: str
    tags: list[str] = []


@dataclass
class Point:
    x: float
    y: float


@pytest.fixture
def server() -> MCPServer:
    return MCPServer("test")


async def call(server: MCPServer, name: str, **arguments: Any) -> types.CallToolResult:
    async with Client(server.raw) as client:
        return await client.call_tool(name, arguments)


def said(result: types.CallToolResult) -> str:
    (part,) = result.content
    assert isinstance(part, types.TextContent)
    return part.text


def test_the_schemas_come_from_the_annotations(server: MCPServer) -> None:
    def find(
        place: Place, colour: Colour, kind: Literal["a", "b"] = "a", most: Annotated[int, Field(le=9)] = 5
    ) -> Result[list[Point]]:
        """Find points.

        More on it.
        """
        return Success([Point(1, 2)])

    tool = assert_success(
        server.register_tool(find, title="Find", annotations=types.ToolAnnotations(title="F"))
    )
    assert (tool.name, tool.title, tool.description) == ("find", "Find", "Find points.\n\nMore on it.")
    schema = tool.input_schema
    assert schema["required"] == ["place", "colour"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["most"]["maximum"] == 9
    assert tool.output_schema is not None
    assert tool.output_schema["properties"]["result"]["items"] == {"$ref": "#/$defs/Point"}
    assert server.tools == (tool,)


@pytest.mark.parametrize(
    ("annotation", "structured"),
    [
        (Result[int], True),
        (Success[int] | Failure, True),
        (Result[Any] | int, True),
        (int, True),
        (Result, False),
    ],
)
async def test_a_result_is_read_as_what_it_holds(
    server: MCPServer, annotation: Any, structured: bool
) -> None:
    def number() -> Any:
        return Success(7)

    number.__annotations__["return"] = annotation
    tool = assert_success(server.register_tool(number))
    assert (tool.output_schema is not None) is structured
    result = await call(server, "number")
    assert said(result) == "7"
    assert result.structured_content == ({"result": 7} if structured else None)


def no_annotation(a) -> int:  # type: ignore[no-untyped-def]  # what is wrong with it
    return 1


def many(*args: int) -> int:
    return 1


def by_place(a: int, /) -> int:
    return a


def no_such_type(a: "Nothing") -> int:  # type: ignore[name-defined]  # noqa: F821 - what is wrong with it
    return 1


def no_schema(a: int) -> threading.Lock:
    return threading.Lock()


WRONG: list[Any] = [no_annotation, many, by_place, no_such_type, no_schema, lambda: 1]


@pytest.mark.parametrize("function", WRONG)
def test_functions_that_can_be_no_tools(server: MCPServer, function: Any) -> None:
    assert_failure(server.register_tool(function), "INVALID_TOOL")
    with pytest.raises(ValueError, match=r"tool|parameter|define|name|schema"):
        server.tool()(function)
    assert server.tools == ()


def test_names_are_taken_once(server: MCPServer) -> None:
    assert_success(server.register_tool(by_name := _named("a")))
    assert_failure(server.register_tool(by_name), "INVALID_TOOL")
    assert_success(server.register_tool(by_name, name="b"))


def _named(name: str) -> Any:
    def function() -> str:
        return name

    function.__name__ = name
    return function


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ({}, "place: Field required"),
        ({"place": "Rome"}, "place: Input should be an object"),
        ({"place": {"city": 5}, "count": "1"}, "place.city: Input should be a valid string; count: "),
        ({"place": {"city": "x", "tags": ["a", 2]}}, "place.tags[1]: Input should be a valid string"),
        ({"place": {"city": "x"}, "count": True}, "count: Input should be a valid integer"),
        ({"place": {"city": "x"}, "count": 1.5}, "count: Input should be a valid integer"),
        ({"place": {"city": "x"}, "sesame": 1}, "sesame: there is no such argument"),
        ({"place": {"city": "x"}, "colour": "blue"}, "colour: Input should be 'red'"),
    ],
)
async def test_arguments_are_checked(server: MCPServer, arguments: Any, problems: str) -> None:
    @server.tool()
    def visit(place: Place, count: int = 1, colour: Colour = Colour.RED) -> str:
        raise AssertionError("must not be called")

    result = await call(server, "visit", **arguments)
    assert result.is_error
    assert problems in said(result)
    assert said(result).startswith("INVALID_ARGUMENTS: ")


async def test_values_arrive_as_they_were_annotated(server: MCPServer) -> None:
    @server.tool()
    def visit(place: Place, point: Point, colour: Colour = Colour.RED) -> str:
        return f"{type(place).__name__} {point.x} {colour.name}"

    assert said(await call(server, "visit", place={"city": "x"}, point={"x": 1, "y": 2})) == "Place 1.0 RED"
    # Some clients send objects as text.
    assert (
        said(await call(server, "visit", place='{"city": "x"}', point='{"x": 1, "y": 2}')) == "Place 1.0 RED"
    )


@pytest.mark.parametrize("category", [ErrorCategory.VALIDATION, ErrorCategory.NETWORK, ErrorCategory.UNKNOWN])
async def test_a_failure_is_told_without_its_context(server: MCPServer, category: ErrorCategory) -> None:
    @server.tool()
    async def fail() -> Result[int]:
        cause = QiError.network("INNER", "the inner sesame")
        return Failure(QiError.create("OUTER", "it is outside", category, {"key": "sesame"}, cause))

    result = await call(server, "fail")
    assert result.is_error
    assert said(result) == "OUTER: it is outside"
    assert result.meta is not None
    assert result.meta["qicore/error"] == {"code": "OUTER", "category": category.value}
    assert result.structured_content is None, "it would have to fit the tool's output schema"
    assert "sesame" not in result.model_dump_json()


def crash() -> int:
    raise RuntimeError("the password is sesame")


def lie() -> int:
    return "sesame"  # type: ignore[return-value]  # what is wrong with it


def circle() -> list[Any]:
    items: list[Any] = ["sesame"]
    items.append(items)
    return items


def strange() -> dict[str, Any]:
    return {"sesame": object()}


@pytest.mark.parametrize("function", [crash, lie, circle, strange])
async def test_what_happens_inside_stays_inside(
    server: MCPServer, function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert_success(server.register_tool(function))
    with caplog.at_level(logging.ERROR, "qicore.mcp"):
        result = await call(server, function.__name__)
    assert result.is_error
    assert said(result) == f"INTERNAL_ERROR: the tool {function.__name__} failed"
    assert "sesame" not in result.model_dump_json()
    assert any(record.exc_info for record in caplog.records), "the log has it"


async def test_an_unknown_tool(server: MCPServer) -> None:
    result = await call(server, "nothing")
    assert said(result) == "UNKNOWN_TOOL: Unknown tool: nothing"
    assert result.is_error


async def test_a_function_that_waits_holds_nobody_up(server: MCPServer) -> None:
    go = threading.Event()

    @server.tool()
    def wait() -> str:
        return "went" if go.wait(30) else "never"

    @server.tool()
    async def release() -> str:
        go.set()
        return "released"

    async with Client(server.raw) as client:
        waiting = [asyncio.create_task(client.call_tool("wait", {})) for _ in range(5)]
        assert said(await client.call_tool("release", {})) == "released"
        assert [said(result) for result in await asyncio.gather(*waiting)] == ["went"] * 5


async def test_a_hundred_calls_at_once(server: MCPServer) -> None:
    @server.tool()
    async def echo(number: int) -> int:
        await asyncio.sleep(0.001 * (number % 7))
        return number

    async with Client(server.raw, mode="legacy") as client:
        results = await asyncio.gather(*(client.call_tool("echo", {"number": n}) for n in range(100)))
    assert [result.structured_content for result in results] == [{"result": n} for n in range(100)]


async def test_the_context_of_a_request(server: MCPServer) -> None:
    @server.tool()
    async def tell(text: str, ctx: Context) -> str:
        await ctx.report_progress(1, 2, text)
        return ctx.mcp_server.name

    assert "ctx" not in server.tools[0].input_schema["properties"]
    seen: list[str | None] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(message)

    async with Client(server.raw) as client:
        result = await client.call_tool("tell", {"text": "half"}, progress_callback=note)
    assert (said(result), seen) == ("test", ["half"])


async def test_other_answers_of_the_protocol_pass(server: MCPServer) -> None:
    @server.tool()
    async def refuse() -> str:
        raise MCPError(-32099, "as the protocol has it")

    @server.tool()
    def picture() -> types.ImageContent:
        return types.ImageContent(type="image", data="AAAA", mime_type="image/png")

    async with MCPClient.create(server).unwrap() as client:
        error = assert_failure(await client.call_tool("refuse"), "MCP_SERVER_ERROR")
    assert (error.message, error.context["rpc_code"]) == ("tools/call: as the protocol has it", -32099)
    (content,) = (await call(server, "picture")).content
    assert content.type == "image"


def test_resources_and_prompts_that_can_be_none(server: MCPServer) -> None:
    def other(thing: str) -> str:
        return thing

    assert_failure(server.register_resource("item://{number}", other), "INVALID_RESOURCE")
    assert_failure(server.register_resource("item://1", other), "INVALID_RESOURCE")
    assert_failure(server.register_resource("item://1", many), "INVALID_RESOURCE")
    assert_failure(server.register_prompt(many), "INVALID_PROMPT")
    with pytest.raises(ValueError, match="item"):
        server.resource("item://{number}")(other)
    with pytest.raises(ValueError, match="args"):
        server.prompt()(many)


def test_resources_and_prompts_are_taken_once(server: MCPServer) -> None:
    def item(number: str) -> str:
        return number

    assert_success(server.register_resource("item://{number}", item))
    assert_failure(server.register_resource("item://{number}", item), "INVALID_RESOURCE")
    assert_success(server.register_resource("item://one", lambda: "1", name="one"))
    assert_failure(server.register_resource("item://one", lambda: "2", name="other"), "INVALID_RESOURCE")
    assert_success(server.register_prompt(item))
    assert_failure(server.register_prompt(item), "INVALID_PROMPT")
    assert_success(server.register_prompt(item, name="other"))


async def test_variables_and_arguments_that_are_no_texts(server: MCPServer) -> None:
    @server.resource("item://{number}")
    def item(number: int) -> str:
        return f"item {number + 1}"

    @server.prompt()
    def praise(times: int, what: str = "tea") -> str:
        """Praise it.

        More on it.
        """
        return what * times

    async with MCPClient.create(server).unwrap() as client:
        (content,) = assert_success(await client.read_resource("item://7")).contents
        assert getattr(content, "text", None) == "item 8"
        error = assert_failure(await client.read_resource("item://seven"), "MCP_INVALID_MESSAGE")
        assert "INVALID_ARGUMENTS: number: Input should be a valid integer" in error.message
        prompt = assert_success(await client.get_prompt("praise", {"times": "2"}))
        assert getattr(prompt.messages[0].content, "text", None) == "teatea"
        error = assert_failure(await client.get_prompt("praise", {"times": "two"}), "MCP_INVALID_MESSAGE")
        assert "INVALID_ARGUMENTS: times: Input should be a valid integer" in error.message
        (shown,) = assert_success(await client.list_prompts())
        assert shown.description == "Praise it.\n\nMore on it."


class Secret:
    def __repr__(self) -> str:
        return "Secret(sesame)"


@pytest.mark.parametrize("answer", [Secret(), {"a": Secret()}, "sesame \udcff", ["sesame \udcff"]])
async def test_resources_and_prompts_show_nothing_inside(
    server: MCPServer, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert_success(server.register_resource("item://one", lambda: answer, name="one"))
    assert_success(server.register_prompt(lambda: answer, name="one"))
    async with MCPClient.create(server).unwrap() as client:
        for result in (await client.read_resource("item://one"), await client.get_prompt("one")):
            error = assert_failure(result, "MCP_SERVER_ERROR")
            assert error.message.endswith("one failed")
            assert "sesame" not in repr(error.to_structured_data())
    assert "the prompt one" in caplog.text
    assert "the resource item://one" in caplog.text


async def test_a_listing_that_is_no_unicode(server: MCPServer) -> None:
    def listing() -> list[types.Resource]:
        return [types.Resource(uri="item://1", name="caf\udce9")]

    def item(number: str) -> str:
        return number

    assert_success(server.register_resource("item://{number}", item, listing=listing))
    async with MCPClient.create(server).unwrap() as client:
        assert_failure(await client.list_resources(), "MCP_SERVER_ERROR")


@pytest.mark.parametrize("uri", ["item://../etc/passwd", "item://%2e%2e%2fetc", "item:///etc/passwd"])
async def test_paths_that_lead_out_are_refused(server: MCPServer, uri: str) -> None:
    @server.resource("item://{name}")
    def item(name: str) -> str:
        raise AssertionError("must not be called")

    async with Client(server.raw) as client:
        with pytest.raises(MCPError):
            await client.read_resource(uri)


def test_the_root_logger_stays_as_it_is() -> None:
    code = (
        "import logging; from qicore.mcp import MCPServer; MCPServer('x');"
        "root = logging.getLogger(); print(root.handlers, root.level)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] 30\n"


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    },
}


def test_lines_that_are_no_messages_and_a_closed_input() -> None:
    lines = [
        json.dumps(INITIALIZE),
        "nonsense", "[]", "[1, 2]", '{"jsonrpc": "2.0"}', "\x00",
        '{"jsonrpc": "1.0", "id": 2, "method": "ping"}',
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json.dumps({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "add"}}),
        json.dumps({"jsonrpc": "2.0", "id": 4, "method": "no/such"}),
        json.dumps({"jsonrpc": "2.0", "id": 5, "method": "tools/call",
        "params": {"name": "add", "arguments": {"a": 1}}}),
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n".join(lines) + "\n")
        process.stdin.flush()
        answers: dict[Any, Any] = {}
        while not answers.keys() >= {1, 3, 4, 5}:
            answer = json.loads(process.stdout.readline())
            answers[answer.get("id")] = answer
        process.stdin.close()
        assert process.wait(60) == 0, "it ends when its input does"
    assert answers[1]["result"]["serverInfo"]["name"] == "everything"
    assert answers[3]["result"]["isError"] is True
    assert answers[4]["error"]["code"] == -32601
    assert answers[5]["result"]["structuredContent"] == {"result": 2}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Content-Type": "text/plain"}, 400),
        ({}, 200),
    ],
)
async def test_only_this_machine_is_served(
    shared_server: HTTPServer, headers: dict[str, str], status: int
) -> None:
    wanted = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    async with httpx2.AsyncClient() as client:
        answer = await client.post(shared_server.url, json=INITIALIZE, headers={**wanted, **headers})
    assert answer.status_code == status


@pytest.mark.parametrize("size", [100, 5_000_000])
async def test_requests_have_a_bound(shared_server: HTTPServer, size: int) -> None:
    async with MCPClient.create(shared_server.url).unwrap() as client:
        result = await client.call_tool("weather", {"city": "x" * size})
        assert result.is_success is (size == 100)
        assert_success(await client.call_tool("add", {"a": 1}))


async def test_it_may_be_mounted_and_nobody_starts_it() -> None:
    server = MCPServer("inner", MCPServerConfig(stateless=True, json_response=True))

    @server.tool()
    def add(a: int, b: int) -> int:
        return a + b

    message = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "add", "arguments": {"a": 1, "b": 2}},
    }
    wanted = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
    app = Starlette(routes=[Mount("/inner", app=server.asgi_app())])
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:80"
    ) as client:
        answers = await asyncio.gather(
            *(client.post("/inner/mcp", json=message, headers=wanted) for _ in range(5))
        )
    assert [answer.json()["result"]["structuredContent"] for answer in answers] == [{"result": 3}] * 5
