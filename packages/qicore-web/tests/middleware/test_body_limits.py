import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from qicore.base import Result, Success
from qicore.web import WebApp, WebConfig
from qicore.web.middleware import body_limit
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse

CHUNKED = [("transfer-encoding", "chunked")]


async def reading(scope: Any, receive: Any, send: Any) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


def limited(app: Any = reading, most: int = 10) -> Any:
    factory, _, options = body_limit(most)
    return factory(app, **options)


def is_refusal(answer: Any) -> None:
    assert answer.status == 413
    assert answer.get("content-type") == "application/problem+json"
    assert b'"code":"CONTENT_TOO_LARGE"' in answer.body
    assert b'"limit":10' in answer.body


async def test_bodies_up_to_the_limit_pass(ask: Any) -> None:
    for size in (0, 1, 10):
        announced = [("content-length", str(size))]
        assert (await ask(limited(), "POST", headers=announced, body=[b"x" * size])).body == b"%d" % size
        assert (
            await ask(limited(), "POST", headers=CHUNKED, body=[b"x"] * size or [b""])
        ).body == b"%d" % size


async def test_what_is_announced_too_large_is_not_read(ask: Any) -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the application is not asked")

    for length in ("11", "9" * 40, "-1", "x", "1e1", "0x5", "+5", "٣"):
        answer = await ask(
            limited(never), "POST", headers=[("content-length", length.encode().decode("latin-1"))]
        )
        is_refusal(answer)
        assert answer.get("connection") == "close"
    is_refusal(await ask(limited(never), "POST", headers=[("content-length", "5"), ("content-length", "50")]))


async def test_a_chunked_body_is_counted_and_not_held_back(ask: Any) -> None:
    seen: list[int] = []

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        async for piece in Request(scope, receive).stream():
            seen.append(len(piece))  # noqa: PERF401 - what came before the end must be seen
        await PlainTextResponse("all")(scope, receive, send)

    is_refusal(await ask(limited(streaming), "POST", headers=CHUNKED, body=[b"xxxx"] * 100))
    assert seen == [4, 4], "each piece came at once, and none after the limit"


async def test_http2_says_no_length_and_is_counted(ask: Any) -> None:
    answer = await ask(limited(), "POST", body=[b"x" * 11], http_version="2")
    is_refusal(answer)
    assert answer.get("connection") is None, "HTTP/2 has no such field"


async def test_a_body_longer_than_announced_is_counted(ask: Any) -> None:
    is_refusal(await ask(limited(), "POST", headers=[("content-length", "5")], body=[b"x" * 11]))


async def test_whatever_the_application_makes_of_it_it_is_a_413(ask: Any) -> None:
    async def careless(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(20):
            try:
                await Request(scope, receive).body()
            except Exception:
                continue
        await PlainTextResponse("fine")(scope, receive, send)

    async def rude(scope: Any, receive: Any, send: Any) -> None:
        try:
            await Request(scope, receive).body()
        except Exception as error:
            raise RuntimeError("could not read") from error

    is_refusal(await ask(limited(careless), "POST", headers=CHUNKED, body=[b"x" * 11]))
    with pytest.raises(RuntimeError, match="could not read"):
        await ask(limited(rude), "POST", headers=CHUNKED, body=[b"x" * 11])


async def test_an_answer_that_has_begun_breaks_off(ask: Any) -> None:
    sent: list[Any] = []

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        async def note(message: Any) -> None:
            sent.append(message)
            await send(message)

        await StreamingResponse(Request(scope, receive).stream())(scope, receive, note)

    with pytest.raises(Exception, match="larger than 10 bytes"):
        await ask(limited(echo), "POST", headers=CHUNKED, body=[b"xxxx"] * 5)
    assert [message["type"] for message in sent] == ["http.response.start"] + ["http.response.body"] * 2


async def test_a_client_that_leaves_half_way_is_not_refused(ask: Any) -> None:
    async def half(scope: Any, receive: Any, send: Any) -> None:
        kinds = [(await receive())["type"] for _ in range(2)]
        await PlainTextResponse(" ".join(kinds))(scope, receive, send)

    answer = await ask(limited(half), "POST", headers=CHUNKED, body=[b"xxxx"])
    assert answer.body == b"http.request http.disconnect"


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_what_is_not_http_goes_through_untouched(kind: str) -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.extend((scope, receive, send))

    async def receive() -> Any: ...
    async def send(message: Any) -> None: ...

    scope: Any = {"type": kind, "headers": [(b"content-length", b"100")]}
    await limited(app)(scope, receive, send)
    assert got == [scope, receive, send]


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "10", None])
def test_wrong_limits(wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        body_limit(wrong)


def application() -> WebApp:
    app = WebApp(WebConfig(max_body_size=None))
    group = app.group("/small", body_limit(10))

    @group.post("/json")
    async def take(body: list[int]) -> Result[int]:
        return Success(len(body))

    @group.post("/raw")
    async def raw(request: Request) -> Result[int]:
        return Success(len(await request.body()))

    @app.post("/large")
    async def large(body: list[int]) -> Result[int]:
        return Success(len(body))

    return app


async def test_in_an_application_for_a_group(ask: Any) -> None:
    app, body = application(), b"[" + b"1," * 20 + b"1]"
    headers = [("content-type", "application/json")]
    for path in ("/small/json", "/small/raw"):
        is_refusal(await ask(app, "POST", path, [*headers, *CHUNKED], body=[body[:5], body[5:]]))
        is_refusal(await ask(app, "POST", path, [*headers, ("content-length", str(len(body)))], body=[body]))
    assert (await ask(app, "POST", "/large", [*headers, *CHUNKED], body=[body])).body == b"21"


async def test_over_a_socket_the_client_hears_it_before_it_has_sent_all(serve: Any) -> None:
    async with serve(application()) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = "POST /small/raw HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
        writer.write(head.encode() + b"x" * 100)
        answer = await reader.read()  # to the end: the server closes
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"CONTENT_TOO_LARGE" in answer
        writer.close()

        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /small/raw HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413")
        writer.close()


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_a_client_that_asks_first_is_not_told_to_go_on(serve: Any, http: str) -> None:
    async with serve(application(), http=http) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = "POST /small/raw HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
        writer.write(head.encode())
        answer = await reader.readuntil(b"CONTENT_TOO_LARGE")
        writer.close()
        rest = await reader.read()
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"100 Continue" not in answer + rest


async def test_over_a_socket_a_client_that_sends_all_first_hears_it_too(serve: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    async with serve(application()) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for content in (b"x" * 1_000_000, pieces()):
            refused = await client.post("/small/raw", content=content)
            assert refused.status_code == 413
            assert refused.json()["code"] == "CONTENT_TOO_LARGE"
        assert (await client.post("/small/raw", content=b"12345")).json() == 5


def test_it_is_starlette_middleware() -> None:
    assert isinstance(body_limit(1), Middleware)
