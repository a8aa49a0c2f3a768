"""Checked by mypy and pyright, never run."""

from typing import assert_type

from pydantic import BaseModel
from qicore.ai import (
    ChatChunk,
    ChatResponse,
    ChatStream,
    EmbeddingResponse,
    LLMClient,
    LLMConfig,
    Message,
    ModelInfo,
    ToolRun,
)
from qicore.base import Failure, Result, Success


class City(BaseModel):
    name: str


def add(a: int, b: int) -> int:
    return a + b


assert_type(LLMClient.create("ollama", LLMConfig(model="tiny")), Result[LLMClient])


async def calls(client: LLMClient) -> None:
    assert_type(await client.chat("Hello", tools=[add]), Result[ChatResponse])
    assert_type(await client.chat(Message.user("Hello")), Result[ChatResponse])
    assert_type(await client.chat(Message.user(text) for text in "ab"), Result[ChatResponse])
    assert_type(client.chat_stream([Message.user("Hello")]), ChatStream)
    assert_type(await client.embedding(["a"]), Result[EmbeddingResponse])
    assert_type(await client.run_tools("Hello", [add]), Result[ToolRun])
    assert_type(await client.structured("A city", City), Result[City])
    assert_type(await client.models.list(), Result[list[ModelInfo]])
    assert_type(client.with_config(model="large"), Result[LLMClient])
    assert_type(client.with_circuit_breaker().with_fallback(client), LLMClient)
    async for result in client.chat_stream("Hello"):
        match result.variant:
            case Success(chunk):
                assert_type(chunk, ChatChunk)
            case Failure():
                pass
    await client.chat(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # not a prompt
