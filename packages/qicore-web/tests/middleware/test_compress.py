import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.web.middleware import compression
from qicore.web.middleware.checks import check_texts
from starlette.responses import PlainTextResponse, Response, StreamingResponse

LONG = b"compress me " * 500
GZIP = [("accept-encoding", "gzip, deflate, br")]


def made(response: Any, **options: Any) -> Any:
    factory, _, kwargs = compression(**options)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await response(scope, receive, send)

    return factory(app, **kwargs)


async def test_long_answers_are_compressed(ask: Any) -> None:
    answer = await ask(made(PlainTextResponse(LONG)), headers=GZIP)
    assert answer.get("content-encoding") == "gzip"
    assert answer.get("vary") == "Accept-Encoding"
    assert answer.get("content-length") == str(len(answer.body))
    assert gzip.decompress(answer.body) == LONG
    assert len(answer.body) < len(LONG) / 10


@pytest.mark.parametrize(
    "accept", ["", "identity", "br", "gzip;q=0", "gzip;q=0.0, br", "*;q=0", "x", "notgzip", "gzip;q=nonsense",
               "gzip;q=0.5, identity;q=1"],
)  # fmt: skip
async def test_who_does_not_take_it_does_not_get_it(ask: Any, accept: str) -> None:
    answer = await ask(made(PlainTextResponse(LONG)), headers=[("accept-encoding", accept)])
    assert answer.get("content-encoding") is None
    assert answer.body == LONG
    assert answer.get("vary") == "Accept-Encoding", "caches must know that it depends on that"


@pytest.mark.parametrize("accept", ["gzip", "GZIP", "x-gzip", "*", "br;q=1, gzip;q=0.1", "deflate,gzip"])
async def test_who_takes_it_gets_it(ask: Any, accept: str) -> None:
    answer = await ask(made(PlainTextResponse(LONG)), headers=[("accept-encoding", accept)])
    assert answer.get("content-encoding") == "gzip"


async def test_lines_of_the_field_are_taken_together(ask: Any) -> None:
    lines = [("accept-encoding", "br"), ("accept-encoding", "gzip")]
    assert (await ask(made(PlainTextResponse(LONG)), headers=lines)).get("content-encoding") == "gzip"


@pytest.mark.parametrize(
    "response",
    [
        PlainTextResponse(b"short"),
        Response(LONG, headers={"content-encoding": "br"}),
        Response(LONG, headers={"content-encoding": "identity"}),
        Response(LONG, headers={"cache-control": "private, No-Transform"}),
        Response(LONG, 206, headers={"content-range": "bytes 0-5999/9000"}),
        Response(LONG, media_type="image/png"),
        Response(LONG, media_type="video/mp4"),
        Response(LONG, media_type="application/zip"),
        Response(LONG, media_type="application/zstd"),
        Response(LONG, media_type="font/woff2"),
        Response(LONG, media_type="Text/Event-Stream; charset=utf-8"),
        Response(LONG, media_type="application/x-own"),
        Response(b"", 204),
        Response(b"", 304, headers={"etag": '"7"'}),
    ],
)
async def test_these_go_as_they_are(ask: Any, response: Response) -> None:
    before = list(response.raw_headers)
    answer = await ask(made(response, exclude=["application/x-own"]), headers=GZIP)
    assert answer.body == response.body
    assert [(name.encode(), value.encode()) for name, value in answer.headers] == before


async def test_streams_are_flushed_piece_by_piece(ask: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(3):
            yield f"piece {number}".encode()

    answer = await ask(made(StreamingResponse(pieces())), headers=GZIP)
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    read = [reader.decompress(message["body"]) for message in answer.messages if "body" in message]
    assert [piece for piece in read if piece] == [b"piece 0", b"piece 1", b"piece 2"]
    assert answer.get("content-length") is None


async def test_events_are_not_held_back(ask: Any) -> None:
    async def events() -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        yield b"data: 2\n\n"

    answer = await ask(made(StreamingResponse(events(), media_type="text/event-stream")), headers=GZIP)
    assert [m["body"] for m in answer.messages if m.get("body")] == [b"data: 1\n\n", b"data: 2\n\n"]


async def test_a_strong_tag_becomes_weak_and_ranges_are_not_offered(ask: Any) -> None:
    def response(tag: str) -> Response:
        return PlainTextResponse(LONG, headers={"etag": tag, "accept-ranges": "bytes"})

    answer = await ask(made(response('"7"')), headers=GZIP)
    assert answer.get("etag") == 'W/"7"'
    assert answer.get("accept-ranges") is None
    assert (await ask(made(response('W/"7"')), headers=GZIP)).get("etag") == 'W/"7"'
    plain = await ask(made(response('"7"')))
    assert (plain.get("etag"), plain.get("accept-ranges")) == ('"7"', "bytes")


async def test_a_response_that_is_sent_again_is_not_changed(ask: Any) -> None:
    app = made(PlainTextResponse(LONG, headers={"etag": '"7"'}))
    first, second = await ask(app, headers=GZIP), await ask(app, headers=GZIP)
    plain = await ask(app)
    assert first.headers == second.headers
    assert plain.get("content-encoding") is None
    assert plain.get("etag") == '"7"'
    assert plain.body == LONG


async def test_twice_around_compresses_once(ask: Any) -> None:
    answer = await ask(made(made(PlainTextResponse(LONG))), headers=GZIP)
    assert gzip.decompress(answer.body) == LONG


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_what_is_not_http_goes_through_untouched(kind: str) -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.extend((scope, receive, send))

    async def receive() -> Any: ...
    async def send(message: Any) -> None: ...

    await made(app)({"type": kind}, receive, send)
    assert got == [{"type": kind}, receive, send]


@pytest.mark.parametrize(
    "options",
    [{"level": 0}, {"level": 10}, {"minimum_size": -1}, {"exclude": "image/*"}, {"exclude": [None]}],
)
def test_wrong_options(options: Any) -> None:
    with pytest.raises(ValueError):
        compression(**options)


@given(st.lists(st.text(min_size=1)))
def test_several_texts_stay_what_they_are(texts: list[str]) -> None:
    assert check_texts("x", texts) == tuple(texts)
