"""Ollama, by its official client.

The client, `raw`, knows the address, the key and the connections. Requests are written and answers are read
here, over the httpx client that it holds as `_client`. That name is not public; `tests/test_wire.py` would
tell of a change. For

- its `Tool` model drops whatever it has no field for: nested properties, `anyOf`, bounds;
- it splits streams by `str.splitlines`, which finds line ends within JSON texts (U+0085, U+2028): such a
  character, said by the model, ends the stream;
- its `ResponseError` crashes on error bodies that are JSON and no object, and forgets `Retry-After`;
- it builds a pydantic model for each token.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, cast

import httpx
import ollama
from qicore.ai.access import authorization
from qicore.ai.config import LLMConfig
from qicore.ai.errors import RefusedError, broken_off, status_error, unreadable
from qicore.ai.limits import response_hooks, rest_of
from qicore.ai.messages import Message, ToolCall
from qicore.ai.provider import Answer, ChatRequest, Embedded, Finish
from qicore.ai.reading import arguments_of, as_object, count_of, entries_of, parse_object, readable
from qicore.ai.responses import ChatChunk, ModelInfo, PullProgress, Timings, Usage

__all__ = ["OllamaProvider"]

_NANOSECONDS: Final = 1e-9
_KEPT: Final = 20


class OllamaProvider:
    """Chats by `/api/chat`, completes by `/api/generate`, embeds by `/api/embed`."""

    name = "ollama"

    def __init__(self, config: LLMConfig) -> None:
        headers = {"Accept-Encoding": "identity", **config.headers}
        known_by = authorization(config.api_key, config.base_url, "OLLAMA_API_KEY")
        if known_by is not None:
            headers["Authorization"] = known_by
        self._client = ollama.AsyncClient(
            config.base_url,  # the client leaves user and password away
            headers=headers,
            follow_redirects=False,  # a prompt, and keys in headers, are for this server
            # Deadlines are the client's: they cover more than one read.
            timeout=httpx.Timeout(None, connect=config.connect_timeout),
            # Nor is there a pool that a cancelled request could fill: concurrency has its own limit. What it
            # keeps is httpx's own number at most: the pool looks through all of them for each request, twice
            # over, and a hundred took more time than the streams on them.
            limits=httpx.Limits(
                max_connections=None, max_keepalive_connections=min(config.max_concurrency, _KEPT)
            ),
            event_hooks=response_hooks(httpx.AsyncByteStream, config.max_response_size),
        )

    @property
    def raw(self) -> ollama.AsyncClient:
        """The official client, which raises."""
        return self._client

    async def chat(self, request: ChatRequest, /) -> Answer:
        """Return the whole answer."""
        path, body = _body(request, stream=False)
        part = await self._ask("POST", path, body)
        text, thinking, calls = _piece(request.kind, part, 0)
        if not part.get("done"):
            raise broken_off()
        return Answer(
            Message("assistant", text, tool_calls=calls, thinking=thinking), _finish(part, bool(calls))
        )

    async def stream(self, request: ChatRequest, /) -> AsyncGenerator[ChatChunk | Finish, None]:
        """Yield the answer as it comes."""
        path, body = _body(request, stream=True)
        kind = request.kind
        number = 0
        async with aclosing(self._parts(path, body)) as parts:
            async for part in parts:
                text, thinking, calls = _piece(kind, part, number)
                if calls:
                    number += len(calls)
                if text or thinking or calls:
                    yield ChatChunk(text, thinking, calls)
                if part.get("done"):
                    await rest_of(parts)
                    yield _finish(part, number > 0)
                    return

    async def embed(self, config: LLMConfig, texts: Sequence[str], /) -> Embedded:
        """Return the vectors of some texts."""
        options, top = _options(config)
        model = config.embedding_model or config.model
        body: dict[str, Any] = {"model": model, "input": list(texts), **top}
        if options:
            body["options"] = options
        part = await self._ask("POST", "/api/embed", body)
        return Embedded(
            cast("list[list[float]]", entries_of(part, "embeddings")),  # which the client checks
            _text(part, "model") or model,
            Usage(count_of(part, "prompt_eval_count")),
        )

    async def list_models(self) -> list[ModelInfo]:
        """Return the models that the server has."""
        answer = await self._ask("GET", "/api/tags")
        return [_info(as_object(entry)) for entry in entries_of(answer, "models")]

    async def show_model(self, name: str, /) -> ModelInfo:
        """Return what the server tells of a model: template, parameters, capabilities and so on."""
        return _info({**await self._ask("POST", "/api/show", {"model": name}), "model": name})

    async def pull_model(self, name: str, /) -> AsyncGenerator[PullProgress, None]:
        """Fetch a model, and yield how far it is; the last status is `success`."""
        try:
            async with aclosing(self._parts("/api/pull", {"model": name, "stream": True})) as parts:
                async for part in parts:
                    status = _text(part, "status")
                    yield PullProgress(
                        status, _text(part, "digest"), count_of(part, "completed"), count_of(part, "total")
                    )
                    if status == "success":
                        return
        except RefusedError as error:
            if "file does not exist" in str(error.error):  # the registry's word comes within a good stream
                raise status_error(404, f"there is no model {name!r} to pull") from None
            raise
        raise broken_off()

    async def delete_model(self, name: str, /) -> None:
        """Delete a model."""
        await self._send("DELETE", "/api/delete", {"model": name})

    @property
    def _http(self) -> httpx.AsyncClient:
        client: Any = self._client
        http: httpx.AsyncClient = client._client
        return http

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> httpx.Response:
        response = await self._http.request(method, path, json=body)
        if not response.is_success:
            raise RefusedError(response.text, response.status_code, response)
        return response

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return _part((await self._send(method, path, body)).content)

    async def _parts(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        async with self._http.stream("POST", path, json=body) as response:
            if not response.is_success:
                await response.aread()
                raise RefusedError(response.text, response.status_code, response)
            begun: list[bytes] = []  # of a line whose end is still to come
            # As they come: no encoding was let through that is to be undone, and UTF-8 is read by the line.
            async for data in response.aiter_raw():
                head, *lines = data.split(b"\n")
                begun.append(head)
                if lines:
                    lines.insert(0, b"".join(begun))
                    begun = [lines.pop()]
                    for line in lines:
                        yield _part(line.decode("utf-8", "replace"))
            if last := b"".join(begun).strip():
                yield _part(last.decode("utf-8", "replace"))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # the library leaves it untyped


def _part(text: str | bytes) -> dict[str, Any]:
    """Return what an answer, or a line of a stream, holds."""
    part = parse_object(text)
    if "error" in part:
        raise RefusedError(part["error"])
    return part


def _body(request: ChatRequest, *, stream: bool) -> tuple[str, dict[str, Any]]:
    config = request.config
    options, body = _options(config)
    body["model"] = config.model
    body["stream"] = stream
    if options:
        body["options"] = options
    if request.schema is not None:
        body["format"] = dict(request.schema)
    if config.thinking is not None:
        body["think"] = config.thinking
    if request.kind == "generate":
        *before, last = request.messages
        body["prompt"] = last.content
        if before:
            body["system"] = before[0].content
        if last.images:
            body["images"] = [image.base64 for image in last.images]
        return "/api/generate", body
    body["messages"] = [_message(message) for message in request.messages]
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
    return "/api/chat", body


def _options(config: LLMConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what goes into `options`, and what goes beside it."""
    options = {
        name: value
        for name, value in (
            ("temperature", config.temperature),
            ("top_p", config.top_p),
            ("num_predict", config.max_tokens),
            ("seed", config.seed),
            ("stop", list(config.stop) or None),
        )
        if value is not None
    }
    top: dict[str, Any] = {}
    for name, value in config.extra.items():
        (top if name in _TOP else options)[name] = value
    return options, top


