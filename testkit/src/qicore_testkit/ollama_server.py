"""A server that speaks Ollama's HTTP API (its `docs/api.md`), for the tests of what talks to one.

with OllamaServer() as server:
    server.say(Reply(pieces=["4", "2"]))
    ...  # a client with the address server.url
    assert server.asked[-1]["model"] == "tiny"
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qicore_testkit.fault_server import Exchange
from qicore_testkit.model_server import Fault, ModelServer, Reply, vector_of
from qicore_testkit.raw_http import response

__all__ = ["OllamaServer"]

_TIME = "2026-01-02T03:04:05.678901Z"
_NDJSON = "application/x-ndjson"


@dataclass
class OllamaServer(ModelServer):
    """Chats, completes, embeds; lists, shows, pulls and deletes models. It can pull any but `missing`."""

    def serve(self, exchange: Exchange, method: str, path: str, body: dict[str, Any]) -> None:
        match method, path:
            case "POST", "/api/chat" | "/api/generate" | "/api/embed":
                self._run(exchange, path, body)
            case "GET", "/api/tags":
                self.json(exchange, {"models": [_model(name) for name in self.models]})
            case "POST", "/api/show":
                if self._has(exchange, body):
                    details = _model(body["model"])["details"]
                    shown = {"details": details, "capabilities": ["completion"], "modified_at": _TIME}
                    shown["model_info"] = {"general.architecture": "llama"}
                    self.json(exchange, shown)
            case "POST", "/api/pull":
                self._pull(exchange, body)
            case "DELETE", "/api/delete":
                if self._has(exchange, body):
                    self.models.remove(body["model"])
                    self.json(exchange, None)
            case "GET", "/api/ps":
                expires = "2026-01-02T03:09:05.678901Z"
                running = [{**_model(name), "expires_at": expires, "size_vram": 0} for name in self.models]
                self.json(exchange, {"models": running})
            case "GET" | "HEAD", "/":
                whole = response(200, b"Ollama is running", {"Content-Type": "text/plain; charset=utf-8"})
                exchange.send(whole.removesuffix(b"Ollama is running") if method == "HEAD" else whole)
            case "GET", "/api/version":
                self.json(exchange, {"version": "0.12.0"})
            case _:
                self.refuse(exchange, 404, "404 page not found")

    def refuse(self, exchange: Exchange, status: int, message: str) -> None:
        self.json(exchange, {"error": message}, status)

    def _has(self, exchange: Exchange, body: dict[str, Any]) -> bool:
        name = body.get("model", "")
        if not name:
            self.refuse(exchange, 400, "model is required")
        elif name not in self.models:
            self.refuse(exchange, 404, f"model '{name}' not found")
        return name in self.models

    def _run(self, exchange: Exchange, path: str, body: dict[str, Any]) -> None:
        if not self._has(exchange, body):
            return
        name = body["model"]
        if path == "/api/embed":
            given = body.get("input", "")
            texts: list[str] = [given] if isinstance(given, str) else given
            counts = {"total_duration": 14_143_917, "prompt_eval_count": len(texts)}
            self.json(exchange, {"model": name, "embeddings": [vector_of(text) for text in texts], **counts})
            return
        if not body.get("messages") and not body.get("prompt"):  # asks to have the model loaded
            loaded = {**_said(path, ""), "done": True, "done_reason": "load"}
            self.json(exchange, {"model": name, "created_at": _TIME, **loaded})
            return
        reply = self.next_reply()
        if body.get("stream", True) is False:
            said = _said(path, reply.text, "".join(reply.thinking), reply.calls)
            self.json(exchange, {"model": name, "created_at": _TIME, **said, **_done(reply)})
            return
        self.stream(exchange, _NDJSON, _lines(path, name, reply), reply, _faulty)

    def _pull(self, exchange: Exchange, body: dict[str, Any]) -> None:
        name, error = body.get("model", ""), "pull model manifest: file does not exist"
        lines: list[dict[str, Any]]
        if not name:
            self.refuse(exchange, 400, "invalid model name")
            return
        if name == "missing":
            if body.get("stream") is False:
                self.refuse(exchange, 500, error)
                return
            lines = [{"status": "pulling manifest"}, {"error": error}]
        else:
            part = {"status": "pulling 00e1317cbf74", "digest": "sha256:00e1317cbf74", "total": 1000}
            steps = [{**part, "completed": count} for count in (0, 250, 1000)]
            ends = ["verifying sha256 digest", "writing manifest", "success"]
            lines = [{"status": "pulling manifest"}, *steps, *[{"status": status} for status in ends]]
            self.models.append(name)
            if body.get("stream") is False:
                self.json(exchange, lines[-1])
                return
        reply = self.next_reply()
        self.stream(exchange, _NDJSON, ((True, _line(line)) for line in lines), reply, _faulty)


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _faulty(fault: Fault) -> bytes:
    match fault:
        case "error":
            return _line({"error": "an error was encountered while running the model: unexpected EOF"})
        case "bad_json":
            return b'{"model": "tiny", "mess\n'
        case "bad_shape":
            return _line({"message": 5, "response": 5})
        case _:
            return _line({"message": {"role": "assistant", "content": "x" * 8_000_000}})


def _said(path: str, text: str, thinking: str = "", calls: Any = ()) -> dict[str, Any]:
    if path == "/api/generate":
        return {"response": text, **({"thinking": thinking} if thinking else {})}
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = [
            {"function": {"name": name, "arguments": arguments}} for name, arguments in calls
        ]
    return {"message": message}


def _lines(path: str, name: str, reply: Reply) -> Iterator[tuple[bool, bytes]]:
    head = {"model": name, "created_at": _TIME}
    for thought in reply.thinking:
        yield False, _line({**head, **_said(path, "", thought), "done": False})
    for piece in reply.pieces:
        yield True, _line({**head, **_said(path, piece), "done": False})
    if reply.calls:
        yield False, _line({**head, **_said(path, "", "", reply.calls), "done": False})
    yield True, _line({**head, **_said(path, ""), **_done(reply)})


def _done(reply: Reply) -> dict[str, Any]:
    return {
        "done": True,
        "done_reason": reply.reason,
        "total_duration": 4_883_583_458,
        "load_duration": 1_334_875,
        "prompt_eval_count": 26,
        "prompt_eval_duration": 342_546_000,
        "eval_count": len(reply.pieces),
        "eval_duration": 4_535_599_000,
    }


def _model(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": _TIME,
        "size": 3_338_801_804,
        "digest": "a2af6cc3eb7fa8be8504abaf9b04e88f17a119ec3f04a3addf55f92841195f5a",
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "1.1B",
            "quantization_level": "Q4_0",
        },
    }
