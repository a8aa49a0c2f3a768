"""Clients that are broken, slow, or mean: each gets its answer or its end, and the others are served."""

import asyncio
import resource
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from qicore.asgi import Server, ServerConfig

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
BOTH = pytest.mark.parametrize("http", ["h11", "httptools"])


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what was sent."""
    if scope["type"] == "lifespan":
        raise RuntimeError("it has none")
    body = b""
    if scope["path"] == "/unread":
        await asyncio.sleep(0.05)
    elif scope["method"] == "POST":
        if scope["path"] == "/late":
            await asyncio.sleep(1.2)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
            if not message["more_body"]:
                break
    headers = [(b"content-length", str(len(body) + 1).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"=" + body})


@asynccontextmanager
async def serving(**options: Any) -> AsyncGenerator[Server]:
    given: dict[str, Any] = {"port": 0, "drain_idle": 0.0, **options}
    async with Server(app, ServerConfig(**given)) as server:
        yield server
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{server.url}/")).text == "="


async def talk(server: Server, *parts: bytes, pause: float = 0.0, ends: bool = False) -> bytes:
    """Send the parts, and return all that comes until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    # Read meanwhile: what a server said is gone when it closes on data that it did not read.
    reading = asyncio.create_task(_read(reader))
    try:
        for part in parts:
            if reading.done():
                break
            with suppress(ConnectionError):
                writer.write(part)
                await writer.drain()
            await asyncio.sleep(pause)
        if ends:
            writer.write_eof()
        return await reading
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> bytes:
    found = b""
    with suppress(ConnectionError):
        while part := await reader.read(65536):
            found += part
    return found


def statuses(answer: bytes) -> list[int]:
    return [int(part.split(b" ", 2)[0]) for part in answer.split(b"HTTP/1.1 ")[1:]]


@BOTH
@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 10,
        b"GET / HTTP/1.1\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused(http: str, request_: bytes) -> None:
    async with serving(http=http, header_timeout=1.0) as server:
        answer = await talk(server, request_ + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert statuses(answer)[:1] == [400]


@BOTH
async def test_heads_that_are_too_large(http: str) -> None:
    async with serving(http=http, max_header_size=10_000) as server:
        fine = HEAD + b"X: " + b"y" * 8_000 + b"\r\nConnection: close\r\n\r\n"
        assert statuses(await talk(server, fine)) == [200]
        one = HEAD + b"X: " + b"y" * 20_000 + b"\r\n\r\n"
        assert statuses(await talk(server, one)) == [431]
        many = HEAD + b"".join(b"X%d: y\r\n" % number for number in range(5000)) + b"\r\n"
        assert statuses(await talk(server, many)) == [431]
        endless = [HEAD, *[b"X: " + b"y" * 3000 + b"\r\n"] * 10]
        assert statuses(await talk(server, *endless, pause=0.01)) == [431]


@BOTH
async def test_heads_that_come_too_slowly(http: str) -> None:
    async with serving(http=http, header_timeout=0.4) as server:
        assert statuses(await talk(server, HEAD[:10])) == [408]
        drip = [bytes([byte]) for byte in HEAD]
        assert statuses(await talk(server, *drip, pause=0.1)) == [408]
        assert await talk(server) == b""
        # After an answer, too.
        assert statuses(await talk(server, HEAD + b"\r\n", HEAD[:10], pause=0.05)) == [200, 408]


@BOTH
async def test_a_slow_head_that_ends_in_time_is_answered(http: str) -> None:
    async with serving(http=http, header_timeout=30.0) as server:
        parts = [HEAD[:10], HEAD[10:], b"Connection: close\r\n\r\n"]
        assert statuses(await talk(server, *parts, pause=0.1)) == [200]


@BOTH
async def test_bodies_that_stop_coming(http: str) -> None:
    async with serving(http=http, body_timeout=0.4) as server:
        start = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
        assert await talk(server, start + b"half") == b""
        # A body that comes slowly, but comes, is waited for.
        drip = [start.replace(b"100", b"10"), *[b"x"] * 9, b"x"]
        answer = asyncio.create_task(talk(server, *drip, pause=0.15, ends=True))
        assert statuses(await answer) == [200]


@BOTH
async def test_bodies_that_the_application_does_not_read_yet(http: str) -> None:
    async with serving(http=http, body_timeout=0.4) as server:
        large = b"x" * 300_000
        head = b"POST /late HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 300000\r\n"
        assert statuses(await talk(server, head + b"\r\n" + large)) == [200]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(head + b"Expect: 100-continue\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 100")
        writer.write(large)
        assert b"HTTP/1.1 200" in await reader.read()
        writer.close()


@BOTH
async def test_bytes_that_are_no_request_keep_no_connection_open(http: str) -> None:
    async with serving(http=http, keep_alive=0.2, header_timeout=0.4, body_timeout=0.4) as server:
        await talk(server, HEAD + b"\r\n", b"\r\n", pause=0.1)
        unread = b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        assert statuses(await talk(server, unread, b"abc", pause=0.15))[0] == 200


@BOTH
async def test_bodies_of_the_wrong_length(http: str) -> None:
    async with serving(http=http, keep_alive=0.3, header_timeout=0.5) as server:
        longer = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabcdef"
        # What is too much is read as the next request, and is none.
        answer = await talk(server, longer)
        assert statuses(answer)[-1] == 400 if http == "httptools" else statuses(answer)[0] == 200
        assert b"cdef" not in answer
        shorter = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
        assert b" 200 " not in await talk(server, shorter, ends=True)
        chunks = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"
        assert b"abcd" not in await talk(server, chunks)


@BOTH
async def test_pipelining(http: str) -> None:
    async with serving(http=http) as server:
        posts = [
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n%02d" % number for number in range(20)
        ]
        answer = await talk(server, b"".join(posts) + HEAD + b"Connection: close\r\n\r\n")
        assert statuses(answer) == [200] * 21
        found = [int(part[1:3]) for part in answer.split(b"\r\n\r\n")[1:21]]
        assert found == list(range(20))


@BOTH
async def test_clients_that_hang_up(http: str) -> None:
    async with serving(http=http) as server:
        for part in (
            b"",
            HEAD,
            HEAD + b"\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        ):
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(part)
                writer.transport.abort()
        await asyncio.sleep(0.1)
        assert server.statistics.connections == 0


@BOTH
async def test_too_many_connections(http: str) -> None:
    async with serving(http=http, max_connections=5) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(5)]
        assert await talk(server, HEAD + b"\r\n") == b""
        for reader, writer in held:
            writer.write(HEAD + b"Connection: close\r\n\r\n")
            assert b" 200 " in await reader.read()
            writer.close()


async def test_ten_thousand_idle_connections() -> None:
    """As many as the system allows, where it does not allow so many: each takes a descriptor at both ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    number = min(10_000, (hard - 500) // 2) if hard != resource.RLIM_INFINITY else 10_000
    assert number >= 200
    held = list[asyncio.StreamWriter]()
    try:
        async with serving(header_timeout=600.0, keep_alive=600.0) as server:
            for start in range(0, number, 500):
                count = min(500, number - start)
                opened = await asyncio.gather(
                    *(asyncio.open_connection("127.0.0.1", server.port) for _ in range(count))
                )
                held += [writer for _, writer in opened]
            async with httpx.AsyncClient() as client:
                for _ in range(50):
                    assert (await client.get(f"{server.url}/")).text == "="
            assert server.statistics.connections >= number
            for writer in held:
                writer.transport.abort()
    finally:
        for writer in held:
            writer.transport.abort()
        await asyncio.sleep(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
