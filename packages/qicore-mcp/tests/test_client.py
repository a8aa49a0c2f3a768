"""What a client does over every transport, with the newest protocol and with the older ones."""

import asyncio
from typing import Any

import mcp_types as types
import pytest
from mcp import MCPDeprecationWarning
from mcp_types import TextContent
from pydantic import FileUrl
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.mcp import MCPClient, ServerInfo
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig

from .conftest import Opens, until


def text_of(result: types.CallToolResult) -> str:
    return "".join(part.text for part in result.content if isinstance(part, TextContent))


async def test_who_is_there(client: MCPClient, mode: str) -> None:
    info: ServerInfo = assert_success(await client.connect())
    assert (info.name, info.version, info.instructions) == ("everything", "1.2", "Be kind.")
    assert info.protocol_version == ("2025-11-25" if mode == "legacy" else "2026-07-28")
    assert info.capabilities.tools is not None
    assert client.connected
    assert client.raw is not None
    assert_success(await client.ping())


async def test_a_call(client: MCPClient) -> None:
    result = assert_success(await client.call_tool("add", {"a": 2, "b": 3}))
    assert result.structured_content == {"result": 5}
    assert text_of(result) == "5"
    weather = assert_success(await client.call_tool("weather", {"city": "Rome"}))
    assert weather.structured_content == {"city": "Rome", "degrees": 21.5}


async def test_a_tool_that_fails(client: MCPClient) -> None:
    error = assert_failure(await client.call_tool("weather", {"city": "Atlantis"}), "MCP_TOOL_ERROR")
    assert error.message == "weather: NO_SUCH_CITY: there is no such city"
    assert error.context["tool_code"] == "NO_SUCH_CITY"
    assert error.context["tool_category"] == "VALIDATION"
    assert "sesame" not in repr(error.to_structured_data())


async def test_a_tool_that_crashes_shows_nothing(client: MCPClient) -> None:
    error = assert_failure(await client.call_tool("crash"), "MCP_TOOL_ERROR")
    assert error.context["tool_code"] == "INTERNAL_ERROR"
    assert "sesame" not in repr(error.to_structured_data())


async def test_a_tool_that_is_not_there(client: MCPClient) -> None:
    assert_failure(await client.call_tool("nothing"), "MCP_UNKNOWN_TOOL")


async def test_arguments_are_checked(client: MCPClient) -> None:
    error = assert_failure(await client.call_tool("add", {"a": "sesame", "c": 1}), "MCP_TOOL_ERROR")
    assert error.message == (
        "add: INVALID_ARGUMENTS: c: there is no such argument; a: Input should be a valid integer"
    )


async def test_lists_come_whole_from_their_pages(client: MCPClient) -> None:
    names = [tool.name for tool in assert_success(await client.list_tools())]
    assert names == [
        "add", "weather", "crash", "sleep", "cancellations", "huge", "pid", "printing", "steps", "header",
        "ask", "consult", "no_unicode",
    ]  # fmt: skip
    assert [each.uri for each in assert_success(await client.list_resources())] == ["text://greeting"]
    templates = assert_success(await client.list_resource_templates())
    assert [each.uri_template for each in templates] == ["item://{number}"]
    assert [each.name for each in assert_success(await client.list_prompts())] == ["review"]
    page = assert_success(await client.send("tools/list", {}))
    assert len(page["tools"]) == 3
    assert_failure(await client.send("tools/list", {"cursor": "nonsense"}), "MCP_INVALID_MESSAGE")


async def test_resources(client: MCPClient) -> None:
    (content,) = assert_success(await client.read_resource("text://greeting")).contents
    assert isinstance(content, types.TextResourceContents)
    assert content.text == "Hello"
    (content,) = assert_success(await client.read_resource("item://7")).contents
    assert isinstance(content, types.TextResourceContents)
    assert content.text == "item 7"


