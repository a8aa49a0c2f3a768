"""Any server that speaks OpenAI's API (vLLM, llama.cpp, LM Studio, hosted ones), by the official client.

It needs the extra `openai`.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, cast

import httpx2
import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.completion_usage import CompletionUsage
from qicore.ai.config import LLMConfig
from qicore.ai.errors import broken_off, unreadable, unsupported
from qicore.ai.limits import response_hooks
from qicore.ai.messages import Message, ToolCall
from qicore.ai.provider import Answer, ChatRequest, Embedded, Finish
from qicore.ai.responses import ChatChunk, ModelInfo, PullProgress, Usage

__all__ = ["OpenAIProvider"]


class OpenAIProvider:
    """Chats and completes by `/chat/completions`, embeds by `/embeddings`."""

    name = "openai"

    def __init__(self, config: LLMConfig) -> None:
        timeout = httpx2.Timeout(None, connect=config.connect_timeout)
        self._client = openai.AsyncOpenAI(
            # Servers of one's own want no key, and the client wants one.
            api_key=config.api_key or os.environ.get("OPENAI_API_KEY") or "none",
            base_url=config.base_url,
            default_headers={"Accept-Encoding": "identity", **config.headers},
            # A call is one request: retries are a policy around it, and deadlines cover more than one read.
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpx2Client(
                timeout=timeout,
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=config.max_concurrency),
                event_hooks=response_hooks(httpx2.AsyncByteStream, config.max_response_size),
            ),
        )

    @property
    def raw(self) -> openai.AsyncOpenAI:
        """The official client, which raises."""
        return self._client

    async def chat(self, request: ChatRequest, /) -> Answer:
        """Return the whole answer."""
        answer = cast("ChatCompletion", await self._client.chat.completions.create(**_body(request)))
        # The client builds its models without checks: any field may hold anything, or be missing.
        choices = getattr(answer, "choices", None)
        if not choices or getattr(choices[0], "message", None) is None:
            raise unreadable("no message")
        said = choices[0].message
        calls = _Calls()
        calls.take(getattr(said, "tool_calls", None))
        message = Message(
            "assistant", _text(said, "content"), tool_calls=calls.done(), thinking=_thinking(said)
        )
        return Answer(message, _finish(answer.model, choices[0].finish_reason, answer.usage))

    async def stream(self, request: ChatRequest, /) -> AsyncGenerator[ChatChunk | Finish, None]:
        """Yield the answer as it comes."""
        parts: openai.AsyncStream[ChatCompletionChunk] = await self._client.chat.completions.create(
            **_body(request), stream=True, stream_options={"include_usage": True}
        )
        calls = _Calls()
        model, reason, usage = "", None, None
        try:
            async for part in parts:
                model = part.model or model
                usage = part.usage or usage
                choices = part.choices
                if not choices:
                    continue  # the last one has nothing but usage
                choice = choices[0]
                delta = choice.delta
                if delta.tool_calls:
                    calls.take(delta.tool_calls)
                text, thinking = delta.content, _thinking(delta)
                if not isinstance(cast("object", text or ""), str):
                    raise unreadable("a text that is none")
                if text or thinking:
                    yield ChatChunk(text or "", thinking)
                reason = choice.finish_reason or reason
        except (AttributeError, TypeError) as error:
            raise unreadable("a piece that is none") from error
        finally:
            await parts.close()
        if reason is None:
            raise broken_off()
        if calls:
            yield ChatChunk("", "", calls.done())
        yield _finish(model, reason, usage)

    async def embed(self, config: LLMConfig, texts: Sequence[str], /) -> Embedded:
        """Return the vectors of some texts."""
        model = config.embedding_model or config.model
        answer = await self._client.embeddings.create(
            model=model, input=list(texts), encoding_format="float", extra_body=dict(config.extra) or None
        )
        try:
            vectors = [entry.embedding for entry in sorted(answer.data, key=lambda entry: entry.index)]
        except (AttributeError, TypeError):
            raise unreadable("no embeddings") from None
        return Embedded(vectors, answer.model or model, Usage(_count(answer.usage, "prompt_tokens")))

    async def list_models(self) -> list[ModelInfo]:
        """Return the models that the server has."""
        found = await self._client.models.list()
        return [ModelInfo(model.id, None, model.model_dump(mode="json")) for model in found.data or ()]

    async def show_model(self, name: str, /) -> ModelInfo:
        """Return what the server tells of a model."""
        model = await self._client.models.retrieve(name)
        return ModelInfo(model.id, None, model.model_dump(mode="json"))

    async def pull_model(self, name: str, /) -> AsyncGenerator[PullProgress, None]:
        """UNSUPPORTED [VALIDATION]: these servers have what they have."""
        for error in (unsupported(self.name, "pull a model"),):
            raise error
        yield PullProgress(name)

    async def delete_model(self, name: str, /) -> None:
        """Delete a model of one's own; not every server can."""
        await self._client.models.delete(name)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


