import asyncio
import logging
import threading
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, field_serializer, field_validator
from qicore.ai import LLMClient, Message, Tool, ToolCall
from qicore.ai.tools import as_toolbox
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore_testkit.model_server import ModelServer, Reply


class Place(BaseModel):
    city: str
    zip: int | None = None


@dataclass
class Weather:
    place: str
    degrees: float


def weather(
    place: Place, unit: Literal["C", "F"] = "C", days: Annotated[int, Field(ge=1, le=7)] = 1
) -> Result[Weather]:
    """Tell the weather.

    This is for people only.
    """
    if place.city == "Atlantis":
        return Failure(QiError.validation("NO_SUCH_PLACE", "there is no such place", secret="sesame"))
    return Success(Weather(place.city, 20.0 + days))


async def later(text: str) -> str:
    """Answer later."""
    await asyncio.sleep(0)
    return text.upper()


def crash() -> None:
    """Fail."""
    raise RuntimeError("the password is sesame")


def test_the_schema_comes_from_the_signature() -> None:
    tool = Tool.from_function(weather)
    assert (tool.name, tool.description) == ("weather", "Tell the weather.")
    parameters: Any = tool.parameters
    assert parameters["required"] == ["place"]
    assert parameters["properties"]["days"] == {"default": 1, "maximum": 7, "minimum": 1, "type": "integer"}
    assert parameters["properties"]["unit"]["enum"] == ["C", "F"]
    assert parameters["$defs"]["Place"]["properties"]["city"] == {"type": "string"}
    assert parameters["additionalProperties"] is False


def test_parameters_may_have_any_name() -> None:
    def odd(model_dump: int, schema: int, _hidden: int, title: str = "x") -> int:
        return model_dump + schema + _hidden

    tool = Tool.from_function(odd, name="odd-one", description="Adds.")
    assert list(tool.parameters["properties"]) == ["model_dump", "schema", "_hidden", "title"]
    arguments = {"model_dump": 1, "schema": 2, "_hidden": 3}
    assert assert_success(asyncio.run(tool.call(arguments))) == 6


def no_annotation(a) -> int:  # type: ignore[no-untyped-def]  # what is wrong with it
    return 1


def many(*args: int) -> int:
    return 1


def more(**kwargs: int) -> int:
    return 1


def only_by_place(a: int, /) -> int:
    return a


IMPOSSIBLE: list[Any] = [no_annotation, many, more, only_by_place]


@pytest.mark.parametrize("function", IMPOSSIBLE)
def test_functions_that_can_be_no_tools(function: Any) -> None:
    with pytest.raises(TypeError):
        Tool.from_function(function)


@pytest.mark.parametrize("name", ["a b", "ä", "x" * 65, "a.b"])
def test_names_that_no_provider_takes(name: str) -> None:
    with pytest.raises(ValueError, match="can't be the name"):
        Tool.from_function(later, name=name)


def test_two_tools_of_one_name() -> None:
    with pytest.raises(QiError, match="two tools are named later"):
        as_toolbox([later, later])


NONE: list[Any] = [[many], [later, later], [5], 5, [print]]


@pytest.mark.parametrize("tools", NONE)
async def test_tools_that_are_none_are_not_offered(
    server: ModelServer, client: LLMClient, tools: Any
) -> None:
    for result in (
        await client.chat("Hello", tools=tools),
        await client.chat_stream("Hello", tools=tools).collect(),
        await client.run_tools("Hello", tools),
    ):
        assert assert_failure(result, "INVALID_PROMPT").message.startswith("tools: ")
    assert server.asked == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "place: Field required"),
        ({"place": "Rome"}, "place: Input should be an object"),
        ({"place": {"city": 5}, "days": "1"}, "place.city: Input should be a valid string; days: "),
        ({"place": {"city": "x"}, "days": 8}, "days: Input should be less than or equal to 7"),
        ({"place": {"city": "x"}, "what": 1}, "what: Extra inputs are not permitted"),
        ({"place": {"city": "x"}, "days": True}, "days: Input should be a valid integer"),
        ({"place": object()}, "the arguments are no JSON object"),
    ],
)
async def test_arguments_are_checked(arguments: Any, said: str) -> None:
    error = assert_failure(await Tool.from_function(weather).call(arguments), "INVALID_ARGUMENTS")
    assert said in error.message


async def test_values_arrive_as_they_were_annotated() -> None:
    result = await Tool.from_function(weather).call({"place": {"city": "Rome"}, "days": 2})
    assert assert_success(result) == Weather("Rome", 22.0)


async def test_a_function_that_waits_holds_nobody_up() -> None:
    def slow() -> str:
        return threading.current_thread().name

    assert assert_success(await Tool.from_function(slow).call({})) != threading.current_thread().name