_TOP: Final = frozenset(
    ("keep_alive", "template", "raw", "suffix", "truncate", "dimensions", "logprobs", "top_logprobs")
)


def _message(message: Message) -> dict[str, Any]:
    written: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        written["images"] = [image.base64 for image in message.images]
    if message.thinking:
        written["thinking"] = message.thinking
    if message.tool_calls:
        written["tool_calls"] = [
            {"function": {"name": call.name, "arguments": dict(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.tool_name:
        written["tool_name"] = message.tool_name
    return written


def _piece(kind: str, part: Mapping[str, Any], number: int) -> tuple[str, str, tuple[ToolCall, ...]]:
    """Return text, thinking and calls of a part; `number` calls came before."""
    said = part
    calls: object = None
    if kind == "chat":
        message = part.get("message")
        if type(message) is not dict:
            raise unreadable("no message")
        said = cast("dict[str, Any]", message)
        text, calls = said.get("content") or "", said.get("tool_calls")
    else:
        text = part.get("response") or ""
    thinking = said.get("thinking") or ""
    if type(text) is not str or type(thinking) is not str:
        raise unreadable("a text that is none")
    if not (text.isascii() and thinking.isascii()):
        text, thinking = readable(text), readable(thinking)
    return text, thinking, _calls(calls, number) if calls else ()


def _calls(given: object, number: int) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for index, each in enumerate(cast("list[object]", given) if type(given) is list else [None], number + 1):
        function = _dict(_dict(each).get("function"))
        name = function.get("name")
        if not isinstance(name, str):
            raise unreadable("a tool call that is none")
        # Ollama's calls have no identity; answers go by their order and the name of the tool.
        calls.append(ToolCall(readable(name), arguments_of(function.get("arguments", {})), f"call_{index}"))
    return tuple(calls)


def _dict(given: Any) -> Mapping[str, Any]:
    return given if hasattr(given, "keys") else {}


def _finish(part: Mapping[str, Any], called: bool) -> Finish:
    reason = _text(part, "done_reason") or "stop"
    return Finish(
        _text(part, "model"),
        "tool_calls" if called and reason == "stop" else reason,
        Usage(count_of(part, "prompt_eval_count"), count_of(part, "eval_count")),
        Timings(
            count_of(part, "total_duration") * _NANOSECONDS,
            None,
            count_of(part, "load_duration") * _NANOSECONDS,
            count_of(part, "prompt_eval_duration") * _NANOSECONDS,
            count_of(part, "eval_duration") * _NANOSECONDS,
        ),
    )


def _info(details: dict[str, Any]) -> ModelInfo:
    name = _text(details, "model") or _text(details, "name")
    if not name:
        raise unreadable("a model that is none")
    return ModelInfo(name, count_of(details, "size") or None, details)


def _text(part: Mapping[str, Any], name: str) -> str:
    value = part.get(name)
    return readable(value) if isinstance(value, str) else ""
