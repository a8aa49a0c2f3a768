"""What the servers of language models for tests share: replies on demand, and faults within them."""

from __future__ import annotations

import hashlib
import json
import select
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from qicore_testkit.fault_server import Exchange, FaultServer
from qicore_testkit.raw_http import response

__all__ = ["Fault", "ModelServer", "Reply", "vector_of"]

Fault = Literal["error", "bad_json", "bad_shape", "truncate", "end", "reset", "stall", "huge"]
"""What happens in the middle of a stream:

error: an error of the server's own; bad_json: a line that is no JSON; bad_shape: JSON that is no answer;
truncate: the connection closes within a chunk; end: the body ends properly, the answer does not; reset: the
connection is reset; stall: nothing comes any more; huge: a line of eight megabytes.
"""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the model says.

    Attributes:
        pieces: the text, as it is streamed.
        thinking: what it thinks before, as it is streamed.
        calls: tools that it wants to have called, with their arguments.
        reason: why it ends.
        interval: seconds before each piece.
        fault: what goes wrong, after so many pieces as `after` says.
    """

    pieces: Sequence[str] = ("Hello", " there", ".")
    thinking: Sequence[str] = ()
    calls: Sequence[tuple[str, dict[str, Any]]] = ()
    reason: str = "stop"
    interval: float = 0.0
    fault: Fault | None = None
    after: int = 1

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def vector_of(text: str, length: int = 8) -> list[float]:
    """Return the vector that the servers give this text: the same each time, and another for another text."""
    digest = hashlib.blake2b(text.encode(), digest_size=length).digest()
    return [byte / 255 for byte in digest]


@dataclass
class ModelServer(FaultServer, ABC):
    """A `FaultServer` that speaks the API of a server of models. Scripted paths come before its own.

    Attributes:
        models: what it has.
        replies: what the model says to one request after the other; the last one stays.
        asked: the JSON of every request, in order.
        left: how many clients closed the connection before the answer had ended.
        key: what clients must send as bearer token, or None.
    """

    models: list[str] = field(default_factory=lambda: ["tiny"])
    replies: list[Reply] = field(default_factory=lambda: [Reply()])
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    left: int = 0
    key: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.default = self._route

    def say(self, *replies: Reply) -> None:
        """Have the model say this, one reply for each request."""
        with self._lock:
            self.replies = list(replies)

    def next_reply(self) -> Reply:
        with self._lock:
            return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def _route(self, exchange: Exchange) -> None:
        request = exchange.request
        path = request.target.partition("?")[0]
        if self.key is not None and request.header("authorization") != f"Bearer {self.key}":
            self.refuse(exchange, 401, "invalid api key")
            return
        try:
            body: Any = json.loads(request.body or b"{}")
        except ValueError:
            self.refuse(exchange, 400, "invalid JSON")
            return
        if not isinstance(body, dict):
            self.refuse(exchange, 400, "not an object")
            return
        asked = cast("dict[str, Any]", body)
        with self._lock:
            self.asked.append(asked)
        self.serve(exchange, request.method, path, asked)

    @abstractmethod
    def serve(self, exchange: Exchange, method: str, path: str, body: dict[str, Any]) -> None:
        """Answer one request of the API."""

    @abstractmethod
    def refuse(self, exchange: Exchange, status: int, message: str) -> None:
        """Answer with an error, in the API's own words."""

    def json(self, exchange: Exchange, value: object, status: int = 200) -> None:
        """Answer with JSON."""
        body = json.dumps(value).encode()
        exchange.send(response(status, body, {"Content-Type": "application/json; charset=utf-8"}))

    def stream(
        self,
        exchange: Exchange,
        kind: str,
        lines: Iterable[tuple[bool, bytes]],
        reply: Reply,
        faulty: Callable[[Fault], bytes],
    ) -> None:
        """Send lines in chunks; those marked True count as pieces, after which a fault may come."""
        try:
            exchange.send(response(200, b"", {"Content-Type": kind, "Transfer-Encoding": "chunked"}))
            sent = 0
            for counts, line in lines:
                if reply.fault is not None and counts and sent == reply.after:
                    if self._fail(exchange, reply.fault, faulty):
                        return
                    sent += 1
                if reply.interval and self._gone(exchange, reply.interval):
                    raise ConnectionAbortedError("the client has gone")
                exchange.send(b"%x\r\n%b\r\n" % (len(line), line))
                sent += counts
            exchange.send(b"0\r\n\r\n")
        except OSError:
            if not exchange.stopping.is_set():
                with self._lock:
                    self.left += 1
            raise

    def _fail(self, exchange: Exchange, fault: Fault, faulty: Callable[[Fault], bytes]) -> bool:
        """Do it; whether the stream is over."""
        if fault == "truncate":
            exchange.send(b"100\r\nhalf of it")
            exchange.close()
        elif fault == "end":
            exchange.send(b"0\r\n\r\n")
        elif fault == "reset":
            exchange.reset()
        elif fault == "stall":
            while not self._gone(exchange, 0.2):
                if exchange.stopping.is_set():
                    return True
            raise ConnectionAbortedError("the client has gone")
        else:
            line = faulty(fault)
            exchange.send(b"%x\r\n%b\r\n" % (len(line), line))
            return False
        return True

    def _gone(self, exchange: Exchange, seconds: float) -> bool:
        """Wait; whether the client closed the connection meanwhile."""
        readable, _, _ = select.select([exchange.connection], [], [], seconds)
        return bool(readable) and exchange.connection.recv(1) == b""
