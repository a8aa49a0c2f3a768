"""Connections and the ends of bodies."""

import json

import pytest
from qicore.ai import LLMClient
from qicore.base.testing import assert_failure, assert_success
from qicore_testkit.fault_server import Behaviour, Exchange
from qicore_testkit.model_server import ModelServer, Reply
from qicore_testkit.raw_http import response

from .conftest import Opens

PATHS = {"ollama": "/api/chat", "openai": "/v1/chat/completions"}
END = {"model": "tiny", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
CHOICE = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}
WHOLE = {
    "ollama": b'{"message": {"role": "assistant", "content": "Hello"}}\n' + json.dumps(END).encode() + b"\n",
    "openai": b"data: " + json.dumps({"model": "tiny", "choices": [CHOICE]}).encode() + b"\n\n",
}


def chunked(*chunks: bytes, then: bytes | None = None) -> Behaviour:
    """Send chunks; then more bytes and no more, or wait for the client to leave."""

    def behave(exchange: Exchange) -> None:
        exchange.send(response(200, b"", {"Transfer-Encoding": "chunked"}))
        for chunk in chunks:
            exchange.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        if then is None:
            exchange.wait_for_close()
        else:
            exchange.send(then)
        exchange.close()

    return behave


async def test_streams_and_calls_share_a_connection(server: ModelServer, client: LLMClient) -> None:
    for _ in range(5):
        assert_success(await client.chat_stream("Hello").collect())
        assert_success(await client.chat("Hello"))
        assert_success(await client.stream_generate("Hello").collect())
    assert server.connections == 1
    assert server.left == 0


@pytest.mark.parametrize(
    "then", [None, b"", b"zz\r\n", b"5\r\nhe"], ids=["never", "closed", "nonsense", "half"]
)
async def test_an_answer_is_whole_though_its_body_does_not_end_well(
    provider: str, server: ModelServer, client_of: Opens, then: bytes | None
) -> None:
    """What comes after the answer costs the connection, not the answer."""
    client = client_of(max_concurrency=1)
    server.on(PATHS[provider], chunked(WHOLE[provider], then=then), server.default)
    answer = assert_success(await client.chat_stream("Hello").collect())
    assert (answer.text, answer.finish_reason) == ("Hello", "stop")
    assert_success(await client.chat("And now?"))
    assert server.connections == 2


async def test_what_comes_after_the_answer_is_bounded(
    provider: str, server: ModelServer, client: LLMClient
) -> None:
    more = WHOLE[provider] * 100_000
    server.on(PATHS[provider], chunked(WHOLE[provider], more))
    answer = assert_success(await client.chat_stream("Hello").collect())
    assert answer.text == "Hello"


@pytest.mark.parametrize("character", ["\x85", "\u2028", "\u2029", "\u00a0", "\x7f", "\ufeff", "\U0001f600"])
async def test_characters_that_some_take_for_line_ends(
    server: ModelServer, client: LLMClient, character: str
) -> None:
    text = f"one{character}two"
    server.say(Reply(pieces=[text, character, "three"]))
    assert assert_success(await client.chat_stream("Hello").collect()).text == f"{text}{character}three"
    assert assert_success(await client.chat("Hello")).text == f"{text}{character}three"


async def test_bytes_may_come_one_by_one(provider: str, server: ModelServer, client: LLMClient) -> None:
    pieces = WHOLE[provider].replace(b"Hello", "Grüße \U0001f600".encode())
    server.on(PATHS[provider], chunked(*[bytes([byte]) for byte in pieces], then=b"0\r\n\r\n"))
    assert assert_success(await client.chat_stream("Hello").collect()).text == "Grüße \U0001f600"


async def test_line_ends_of_other_systems_and_empty_lines(server: ModelServer, client_of: Opens) -> None:
    body = b"\r\n".join([*WHOLE["openai"].rstrip().split(b"\n"), b"", b": a comment", b"", b""])
    server.on(PATHS["openai"], chunked(body, b"data: [DONE]\r\n\r\n", then=b"0\r\n\r\n"))
    if client_of().provider == "openai":
        assert assert_success(await client_of().chat_stream("Hello").collect()).text == "Hello"


@pytest.mark.parametrize("bytes_", [b"\xff\xfe\xff", b'{"message": {"content": "\xff"}}\n'])
async def test_bytes_that_are_no_utf_8(
    provider: str, server: ModelServer, client: LLMClient, bytes_: bytes
) -> None:
    """Nothing raises; a text with replacement characters would be the model's business."""
    server.on(
        PATHS[provider], chunked(b"data: " + bytes_ if provider == "openai" else bytes_, then=b"0\r\n\r\n")
    )
    assert_failure(await client.chat_stream("Hello").collect(), "LLM_ERROR")
