"""How much of a body is taken: never more than was asked for, whatever is declared, sent or unpacked."""

import asyncio
import gzip
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import ErrorCategory, QiError
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient
from qicore.http.decoding import make_decoder
from qicore_testkit.fault_server import FaultServer, wait_until
from qicore_testkit.faults import answer, endless, gzip_bomb, huge_headers
from qicore_testkit.raw_http import response

MEGABYTE = 1_000_000


def too_large(result: Any, limit: int) -> None:
    error = result.error
    assert error is not None
    assert (error.code, error.get_category()) == ("RESPONSE_TOO_LARGE", ErrorCategory.NETWORK)
    assert error.context["limit"] == limit


async def test_a_bomb_is_not_unpacked(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", gzip_bomb(100 * MEGABYTE))
    ask.configure(HTTPConfig(max_response_size=MEGABYTE))
    (await ask("GET", fault_server.on("/small", answer(200)))).unwrap()
    tracemalloc.start()
    try:
        too_large(await ask("GET", url), MEGABYTE)
        assert tracemalloc.get_traced_memory()[1] < 10 * MEGABYTE
    finally:
        tracemalloc.stop()
    assert fault_server.count("/") == 1, "to ask again would not make it smaller"


async def test_bombs_within_bombs(ask: Any, fault_server: FaultServer) -> None:
    packed = gzip.compress(gzip.compress(bytes(50 * MEGABYTE)))
    url = fault_server.on("/", answer(200, packed, {"Content-Encoding": "gzip, gzip"}))
    too_large(await ask("GET", url, max_response_size=MEGABYTE), MEGABYTE)
    layers = fault_server.on("/layers", answer(200, packed, {"Content-Encoding": ", ".join(["gzip"] * 40)}))
    assert (await ask("GET", layers)).error.code == "PARSE_ERROR"


async def test_what_is_declared_too_large_is_not_read(ask: Any, fault_server: FaultServer) -> None:
    def behave(exchange: Any) -> None:
        exchange.send(response(200, b"", length=10 * MEGABYTE))
        exchange.wait_for_close()
        exchange.close()

    too_large(await ask("GET", fault_server.on("/", behave), max_response_size=1000), 1000)
    # A HEAD only tells how large it would be.
    head = fault_server.on("/head", answer(200, b"x" * 5000))
    assert (await ask("HEAD", head, max_response_size=1000)).is_success


@pytest.mark.parametrize("chunked", [True, False])
async def test_what_never_ends_is_ended(ask: Any, chunked: bool, fault_server: FaultServer) -> None:
    url = fault_server.on("/", endless(chunked=chunked))
    too_large(await ask("GET", url, max_response_size=MEGABYTE), MEGABYTE)
    assert await asyncio.to_thread(wait_until, lambda: fault_server.open_connections() == 0)


@pytest.mark.parametrize("size", [999, 1000, 1001])
async def test_the_limit_is_exact(ask: Any, size: int, fault_server: FaultServer) -> None:
    plain = fault_server.on("/plain", answer(200, b"x" * size))
    packed = fault_server.on("/packed", answer(200, gzip.compress(b"x" * size), {"Content-Encoding": "gzip"}))
    for url in (plain, packed):
        result = await ask("GET", url, max_response_size=1000)
        if size > 1000:
            too_large(result, 1000)
        else:
            assert len(result.unwrap().content) == size


async def test_nothing_at_all_is_a_limit_too(ask: Any, fault_server: FaultServer) -> None:
    assert (await ask("GET", fault_server.on("/", answer(200)), max_response_size=0)).is_success
    too_large(await ask("GET", fault_server.on("/", answer(200, b"x")), max_response_size=0), 0)


async def test_no_limit(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(max_response_size=None))
    url = fault_server.on("/", answer(200, bytes(40 * MEGABYTE)))
    assert len((await ask("GET", url)).unwrap().content) == 40 * MEGABYTE
    ask.configure(HTTPConfig())
    too_large(await ask("GET", url), 32 * 1024 * 1024)


async def test_the_body_of_an_error_is_bounded(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", endless(status=404))
    error = (await ask("GET", url)).error
    assert (error.context["status"], error.context["body_truncated"]) == (404, True)
    assert len(error.context["body"]) < 10_000
    # An error that is accepted is an answer as any other.
    too_large(await ask("GET", url, accept_status=[404], max_response_size=1000), 1000)


async def test_a_huge_head_is_refused(ask: Any, fault_server: FaultServer) -> None:
    error = (await ask("GET", fault_server.on("/", huge_headers(10 * MEGABYTE)), retry=None)).error
    assert (error.code, error.context["reason"]) == ("NETWORK_ERROR", "protocol")


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"leaves", mtime=0)[:-5]),
        ("gzip", b"no gzip at all"),
        ("deflate", b"\xff\xfe\xfd"),
        ("gzip", gzip.compress(b"leaves", mtime=0) + b"rubbish"),
    ],
)
async def test_a_body_that_is_not_what_it_says(
    ask: Any, encoding: str, body: bytes, fault_server: FaultServer
) -> None:
    url = fault_server.on("/", answer(200, body, {"Content-Encoding": encoding}))
    error = (await ask("GET", url)).error
    assert (error.code, error.get_category()) == ("PARSE_ERROR", ErrorCategory.VALIDATION)
    assert fault_server.count("/") == 1


