"""Servers of models over the real wire: one that speaks Ollama's API, one that speaks OpenAI's."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from qicore.ai import LLMClient, LLMConfig
from qicore.base import Failure, QiError, Result, Success
from qicore_testkit.model_server import ModelServer
from qicore_testkit.ollama_server import OllamaServer
from qicore_testkit.openai_server import OpenAIServer

Opens = Callable[..., LLMClient]

# Real servers that are named by the environment are asked the same questions.
REAL = [name for name in ("ollama", "openai") if os.environ.get(f"QICORE_TEST_{name.upper()}_URL")]


@pytest.fixture(params=["ollama", "openai"])
def provider(request: Any) -> str:
    return str(request.param)


@pytest.fixture
def server(provider: str) -> Iterator[ModelServer]:
    with OllamaServer() if provider == "ollama" else OpenAIServer() as opened:
        yield opened


@pytest.fixture
async def client_of(provider: str, server: ModelServer) -> AsyncIterator[Opens]:
    """Open clients of the server, and close them in the end."""
    opened: list[LLMClient] = []

    def open_one(**options: Any) -> LLMClient:
        url = server.url if provider == "ollama" else f"{server.url}/v1"
        chosen: dict[str, Any] = {"model": "tiny", "base_url": url, **options}
        opened.append(LLMClient.create(provider, LLMConfig(**chosen)).unwrap())
        return opened[-1]

    yield open_one
    for client in opened:
        await client.close()


class Memory:
    """A store of the user's."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def get(self, key: str, /) -> Result[Any]:
        if key in self.kept:
            return Success(self.kept[key])
        return Failure(QiError.cache("KEY_NOT_FOUND", "not there"))

    async def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Result[Any]:
        self.kept[key] = value
        return Success(None)


@pytest.fixture
def client(client_of: Opens) -> LLMClient:
    return client_of()


@pytest.fixture(params=["ollama", "openai", *(f"real {name}" for name in REAL)])
async def anyone(request: Any) -> AsyncIterator[LLMClient]:
    """A client of each server for tests, and of each real one that is named."""
    kind, _, name = str(request.param).rpartition(" ")
    if kind:
        variable = f"QICORE_TEST_{name.upper()}"
        config = LLMConfig(
            model=os.environ[f"{variable}_MODEL"],
            embedding_model=os.environ.get(f"{variable}_EMBEDDING_MODEL", ""),
            base_url=os.environ[f"{variable}_URL"],
            api_key=os.environ.get(f"{variable}_KEY"),
            temperature=0.0,
        )
        async with LLMClient.create(name, config).unwrap() as client:
            yield client
        return
    with OllamaServer() if name == "ollama" else OpenAIServer() as opened:
        url = opened.url if name == "ollama" else f"{opened.url}/v1"
        async with LLMClient.create(name, LLMConfig(model="tiny", base_url=url)).unwrap() as client:
            yield client
