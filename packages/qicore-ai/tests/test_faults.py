"""What goes wrong: each is a Failure with a code, the last item of a stream, and nothing is left open."""

import asyncio
import gzip
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from qicore.ai import ChatResponse, LLMClient
from qicore.base import ErrorCategory, QiError, Result
from qicore.base.testing import assert_failure, assert_success
from qicore_testkit.fault_server import Behaviour, Exchange, wait_until
from qicore_testkit.faults import answer, bad_chunks, drop_after_reading, garbage, half_body, hang, reset
from qicore_testkit.model_server import Fault, ModelServer, Reply
from qicore_testkit.raw_http import response

from .conftest import Opens

PATHS = {
    "ollama": {"chat": "/api/chat", "embed": "/api/embed"},
    "openai": {"chat": "/v1/chat/completions", "embed": "/v1/embeddings"},
}
WAYS: dict[str, Callable[[LLMClient], Awaitable[Result[ChatResponse]]]] = {
    "call": lambda client: client.chat("Hello"),
    "stream": lambda client: client.chat_stream("Hello").collect(),
}
every_way = pytest.mark.parametrize("way", list(WAYS))


async def failure(client: LLMClient, way: str) -> QiError:
    result = await WAYS[way](client)
    assert result.error is not None
    return result.error


async def idle(server: ModelServer) -> bool:
    """Whether all connections close in a while."""
    return await asyncio.to_thread(wait_until, lambda: server.open_connections() == 0)


@every_way
@pytest.mark.parametrize(
    ("status", "code", "category"),
    [
        (400, "INVALID_PROMPT", ErrorCategory.VALIDATION),
        (401, "LLM_UNAUTHORIZED", ErrorCategory.PERMISSION),
        (403, "LLM_UNAUTHORIZED", ErrorCategory.PERMISSION),
        (408, "LLM_TIMEOUT", ErrorCategory.TIMEOUT),
        (413, "INVALID_PROMPT", ErrorCategory.VALIDATION),
        (418, "LLM_ERROR", ErrorCategory.NETWORK),
        (429, "LLM_UNAVAILABLE", ErrorCategory.NETWORK),
        (500, "LLM_ERROR", ErrorCategory.NETWORK),
        (502, "LLM_UNAVAILABLE", ErrorCategory.NETWORK),
        (503, "LLM_UNAVAILABLE", ErrorCategory.NETWORK),
        (504, "LLM_TIMEOUT", ErrorCategory.TIMEOUT),
    ],
)
async def test_every_status_has_its_code(
    provider: str,
    server: ModelServer,
    client: LLMClient,
    way: str,
    status: int,
    code: str,
    category: ErrorCategory,
) -> None:
    page = b"<html><body>Bad Gateway</body></html>"
    server.on(PATHS[provider]["chat"], answer(status, page, {"Retry-After": "7"}))
    error = await failure(client, way)
    assert (error.code, error.category, error.context["status"]) == (code, category, status)
    assert error.context["provider"] == provider
    assert error.context["model"] == "tiny"
    assert "<html>" not in error.message


@every_way
async def test_when_to_come_back(provider: str, server: ModelServer, client: LLMClient, way: str) -> None:
    server.on(PATHS[provider]["chat"], answer(429, b"{}", {"Retry-After": "7"}))
    error = await failure(client, way)
    assert (error.code, error.context["retry_after"]) == ("LLM_UNAVAILABLE", 7.0)


@every_way
async def test_a_wrong_key_is_not_repeated(
    server: ModelServer, client_of: Opens, provider: str, way: str
) -> None:
    message = b'{"error": {"message": "Incorrect API key provided: open-sesame"}}'
    server.on(PATHS[provider]["chat"], answer(401, message, {"Content-Type": "application/json"}))
    error = await failure(client_of(api_key="open-sesame"), way)
    assert error.code == "LLM_UNAUTHORIZED"
    assert "open-sesame" not in repr(error.to_structured_data())


