"""A server that speaks OpenAI's API, as vLLM, llama.cpp and others do, for the tests of what talks to one."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qicore_testkit.fault_server import Exchange
from qicore_testkit.model_server import Fault, ModelServer, Reply, vector_of

__all__ = ["OpenAIServer"]

_TYPES = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error", 503: "server_error"}


@dataclass
class OpenAIServer(ModelServer):
    """Chats, embeds, and lists models, below `/v1`."""

    def serve(self, exchange: Exchange, method: str, path: str, body: dict[str, Any]) -> None:
        match method, path:
            case "POST", "/v1/chat/completions" | "/v1/embeddings":
                if body.get("model") not in self.models:
                    message = f"The model `{body.get('model')}` does not exist"
                    self._error(exchange, 404, message, "model_not_found")
                elif path == "/v1/embeddings":
                    self._embed(exchange, body)
                else:
                    self._chat(exchange, body)
            case "GET", "/v1/models":
                self.json(exchange, {"object": "list", "data": [_model(name) for name in self.models]})
            case "GET" | "DELETE", _ if path.startswith("/v1/models/"):
                name = path.removeprefix("/v1/models/")
                if name not in self.models:
                    self._error(exchange, 404, f"The model `{name}` does not exist", "model_not_found")
                elif method == "GET":
                    self.json(exchange, _model(name))
                else:
                    self.models.remove(name)
                    self.json(exchange, {"id": name, "object": "model", "deleted": True})
            case _:
                self.refuse(exchange, 404, "Not Found")

    def refuse(self, exchange: Exchange, status: int, message: str) -> None:
        self._error(exchange, status, message, None)

    def _error(self, exchange: Exchange, status: int, message: str, code: str | None) -> None:
        kind = _TYPES.get(status, "invalid_request_error")
        self.json(
            exchange, {"error": {"message": message, "type": kind, "param": None, "code": code}}, status
        )

    def _embed(self, exchange: Exchange, body: dict[str, Any]) -> None:
        given = body["input"]
        texts: list[str] = [given] if isinstance(given, str) else given
        packed = body.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _packed(text) if packed else vector_of(text)}
            for index, text in enumerate(texts)
        ]
        # The order of the list is not promised; the index is.
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        self.json(exchange, {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage})

    def _chat(self, exchange: Exchange, body: dict[str, Any]) -> None:
        reply = self.next_reply()
        head = {"id": "chatcmpl-1", "created": 1_767_323_045, "model": body["model"]}
        reason = "tool_calls" if reply.calls else reply.reason
        if body.get("stream"):
            with_usage = body.get("stream_options") == {"include_usage": True}
            lines = _lines(head, reply, reason, with_usage)
            self.stream(exchange, "text/event-stream", lines, reply, _faulty)
            return
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
        if reply.thinking:
            message["reasoning_content"] = "".join(reply.thinking)
        if reply.calls:
            message["tool_calls"] = [
                {"id": f"call_{index}", "type": "function", "function": _function(name, arguments)}
                for index, (name, arguments) in enumerate(reply.calls)
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
        answer = {**head, "object": "chat.completion", "choices": [choice], "usage": _usage(reply)}
        self.json(exchange, answer)


def _packed(text: str) -> str:
    vector = vector_of(text)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _faulty(fault: Fault) -> bytes:
    match fault:
        case "error":
            return _event({"error": {"message": "the engine has died", "type": "server_error", "code": 500}})
        case "bad_json":
            return b'data: {"id": "chatcmpl-1", "choi\n\n'
        case "bad_shape":
            return _event({"choices": 5})
        case _:
            delta = {"index": 0, "delta": {"content": "x" * 8_000_000}, "finish_reason": None}
            return _event({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [delta]})


def _lines(head: dict[str, Any], reply: Reply, reason: str, with_usage: bool) -> Iterator[tuple[bool, bytes]]:
    def piece(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _event({**head, "object": "chat.completion.chunk", "choices": [choice]})

    yield False, piece({"role": "assistant", "content": ""})
    for thought in reply.thinking:
        yield False, piece({"reasoning_content": thought})
    for text in reply.pieces:
        yield True, piece({"content": text})
    for index, (name, arguments) in enumerate(reply.calls):
        function = _function(name, arguments)
        written = function["arguments"]
        begun = {**function, "arguments": ""}
        yield False, piece({"tool_calls": [{"index": index, "id": f"call_{index}", "function": begun}]})
        for part in (written[: len(written) // 2], written[len(written) // 2 :]):
            yield False, piece({"tool_calls": [{"index": index, "function": {"arguments": part}}]})
    yield True, piece({}, reason)
    if with_usage:
        yield (
            False,
            _event({**head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(reply)}),
        )
    yield False, b"data: [DONE]\n\n"


def _function(name: str, arguments: dict[str, Any]) -> dict[str, str]:
    return {"name": name, "arguments": json.dumps(arguments)}


def _usage(reply: Reply) -> dict[str, int]:
    count = len(reply.pieces)
    return {"prompt_tokens": 26, "completion_tokens": count, "total_tokens": 26 + count}


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_767_323_045, "owned_by": "library"}
