"""Our client against the reference server that nobody here wrote, over stdio and over HTTP."""

import asyncio
import base64
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest
from mcp import StdioServerParameters
from mcp_types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestParams,
    ElicitResult,
    ListRootsResult,
    PromptReference,
    Root,
    TextContent,
)
from pydantic import FileUrl
from qicore.base import Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.mcp import MCPClient, MCPConfig
from qicore_testkit.npm import NPM

npm = NPM(Path(__file__).parent)
EVERYTHING = ("@modelcontextprotocol/server-everything", "mcp-server-everything")


@pytest.fixture(scope="session")
def everything_url(programs: None) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [npm.node, npm.program(*EVERYTHING), "streamableHttp"],
        env={**os.environ, "PORT": str(port)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "listening" in line:
                break
        yield f"http://127.0.0.1:{port}/mcp"
        process.terminate()
        process.stderr.read()


async def sampled(params: CreateMessageRequestParams) -> Result[CreateMessageResult]:
    asked = params.messages[0].content
    text = TextContent(type="text", text=f"a model says: {getattr(asked, 'text', '')}")
    return Success(CreateMessageResult(role="assistant", content=text, model="none", stop_reason="endTurn"))


async def elicited(_: ElicitRequestParams) -> Result[ElicitResult]:
    return Success(ElicitResult(action="accept", content={"name": "Ada"}))


async def rooted() -> Result[ListRootsResult]:
    return Success(ListRootsResult(roots=[Root(uri=FileUrl("file:///work"), name="work")]))


ANSWERS: dict[str, Any] = {"sampling": sampled, "elicitation": elicited, "roots": rooted}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TextIO]:
    with (tmp_path / "log.txt").open("w") as file:
        yield file


@pytest.fixture(params=["stdio", "http"])
async def client(request: pytest.FixtureRequest, log: TextIO) -> AsyncIterator[MCPClient]:
    target: Any
    if request.param == "stdio":
        target = StdioServerParameters(command=npm.node, args=[npm.program(*EVERYTHING), "stdio"])
    else:
        target = request.getfixturevalue("everything_url")
    made = MCPClient.create(target, MCPConfig(stderr=log), **ANSWERS)
    async with made.unwrap() as opened:
        yield opened


def text_of(result: Any) -> str:
    return "\n".join(getattr(block, "text", "") for block in result.content)


async def test_who_it_is_and_what_it_has(client: MCPClient) -> None:
    info = assert_success(await client.connect())
    assert "everything" in info.name
    assert info.capabilities.tools
    tools = {tool.name for tool in assert_success(await client.list_tools())}
    assert {"echo", "get-sum", "get-tiny-image", "trigger-long-running-operation"} <= tools
    assert len(assert_success(await client.list_resource_templates())) == 2
    assert len(assert_success(await client.list_resources())) >= 7
    assert {"simple-prompt", "args-prompt"} <= {
        prompt.name for prompt in assert_success(await client.list_prompts())
    }
    assert_success(await client.ping())


async def test_tools(client: MCPClient) -> None:
    assert text_of(assert_success(await client.call_tool("echo", {"message": "tea"}))) == "Echo: tea"
    assert "5" in text_of(assert_success(await client.call_tool("get-sum", {"a": 2, "b": 3})))
    picture = assert_success(await client.call_tool("get-tiny-image"))
    images = [block for block in picture.content if block.type == "image"]
    assert base64.b64decode(images[0].data).startswith(b"\x89PNG")
    structured = assert_success(await client.call_tool("get-structured-content", {"location": "New York"}))
    assert structured.structured_content is not None
    assert "temperature" in structured.structured_content


async def test_20_calls_at_once(client: MCPClient) -> None:
    results = await asyncio.gather(
        *(client.call_tool("echo", {"message": str(number)}) for number in range(20))
    )
    assert [text_of(assert_success(each)) for each in results] == [f"Echo: {n}" for n in range(20)]


async def test_what_it_refuses(client: MCPClient) -> None:
    assert_failure(await client.call_tool("no-such-tool"), "MCP_UNKNOWN_TOOL")
    assert_failure(await client.call_tool("get-sum", {"a": "two"}), "MCP_TOOL_ERROR")
    assert_failure(await client.read_resource("demo://nowhere"))
    assert_success(await client.ping())


async def test_progress_and_a_deadline(client: MCPClient) -> None:
    seen: list[tuple[float, float | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total))

    work = {"duration": 1, "steps": 4}
    assert_success(await client.call_tool("trigger-long-running-operation", work, on_progress=hear))
    assert [done for done, _ in seen] == [1, 2, 3, 4]
    long = {"duration": 60, "steps": 1}
    assert_failure(await client.call_tool("trigger-long-running-operation", long, timeout=0.3), "MCP_TIMEOUT")
    assert text_of(assert_success(await client.call_tool("echo", {"message": "still"}))) == "Echo: still"


async def test_resources_and_prompts(client: MCPClient) -> None:
    first = assert_success(await client.list_resources())[0]
    assert assert_success(await client.read_resource(first.uri)).contents
    dynamic = assert_success(await client.read_resource("demo://resource/dynamic/text/1"))
    assert "Resource 1" in getattr(dynamic.contents[0], "text", "")
    filled = assert_success(await client.get_prompt("args-prompt", {"city": "Hull", "state": "York"}))
    assert "Hull" in getattr(filled.messages[0].content, "text", "")
    reference = PromptReference(type="ref/prompt", name="completable-prompt")
    completed = assert_success(await client.complete(reference, "department", "E"))
    assert completed.values == ["Engineering"]


async def test_it_logs_and_tells_of_changes(client: MCPClient) -> None:
    assert_success(await client.connect())
    assert_success(await client.set_logging_level("debug"))
    uri = "demo://resource/dynamic/text/1"
    assert_success(await client.subscribe_resource(uri))
    assert_success(await client.call_tool("toggle-simulated-logging"))
    assert_success(await client.call_tool("toggle-subscriber-updates"))
    awaited = {"notifications/message", "notifications/resources/updated"}
    while awaited:
        awaited.discard(assert_success(await client.receive(timeout=120)).method)
    assert_success(await client.unsubscribe_resource(uri))


async def test_it_asks_the_client(client: MCPClient) -> None:
    asked = await client.call_tool("trigger-sampling-request", {"prompt": "tea?", "maxTokens": 5})
    assert "a model says" in text_of(assert_success(asked))
    elicited_text = text_of(assert_success(await client.call_tool("trigger-elicitation-request")))
    assert "Ada" in elicited_text
    assert "file:///work" in text_of(assert_success(await client.call_tool("get-roots-list")))