async def test_two_members_are_one_body(ask: Any, fault_server: FaultServer) -> None:
    packed = gzip.compress(b"black ") + gzip.compress(b"tea")
    url = fault_server.on("/", answer(200, packed, {"Content-Encoding": "x-gzip"}))
    assert (await ask("GET", url)).unwrap().content == b"black tea"


async def test_a_stream_has_the_limit_it_is_given(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", gzip_bomb(20 * MEGABYTE))
    async with HTTPClient.create(HTTPConfig(engine=engine, max_response_size=10)).unwrap() as client:
        async with client.stream("GET", url) as opened:
            sizes = [len(result.unwrap()) async for result in opened.unwrap()]
        assert (sum(sizes), max(sizes) <= 65536) == (20 * MEGABYTE, True)
        async with client.stream("GET", url, max_response_size=MEGABYTE) as opened:
            results = [result async for result in opened.unwrap()]
        too_large(results[-1], MEGABYTE)
        assert all(result.is_success for result in results[:-1])
        async with client.stream("GET", url) as opened:
            too_large(await opened.unwrap().read(), 10)


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
def test_a_blocking_stream_too(core: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", gzip_bomb(20 * MEGABYTE))
    with SyncHTTPClient.create(HTTPConfig(engine=core, max_response_size=10)).unwrap() as client:
        with client.stream("GET", url) as opened:
            assert sum(len(result.unwrap()) for result in opened.unwrap()) == 20 * MEGABYTE
        with client.stream("GET", url, max_response_size=MEGABYTE) as opened:
            too_large(list(opened.unwrap())[-1], MEGABYTE)
        with client.stream("GET", url) as opened:
            too_large(opened.unwrap().read(), 10)


def _unpack(decoder: Any, pieces: list[bytes]) -> bytes:
    found = b"".join(part for piece in pieces for part in decoder.decode(piece))
    decoder.finish()
    return found


@given(st.binary(max_size=300_000), st.lists(st.integers(1, 5000), max_size=8), st.sampled_from(range(4)))
def test_any_body_comes_back_however_it_is_cut(body: bytes, cuts: list[int], kind: int) -> None:
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    spelled, packed = [
        (b"gzip", gzip.compress(body, mtime=0)),
        (b"deflate", zlib.compress(body)),
        (b"deflate", raw.compress(body) + raw.flush()),
        (b"deflate, gzip", gzip.compress(zlib.compress(body), mtime=0)),
    ][kind]
    pieces: list[bytes] = []
    for cut in cuts:
        pieces.append(packed[:cut])
        packed = packed[cut:]
    pieces.append(packed)
    decoder = make_decoder([(b"Content-Encoding", spelled)])
    assert _unpack(decoder, [piece for piece in pieces if piece]) == body


@given(st.binary(max_size=2000), st.sampled_from([b"gzip", b"deflate", b"gzip, deflate"]))
def test_any_bytes_are_a_body_or_an_error(data: bytes, encoding: bytes) -> None:
    decoder = make_decoder([(b"content-encoding", encoding)])
    codes: list[str] = []
    try:
        _unpack(decoder, [data] if data else [])
    except QiError as error:
        codes.append(error.code)
    assert codes in ([], ["PARSE_ERROR"])


def test_no_byte_stays_behind_when_a_step_ends_with_its_data() -> None:
    # A few bytes stand for 300 KB, and each cut leaves another rest in zlib.
    body = bytes(300_000)
    packed = zlib.compress(body)
    for cut in range(1, len(packed)):
        decoder = make_decoder([(b"content-encoding", b"deflate")])
        first = b"".join(decoder.decode(packed[:cut]))
        known = zlib.decompressobj().decompress(packed[:cut])
        assert len(first) == len(known)
        assert len(first) + len(_unpack(decoder, [packed[cut:]])) == len(body)


@pytest.mark.parametrize("data", [b"x", zlib.compress(b"leaves")[:-3]])
def test_deflate_that_ends_too_early_is_an_error(data: bytes) -> None:
    with pytest.raises(QiError, match="ends in the middle"):
        _unpack(make_decoder([(b"content-encoding", b"deflate")]), [data])


def test_what_nobody_asked_for_is_left_alone() -> None:
    assert make_decoder([(b"content-encoding", b"br")]) is None
    assert make_decoder([(b"content-encoding", b"identity")]) is None
    assert make_decoder([]) is None
