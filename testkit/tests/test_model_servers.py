"""The servers of models, seen by the official clients: they say what the wire is."""

import base64
import contextlib
import http.client
import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import openai
import pytest
from qicore_testkit.fault_server import wait_until
from qicore_testkit.model_server import Fault, Reply, vector_of
from qicore_testkit.ollama_server import OllamaServer
from qicore_testkit.openai_server import OpenAIServer

ASKED: Any = [{"role": "user", "content": "Hello"}]
CALLS: list[tuple[str, dict[str, Any]]] = [("look", {"at": ["a", {"b": 1}]}), ("wait", {})]
FAULTS: list[Fault] = ["error", "bad_json", "bad_shape", "truncate", "end", "reset", "huge"]
ERRORS = (ollama.ResponseError, openai.APIError, httpx.HTTPError, ValueError, AttributeError, TypeError)


@pytest.fixture
def of_ollama() -> Iterator[tuple[OllamaServer, Any]]:
    with OllamaServer() as server:
        client: Any = ollama.Client(server.url, timeout=10)  # its signatures are not all typed
        with client:
            yield server, client


@pytest.fixture
def of_openai() -> Iterator[tuple[OpenAIServer, Any]]:
    with OpenAIServer(key="sesame") as server:
        address = f"{server.url}/v1"
        with openai.OpenAI(base_url=address, api_key="sesame", max_retries=0, timeout=10) as client:
            yield server, client


def test_ollama_chats(of_ollama: tuple[OllamaServer, Any]) -> None:
    server, client = of_ollama
    server.say(Reply(pieces=["4", "2"], thinking=["hm", "m"], calls=CALLS))
    whole = client.chat(
        "tiny", ASKED, think=True, options={"seed": 1}, keep_alive="1m", format={"type": "object"}
    )
    assert (whole.message.content, whole.message.thinking, whole.done_reason) == ("42", "hmm", "stop")
    assert [(call.function.name, call.function.arguments) for call in whole.message.tool_calls] == CALLS
    assert whole.eval_count == 2
    assert whole.total_duration > whole.eval_duration > 0
    asked = server.asked[-1]
    assert (asked["think"], asked["options"], asked["keep_alive"]) == (True, {"seed": 1}, "1m")
    assert asked["format"] == {"type": "object"}
    *parts, last = client.chat("tiny", ASKED, stream=True)
    assert [part.message.content for part in parts if part.message.content] == ["4", "2"]
    assert [part.message.thinking for part in parts if part.message.thinking] == ["hm", "m"]
    assert [call.function.name for part in parts for call in part.message.tool_calls or ()] == [
        "look",
        "wait",
    ]
    assert not any(part.done for part in parts)
    assert (last.done, last.done_reason, last.prompt_eval_count) == (True, "stop", 26)


def test_ollama_completes_and_embeds(of_ollama: tuple[OllamaServer, Any]) -> None:
    server, client = of_ollama
    assert client.generate("tiny", "Hello", images=[b"png"]).response == "Hello there."
    assert server.asked[-1]["images"] == [base64.b64encode(b"png").decode()]
    assert "".join(part.response for part in client.generate("tiny", "Hi", stream=True)) == "Hello there."
    assert client.generate("tiny").done_reason == "load"
    assert client.embed("tiny", ["a", "b"]).embeddings == [vector_of("a"), vector_of("b")]
    assert client.embed("tiny", "a").embeddings == [vector_of("a")]


def test_ollama_keeps_models(of_ollama: tuple[OllamaServer, Any]) -> None:
    server, client = of_ollama
    assert [model.model for model in client.list().models] == ["tiny"]
    assert [model.model for model in client.ps().models] == ["tiny"]
    assert client.show("tiny").details.family == "llama"
    steps = list(client.pull("large", stream=True))
    assert [step.completed for step in steps if step.digest] == [0, 250, 1000]
    assert steps[-1].status == client.pull("small").status == "success"
    assert client.delete("small").status == "success"
    assert server.models == ["tiny", "large"]
    with pytest.raises(ollama.ResponseError, match="file does not exist"):
        list(client.pull("missing", stream=True))
    for ask in (client.show, client.delete, client.generate, client.chat, client.embed):
        with pytest.raises(ollama.ResponseError, match="model 'none' not found") as caught:
            ask("none")
        assert caught.value.status_code == 404


