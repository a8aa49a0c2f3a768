"""Whatever goes wrong on the wire, every engine says the same: code, category, reason, and `sent`."""

import asyncio
import contextlib
import importlib.util
import io
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from qicore.base import ErrorCategory
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient
from qicore_testkit.fault_server import Behaviour, Exchange, FaultServer, wait_until
from qicore_testkit.faults import (
    answer,
    answer_then_close,
    bad_chunks,
    drop_after_reading,
    garbage,
    half_body,
    hang,
    huge_headers,
    reset,
    slow_headers,
)
from qicore_testkit.http_servers import closed_port

NETWORK, TIMEOUT = ErrorCategory.NETWORK, ErrorCategory.TIMEOUT
HEAD = b"HTTP/1.1 200 OK\r\n"


def later(*pieces: bytes, end: Callable[[Exchange], None] = Exchange.close) -> Behaviour:
    """Send pieces one after the other, so that each is read by itself, and end the connection."""

    def behave(exchange: Exchange) -> None:
        for piece in pieces:
            exchange.send(piece)
            exchange.sleep(0.03)
        end(exchange)

    return behave


def stall(exchange: Exchange) -> None:
    exchange.wait_for_close()
    exchange.close()


CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
LONG = HEAD + b"Content-Length: 100\r\n\r\nhello"

