"""Answers kept in a store of the user's: the same question, asked in the same way, has the same answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from qicore.ai.config import LLMConfig, Store
from qicore.ai.messages import Message
from qicore.ai.provider import ChatRequest
from qicore.ai.responses import ChatResponse, EmbeddingResponse
from qicore.base import Failure, QiError, Result, Success

__all__ = ["Kept", "key_of_chat", "key_of_embedding"]

logger = logging.getLogger("qicore.ai")

T = TypeVar("T", bound=ChatResponse | EmbeddingResponse)
_VERSION: Final = "1"
_PATIENCE: Final = 1.0
"""Seconds that the store may take; after that the call goes on without it."""
# What changes an answer; deadlines and limits do not.
_SHAPE: Final = (
    "model", "base_url", "temperature", "top_p", "max_tokens", "seed", "stop", "thinking", "extra",
)  # fmt: skip


class Kept(Generic[T]):
    """Answers of one type in one store."""

    __slots__ = ("_kind", "_store", "_ttl")

    def __init__(self, store: Store, ttl: float, kind: type[T]) -> None:
        self._store = store
        self._ttl = ttl
        self._kind = kind

    async def get_or_ask(
        self, key: str, ask: Callable[[], Awaitable[Result[T]]], worth: Callable[[T], bool] | None = None
    ) -> Result[T]:
        """Return the answer that is kept, or ask, and keep a Success that is worth it.

        A store that fails is only logged.
        """
        adapter, store = _adapter(self._kind), self._store
        found = await self._within(lambda: store.get(key), "read")
        if found.is_success:
            try:
                return Success(replace(adapter.validate_json(found.unwrap()), cached=True))
            except (ValidationError, TypeError):
                logger.warning("the cache of answers holds something that is none")
        answer = await ask()
        value = answer.data
        if value is not None and (worth is None or worth(value)):
            await self._within(lambda: store.set(key, adapter.dump_json(value), ttl=self._ttl), "write")
        return answer

    async def _within(self, operation: Callable[[], Awaitable[Result[Any]]], what: str) -> Result[Any]:
        try:
            async with asyncio.timeout(_PATIENCE):
                result = await operation()
            problem = result.error
        except Exception as error:  # noqa: BLE001 - a store of somebody's must not end the call
            problem = QiError.from_exception(error)
            result = Failure(problem)
        if problem is not None and problem.code != "KEY_NOT_FOUND":
            logger.warning("the cache of answers could not %s: %s", what, problem.code)
        return result


_adapters: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def key_of_chat(provider: str, request: ChatRequest) -> str:
    """Return the key of a question."""
    tools = [[tool.name, tool.description, tool.parameters] for tool in request.tools]
    messages = [_message(message) for message in request.messages]
    return _key(provider, request.kind, request.config, [messages, tools, request.schema])


def key_of_embedding(provider: str, config: LLMConfig, texts: Sequence[str]) -> str:
    """Return the key of some texts."""
    return _key(provider, "embed", config, [config.embedding_model, list(texts)])


def _key(provider: str, kind: str, config: LLMConfig, question: object) -> str:
    shape = [_VERSION, provider, kind, [getattr(config, name) for name in _SHAPE], question]
    text = json.dumps(shape, sort_keys=True, default=repr, ensure_ascii=True)
    return f"qicore-ai:{hashlib.blake2b(text.encode('ascii'), digest_size=32).hexdigest()}"


def _message(message: Message) -> list[object]:
    images = [hashlib.blake2b(image.data, digest_size=32).hexdigest() for image in message.images]
    calls = [[call.id, call.name, dict(call.arguments)] for call in message.tool_calls]
    return [message.role, message.content, images, calls, message.tool_call_id, message.tool_name]