class _Calls:
    """Calls of tools, which come in pieces: each names its place by `index`."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def take(self, given: object) -> None:
        for number, each in enumerate(cast("Sequence[Any]", given or ())):
            index = getattr(each, "index", None)
            piece = self._pieces.setdefault(number if index is None else index, ["", "", ""])
            piece[0] += getattr(each, "id", None) or ""
            function = getattr(each, "function", None)
            piece[1] += _text(function, "name")
            piece[2] += _text(function, "arguments")

    def done(self) -> tuple[ToolCall, ...]:
        calls: list[ToolCall] = []
        for index, (identity, name, text) in sorted(self._pieces.items()):
            try:
                arguments = json.loads(text or "{}")
            except ValueError:
                arguments = None
            if not name or not isinstance(arguments, dict):
                raise unreadable("a tool call that is none")
            calls.append(ToolCall(name, cast("dict[str, Any]", arguments), identity or f"call_{index + 1}"))
        return tuple(calls)


def _body(request: ChatRequest) -> dict[str, Any]:
    config = request.config
    body: dict[str, Any] = {
        "model": config.model,
        "messages": [_message(message) for message in request.messages],
    }
    options = (
        ("temperature", config.temperature),
        ("top_p", config.top_p),
        ("max_tokens", config.max_tokens),
        ("seed", config.seed),
        ("stop", list(config.stop) or None),
        ("reasoning_effort", _effort(config.thinking)),
        ("extra_body", dict(config.extra) or None),
    )
    body |= {name: value for name, value in options if value is not None}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                },
            }
            for tool in request.tools
        ]
    if request.schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": dict(request.schema)},
        }
    return body


def _effort(thinking: object) -> str | None:
    if isinstance(thinking, bool):
        return "medium" if thinking else "none"
    return thinking if isinstance(thinking, str) else None


def _message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        written["content"] = [{"type": "text", "text": message.content}] if message.content else []
        written["content"] += [
            {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{image.base64}"}}
            for image in message.images
        ]
    if message.tool_calls:
        written["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        written["tool_call_id"] = message.tool_call_id
    return written


def _thinking(said: object) -> str:
    """What the model thought: vLLM, llama.cpp and others send it as `reasoning_content` or `reasoning`."""
    extra: Mapping[str, Any] | None = getattr(said, "model_extra", None)
    if not extra:
        return ""
    found = extra.get("reasoning_content") or extra.get("reasoning")
    return found if isinstance(found, str) else ""


def _finish(model: object, reason: object, usage: CompletionUsage | None) -> Finish:
    return Finish(
        str(model or ""),
        str(reason or "stop"),
        Usage(_count(usage, "prompt_tokens"), _count(usage, "completion_tokens")),
    )


def _text(holder: object, name: str) -> str:
    value = getattr(holder, name, None)
    if value is not None and not isinstance(value, str):
        raise unreadable("a text that is none")
    return value or ""


def _count(holder: object, name: str) -> int:
    value = getattr(holder, name, None)
    return value if isinstance(value, int) else 0
