"""What is sent: the server for tests keeps every request."""

import base64
import json
import threading
from typing import Any

import pytest
from qicore.ai import Image, LLMClient, Message, Tool, ToolCall
from qicore.base.testing import assert_success
from qicore_testkit.fault_server import Exchange
from qicore_testkit.model_server import ModelServer, Reply, vector_of

from .conftest import Opens

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
PICTURE = Image.create(PNG).unwrap()


def deep(filters: dict[str, list[int]], limit: int | None = None) -> str:
    """Search."""
    return ""


async def test_the_options_go_along(provider: str, server: ModelServer, client_of: Opens) -> None:
    client = client_of(temperature=0.5, top_p=0.9, max_tokens=7, seed=3, stop=("END",), thinking="low")
    assert_success(await client.chat("Hello"))
    asked = server.asked[-1]
    if provider == "ollama":
        assert asked["options"] == {
            "temperature": 0.5, "top_p": 0.9, "num_predict": 7, "seed": 3, "stop": ["END"],
        }  # fmt: skip
        assert asked["think"] == "low"
    else:
        assert {name: asked[name] for name in ("temperature", "top_p", "max_tokens", "seed", "stop")} == {
            "temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 3, "stop": ["END"],
        }  # fmt: skip
        assert asked["reasoning_effort"] == "low"


async def test_what_is_not_given_is_left_to_the_server(server: ModelServer, client: LLMClient) -> None:
    assert_success(await client.chat("Hello"))
    assert set(server.asked[-1]) <= {"model", "messages", "stream"}


async def test_whatever_else_the_provider_takes(provider: str, server: ModelServer, client_of: Opens) -> None:
    extra = {"num_ctx": 4096, "keep_alive": "5m"} if provider == "ollama" else {"top_k": 5}
    client = client_of(extra=extra)
    assert_success(await client.chat("Hello"))
    asked = server.asked[-1]
    if provider == "ollama":
        assert (asked["options"], asked["keep_alive"]) == ({"num_ctx": 4096}, "5m")
    else:
        assert asked["top_k"] == 5


async def test_the_system_message_comes_first_unless_there_is_one(
    server: ModelServer, client_of: Opens
) -> None:
    client = client_of(system="Be brief.")
    assert_success(await client.chat("Hello"))
    assert [message["role"] for message in server.asked[-1]["messages"]] == ["system", "user"]
    assert_success(await client.chat([Message.system("Be long."), Message.user("Hello")]))
    assert [message["content"] for message in server.asked[-1]["messages"]] == ["Be long.", "Hello"]


async def test_a_completion_has_its_system_text_too(
    provider: str, server: ModelServer, client_of: Opens
) -> None:
    assert_success(await client_of(system="Be brief.").generate("Hello", PICTURE))
    asked = server.asked[-1]
    if provider == "ollama":
        assert (asked["prompt"], asked["system"]) == ("Hello", "Be brief.")
        assert asked["images"] == [base64.b64encode(PNG).decode()]
    else:
        assert asked["messages"][0] == {"role": "system", "content": "Be brief."}


async def test_images(provider: str, server: ModelServer, client: LLMClient) -> None:
    assert_success(await client.chat(Message.user("What is this?", PICTURE)))
    message = server.asked[-1]["messages"][-1]
    packed = base64.b64encode(PNG).decode()
    if provider == "ollama":
        assert message == {"role": "user", "content": "What is this?", "images": [packed]}
    else:
        assert message["content"] == [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{packed}"}},
        ]


async def test_the_whole_schema_of_a_tool_arrives(server: ModelServer, client: LLMClient) -> None:
    tool = Tool.from_function(deep)
    assert_success(await client.chat("Hello", tools=[deep]))
    sent = server.asked[-1]["tools"][0]["function"]
    assert sent == {"name": "deep", "description": "Search.", "parameters": dict(tool.parameters)}
    nested = sent["parameters"]["properties"]["filters"]
    assert nested["additionalProperties"] == {"items": {"type": "integer"}, "type": "array"}