async def test_resources_that_fail(client: MCPClient) -> None:
    missing = assert_failure(await client.read_resource("item://0"), "MCP_INVALID_MESSAGE")
    assert "NO_SUCH_ITEM: there is no item 0" in missing.message
    crashed = assert_failure(await client.read_resource("item://1"), "MCP_SERVER_ERROR")
    assert_failure(await client.read_resource("text://nothing"), "MCP_UNKNOWN_RESOURCE")
    for error in (missing, crashed):
        assert "sesame" not in repr(error.to_structured_data())


async def test_prompts(client: MCPClient) -> None:
    prompt = assert_success(await client.get_prompt("review", {"code": "x = 1"}))
    (message,) = prompt.messages
    assert isinstance(message.content, TextContent)
    assert message.content.text == "Review this: x = 1"
    for name, arguments, problem in (
        ("nothing", {}, "UNKNOWN_PROMPT: Unknown prompt: nothing"),
        ("review", {}, "INVALID_ARGUMENTS: code: Field required"),
        ("review", {"code": "x", "color": "red"}, "INVALID_ARGUMENTS: color: there is no such argument"),
    ):
        error = assert_failure(await client.get_prompt(name, arguments), "MCP_INVALID_MESSAGE")
        assert error.message == f"prompts/get: {problem}"


async def test_progress(client: MCPClient) -> None:
    seen: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total, message))

    assert_success(await client.call_tool("steps", {"count": 3}, on_progress=note))
    assert seen == [(1.0, 3.0, "step 1"), (2.0, 3.0, "step 2"), (3.0, 3.0, "step 3")]


async def test_elicitation(client_of: Opens) -> None:
    asked: list[str] = []

    async def answer(params: types.ElicitRequestParams) -> Result[types.ElicitResult]:
        asked.append(params.message)
        return Success(types.ElicitResult(action="accept", content={"yes": True}))

    async def refuse(params: types.ElicitRequestParams) -> Result[types.ElicitResult]:
        return Failure(QiError.permission("NOT_NOW", "the user is away"))

    async def crash(params: types.ElicitRequestParams) -> types.ElicitResult:
        raise RuntimeError("sesame")

    client = client_of(callbacks={"elicitation": answer}, mode="legacy")
    assert "accept" in text_of(assert_success(await client.call_tool("ask")))
    assert asked == ["Do you?"]
    for callback in (refuse, crash):
        result = await client_of(callbacks={"elicitation": callback}, mode="legacy").call_tool("ask")
        assert result.error is not None
        assert "sesame" not in repr(result.error.to_structured_data())


async def agree(_: types.ElicitRequestParams) -> Result[types.ElicitResult]:
    return Success(types.ElicitResult(action="accept", content={"yes": True}))


async def decline(_: types.ElicitRequestParams) -> Result[types.ElicitResult]:
    return Success(types.ElicitResult(action="decline"))


async def model(params: types.CreateMessageRequestParams) -> Result[types.CreateMessageResult]:
    assert params.max_tokens == 9
    text = TextContent(type="text", text="a model says so")
    return Success(types.CreateMessageResult(role="assistant", content=text, model="none"))


async def folders() -> Result[types.ListRootsResult]:
    return Success(types.ListRootsResult(roots=[types.Root(uri=FileUrl("file:///work"), name="work")]))


async def test_a_tool_asks_the_client_in_every_version(client_of: Opens) -> None:
    client = client_of(callbacks={"elicitation": agree, "sampling": model, "roots": folders})
    result = assert_success(await client.call_tool("consult", {"topic": "tea"}))
    assert text_of(result) == "tea: True, a model says so, work"
    (tool,) = [each for each in assert_success(await client.list_tools()) if each.name == "consult"]
    assert list(tool.input_schema["properties"]) == ["topic"], "what is asked for is no argument"


