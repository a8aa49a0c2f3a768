"""Bodies as they come and go: in pieces, no faster than they are taken, and closed on every way out."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Result
from qicore.http import HTTPClient, HTTPConfig, HTTPStream, SyncHTTPClient
from qicore.http.lines import LineSplitter
from qicore.resilience import CircuitBreakerConfig
from qicore_testkit.fault_server import FaultServer, wait_until
from qicore_testkit.faults import answer, drip, endless, half_body, hang, redirect

CORES = pytest.mark.parametrize("core", ["httpx", "httpx2"])


def client_of(engine: Any, **more: Any) -> HTTPClient:
    return HTTPClient.create(HTTPConfig(engine=engine, **more)).unwrap()


def blocking(core: Any, **more: Any) -> SyncHTTPClient:
    return SyncHTTPClient.create(HTTPConfig(engine=core, **more)).unwrap()


async def all_closed(server: FaultServer) -> bool:
    return await asyncio.to_thread(wait_until, lambda: server.open_connections() == 0)


async def test_chunks_come_as_they_are_sent(engine: Any, fault_server: FaultServer) -> None:
    go_on = threading.Event()

    def behave(exchange: Any) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbla")
        go_on.wait(10)
        exchange.send(b"ck.")

    url = fault_server.on("/", behave)
    async with client_of(engine) as client, client.stream("GET", url) as opened:
        stream = opened.unwrap()
        assert (stream.status_code, stream.headers["content-length"]) == (200, "6")
        assert (await anext(stream)).unwrap() == b"bla"
        go_on.set()
        assert [result.unwrap() async for result in stream] == [b"ck."]
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert (await stream.read()).unwrap() == b""


@CORES
def test_chunks_come_as_they_are_sent_blocking(core: Any, fault_server: FaultServer) -> None:
    go_on = threading.Event()

    def behave(exchange: Any) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nbla")
        go_on.wait(10)
        exchange.send(b"ck.")

    url = fault_server.on("/", behave)
    with blocking(core) as client, client.stream("GET", url) as opened:
        stream = opened.unwrap()
        assert next(stream).unwrap() == b"bla"
        go_on.set()
        assert [result.unwrap() for result in stream] == [b"ck."]
        assert stream.read().unwrap() == b""


async def test_read_to_its_end_it_gives_the_connection_back(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"tea"))
    async with client_of(engine) as client:
        for _ in range(5):
            async with client.stream("GET", url) as opened:
                assert (await opened.unwrap().read()).unwrap() == b"tea"
        assert fault_server.connections == 1
    assert await all_closed(fault_server)


async def test_every_way_out_closes_it(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", endless())
    broken = fault_server.on("/broken", half_body())

    async def leave_at_once(stream: HTTPStream) -> None:
        return

    async def leave_early(stream: HTTPStream) -> None:
        async for _ in stream:
            break

    async def raise_something(stream: HTTPStream) -> None:
        await anext(stream)
        raise KeyError("tea")

    async def close_twice(stream: HTTPStream) -> None:
        assert (await stream.close()).is_success
        assert (await stream.close()).is_success
        assert [result async for result in stream] == []

    async with client_of(engine, max_connections=1, pool_timeout=5) as client:
        for use in (leave_at_once, leave_early, raise_something, close_twice):
            try:
                async with client.stream("GET", url) as opened:
                    await use(opened.unwrap())
            except KeyError:
                assert use is raise_something
            assert await all_closed(fault_server), use
        async with client.stream("GET", broken) as opened:
            results = [result async for result in opened.unwrap()]
        error = results[-1].error
        assert error is not None
        assert (error.code, error.context["reason"]) == ("NETWORK_ERROR", "incomplete")
        assert await all_closed(fault_server)


async def test_a_cancelled_reader_closes_it(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", drip([b"x"] * 1000, 0.01))
    hanging = fault_server.on("/hang", hang())

    async def read(url: str) -> None:
        async with client.stream("GET", url) as opened:
            async for _ in opened.unwrap():
                pass

    async with client_of(engine, max_connections=2) as client:
        for address in (url, hanging):
            tasks = [asyncio.create_task(read(address)) for _ in range(4)]
            await asyncio.sleep(0.1)
            for task in tasks:
                task.cancel()
            assert all(
                isinstance(outcome, asyncio.CancelledError)
                for outcome in await asyncio.gather(*tasks, return_exceptions=True)
            )
            assert await all_closed(fault_server)


@CORES
def test_every_way_out_closes_it_blocking(core: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", endless())
    with blocking(core, max_connections=1, pool_timeout=5) as client:
        for number in range(3):
            with pytest.raises(KeyError), client.stream("GET", url) as opened:
                for _ in range(number):
                    next(opened.unwrap())
                raise KeyError("tea")
            assert wait_until(lambda: fault_server.open_connections() == 0)
        with client.stream("GET", url) as opened:
            stream = opened.unwrap()
            assert stream.close().is_success
            assert list(stream) == []
        with client.stream("GET", fault_server.on("/broken", half_body())) as opened:
            assert list(opened.unwrap())[-1].is_failure
        assert wait_until(lambda: fault_server.open_connections() == 0)


async def test_a_failure_has_no_stream(engine: Any, fault_server: FaultServer) -> None:
    async with client_of(engine) as client:
        async with client.stream("GET", fault_server.on("/", answer(404, b"no tea"))) as opened:
            assert opened.error is not None
            assert (opened.error.context["status"], opened.error.context["body"]) == (404, "no tea")
        async with client.stream("GET", "ftp://tea/") as opened:
            assert opened.is_failure
        moved = fault_server.on("/old", redirect("/new"))
        fault_server.on("/new", answer(200, b"tea"))
        async with client.stream("GET", moved) as opened:
            stream = opened.unwrap()
            assert [one.status_code for one in stream.response.history] == [302]
            assert (await stream.read()).unwrap() == b"tea"
        async with client.stream("GET", fault_server.url, accept_status=[404]) as opened:
            assert opened.unwrap().status_code == 404


async def test_the_body_is_read_here_and_not_there(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"tea"))
    async with client_of(engine) as client, client.stream("GET", url) as opened:
        response = opened.unwrap().response
        with pytest.raises(httpx.ResponseNotRead):
            _ = response.content
        with pytest.raises(httpx.StreamError):
            await response.aread()


@CORES
def test_the_body_is_read_here_and_not_there_blocking(core: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"tea"))
    with blocking(core) as client:
        with client.stream("GET", url) as opened:
            with pytest.raises(httpx.StreamError):
                opened.unwrap().response.read()
            assert (opened.unwrap().status_code, opened.unwrap().headers["content-length"]) == (200, "3")
        with client.stream("GET", "ftp://tea/") as opened:
            assert opened.is_failure
        assert client.download(url + "?x", "/dev/null/leaves").is_failure


async def test_nothing_is_read_ahead(engine: Any, fault_server: FaultServer) -> None:
    sent = 0

    def behave(exchange: Any) -> None:
        nonlocal sent
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        piece = b"x" * 100_000
        while not exchange.stopping.is_set():
            exchange.send(piece)
            sent += len(piece)

    url = fault_server.on("/", behave)
    async with client_of(engine, max_response_size=None) as client, client.stream("GET", url) as opened:
        stream = opened.unwrap()
        await anext(stream)
        before = -1
        for _ in range(100):
            await asyncio.sleep(0.05)
            if sent == before:
                break
            before = sent
        else:
            pytest.fail("the server could send for ever")
        assert sent < 50_000_000, "no more than the buffers of the system hold"


async def test_nothing_is_produced_ahead(ask: Any, fault_server: FaultServer) -> None:
    made = 0

    def pieces() -> Iterator[bytes]:
        nonlocal made
        for _ in range(10_000):
            made += 1
            yield b"x" * 100_000

    def deaf(exchange: Any) -> None:
        exchange.sleep(20)

    fault_server.on_connect.append(deaf)
    error = (await ask("POST", fault_server.url, content=pieces(), timeout=0.4, retry=None)).error
    assert (error.code, error.context["sent"]) == ("TIMEOUT_ERROR", True)
    assert 0 < made < 500


async def test_the_server_may_answer_before_it_has_all(engine: Any, fault_server: FaultServer) -> None:
    def early(exchange: Any) -> None:
        exchange.connection.recv(1000)
        exchange.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        exchange.sleep(0.2)
        exchange.close()

    async def endlessly() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000
            await asyncio.sleep(0.001)

    fault_server.on_connect.append(early)
    async with client_of(engine, retry=None) as client:
        error = (await client.post(fault_server.url, content=endlessly(), timeout=5)).error
    assert error is not None
    # Whoever writes while the server closes may learn of its answer or of the end only.
    assert error.context.get("status", error.context.get("reason")) in (413, "reset", "disconnected")


@pytest.mark.parametrize("sized", [True, False])
async def test_progress_up(ask: Any, sized: bool, fault_server: FaultServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    body = b"x" * 300_000
    file = tmp_path / "leaves.bin"
    file.write_bytes(body)
    content: Any = file if sized else iter([body[:100_000], body[100_000:]])
    url = fault_server.on("/", answer(200))

    def progress(done: int, total: int | None) -> None:
        seen.append((done, total))

    (await ask("POST", url, content=content, on_upload=progress)).unwrap()
    assert seen[-1] == (300_000, 300_000 if sized else None)
    assert seen == sorted(seen)
    assert len(seen) >= 2
    assert fault_server.requests[0].body == body
    fields = fault_server.requests[0]
    assert (fields.header("content-length"), fields.header("transfer-encoding")) == (
        ("300000", None) if sized else (None, "chunked")
    )


async def test_progress_down(ask: Any, fault_server: FaultServer) -> None:
    seen: list[tuple[int, int | None]] = []
    url = fault_server.on("/", drip([b"x" * 1000] * 5, 0.01))

    def progress(done: int, total: int | None) -> None:
        seen.append((done, total))

    (await ask("GET", url, on_download=progress)).unwrap()
    assert seen[-1] == (5000, 5000)
    assert seen == sorted(seen)
    chunked = fault_server.on("/chunked", endless())
    assert (await ask("GET", chunked, max_response_size=200_000, on_download=progress)).is_failure
    assert seen[-1][1] is None


async def test_progress_that_raises_is_told(ask: Any, fault_server: FaultServer) -> None:
    def broken(done: int, total: int | None) -> None:
        raise RuntimeError("no bar")

    url = fault_server.on("/", answer(200, b"tea"))
    for options in ({"on_download": broken}, {"on_upload": broken, "content": b"leaves"}):
        error = (await ask("POST", url, retry=None, **options)).error
        assert (error.get_category().value, "no bar" in str(error)) == ("UNKNOWN", True)
    (await ask("GET", url)).unwrap()


async def test_a_time_for_the_body(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", drip([b"x"] * 40, 0.02))
    async with client_of(engine, timeout=0.2) as client:
        # That of the config ends with the head: nobody knows how long a stream should take.
        async with client.stream("GET", url) as opened:
            assert len((await opened.unwrap().read()).unwrap()) == 40
        async with client.stream("GET", url, timeout=0.2) as opened:
            results = [result async for result in opened.unwrap()]
    error = results[-1].error
    assert error is not None
    assert (error.code, error.context["reason"]) == ("TIMEOUT_ERROR", "deadline")


@CORES
def test_a_time_for_the_body_blocking(core: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", drip([b"x"] * 40, 0.02))
    with blocking(core, timeout=0.2) as client:
        with client.stream("GET", url) as opened:
            assert len(opened.unwrap().read().unwrap()) == 40
        with client.stream("GET", url, timeout=0.2) as opened:
            error = list(opened.unwrap())[-1].error
    assert error is not None
    assert (error.code, error.context["reason"]) == ("TIMEOUT_ERROR", "deadline")


async def test_lines(engine: Any, fault_server: FaultServer) -> None:
    text = "eins\r\nzwei ä\n\ndrei".encode("latin-1")
    url = fault_server.on("/", drip([text[i : i + 3] for i in range(0, len(text), 3)], 0.001, LATIN))
    long = fault_server.on("/long", endless(b"x" * 5000))
    broken = fault_server.on("/broken", half_body(b"one\ntwo"))
    async with client_of(engine, max_response_size=10_000) as client:
        async with client.stream("GET", url) as opened:
            lines = [result.unwrap() async for result in opened.unwrap().lines()]
        assert lines == ["eins", "zwei ä", "", "drei"]
        async with client.stream("GET", long) as opened:
            results = [result async for result in opened.unwrap().lines()]
        assert [getattr(result.error, "code", "") for result in results] == ["RESPONSE_TOO_LARGE"]
        async with client.stream("GET", broken) as opened:
            codes = [
                result.data or getattr(result.error, "code", "") async for result in opened.unwrap().lines()
            ]
        assert codes == ["one", "NETWORK_ERROR"]


LATIN = {"Content-Type": "text/plain; charset=latin-1"}


@CORES
def test_lines_blocking(core: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, "eins\r\nzwei ä\n".encode("latin-1"), LATIN))
    long = fault_server.on("/long", endless(b"x" * 5000))
    with blocking(core, max_response_size=10_000) as client:
        with client.stream("GET", url) as opened:
            assert [result.unwrap() for result in opened.unwrap().lines()] == ["eins", "zwei ä"]
        with client.stream("GET", long) as opened:
            codes = [getattr(result.error, "code", "") for result in opened.unwrap().lines()]
        assert codes == ["RESPONSE_TOO_LARGE"]


@given(st.text("ab\r\né\u2028", max_size=60), st.integers(1, 5))
def test_lines_do_not_depend_on_the_cut(text: str, size: int) -> None:
    data = text.encode()
    splitter = LineSplitter(None, None)
    lines = [line for i in range(0, len(data), size) for line in splitter.feed(data[i : i + size])]
    lines += splitter.finish()
    expected = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert lines == (expected[:-1] if expected[-1] == "" else expected)


async def test_the_breaker_hears_how_a_stream_ends(engine: Any, fault_server: FaultServer) -> None:
    broken = fault_server.on("/broken", half_body())
    async with client_of(engine, retry=None) as plain:
        client = plain.with_circuit_breaker(CircuitBreakerConfig(failure_threshold=2))
        for _ in range(2):
            async with client.stream("GET", broken) as opened:
                results = [result async for result in opened.unwrap()]
            assert results[-1].is_failure
        async with client.stream("GET", broken) as opened:
            assert opened.error is not None
            assert opened.error.code == "CIRCUIT_OPEN"


async def test_a_cancelled_stream_says_nothing_of_the_service(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(503), drip([b"x"] * 1000, 0.01), answer(200, b"tea"))
    options = CircuitBreakerConfig(failure_threshold=1, reset_timeout=0.01, half_open_requests=1)
    async with client_of(engine, retry=None) as plain:
        client = plain.with_circuit_breaker(options)
        assert (await client.get(url)).is_failure
        await asyncio.sleep(0.02)

        async def probe() -> Result[bytes]:
            async with client.stream("GET", url) as opened:
                return await opened.unwrap().read()

        task = asyncio.create_task(probe())
        assert await asyncio.to_thread(wait_until, lambda: fault_server.count("/") == 2)
        await asyncio.sleep(0.05)
        assert getattr((await client.get(url)).error, "code", "") == "CIRCUIT_OPEN", "the probe is out"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.get(url)).unwrap().content == b"tea", "its permit was given back"


async def test_a_download_is_there_when_it_is_complete(
    engine: Any, fault_server: FaultServer, tmp_path: Path
) -> None:
    target = tmp_path / "leaves.bin"
    target.write_bytes(b"before")
    whole = fault_server.on("/", answer(200, b"leaves" * 50_000))
    async with client_of(engine, retry=None) as client:
        for url in (fault_server.on("/broken", half_body()), fault_server.on("/404", answer(404))):
            assert (await client.download(url, target)).is_failure
            assert target.read_bytes() == b"before"
        assert getattr((await client.download(whole, target, max_response_size=10)).error, "code", "") == (
            "RESPONSE_TOO_LARGE"
        )
        assert (await client.download(whole, target)).unwrap() == 300_000
        assert target.read_bytes() == b"leaves" * 50_000
        error = (await client.download(whole, tmp_path / "no" / "such" / "place")).error
        assert error is not None
        assert (error.code, error.get_category().value) == ("FILE_ERROR", "FILESYSTEM")
        task = asyncio.create_task(
            client.download(fault_server.on("/drip", drip([b"x"] * 999, 0.01)), target)
        )
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert os.listdir(tmp_path) == ["leaves.bin"]  # noqa: PTH208 - a list of names
    assert target.read_bytes() == b"leaves" * 50_000


@CORES
def test_a_download_blocking(core: Any, fault_server: FaultServer, tmp_path: Path) -> None:
    target = tmp_path / "leaves.bin"
    whole = fault_server.on("/", answer(200, b"leaves"))
    with blocking(core, retry=None) as client:
        assert client.download(fault_server.on("/broken", half_body()), target).is_failure
        assert list(tmp_path.iterdir()) == []
        assert client.download(whole, target).unwrap() == 6
        assert client.download(whole, tmp_path).is_failure
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert target.stat().st_mode == ordinary.stat().st_mode


@CORES
def test_an_interrupt_says_nothing_of_the_service(core: Any, fault_server: FaultServer) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    url = fault_server.on("/", answer(503), answer(200, b"tea"))
    options = CircuitBreakerConfig(failure_threshold=1, reset_timeout=0.01, half_open_requests=1)
    with blocking(core, retry=None) as plain:
        client = plain.with_circuit_breaker(options)
        assert client.get(url).is_failure
        for _ in range(2):
            time.sleep(0.02)
            with pytest.raises(KeyboardInterrupt):
                client.get(url, on_download=interrupt)
            with pytest.raises(KeyboardInterrupt), client.stream("GET", url, on_download=interrupt) as opened:
                list(opened.unwrap())
        assert client.get(url).unwrap().content == b"tea", "its permit was given back"
        assert client.get(url).unwrap().content == b"tea"


async def test_a_cancelled_request_says_nothing_of_the_service(
    engine: Any, fault_server: FaultServer
) -> None:
    url = fault_server.on("/", answer(503), hang(), answer(200, b"tea"))
    options = CircuitBreakerConfig(failure_threshold=1, reset_timeout=0.01, half_open_requests=1)
    async with client_of(engine, retry=None) as plain:
        client = plain.with_circuit_breaker(options)
        assert (await client.get(url)).is_failure
        await asyncio.sleep(0.02)
        task = asyncio.create_task(client.get(url))
        assert await asyncio.to_thread(wait_until, lambda: fault_server.count("/") == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.get(url)).unwrap().content == b"tea", "its permit was given back"


@CORES
def test_the_breaker_hears_how_a_stream_ends_blocking(core: Any, fault_server: FaultServer) -> None:
    broken = fault_server.on("/broken", half_body())
    whole = fault_server.on("/whole", answer(200, b"tea"))
    with blocking(core, retry=None) as plain:
        client = plain.with_circuit_breaker(CircuitBreakerConfig(failure_threshold=2))
        with client.stream("GET", whole) as opened:
            assert opened.unwrap().read().unwrap() == b"tea"
        for _ in range(2):
            with client.stream("GET", broken) as opened:
                assert list(opened.unwrap().lines())[-1].is_failure
        with client.stream("GET", broken) as opened:
            assert getattr(opened.error, "code", "") == "CIRCUIT_OPEN"
