"""Bodies that no server should send: every operation answers with a Failure that says what it is."""

import base64
import json
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from qicore.ai import LLMClient
from qicore.base import ErrorCategory, Result
from qicore.base.testing import assert_failure, assert_success
from qicore_testkit.faults import answer
from qicore_testkit.model_server import ModelServer, vector_of

from .conftest import Memory, Opens

PATHS = {
    "ollama": ("/api/chat", "/api/generate", "/api/embed", "/api/tags", "/api/show", "/api/pull"),
    "openai": ("/v1/chat/completions", "/v1/embeddings", "/v1/models", "/v1/models/tiny"),
}
OPERATIONS: dict[str, Callable[[LLMClient], Awaitable[Result[Any]]]] = {
    "chat": lambda client: client.chat("Hello"),
    "chat_stream": lambda client: client.chat_stream("Hello").collect(),
    "generate": lambda client: client.generate("Hello"),
    "stream_generate": lambda client: client.stream_generate("Hello").collect(),
    "embedding": lambda client: client.embedding("Hello"),
    "list": lambda client: client.models.list(),
    "show": lambda client: client.models.show("tiny"),
    "pull": lambda client: client.models.pull("tiny"),
}
HOSTILE = {
    "nothing": b"",
    "null": b"null",
    "text": b'"error"',
    "number": b"5",
    "not a number": b"NaN",
    "list": b"[]",
    "page": b"<html><body>Welcome</body></html>",
    "deep list": b"[" * 200_000,
    "deep object": b'{"a":' * 200_000,
    "long number": b'{"x": ' + b"9" * 5000 + b"}",
    "zeros": bytes(1000),
    "utf-16": json.dumps({"x": 1}).encode("utf-16"),
    "no utf-8": b'{"x": "\xff"',
    "error of no text": b'{"error": 5}',
    "error of null": b'{"error": null}',
    "error of a list": b'{"error": [{"error": []}]}',
    "error of a text of JSON": b'{"error": "5"}',
}


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("body", HOSTILE.values(), ids=list(HOSTILE))
async def test_whatever_is_asked_for(
    provider: str, server: ModelServer, client: LLMClient, body: bytes, status: int, kind: str
) -> None:
    for path in PATHS[provider]:
        server.on(path, answer(status, body, {"Content-Type": kind}))
    for name, operation in OPERATIONS.items():
        if name == "pull" and provider == "openai":
            continue
        result = await operation(client)
        if name == "show" and b'{"error' not in body and result.is_success:
            continue  # an object of whatever fields is what is told of a model
        error = assert_failure(result, "LLM_ERROR")
        assert error.category is ErrorCategory.NETWORK, name
        assert len(error.message) < 500


WRONG: list[Any] = [5, "x", [5], {"a": 1}, [{"function": 5}], [{"function": {"name": 5}}], [None]]
ARGUMENTS: list[Any] = [5, "{", "[]", "5", ["a"]]


@pytest.mark.parametrize(
    "calls",
    [*WRONG, *([{"function": {"name": "look", "arguments": given}}] for given in ARGUMENTS)],
    ids=repr,
)
async def test_tool_calls_that_are_none(
    provider: str, server: ModelServer, client: LLMClient, calls: Any
) -> None:
    message = {"role": "assistant", "content": "", "tool_calls": calls}
    whole = json.dumps(
        {"message": message, "done": True, "choices": [{"message": message, "finish_reason": "stop"}]}
    )
    if provider == "ollama":
        piece = whole + "\n"
    else:
        piece = f"data: {json.dumps({'choices': [{'delta': message, 'finish_reason': 'stop'}]})}\n\n"
    path = PATHS[provider][0]
    server.on(path, answer(200, whole.encode(), {"Content-Type": "application/json"}))
    assert_failure(await client.chat("Hello"), "LLM_ERROR")
    server.on(path, answer(200, piece.encode(), {"Content-Type": "text/event-stream"}))
    assert_failure(await client.chat_stream("Hello").collect(), "LLM_ERROR")


@pytest.mark.parametrize("arguments", ['{"a": NaN}', '{"a": "\\ud800"}', '{"\\udfff": 1}'])
async def test_arguments_that_could_not_be_sent_back(
    provider: str, server: ModelServer, client: LLMClient, arguments: str
) -> None:
    written = arguments if provider == "ollama" else json.dumps(arguments)
    message = f'{{"content": "", "tool_calls": [{{"function": {{"name": "look", "arguments": {written}}}}}]}}'
    body = f'{{"message": {message}, "done": true, "choices": [{{"message": {message}}}]}}'
    server.on(PATHS[provider][0], answer(200, body.encode(), {"Content-Type": "application/json"}))
    assert_failure(await client.chat("Hello"), "LLM_ERROR")