async def test_what_the_model_is_told(caplog: pytest.LogCaptureFixture) -> None:
    box = as_toolbox([weather, later, crash])
    told = box.answer
    assert await told(ToolCall("later", {"text": "a"}, "1")) == "A"
    assert (
        await told(ToolCall("weather", {"place": {"city": "Rome"}}, "1")) == '{"place":"Rome","degrees":21.0}'
    )
    failed = await told(ToolCall("weather", {"place": {"city": "Atlantis"}}, "1"))
    assert failed == "NO_SUCH_PLACE: there is no such place"
    assert await told(ToolCall("none", {}, "1")) == (
        "UNKNOWN_TOOL: there is no tool none. There are: weather, later, crash"
    )
    with caplog.at_level(logging.ERROR, "qicore.ai"):
        assert await told(ToolCall("crash", {}, "1")) == "TOOL_FAILED: the tool crash failed"
    assert "sesame" in caplog.text, "the log has it"


class Stubborn(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def look(cls, number: int) -> int:
        raise KeyError("the password is sesame")

    @field_serializer("number")
    def show(self, number: int) -> int:
        raise KeyError("the password is sesame")


async def test_an_answer_that_is_no_json(caplog: pytest.LogCaptureFixture) -> None:
    def odd() -> object:
        return object()

    def stubborn() -> Stubborn:
        return Stubborn.model_construct(number=1)

    for tool in (odd, stubborn):
        name = tool.__name__
        told = await as_toolbox([tool]).answer(ToolCall(name, {}, "1"))
        assert told == f"TOOL_FAILED: the tool {name} failed"


async def test_arguments_that_make_their_own_type_fail(
    server: ModelServer, client: LLMClient, caplog: pytest.LogCaptureFixture
) -> None:
    def look(at: Stubborn) -> str:
        return "never"

    server.say(Reply(pieces=[], calls=[("look", {"at": {"number": 1}})]), Reply())
    run = assert_success(await client.run_tools("Look.", [look]))
    assert run.messages[2].content == "TOOL_FAILED: the tool look failed"


async def test_a_text_that_utf_8_can_not_hold_is_mended(server: ModelServer, client: LLMClient) -> None:
    def look() -> str:
        return "half \ud83d"

    server.say(Reply(pieces=[], calls=[("look", {})]), Reply())
    run = assert_success(await client.run_tools("Look.", [look]))
    assert run.messages[2].content == "half \ufffd"


async def test_a_tool_without_a_function_is_only_offered(server: ModelServer, client: LLMClient) -> None:
    tool = Tool("pick", "Pick one.", {"type": "object", "properties": {}})
    server.say(Reply(pieces=[], calls=[("pick", {})]))
    assert assert_success(await client.chat("Pick", tools=[tool])).tool_calls[0].name == "pick"
    assert_failure(await tool.call({}), "UNSUPPORTED")


async def test_a_conversation_with_tools(server: ModelServer, client: LLMClient) -> None:
    server.say(
        Reply(pieces=[], calls=[("weather", {"place": {"city": "Rome"}}), ("later", {"text": "b"})]),
        Reply(pieces=["It is", " warm."]),
    )
    run = assert_success(await client.run_tools("What is it like in Rome?", [weather, later]))
    assert (run.text, run.turns) == ("It is warm.", 2)
    assert [message.role for message in run.messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert [message.content for message in run.messages[2:4]] == ['{"place":"Rome","degrees":21.0}', "B"]
    assert run.usage.input_tokens == 52
    assert [message["role"] for message in server.asked[-1]["messages"]] == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]


async def test_the_calls_of_one_turn_run_at_once(server: ModelServer, client: LLMClient) -> None:
    met = asyncio.Barrier(3)

    async def meet() -> str:
        await met.wait()
        return "met"

    server.say(Reply(pieces=[], calls=[("meet", dict[str, Any]())] * 3), Reply())
    run = assert_success(await client.run_tools("Meet.", [meet]))
    assert [message.content for message in run.messages if message.role == "tool"] == ["met"] * 3


async def test_turns_are_bounded(server: ModelServer, client: LLMClient) -> None:
    server.say(Reply(pieces=[], calls=[("later", {"text": "again"})]))
    error = assert_failure(await client.run_tools("Go on.", [later], max_turns=3), "TOO_MANY_TURNS")
    assert len(server.asked) == 3
    assert error.context["max_turns"] == 3
    for wrong in (0, 1.5, True, None):
        count: Any = wrong
        assert_failure(await client.run_tools("Go on.", [later], max_turns=count), "INVALID_PROMPT")


async def test_a_failure_within_ends_it(server: ModelServer, client: LLMClient) -> None:
    server.say(Reply(pieces=[], calls=[("later", {"text": "x"})]))
    elsewhere = client.with_config(model="none").unwrap()
    assert_failure(await elsewhere.run_tools("Go on.", [later]), "MODEL_NOT_FOUND")


async def test_a_cancelled_conversation_cancels_its_tools(server: ModelServer, client: LLMClient) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    server.say(Reply(pieces=[], calls=[("wait", {})]))
    task = asyncio.create_task(client.run_tools("Wait.", [wait]))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


def test_messages_of_tools() -> None:
    call = ToolCall("later", {}, "call_1")
    assert Message.tool(call, "x") == Message("tool", "x", tool_call_id="call_1", tool_name="later")
