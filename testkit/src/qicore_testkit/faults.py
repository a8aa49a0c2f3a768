"""What a `FaultServer` can do to a request: each function returns a behaviour."""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence

from qicore_testkit.fault_server import Behaviour, Exchange
from qicore_testkit.raw_http import Fields, response

__all__ = [
    "answer",
    "answer_then_close",
    "bad_chunks",
    "drip",
    "drop_after_reading",
    "endless",
    "events",
    "garbage",
    "gzip_bomb",
    "half_body",
    "hang",
    "huge_headers",
    "redirect",
    "reset",
    "slow_headers",
]


def answer(
    status: int = 200,
    body: bytes = b"",
    headers: Fields = (),
) -> Behaviour:
    """Answer properly and keep the connection."""
    whole = response(status, body, headers)

    def behave(exchange: Exchange) -> None:
        bodiless = exchange.request.method == "HEAD"
        exchange.send(whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if bodiless else whole)

    return behave


def answer_then_close(status: int = 200, body: bytes = b"") -> Behaviour:
    """Answer as if the connection were kept, and close it at once: the client's next use finds it stale."""
    whole = response(status, body, {"Connection": "keep-alive"})

    def behave(exchange: Exchange) -> None:
        exchange.send(whole)
        exchange.close()

    return behave


def drop_after_reading() -> Behaviour:
    """Read the request to its end and close without a word: was it carried out? The client can't know."""
    return lambda exchange: exchange.close()


def reset() -> Behaviour:
    """Read the request and reset the connection. As `on_connect` it resets before anything is read."""
    return lambda exchange: exchange.reset()


def hang() -> Behaviour:
    """Read the request and say nothing until the client gives up."""

    def behave(exchange: Exchange) -> None:
        exchange.wait_for_close()
        exchange.close()

    return behave


def garbage(data: bytes = b"\x16\x03\x01 this is no HTTP\r\n\r\n") -> Behaviour:
    """Answer with something that is not HTTP."""

    def behave(exchange: Exchange) -> None:
        exchange.send(data)
        exchange.close()

    return behave


def half_body(sent: bytes = b"half", declared: int = 100, *, abort: bool = False) -> Behaviour:
    """Declare more bytes than are sent before the connection is closed, or reset with `abort`."""

    def behave(exchange: Exchange) -> None:
        exchange.send(response(200, sent, length=declared))
        exchange.reset() if abort else exchange.close()

    return behave


def bad_chunks(good: bytes = b"5\r\nhello\r\n", bad: bytes = b"zz\r\nnonsense\r\n") -> Behaviour:
    """Send good chunks, then a chunk whose size is no number."""

    def behave(exchange: Exchange) -> None:
        exchange.send(response(200, good + bad, {"Transfer-Encoding": "chunked"}))
        exchange.close()

    return behave


def slow_headers(interval: float = 0.05, count: int = 1000) -> Behaviour:
    """Send the head field by field, so slowly that it takes `interval * count` seconds."""

    def behave(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\n")
        for number in range(count):
            exchange.sleep(interval)
            exchange.send(b"X-Slow-%d: 1\r\n" % number)
        exchange.send(b"Content-Length: 0\r\n\r\n")

    return behave


def drip(
    chunks: Sequence[bytes],
    interval: float,
    headers: Fields = (),
) -> Behaviour:
    """Send a body of known length chunk by chunk, with a pause before each."""
    head = response(200, b"", headers, length=sum(map(len, chunks)))

    def behave(exchange: Exchange) -> None:
        exchange.send(head)
        for chunk in chunks:
            exchange.sleep(interval)
            exchange.send(chunk)

    return behave


def endless(chunk: bytes = b"x" * 65536, *, status: int = 200, chunked: bool = True) -> Behaviour:
    """Send a body until the client has had enough; without `chunked` it only ends with the connection."""

    def behave(exchange: Exchange) -> None:
        framing = {"Transfer-Encoding": "chunked"} if chunked else {"Connection": "close"}
        head = response(status, b"", framing)
        exchange.send(head if chunked else head.replace(b"Content-Length: 0\r\n", b""))
        piece = b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk
        while not exchange.stopping.is_set():
            exchange.send(piece)

    return behave


def gzip_bomb(size: int = 100_000_000) -> Behaviour:
    """Answer with about a thousandth of `size` bytes of gzip that unpack to `size` zeros."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        block = bytes(1_000_000)
        for _ in range(size // len(block)):
            file.write(block)
        file.write(bytes(size % len(block)))
    return answer(200, packed.getvalue(), {"Content-Encoding": "gzip"})


def huge_headers(size: int = 1_000_000) -> Behaviour:
    """Answer with a head of `size` bytes and a small body."""
    fields = [(f"X-Huge-{number}", "h" * 1000) for number in range(size // 1000)]
    return answer(200, b"small", fields)


def redirect(location: str, status: int = 302, headers: Sequence[tuple[str, str]] = ()) -> Behaviour:
    """Send the client elsewhere."""
    return answer(status, b"", [("Location", location), *headers])


def events(*pieces: bytes, interval: float = 0.0, stay: bool = False) -> Behaviour:
    """Send server-sent events, piece by piece, then close; with `stay`, wait for the client to leave."""

    def behave(exchange: Exchange) -> None:
        head = response(200, b"", {"Content-Type": "text/event-stream", "Connection": "close"})
        exchange.send(head.replace(b"Content-Length: 0\r\n", b""))
        for piece in pieces:
            if interval:
                exchange.sleep(interval)
            exchange.send(piece)
        if stay:
            exchange.wait_for_close()
        exchange.close()

    return behave
