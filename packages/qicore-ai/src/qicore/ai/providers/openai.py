"""Any server that speaks OpenAI's API (vLLM, llama.cpp, LM Studio, hosted ones), by the official client.

It needs the extra `openai`.
"""

from __future__ import annotations

import base64
import json
import sys
from array import array
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

import httpx2
import openai
from qicore.ai.access import authorization, base_url
from qicore.ai.config import LLMConfig
from qicore.ai.errors import broken_off, invalid_prompt, no_json, unreadable, unsupported
from qicore.ai.limits import response_hooks, rest_of
from qicore.ai.messages import Message, ToolCall
from qicore.ai.provider import Answer, ChatRequest, Embedded, Finish
from qicore.ai.reading import arguments_of, as_object, count_of, entries_of, parse_object, readable
from qicore.ai.responses import ChatChunk, ModelInfo, PullProgress, Usage

__all__ = ["OpenAIProvider"]


class OpenAIProvider:
    """Chats and completes by `/chat/completions`, embeds by `/embeddings`."""

    name = "openai"

    def __init__(self, config: LLMConfig) -> None:
        timeout = httpx2.Timeout(None, connect=config.connect_timeout)
        headers = {"Accept-Encoding": "identity", **config.headers}
        known_by = authorization(config.api_key, config.base_url, "OPENAI_API_KEY")
        if known_by is not None:
            headers["Authorization"] = known_by
        self._client = openai.AsyncOpenAI(
            api_key="none",  # servers of one's own want no key, and the client wants one
            base_url=base_url(config.base_url, "OPENAI_BASE_URL"),
            default_headers=headers,
            # A call is one request: retries are a policy around it, and deadlines cover more than one read.
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpx2Client(
                follow_redirects=False,  # a prompt, and keys in headers, are for this server
                timeout=timeout,
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=config.max_concurrency),
                event_hooks=response_hooks(httpx2.AsyncByteStream, config.max_response_size),
            ),
        )

    @property
    def raw(self) -> openai.AsyncOpenAI:
        """The official client, which raises."""
        return self._client

    # Answers are read here, as JSON: the client's models are built without checks, so that any field may hold
    # anything, and building them takes ten times as long as the rest of a stream's piece.

    async def _read(self, answer: Awaitable[object]) -> dict[str, Any]:
        try:
            given = await answer
        except UnicodeEncodeError:
            raise  # the request is what is wrong
        except (ValueError, RecursionError) as error:
            raise no_json() from error
        # A text is what the client gives for a content type that is none of JSON.
        return parse_object(given) if isinstance(given, str) else as_object(given)

    async def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._read(self._client.post(path, cast_to=object, body=body))

    async def chat(self, request: ChatRequest, /) -> Answer:
        """Return the whole answer."""
        answer = await self._post("/chat/completions", _body(request))
        choices = entries_of(answer, "choices")
        if not choices:
            raise unreadable("no choices")
        choice = as_object(choices[0])
        said = as_object(choice.get("message"))
        calls = _Calls()
        calls.take(said.get("tool_calls"))
        message = Message(
            "assistant", _text(said, "content"), tool_calls=calls.done(), thinking=_thinking(said)
        )
        return Answer(message, _finish(answer.get("model"), choice.get("finish_reason"), answer.get("usage")))

    async def stream(self, request: ChatRequest, /) -> AsyncGenerator[ChatChunk | Finish, None]:
        """Yield the answer as it comes."""
        parts = await self._client.post(
            "/chat/completions",
            cast_to=object,
            body={**_body(request), "stream": True, "stream_options": {"include_usage": True}},
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        calls = _Calls()
        model, reason, usage = None, None, None
        try:
            while reason is None:
                part = as_object(await anext(parts))
                model = part.get("model") or model
                usage = part.get("usage") or usage
                choices = part.get("choices")
                if not choices:
                    continue
                choice = choices[0]
                delta = choice["delta"]
                more = delta.get("tool_calls")
                if more:
                    calls.take(more)
                text, thinking = _text(delta, "content"), _thinking(delta)
                if text or thinking or more:  # a part of a call is a sign of life
                    yield ChatChunk(text, thinking)
                reason = choice.get("finish_reason")
            if calls:
                yield ChatChunk("", "", calls.done())
            for part in await rest_of(parts):  # the usage comes by itself
                usage = as_object(part).get("usage") or usage
            yield _finish(model, reason, usage)
        except StopAsyncIteration:
            raise broken_off() from None
        except (AttributeError, LookupError, TypeError) as error:
            raise unreadable("a piece that is none") from error
        except (ValueError, RecursionError) as error:
            raise no_json() from error
        finally:
            await parts.close()

    async def embed(self, config: LLMConfig, texts: Sequence[str], /) -> Embedded:
        """Return the vectors of some texts."""
        model = config.embedding_model or config.model
        # The official client asks for base64 unless it is told otherwise, so that servers know it; those that
        # do not give numbers.
        body = {"model": model, "input": list(texts), "encoding_format": "base64", **config.extra}
        answer = await self._post("/embeddings", body)
        try:
            entries = sorted(answer["data"], key=lambda entry: entry["index"])
            vectors = [_vector(entry["embedding"]) for entry in entries]
        except (LookupError, TypeError, ValueError):
            raise unreadable("no embeddings") from None
        return Embedded(
            vectors, _text(answer, "model") or model, Usage(count_of(answer.get("usage"), "prompt_tokens"))
        )

    async def list_models(self) -> list[ModelInfo]:
        """Return the models that the server has."""
        answer = await self._read(self._client.get("/models", cast_to=object))
        return [_info(as_object(entry)) for entry in entries_of(answer, "data")]

    async def show_model(self, name: str, /) -> ModelInfo:
        """Return what the server tells of a model."""
        return _info(await self._read(self._client.get(_path(name), cast_to=object)))

    async def pull_model(self, name: str, /) -> AsyncGenerator[PullProgress, None]:
        """UNSUPPORTED [VALIDATION]: these servers have what they have."""
        for error in (unsupported(self.name, "pull a model"),):
            raise error
        yield PullProgress(name)

    async def delete_model(self, name: str, /) -> None:
        """Delete a model of one's own; not every server can."""
        await self._client.delete(_path(name), cast_to=httpx2.Response)

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
        if given and not isinstance(given, list):
            raise unreadable("tool calls that are none")
        for number, each in enumerate(cast("list[object]", given or [])):
            call = as_object(each)
            index = call.get("index")
            piece = self._pieces.setdefault(index if isinstance(index, int) else number, ["", "", ""])
            piece[0] += _text(call, "id")
            function = as_object(call.get("function") or {})
            piece[1] += _text(function, "name")
            piece[2] += _text(function, "arguments")

    def done(self) -> tuple[ToolCall, ...]:
        calls: list[ToolCall] = []
        for index, (identity, name, text) in sorted(self._pieces.items()):
            try:
                arguments = arguments_of(json.loads(text or "{}"))
            except (ValueError, RecursionError):
                raise unreadable("a tool call that is none") from None
            if not name:
                raise unreadable("a tool call that is none")
            calls.append(ToolCall(name, arguments, identity or f"call_{index + 1}"))
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
    )
    body |= {name: value for name, value in options if value is not None}
    body |= config.extra
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