async def test_a_tool_that_gets_no_answer(client_of: Opens) -> None:
    others = {"sampling": model, "roots": folders}
    client = client_of(callbacks={"elicitation": decline, **others})
    error = assert_failure(await client.call_tool("consult", {"topic": "tea"}), "MCP_TOOL_ERROR")
    assert error.context["tool_code"] == "NO_INPUT"
    error = assert_failure(await client.call_tool("consult", {"topic": "crash"}), "MCP_TOOL_ERROR")
    assert error.context["tool_code"] == "INTERNAL_ERROR"
    assert "sesame" not in repr(error.to_structured_data())
    assert (await client_of().call_tool("consult", {"topic": "tea"})).is_failure


@pytest.mark.parametrize("answer", [None, "yes", "\udcff"])
async def test_a_callback_that_answers_nonsense(client_of: Opens, answer: Any) -> None:
    async def nonsense(_: types.ElicitRequestParams) -> Any:
        return types.ElicitResult(action="accept", content={"yes": answer}) if answer == "\udcff" else answer

    client = client_of(callbacks={"elicitation": nonsense, "sampling": model, "roots": folders})
    assert_success(await client.connect())
    before = client.raw
    assert (await client.call_tool("consult", {"topic": "tea"}, timeout=30)).is_failure
    assert_success(await client.call_tool("add", {"a": 1}))
    assert client.raw is before, "it did not cost the connection"


async def test_twenty_calls_at_once(client: MCPClient) -> None:
    results = await asyncio.gather(*(client.call_tool("add", {"a": number}) for number in range(20)))
    assert [assert_success(result).structured_content for result in results] == [
        {"result": number + 1} for number in range(20)
    ]


async def test_a_call_that_takes_too_long(client: MCPClient) -> None:
    assert_success(await client.connect())
    error = assert_failure(await client.call_tool("sleep", {"seconds": 60}, timeout=0.3), "MCP_TIMEOUT")
    assert error.context["timeout"] == 0.3
    await told(client)


async def test_a_call_that_is_cancelled(client: MCPClient) -> None:
    assert_success(await client.connect())
    task = asyncio.create_task(client.call_tool("sleep", {"seconds": 60}))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await told(client)


async def told(client: MCPClient) -> None:
    """Whether the server hears that a call was given up; the connection is well."""
    for _ in range(100):
        result = assert_success(await client.call_tool("cancellations"))
        if result.structured_content is not None and result.structured_content["result"]:
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("the server was never told")
    from . import everything_server

    everything_server.cancelled.clear()


async def test_a_huge_result(client: MCPClient) -> None:
    result = assert_success(await client.call_tool("huge", {"size": 3_000_000}))
    assert len(text_of(result)) == 3_000_000


async def test_many_messages_may_be_more_than_the_bound_of_one(client_of: Opens) -> None:
    client = client_of(max_message_size=100_000)
    seen: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    steps = {"count": 10, "size": 20_000}
    assert_success(await client.call_tool("steps", steps, on_progress=note))
    assert len(seen) == 10


async def test_what_can_not_be_sent_costs_one_call(client: MCPClient) -> None:
    assert_success(await client.connect())
    before = client.raw
    wrong: list[Any] = [5, ["a"], "abc", {5: 1}, {"a": object()}, {"a": "\udcff"}]
    for values in wrong:
        assert_failure(await client.call_tool("add", values), "MCP_INVALID_MESSAGE")
        assert_failure(await client.get_prompt("review", values), "MCP_INVALID_MESSAGE")
        assert_failure(await client.send("tools/list", values), "MCP_INVALID_MESSAGE")
    assert_failure(await client.get_prompt("review", {"code": 5}), "MCP_INVALID_MESSAGE")  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]  # no text
    names: list[Any] = [None, 5, "", "\udcff"]
    for name in names:
        assert_failure(await client.call_tool(name), "MCP_INVALID_MESSAGE")
        assert_failure(await client.get_prompt(name), "MCP_INVALID_MESSAGE")
        assert_failure(await client.send(name), "MCP_INVALID_MESSAGE")
    assert_failure(await client.read_resource("text://\udcff"), "MCP_INVALID_MESSAGE")
    reference = types.PromptReference(type="ref/prompt", name="review")
    assert_failure(await client.complete(reference, "code", "\udcff"), "MCP_INVALID_MESSAGE")
    assert_success(await client.call_tool("add", {"a": 1}))
    assert client.raw is before


