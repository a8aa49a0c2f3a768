"""Just enough HTTP/1.1 to read a request off a raw socket, and to write a response."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

__all__ = ["Fields", "Reader", "Request", "response"]

Fields = dict[str, str] | Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived."""

    raw: bytes
    """The bytes of its head, and of the body that arrived with it, chunk sizes and all."""
    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    """Names (in lower case) and values of the header fields, in order."""
    body: bytes
    connection: int
    """The number of its connection, from 1 on."""

    def header(self, name: str) -> str | None:
        """Return the value of a field, several joined with a comma; None when it did not arrive."""
        values = [value for key, value in self.fields if key == name.lower()]
        return ", ".join(values) if values else None


class Reader:
    """Reads one request after the other from a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def request(self, number: int, arrived: Callable[[Request], None]) -> Request | None:
        """Return the next request, or None at the end of the connection.

        `arrived` is told of every request whose head came, also when its body breaks off.
        """
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = (*lines[0].split(" "), "", "", "")[:3]
        pairs = (line.partition(":") for line in lines[1:])
        fields = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
        known = dict(fields)
        raw = head + b"\r\n\r\n"
        before = self._buffer
        body = b""
        try:
            if known.get("expect", "").lower() == "100-continue":
                self._connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            if known.get("transfer-encoding", "").lower() == "chunked":
                body, sent = self._chunked()
            else:
                body = sent = self._exactly(int(known.get("content-length", "0")))
            raw += sent
        except OSError:
            arrived(Request(raw + before, method, target, fields, b"", number))
            raise
        request = Request(raw, method, target, fields, body, number)
        arrived(request)
        return request

    def _more(self) -> bool:
        data = self._connection.recv(65536)
        self._buffer += data
        return bool(data)

    def _need(self) -> None:
        if not self._more():
            raise ConnectionError("the request broke off")

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._need()
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._need()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _chunked(self) -> tuple[bytes, bytes]:
        body = raw = b""
        while True:
            line = self._line()
            size = int(line.split(b";")[0], 16)
            data = self._exactly(size + 2)
            raw += line + b"\r\n" + data
            if size == 0:
                return body, raw
            body += data[:-2]


def response(
    status: int = 200,
    body: bytes = b"",
    headers: Fields = (),
    *,
    length: int | None = None,
) -> bytes:
    """Return the bytes of a response with its Content-Length; `length` lies about it."""
    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers)
    names = {name.lower() for name, _ in pairs}
    if "content-length" not in names and "transfer-encoding" not in names and status not in (204, 304):
        pairs.append(("Content-Length", str(len(body) if length is None else length)))
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    head = f"HTTP/1.1 {status} {phrase}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return head.encode("latin-1") + b"\r\n" + body