def _path(name: str) -> str:
    if name in {".", ".."}:
        raise invalid_prompt("the name of a model is no way through directories")
    return f"/models/{quote(name, safe='')}"


def _info(details: dict[str, Any]) -> ModelInfo:
    name = _text(details, "id")
    if not name:
        raise unreadable("a model that is none")
    return ModelInfo(name, None, details)


def _thinking(said: Mapping[str, Any]) -> str:
    """What the model thought: vLLM, llama.cpp and others send it as `reasoning_content` or `reasoning`."""
    found = said.get("reasoning_content") or said.get("reasoning")
    return readable(found) if isinstance(found, str) else ""


def _vector(given: object) -> list[float]:
    """Return the numbers of an embedding: a list of them, or base64 of little-endian floats of 32 bits."""
    if not isinstance(given, str):
        return cast("list[float]", given)
    numbers = array("f", base64.b64decode(given, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _finish(model: object, reason: object, usage: object) -> Finish:
    return Finish(
        readable(str(model or "")),
        readable(str(reason or "stop")),
        Usage(count_of(usage, "prompt_tokens"), count_of(usage, "completion_tokens")),
    )


def _text(holder: Mapping[str, Any], name: str) -> str:
    value = holder.get(name)
    if value is not None and type(value) is not str:
        raise unreadable("a text that is none")
    if not value:
        return ""
    return value if value.isascii() else readable(value)