@every_way
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (reset(), "LLM_ERROR"),
        (drop_after_reading(), "LLM_ERROR"),
        (garbage(), "LLM_ERROR"),
        (half_body(b'{"model": "ti'), "LLM_ERROR"),
        (half_body(abort=True), "LLM_ERROR"),
        (bad_chunks(), "LLM_ERROR"),
        (answer(200, b"", {"Content-Type": "application/json"}), "LLM_ERROR"),
        (answer(200, b"<html>", {"Content-Type": "text/html"}), "LLM_ERROR"),
        (answer(200, b"[]", {"Content-Type": "application/json"}), "LLM_ERROR"),
        (answer(200, b'{"done": true}', {"Content-Type": "application/json"}), "LLM_ERROR"),
        (answer(200, b'{"choices": []}', {"Content-Type": "application/json"}), "LLM_ERROR"),
        (answer(200, b'{"choices": [{}]}', {"Content-Type": "application/json"}), "LLM_ERROR"),
        (answer(200, gzip.compress(b"{}"), {"Content-Encoding": "gzip"}), "LLM_ERROR"),
        (answer(204), "LLM_ERROR"),
    ],
    ids=[
        "reset", "dropped", "garbage", "half", "half reset", "bad chunks", "empty", "html", "list", "bare",
        "no choice", "empty choice", "gzip", "no content",
    ],
)  # fmt: skip
async def test_answers_that_are_none(
    provider: str, server: ModelServer, client: LLMClient, way: str, fault: Any, code: str
) -> None:
    server.on(PATHS[provider]["chat"], fault)
    error = await failure(client, way)
    assert (error.code, error.category) == (code, ErrorCategory.NETWORK), error