async def test_an_answer_that_is_no_unicode_costs_one_call(client: MCPClient) -> None:
    assert_success(await client.connect())
    before = client.raw
    error = assert_failure(await client.call_tool("no_unicode", timeout=30), "MCP_TOOL_ERROR")
    assert error.context["tool_code"] == "INTERNAL_ERROR"
    error = assert_failure(await client.call_tool("no_unicode", {"fail": True}), "MCP_TOOL_ERROR")
    assert error.message == "no_unicode: NO_SUCH_FILE: caf\\udce9"
    assert_success(await client.call_tool("add", {"a": 1}))
    assert client.raw is before


async def test_what_a_handler_prints_disturbs_nobody(client: MCPClient, capsys: Any) -> None:
    assert text_of(assert_success(await client.call_tool("printing"))) == "printed"
    assert_success(await client.call_tool("add", {"a": 1}))


async def test_messages_without_a_method(client: MCPClient) -> None:
    answer = assert_success(await client.send("prompts/get", {"name": "review", "arguments": {"code": "y"}}))
    assert answer["messages"][0]["content"]["text"] == "Review this: y"
    assert_failure(await client.send("no/such/method"), "MCP_INVALID_MESSAGE")
    nothing: Any = None
    assert_failure(await client.send(nothing), "MCP_INVALID_MESSAGE")
    assert_failure(await client.receive(timeout=0.01), "MCP_TIMEOUT")


async def test_receiving_connects_and_hears_of_the_end(client: MCPClient) -> None:
    waiting = [asyncio.create_task(client.receive()) for _ in range(2)]
    await until(client, connected=True)
    assert_success(await client.disconnect())
    for result in await asyncio.gather(*waiting):
        assert_failure(result, "MCP_DISCONNECTED")
    assert_failure(await client.receive(), "MCP_DISCONNECTED")


async def test_any_task_may_connect_and_disconnect(client: MCPClient) -> None:
    assert_success(await asyncio.create_task(client.connect()))
    assert_success(await asyncio.create_task(client.call_tool("add", {"a": 1})))
    assert_success(await asyncio.create_task(client.disconnect()))
    assert not client.connected
    assert_success(await client.disconnect())
    assert_failure(await client.call_tool("add", {"a": 1}), "MCP_DISCONNECTED")
    assert_success(await asyncio.create_task(client.connect()))
    assert_success(await client.call_tool("add", {"a": 1}))


async def test_leaving_the_block_disconnects(client: MCPClient) -> None:
    async with client:
        assert_success(await client.call_tool("add", {"a": 1}))
    assert client.raw is None


async def test_a_circuit_breaker_shares_the_connection(client: MCPClient) -> None:
    guarded = client.with_circuit_breaker(CircuitBreakerConfig(failure_threshold=1))
    assert_success(await guarded.call_tool("add", {"a": 1}))
    assert guarded.raw is client.raw
    assert_failure(await guarded.call_tool("crash"), "MCP_TOOL_ERROR")
    assert_failure(await guarded.call_tool("sleep", {"seconds": 9}, timeout=0.05), "MCP_TIMEOUT")
    assert_failure(await guarded.call_tool("add", {"a": 1}), "CIRCUIT_OPEN")
    assert_success(await client.call_tool("add", {"a": 1}))


async def test_a_breaker_that_several_clients_use(client: MCPClient) -> None:
    shared = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1))
    slow = await client.with_circuit_breaker(shared).call_tool("sleep", {"seconds": 9}, timeout=0.05)
    assert_failure(slow, "MCP_TIMEOUT")
    assert_failure(await client.with_circuit_breaker(shared).call_tool("add", {"a": 1}), "CIRCUIT_OPEN")


def test_the_deprecated_parts_are_still_theirs() -> None:
    """Should the SDK drop them, ping and the logging level need another way."""
    assert issubclass(MCPDeprecationWarning, UserWarning)