@pytest.mark.parametrize(
    ("written", "text"), [("\\ud83d\\ude00", "\U0001f600"), ("a\\ud83d", "a\ufffd"), ("\\ude00b", "\ufffdb")]
)
async def test_half_a_character_is_replaced(
    provider: str, server: ModelServer, client_of: Opens, written: str, text: str
) -> None:
    """JSON can write what UTF-8 can't hold: nobody could print it, keep it or send it on."""
    client = client_of(cache=Memory())
    message = f'{{"content": "{written}", "thinking": "{written}", "reasoning": "{written}"}}'
    choice = f'{{"message": {message}, "delta": {message}, "finish_reason": "stop"}}'
    body = f'{{"model": "{written}", "message": {message}, "done": true, "choices": [{choice}]}}'
    server.on(PATHS[provider][0], answer(200, body.encode(), {"Content-Type": "application/json"}))
    for cached in (False, True):
        response = assert_success(await client.chat("Hello"))
        assert (response.text, response.message.thinking, response.cached) == (text, text, cached)
    line = body if provider == "ollama" else f"data: {body}\n"
    server.on(PATHS[provider][0], answer(200, f"{line}\n".encode(), {"Content-Type": "text/event-stream"}))
    streamed = assert_success(await client.chat_stream("Hello").collect())
    assert (streamed.text, streamed.message.thinking) == (text, text)


@pytest.mark.parametrize(
    "models", [5, "x", {"a": 1}, [5], [None], [{}], [{"name": 5, "id": 5}], [[]]], ids=repr
)
async def test_lists_of_models_that_are_none(
    provider: str, server: ModelServer, client: LLMClient, models: Any
) -> None:
    body = json.dumps({"models": models, "data": models}).encode()
    server.on("/api/tags", answer(200, body, {"Content-Type": "application/json"}))
    server.on("/v1/models", answer(200, body, {"Content-Type": "application/json"}))
    assert_failure(await client.models.list(), "LLM_ERROR")


@pytest.mark.parametrize(
    "numbers",
    [
        "[1e999]",
        "[NaN, 1]",
        "[" + "9" * 400 + "]",
        "[null]",
        '["1"]',
        "[[1]]",
        "{}",
        "[]",
        "1",
        "null",
    ],
)
async def test_vectors_of_no_numbers(
    provider: str, server: ModelServer, client: LLMClient, numbers: str
) -> None:
    body = f'{{"embeddings": [{numbers}], "data": [{{"index": 0, "embedding": {numbers}}}]}}'
    server.on(PATHS[provider][2 if provider == "ollama" else 1], answer(200, body.encode()))
    assert_failure(await client.embedding("Hello"), "LLM_ERROR")


async def test_vectors_come_as_numbers_or_as_base64(server: ModelServer, client: LLMClient) -> None:
    """Some servers that speak OpenAI's API know base64, others pass over what was asked for."""
    if client.provider != "openai":
        return
    vector = vector_of("Hello")
    packed = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    for written, good in (
        (vector, True),
        (packed, True),
        (packed[:-3], False),
        ("?" * 8, False),
        ("", False),
    ):
        body = json.dumps({"model": "tiny", "data": [{"index": 0, "embedding": written}]}).encode()
        server.on("/v1/embeddings", answer(200, body, {"Content-Type": "application/json"}))
        result = await client.embedding("Hello")
        if good:
            assert assert_success(result).vector == pytest.approx(vector, abs=1e-6)
        else:
            assert_failure(result, "LLM_ERROR")
    assert server.requests[-1].body.count(b'"encoding_format":"base64"') == 1


@pytest.mark.parametrize("name", ["a/b", "a b", "../tags", "a?b#c", "ä", "%2e%2e"])
async def test_names_of_models_are_names(server: ModelServer, client: LLMClient, name: str) -> None:
    server.models.append(name)
    if client.provider == "openai":
        assert_failure(await client.models.show(name), "MODEL_NOT_FOUND")
        assert server.requests[-1].target.startswith("/v1/models/")
        assert "/" not in server.requests[-1].target.removeprefix("/v1/models/")
    else:
        assert assert_success(await client.models.show(name)).name == name
    for dots in (".", ".."):
        if client.provider == "openai":
            assert_failure(await client.models.delete(dots), "INVALID_PROMPT")