def test_ollama_is_there(of_ollama: tuple[OllamaServer, Any]) -> None:
    server, _ = of_ollama
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    with contextlib.closing(connection):
        for method, path, begins in (
            ("HEAD", "/", b""),
            ("GET", "/", b"Ollama is running"),
            ("GET", "/api/version", b'{"version": '),
            ("POST", "/nowhere", b'{"error": '),
        ):
            connection.request(method, path)
            answer = connection.getresponse()
            assert answer.read().startswith(begins)
            assert (answer.status == 200) == (path != "/nowhere")


def test_openai_chats(of_openai: tuple[OpenAIServer, Any]) -> None:
    server, client = of_openai
    server.say(Reply(pieces=["4", "2"], thinking=["hm", "m"], calls=CALLS))
    whole = client.chat.completions.create(model="tiny", messages=ASKED)
    message = whole.choices[0].message
    assert (message.content, message.reasoning_content) == ("42", "hmm")
    assert [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls] == CALLS
    assert (whole.choices[0].finish_reason, whole.usage.completion_tokens) == ("tool_calls", 2)
    with client.chat.completions.stream(
        model="tiny", messages=ASKED, stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    said = final.choices[0].message
    assert said.content == "42"
    assert [(call.function.name, json.loads(call.function.arguments)) for call in said.tool_calls] == CALLS
    assert final.usage.total_tokens == 28
    parts = list(client.chat.completions.create(model="tiny", messages=ASKED, stream=True))
    assert all(part.choices and part.usage is None for part in parts), "usage was not asked for"
    assert [part.choices[0].finish_reason for part in parts][-1] == "tool_calls"


def test_openai_embeds_and_lists(of_openai: tuple[OpenAIServer, Any]) -> None:
    server, client = of_openai
    for encoding in ("float", "base64", openai.NOT_GIVEN):
        answer = client.embeddings.create(model="tiny", input=["a", "b"], encoding_format=encoding)
        for entry in answer.data:
            vector = entry.embedding
            if isinstance(vector, str):
                vector = struct.unpack("<8f", base64.b64decode(vector))
            assert list(vector) == pytest.approx(vector_of("ab"[entry.index]), abs=1e-6)
        assert answer.usage.prompt_tokens == 2
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "library"
    assert client.models.delete("tiny").deleted
    assert server.models == []
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="tiny", messages=ASKED)
    assert (caught.value.code, caught.value.type) == ("model_not_found", "not_found_error")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="thief").models.list()


def _read(kind: str, client: Any) -> str:
    text, done = "", False
    if kind == "ollama":
        for part in client.chat("tiny", ASKED, stream=True):
            text, done = text + (part.message.content or ""), bool(part.done)
    else:
        for part in client.chat.completions.create(model="tiny", messages=ASKED, stream=True):
            text += part.choices[0].delta.content or ""
            done = part.choices[0].finish_reason is not None
    return text if done else f"{text}, and no end"


@pytest.mark.parametrize("kind", ["ollama", "openai"])
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_what_they_say(kind: str, fault: Fault, request: pytest.FixtureRequest) -> None:
    server, client = request.getfixturevalue(f"of_{kind}")
    server.say(Reply(pieces=["a", "b", "c"], fault=fault, after=1), Reply(pieces=["well"]))
    if fault == "end":
        assert _read(kind, client) == "a, and no end"
    elif fault == "huge":
        assert len(_read(kind, client)) > 8_000_000
    else:
        with pytest.raises(ERRORS):
            _read(kind, client)
    assert _read(kind, client) == "well"


@pytest.mark.parametrize("kind", ["ollama", "openai"])
@pytest.mark.parametrize("fault", ["stall", None])
def test_a_client_that_leaves_is_seen(kind: str, fault: Fault | None, request: pytest.FixtureRequest) -> None:
    """Both while the server waits, and while it writes at intervals."""
    server, client = request.getfixturevalue(f"of_{kind}")
    server.say(Reply(pieces=["x"] * 1000, interval=0.01, fault=fault))
    if kind == "ollama":
        parts = client.chat("tiny", ASKED, stream=True)
        next(parts)
        parts.close()
    else:
        with client.chat.completions.create(model="tiny", messages=ASKED, stream=True) as parts:
            next(parts)
    assert wait_until(lambda: server.left == 1)
    assert wait_until(lambda: server.open_connections() == 0)


@pytest.mark.parametrize("body", [b"{", b"[]", b"5", b"\xff"])
def test_requests_that_are_none(of_ollama: tuple[OllamaServer, Any], body: bytes) -> None:
    server, _ = of_ollama
    answer = httpx.post(f"{server.url}/api/chat", content=body)
    assert answer.status_code == 400
    assert isinstance(answer.json()["error"], str)
    assert server.asked == []