@every_way
async def test_nobody_is_there(client_of: Opens, way: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = await failure(client_of(base_url=f"http://127.0.0.1:{port}/v1"), way)
    assert (error.code, error.context["reason"]) == ("LLM_UNAVAILABLE", "connect")


@every_way
async def test_a_place_that_is_no_such_server(client_of: Opens, server: ModelServer, way: str) -> None:
    error = await failure(client_of(base_url=f"{server.url}/elsewhere"), way)
    assert (error.code, error.context["status"]) == ("LLM_ERROR", 404)


MIDDLE: list[Fault] = ["error", "bad_json", "bad_shape", "truncate", "end", "reset", "huge"]


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("fault", MIDDLE)
async def test_a_stream_that_breaks_in_the_middle_ends_with_a_failure(
    server: ModelServer, client_of: Opens, fault: Fault, after: int
) -> None:
    client = client_of(max_response_size=1_000_000)
    server.say(Reply(pieces=["a", "b", "c", "d"], fault=fault, after=after))
    *pieces, last = [result async for result in client.chat_stream("Hello")]
    assert [assert_success(piece).text for piece in pieces] == ["a", "b", "c", "d"][:after]
    assert assert_failure(last, "LLM_ERROR").category is ErrorCategory.NETWORK
    if fault != "end":  # which is a proper end of the body
        assert await idle(server)
    server.say(Reply())
    assert_success(await client.chat("Is all well?"))


@every_way
async def test_the_total_time_is_limited(
    server: ModelServer, client_of: Opens, provider: str, way: str
) -> None:
    server.on(PATHS[provider]["chat"], hang())
    error = await failure(client_of(timeout=0.2, first_token_timeout=None), way)
    assert (error.code, error.context["reason"], error.context["timeout"]) == ("LLM_TIMEOUT", "total", 0.2)
    assert await idle(server)


async def test_the_first_token_has_its_own_limit(server: ModelServer, client_of: Opens) -> None:
    server.say(Reply(fault="stall", after=0))
    error = assert_failure(
        await client_of(first_token_timeout=0.2).chat_stream("Hello").collect(), "LLM_TIMEOUT"
    )
    assert error.context["reason"] == "first_token"
    assert await idle(server)
    assert server.left == 1


async def test_and_so_have_the_next(server: ModelServer, client_of: Opens) -> None:
    server.say(Reply(fault="stall", after=2))
    *pieces, last = [result async for result in client_of(between_tokens_timeout=0.2).chat_stream("Hello")]
    assert len(pieces) == 2
    assert assert_failure(last, "LLM_TIMEOUT").context["reason"] == "between_tokens"
    assert await idle(server)


async def test_a_stream_that_never_ends_meets_the_total_limit(server: ModelServer, client_of: Opens) -> None:
    server.say(Reply(pieces=["x"] * 100_000, interval=0.02))
    *pieces, last = [result async for result in client_of(timeout=0.5).chat_stream("Hello")]
    assert pieces
    assert assert_failure(last, "LLM_TIMEOUT").context["reason"] == "total"


async def test_a_call_that_comes_in_many_parts_is_no_silence(server: ModelServer, client_of: Opens) -> None:
    """Servers that speak OpenAI's API write the arguments of a call bit by bit; Ollama sends a call whole."""
    client = client_of(first_token_timeout=1, between_tokens_timeout=1)
    if client.provider == "openai":
        for text in ("", "Let me look."):
            parts = [
                {"function": {"name": "look", "arguments": "{"}},
                *[{"function": {"arguments": " "}}] * 25,
            ]
            deltas = [{"tool_calls": [part]} for part in [*parts, {"function": {"arguments": "}"}}]]
            server.on(PATHS["openai"]["chat"], spoken({"content": text}, *deltas, interval=0.05))
            response = assert_success(await client.chat_stream("Hello").collect())
            assert [(call.name, call.arguments) for call in response.tool_calls] == [("look", {})]


def spoken(*deltas: dict[str, Any], interval: float) -> Behaviour:
    def behave(exchange: Exchange) -> None:
        exchange.send(
            response(200, b"", {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        )
        for number, delta in enumerate(deltas, 1):
            exchange.stopping.wait(interval)
            choice = {"delta": delta, "finish_reason": "tool_calls" if number == len(deltas) else None}
            event = b"data: %b\n\n" % json.dumps({"choices": [choice]}).encode()
            exchange.send(b"%x\r\n%b\r\n" % (len(event), event))
        exchange.send(b"0\r\n\r\n")

    return behave


async def test_a_slow_reader_is_no_slow_server(server: ModelServer, client_of: Opens) -> None:
    server.say(Reply(pieces=["a", "b", "c"]))
    pieces = 0
    async for result in client_of(between_tokens_timeout=0.2).chat_stream("Hello"):
        assert_success(result)
        pieces += 1
        await asyncio.sleep(0.3)
    assert pieces == 4


async def test_leaving_the_loop_closes_the_connection_at_once(server: ModelServer, client: LLMClient) -> None:
    server.say(Reply(fault="stall", after=1))
    async for result in client.chat_stream("Hello"):
        assert_success(result)
        break
    assert await idle(server)
    assert server.left == 1


async def test_a_stream_that_is_kept_closes_with_its_block(server: ModelServer, client: LLMClient) -> None:
    server.say(Reply(fault="stall", after=1))
    async with client.chat_stream("Hello") as stream:
        assert_success(await anext(stream))
    assert await idle(server)
    assert [result async for result in stream] == []
    assert_failure(await stream.collect(), "STREAM_ENDED")
    await stream.aclose()


@pytest.mark.parametrize(
    "limits", [{}, {"first_token_timeout": None, "between_tokens_timeout": None, "timeout": None}]
)
@pytest.mark.parametrize("after", [0, 1])
async def test_a_stream_may_be_closed_by_another_task(
    server: ModelServer, client_of: Opens, after: int, limits: dict[str, None]
) -> None:
    client = client_of(max_concurrency=1, **limits)
    server.say(Reply(fault="stall", after=after), Reply())
    stream = client.chat_stream("Hello")

    async def read() -> list[Result[Any]]:
        return [result async for result in stream]

    reader = asyncio.create_task(read())
    assert await asyncio.to_thread(wait_until, lambda: len(server.asked) == 1)
    await asyncio.sleep(0.1)
    assert_failure(await anext(stream), "STREAM_BUSY")
    await stream.aclose()
    assert len([assert_success(result) for result in await reader]) == after
    assert await idle(server)
    assert_success(await client.chat("Is the turn free again?"))


async def test_a_stream_may_be_closed_while_it_waits_for_its_turn(
    server: ModelServer, client_of: Opens
) -> None:
    client = client_of(max_concurrency=1)
    server.say(Reply(fault="stall", after=1), Reply())
    async with client.chat_stream("Hold on") as first:
        assert_success(await anext(first))
        second = client.chat_stream("Hello")
        waiting = asyncio.create_task(second.collect())
        await asyncio.sleep(0.01)
        await second.aclose()
    assert_failure(await waiting, "STREAM_ENDED")
    assert len(server.asked) == 1
    assert_success(await client.chat("Is the turn free again?"))


@pytest.mark.parametrize("after", [0, 1])
async def test_cancelling_a_stream_closes_the_connection_at_once(
    server: ModelServer, client_of: Opens, after: int
) -> None:
    client = client_of(max_concurrency=1)
    server.say(Reply(fault="stall", after=after), Reply())
    seen: list[object] = []

    async def read() -> None:
        seen.extend([result async for result in client.chat_stream("Hello")])

    task = asyncio.create_task(read())
    assert await asyncio.to_thread(wait_until, lambda: len(server.asked) == 1)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await idle(server)
    assert server.left == 1
    assert_success(await client.chat("Is the turn free again?"))


def more_than(server: ModelServer, known: int) -> Callable[[], bool]:
    return lambda: len(server.requests) > known


async def test_cancelling_a_call_closes_the_connection_at_once(
    server: ModelServer, client_of: Opens, provider: str
) -> None:
    server.on(PATHS[provider]["chat"], hang(), hang(), hang())
    client = client_of(max_concurrency=1)
    for _ in range(3):
        task = asyncio.create_task(client.chat("Hello"))
        before = len(server.requests)
        assert await asyncio.to_thread(wait_until, more_than(server, before))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await idle(server)


async def test_many_cancelled_calls_leave_nothing_behind(server: ModelServer, client: LLMClient) -> None:
    server.say(Reply(pieces=["x"] * 5, interval=0.01))
    for delay in range(60):
        task = asyncio.create_task(client.chat_stream("Hello").collect())
        await asyncio.sleep(delay * 0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    # One that came to its end may stay open for the next.
    assert await asyncio.to_thread(wait_until, lambda: server.open_connections() <= 1)
    assert_success(await client.chat("Is all well?"))


async def test_a_huge_answer_is_refused(server: ModelServer, client_of: Opens) -> None:
    server.say(Reply(pieces=["x" * 100_000] * 20))
    client = client_of(max_response_size=500_000)
    assert_failure(await client.chat("Hello"), "LLM_ERROR")
    assert_failure(await client.chat_stream("Hello").collect(), "LLM_ERROR")
    assert_success(await client_of().chat("Hello"))


async def test_a_huge_prompt_goes_through(server: ModelServer, client: LLMClient) -> None:
    text = "word " * 1_000_000
    assert_success(await client.chat(text))
    assert server.asked[-1]["messages"][0]["content"] == text


def vectors(*written: str) -> bytes:
    """Return an answer that both providers take for one with these vectors."""
    data = ", ".join(f'{{"index": {index}, "embedding": {text}}}' for index, text in enumerate(written))
    return f'{{"embeddings": [{", ".join(written)}], "data": [{data}]}}'.encode()


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"embeddings": "x", "data": "x"}',
        b'{"embeddings": [], "data": []}',
        vectors("[1]", "[1, 2]"),
        vectors("[]", "[]"),
        vectors("[1]"),
        vectors("[1]", "5"),
        vectors('["x"]', "[null]"),
    ],
)
async def test_vectors_that_are_none(
    provider: str, server: ModelServer, client: LLMClient, body: bytes
) -> None:
    server.on(PATHS[provider]["embed"], answer(200, body, {"Content-Type": "application/json"}))
    assert_failure(await client.embedding(["a", "b"]), "LLM_ERROR")


async def test_the_first_batch_that_fails_ends_the_others(
    provider: str, server: ModelServer, client_of: Opens
) -> None:
    server.on(PATHS[provider]["embed"], answer(500, b"{}"), hang())
    client = client_of(embedding_batch=1, embedding_concurrency=1)
    assert_failure(await client.embedding([str(number) for number in range(10)]), "LLM_ERROR")
    assert server.count(PATHS[provider]["embed"]) <= 2


async def test_vectors_of_all_batches_are_of_one_length(
    provider: str, server: ModelServer, client_of: Opens
) -> None:
    bodies = [vectors("[1]"), vectors("[1, 2]")]
    answers = [answer(200, body, {"Content-Type": "application/json"}) for body in bodies]
    server.on(PATHS[provider]["embed"], *answers)
    assert_failure(await client_of(embedding_batch=1).embedding(["a", "b"]), "LLM_ERROR")


async def test_a_closed_client_says_so(client: LLMClient) -> None:
    assert_success(await client.close())
    assert_success(await client.close())
    assert_failure(await client.chat("Hello"), "CLIENT_CLOSED")
    assert_failure(await client.chat_stream("Hello").collect(), "CLIENT_CLOSED")
    assert_failure(await client.embedding("Hello"), "CLIENT_CLOSED")
    assert_failure(await client.models.list(), "CLIENT_CLOSED")


async def test_closing_a_client_ends_what_it_does(
    server: ModelServer, client_of: Opens, provider: str
) -> None:
    client = client_of(max_concurrency=2)
    server.on(PATHS[provider]["embed"], hang())
    server.say(Reply(fault="stall", after=1))
    tasks: list[asyncio.Task[Result[Any]]] = [
        asyncio.create_task(client.chat_stream("Hello").collect()),
        asyncio.create_task(client.embedding("Hello")),
    ]
    assert await asyncio.to_thread(wait_until, lambda: len(server.requests) == 2)
    tasks.append(asyncio.create_task(client.chat("Is it my turn?")))
    tasks.append(asyncio.create_task(client.chat_stream("Is it mine?").collect()))
    await asyncio.sleep(0.1)
    assert_success(await client.close())
    for task in tasks:
        assert_failure(await task, "CLIENT_CLOSED")
    assert len(server.requests) == 2
    assert await idle(server)