async def test_a_conversation_with_tools_can_be_repeated(
    provider: str, server: ModelServer, client: LLMClient
) -> None:
    call = ToolCall("deep", {"filters": {}}, "call_9")
    wish = Message("assistant", tool_calls=(call,), thinking="hm")
    assert_success(await client.chat([Message.user("Look"), wish, Message.tool(call, "nothing")]))
    _, asked, answered = server.asked[-1]["messages"]
    if provider == "ollama":
        assert asked["tool_calls"] == [{"function": {"name": "deep", "arguments": {"filters": {}}}}]
        assert asked["thinking"] == "hm"
        assert answered == {"role": "tool", "content": "nothing", "tool_name": "deep"}
    else:
        function = {"name": "deep", "arguments": '{"filters": {}}'}
        assert asked["tool_calls"] == [{"id": "call_9", "type": "function", "function": function}]
        assert answered == {"role": "tool", "content": "nothing", "tool_call_id": "call_9"}


CALLS: list[tuple[str, dict[str, Any]]] = [("deep", {"limit": 1}), ("other", {"text": "ä \U0001f600"})]


async def test_calls_of_tools_arrive(server: ModelServer, client: LLMClient) -> None:
    server.say(Reply(pieces=[], calls=CALLS, thinking=["let", " me"]))
    whole = assert_success(await client.chat("Look", tools=[deep]))
    streamed = assert_success(await client.chat_stream("Look", tools=[deep]).collect())
    for response in (whole, streamed):
        assert [(call.name, call.arguments) for call in response.tool_calls] == CALLS
        assert response.finish_reason == "tool_calls"
        assert response.message.thinking == "let me"
        assert len({call.id for call in response.tool_calls}) == 2


async def test_the_key_and_the_fields_go_along(provider: str, server: ModelServer, client_of: Opens) -> None:
    server.key = "sesame"
    client = client_of(api_key="sesame", headers={"X-Team": "blue"})
    assert_success(await client.chat("Hello"))
    assert server.requests[-1].header("x-team") == "blue"
    assert "sesame" not in repr(client.config)


@pytest.mark.parametrize("count", [1, 3, 10])
async def test_embeddings_go_out_in_batches(server: ModelServer, client_of: Opens, count: int) -> None:
    client = client_of(embedding_batch=3, embedding_concurrency=2)
    texts = [f"text {number}" for number in range(count)]
    response = assert_success(await client.embedding(texts))
    assert sorted((asked["input"] for asked in server.asked), key=lambda batch: int(batch[0][5:])) == [
        texts[start : start + 3] for start in range(0, count, 3)
    ]
    assert response.usage.input_tokens == count
    whole = assert_success(await client_of().embedding(texts))
    assert response.vectors == whole.vectors


async def test_batches_run_a_few_at_once_and_come_back_in_order(
    provider: str, server: ModelServer, client_of: Opens
) -> None:
    """Each of two at once waits for the other, and the one that was sent first is answered last."""
    met, second_is_done = threading.Barrier(2, timeout=60), threading.Event()
    active: list[str] = []
    most: list[int] = []

    def behave(exchange: Exchange) -> None:
        (text,) = json.loads(exchange.request.body)["input"]
        active.append(text)
        most.append(len(active))
        first = met.wait() == 0
        if first:
            second_is_done.wait(60)
            second_is_done.clear()
        active.remove(text)
        server.default(exchange)
        if not first:
            second_is_done.set()

    path = "/api/embed" if provider == "ollama" else "/v1/embeddings"
    server.on(path, *[behave] * 6)
    texts = [f"text {number}" for number in range(6)]
    client = client_of(embedding_batch=1, embedding_concurrency=2)
    response = assert_success(await client.embedding(texts))
    assert max(most) == 2
    assert [list(vector) for vector in response.vectors] == [
        pytest.approx(vector_of(text), abs=1e-6) for text in texts
    ]