FAULTS: dict[str, tuple[Behaviour, str]] = {
    "dropped": (drop_after_reading(), "disconnected"),
    "reset": (reset(), "reset"),
    "half a head": (later(b"HTTP/1.1 200 OK\r\nContent-Le"), "disconnected"),
    "half a status": (later(b"HTTP/1.1 2"), "disconnected"),
    "half a body": (half_body(), "incomplete"),
    "half a body, later": (later(LONG), "incomplete"),
    "half a body, then a reset": (half_body(abort=True), "reset"),
    "half a body, later a reset": (later(LONG, end=Exchange.reset), "reset"),
    "chunks without an end": (later(CHUNKED), "incomplete"),
    "a bad chunk": (bad_chunks(), "protocol"),
    "a bad chunk, later": (later(CHUNKED, b"zz\r\nnonsense\r\n", end=stall), "protocol"),
    "garbage": (garbage(), "protocol"),
    "garbage, later": (later(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", end=stall), "protocol"),
    "a version that is none": (garbage(b"HTTP/9 200 OK\r\n\r\n"), "protocol"),
    "a status that is none": (garbage(b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "a length that is none": (garbage(HEAD + b"Content-Length: -1\r\n\r\n"), "protocol"),
    "two lengths": (garbage(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "protocol"),
    "a space before the colon": (garbage(HEAD + b"X-A : a\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "a NUL in a header": (garbage(HEAD + b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n"), "protocol"),
    "another protocol": (
        garbage(b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        "protocol",
    ),
    "a huge head": (huge_headers(), "protocol"),
    "a huge header": (garbage(HEAD + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n"), "protocol"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broken_answer(ask: Any, fault: str, fault_server: FaultServer) -> None:
    behaviour, reason = FAULTS[fault]
    ask.configure(HTTPConfig(retry=None, timeout=20))
    url = fault_server.on("/", behaviour)
    for method in ("GET", "POST"):
        error = (await ask(method, url, **({} if method == "GET" else {"content": b"tea"}))).error
        assert error is not None
        shown = (error.code, error.get_category(), error.context["reason"], error.context["sent"])
        assert shown == ("NETWORK_ERROR", NETWORK, reason, True)
    assert fault_server.count("/") == 2, "each was sent once"


async def test_every_engine_uses_the_same_words(fault_server: FaultServer) -> None:
    said: dict[str, set[str]] = {}
    for engine in ("httpx", "httpx2", "aiohttp"):
        config: Any = {"engine": engine, "retry": None}
        async with HTTPClient.create(HTTPConfig(**config)).unwrap() as client:
            for fault, (behaviour, _) in FAULTS.items():
                error = (await client.get(fault_server.on("/", behaviour))).error
                said.setdefault(fault, set()).add(error.message if error is not None else "")
    assert {fault: words for fault, words in said.items() if len(words) > 1} == {}


async def test_nobody_listens(ask: Any) -> None:
    with closed_port() as port:
        ask.configure(HTTPConfig(retry=None))
        error = (await ask("POST", f"http://127.0.0.1:{port}/", content=b"tea")).error
    assert (error.code, error.get_category()) == ("NETWORK_ERROR", NETWORK)
    assert (error.context["reason"], error.context["sent"]) == ("refused", False)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid"])
async def test_a_name_that_nobody_has(ask: Any, host: str) -> None:
    ask.configure(HTTPConfig(retry=None))
    error = (await ask("GET", f"http://{host}/")).error
    assert (error.code, error.get_category()) == ("NETWORK_ERROR", NETWORK)
    assert (error.context["reason"], error.context["sent"]) == ("dns", False)


async def test_headers_that_never_end(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(retry=None, timeout=0.5, read_timeout=5))
    error = (await ask("GET", fault_server.on("/", slow_headers(0.05, 100)))).error
    assert (error.code, error.get_category()) == ("TIMEOUT_ERROR", TIMEOUT)
    assert (error.context["reason"], error.context["sent"]) == ("deadline", True)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 20", LONG, CHUNKED])
async def test_silence(ask: Any, start: bytes, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(retry=None, timeout=20, read_timeout=0.2))
    error = (await ask("GET", fault_server.on("/", later(start, end=stall) if start else hang()))).error
    assert (error.code, error.get_category()) == ("TIMEOUT_ERROR", TIMEOUT)
    assert (error.context["reason"], error.context["sent"]) == ("read", True)


async def test_a_full_pool(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(retry=None, max_connections=1, pool_timeout=0.2, timeout=20))
    url = fault_server.on("/", hang())
    first = asyncio.create_task(ask("GET", url, timeout=1))
    await asyncio.sleep(0.1)
    error = (await ask("GET", url)).error
    assert (error.code, error.get_category()) == ("TIMEOUT_ERROR", TIMEOUT)
    assert (error.context["reason"], error.context["sent"]) == ("pool", False)
    await first


async def test_what_is_odd_but_allowed(ask: Any, fault_server: FaultServer) -> None:
    odd = {
        "HTTP/1.0 without a length": b"HTTP/1.0 200 OK\r\n\r\nbody",
        "no reason": b"HTTP/1.1 200\r\nContent-Length: 4\r\n\r\nbody",
        "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 4\n\nbody",
        "hints before": b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + HEAD + b"Content-Length: 4\r\n\r\nbody",
        "a fold": HEAD + b"X-A: a\r\n b\r\nContent-Length: 4\r\n\r\nbody",
        "Latin-1": HEAD + b"X-A: \xe9\r\nContent-Length: 4\r\n\r\nbody",
        "a large header": HEAD + b"X-A: " + b"a" * 90_000 + b"\r\nContent-Length: 4\r\n\r\nbody",
        "many headers": HEAD + b"X-A: a\r\n" * 200 + b"Content-Length: 4\r\n\r\nbody",
        "a trailer": CHUNKED.replace(b"5\r\nhello", b"4\r\nbody") + b"0\r\nX-Sum: 1\r\n\r\n",
        "an upgrade that is only offered": HEAD + b"Upgrade: h2c\r\nContent-Length: 4\r\n\r\nbody",
    }
    for what, data in odd.items():
        response = (await ask("GET", fault_server.on("/", garbage(data)))).unwrap()
        assert (response.status_code, response.content) == (200, b"body"), what


@pytest.mark.parametrize("size", [100_000, 5_000_000])
async def test_an_answer_before_the_upload_is_over(ask: Any, size: int, fault_server: FaultServer) -> None:
    def refuse(exchange: Exchange) -> None:
        # The head only: most of the body is never read.
        head = b""
        while b"\r\n\r\n" not in head:
            head += exchange.connection.recv(100)
        answer_then_close(413)(exchange)
        exchange.sleep(0.2)

    fault_server.on_connect.append(refuse)
    ask.configure(HTTPConfig(retry=None, timeout=20))
    error = (await ask("POST", fault_server.url + "/", content=[b"x" * 10_000] * (size // 10_000))).error
    # The kernel may drop the answer when it resets the connection: then that is what is told.
    assert error.code in ("HTTP_ERROR", "NETWORK_ERROR")
    assert error.context.get("status") == 413 or error.context["reason"] == "reset"
    assert (await ask("GET", fault_server.on("/", answer(200)))).is_success


async def test_an_answer_while_the_server_keeps_listening(engine: Any, fault_server: FaultServer) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.005)

    def impatient(exchange: Exchange) -> None:
        exchange.connection.recv(1000)
        answer(403, b"enough")(exchange)
        with contextlib.suppress(OSError):
            exchange.wait_for_close()
        exchange.close()

    fault_server.on_connect.append(impatient)
    async with HTTPClient.create(HTTPConfig(engine=engine, retry=None, timeout=1)).unwrap() as client:
        error = (await client.post(fault_server.url + "/", content=endless())).error
        assert error is not None
        if engine == "aiohttp":
            assert (error.code, error.context["status"]) == ("HTTP_ERROR", 403)
        else:
            # httpcore listens when it has sent everything: the deadline ends it.
            assert (error.code, error.context["reason"]) == ("TIMEOUT_ERROR", "deadline")
        assert (await client.get(fault_server.on("/fine", answer(200)))).is_success


async def test_bodies_of_every_length_arrive(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200))
    for size in (0, 1, 65_535, 65_536, 65_537, 300_000):
        data = bytes(size)
        assert (await ask("PUT", url, content=data)).is_success
        assert (await ask("PUT", url, content=[data[:7], data[7:]])).is_success
        first, second = fault_server.requests[-2:]
        assert (first.body, second.body) == (data, data)
        assert (first.header("content-length"), second.header("transfer-encoding")) == (str(size), "chunked")
    assert fault_server.connections == 1


async def test_a_request_is_spelled_as_it_was_given(ask: Any, fault_server: FaultServer) -> None:
    fault_server.default = answer(200)
    for target in ("/a%2Fb?c=%7E", "/a b", "/ü?q=ü", "/%zz", "//double", "/a;b=c?x&y=", "/?", "/'()*!"):
        (await ask("GET", fault_server.url + target)).unwrap()
    targets = [request.target for request in fault_server.requests]
    assert targets[0] == "/a%2Fb?c=%7E"
    assert targets[1:3] == ["/a%20b", "/%C3%BC?q=%C3%BC"]
    assert all("#" not in target and " " not in target for target in targets)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])
async def test_an_auth_can_smuggle_nothing_in(engine: Any, value: str, fault_server: FaultServer) -> None:
    import httpx

    class Evil(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Any:
            request.headers["X-Key"] = value
            yield request

    fault_server.default = answer(200)
    async with HTTPClient.create(HTTPConfig(engine=engine, retry=None)).unwrap() as client:
        error = (await client.get(fault_server.url, auth=Evil())).error
        assert error is not None
        assert error.code == "INVALID_REQUEST"
        assert (await client.get(fault_server.url)).is_success
    assert [request.header("x-evil") for request in fault_server.requests] == [None]


@pytest.mark.parametrize("where", ["::1", "127.0.0.1"])
async def test_both_families(ask: Any, where: str) -> None:
    with FaultServer(where) as server:
        url = server.on("/", answer(200, b"tea"))
        assert (await ask("GET", url)).unwrap().content == b"tea"
        assert (await ask("GET", url)).unwrap().content == b"tea"
        expected = f"[::1]:{server.port}" if where == "::1" else f"127.0.0.1:{server.port}"
        assert {request.header("host") for request in server.requests} == {expected}
        assert server.connections == 1


async def test_a_name_with_addresses_that_do_not_answer(engine: Any) -> None:
    # `localhost` is both, and the server listens on one of them only.
    with FaultServer("127.0.0.1") as server:
        server.on("/", answer(200, b"tea"))
        async with HTTPClient.create(HTTPConfig(engine=engine)).unwrap() as client:
            response = (await client.get(f"http://localhost:{server.port}/")).unwrap()
    assert response.content == b"tea"


def _without(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("aio", "aio_line"):
        monkeypatch.delitem(sys.modules, f"qicore.http.engines.{name}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)


@pytest.mark.parametrize(
    ("library", "extra", "options"),
    [
        ("httpcore2", "httpx2", {"engine": "httpx2"}),
        ("aiohttp", "aiohttp", {"engine": "aiohttp"}),
        ("h2", "http2", {"http2": True}),
    ],
)
def test_an_engine_that_is_not_installed_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, library: str, extra: str, options: Any
) -> None:
    assert importlib.util.find_spec(library) is not None
    _without(monkeypatch, library)
    clients: list[Any] = [HTTPClient]
    if library != "aiohttp":
        clients.append(SyncHTTPClient)
    for kind in clients:
        error = kind.create(HTTPConfig(**options)).error
        assert error is not None
        assert (error.code, error.get_category()) == ("INVALID_HTTP_CONFIG", ErrorCategory.VALIDATION)
        assert f"pip install 'qicore-http[{extra}]'" in error.message
        assert library in error.message


def test_aiohttp_has_no_blocking_side() -> None:
    error = SyncHTTPClient.create(HTTPConfig(engine="aiohttp")).error
    assert error is not None
    assert (error.code, "aiohttp" in error.message) == ("INVALID_HTTP_CONFIG", True)


async def test_an_idle_connection_is_not_used_for_ever(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(keepalive_expiry=0.1))
    url = fault_server.on("/", answer(200))
    for _ in range(3):
        (await ask("GET", url)).unwrap()
    assert fault_server.connections == 1
    await asyncio.sleep(0.2)
    (await ask("GET", url)).unwrap()
    assert fault_server.connections == 2


async def test_idle_connections_are_no_more_than_were_allowed(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(max_connections=4, max_keepalive_connections=1))

    def slowly(exchange: Exchange) -> None:
        exchange.sleep(0.1)
        answer(200)(exchange)

    url = fault_server.on("/", slowly)
    assert all(result.is_success for result in await asyncio.gather(*(ask("GET", url) for _ in range(8))))
    assert await asyncio.to_thread(wait_until, lambda: fault_server.open_connections() == 1)


async def test_a_connection_that_the_server_closes_is_not_used(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"", {"Connection": "close"}))
    for _ in range(3):
        (await ask("POST", url, content=b"tea")).unwrap()
    assert fault_server.connections == 3


class Slow(io.BytesIO):
    """A file that takes its time; its size is what `declared` says."""

    def __init__(self, data: bytes, declared: int, nap: float = 0.0) -> None:
        super().__init__(data)
        self.declared = declared
        self.nap = nap

    def seek(self, offset: int, whence: int = 0, /) -> int:
        place = super().seek(offset, whence)
        return self.declared if whence == 2 else place

    def read(self, size: int | None = -1, /) -> bytes:
        time.sleep(self.nap)
        return super().read(1000)


async def test_an_answer_may_begin_before_the_upload_has_ended(ask: Any, fault_server: FaultServer) -> None:
    def echo(exchange: Exchange) -> None:
        """Answer at once, and send back what comes as it comes."""
        received = exchange.connection.recv(65536).partition(b"\r\n\r\n")[2]
        exchange.send(HEAD + b"Content-Length: 10000\r\n\r\n" + received)
        size = len(received)
        while size < 10_000:
            data = exchange.connection.recv(65536)
            size += len(data)
            exchange.send(data)
        exchange.close()

    data = bytes(number % 251 for number in range(10_000))
    fault_server.on_connect.append(echo)
    ask.configure(HTTPConfig(retry=None, timeout=20))
    assert (await ask("POST", fault_server.url, content=Slow(data, 10_000, 0.01))).unwrap().content == data


@pytest.mark.parametrize("size", [9_999, 10_001, 12_000])
async def test_a_body_of_another_length_than_it_says_is_an_error(
    ask: Any, size: int, fault_server: FaultServer
) -> None:
    url = fault_server.on("/", answer(200))
    ask.configure(HTTPConfig(retry=None, timeout=20))
    error = (await ask("PUT", url, content=Slow(bytes(size), 10_000))).error
    assert (error.code, "10000" in error.message) == ("INVALID_REQUEST", True)
    assert (await ask("GET", url)).is_success
