"""The clients as a whole: opened, shared, used by many at once, closed."""

import asyncio
import ssl
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, TypeAdapter
from qicore.base import Failure, Result, Success
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient, decode_json
from qicore.resilience import CircuitBreakerConfig, CircuitBreakers
from qicore_testkit.fault_server import FaultServer, wait_until
from qicore_testkit.faults import answer, drip, reset
from qicore_testkit.http_servers import TLSServer

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
CORES = pytest.mark.parametrize("core", ["httpx", "httpx2"])


def client_of(engine: Any, **more: Any) -> HTTPClient:
    return HTTPClient.create(HTTPConfig(engine=engine, **more)).unwrap()


@pytest.mark.parametrize("client", [HTTPClient, SyncHTTPClient])
def test_options_are_told_where_they_belong(client: Any) -> None:
    with pytest.raises(TypeError, match=rf"{client.__name__}\.create\(config\)"):
        client(HTTPConfig())


async def test_it_closes_once_and_for_all(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200))
    async with client_of(engine) as client:
        (await client.get(url)).unwrap()
        assert not client.closed
    assert await asyncio.to_thread(wait_until, lambda: fault_server.open_connections() == 0)
    again = await client.close()
    assert (again.is_success, client.closed) == (True, True)
    refused = (await client.get(url)).error
    assert refused is not None
    assert refused.code == "INVALID_REQUEST"
    async with client.stream("GET", url) as opened:
        assert opened.is_failure
    async with client.events(url) as events:
        assert [result.is_failure async for result in events] == [True]


@CORES
def test_it_closes_once_and_for_all_blocking(core: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200))
    with SyncHTTPClient.create(HTTPConfig(engine=core)).unwrap() as client:
        client.get(url).unwrap()
    assert wait_until(lambda: fault_server.open_connections() == 0)
    assert (client.close().is_success, client.closed) == (True, True)
    assert client.get(url).is_failure


async def test_what_is_under_way_ends_before_its_connection(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", drip([b"x"] * 10, 0.01))
    client = client_of(engine)
    task = asyncio.create_task(client.get(url))
    assert await asyncio.to_thread(wait_until, lambda: fault_server.count("/") == 1)
    await client.close()
    assert (await task).unwrap().content == b"x" * 10
    assert await asyncio.to_thread(wait_until, lambda: fault_server.open_connections() == 0)


@pytest.mark.parametrize(
    "options",
    [{"timeout": -1}, {"engine": "urllib"}, {"engine": "aiohttp", "http2": True}, {"base_url": "tea"}],
)
def test_create_checks(options: dict[str, Any]) -> None:
    for kind in (HTTPClient, SyncHTTPClient):
        error = kind.create(HTTPConfig(**options)).error
        assert error is not None
        assert error.code == "INVALID_HTTP_CONFIG"


def test_aiohttp_does_not_block() -> None:
    error = SyncHTTPClient.create(HTTPConfig(engine="aiohttp")).error
    assert error is not None
    assert (error.code, "blocking" in error.message) == ("INVALID_HTTP_CONFIG", True)


@pytest.mark.parametrize(
    ("options", "missing", "extra"),
    [
        ("engine='httpx2'", "httpcore2", "httpx2"),
        ("engine='aiohttp'", "aiohttp", "aiohttp"),
        ("http2=True", "h2", "http2"),
        ("cache=object()", "hishel", "cache"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(options: str, missing: str, extra: str) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from qicore.http import HTTPClient, HTTPConfig
print(HTTPClient.create(HTTPConfig({options})).error)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "INVALID_HTTP_CONFIG" in found
    assert f"qicore-http[{extra}]" in found


async def test_all_methods(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"tea"))
    for method in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"):
        response = (await ask(method, url)).unwrap()
        assert (fault_server.requests[-1].method, response.request.method) == (method, method)
        assert response.content == (b"" if method == "HEAD" else b"tea")
        assert isinstance(response, httpx.Response)


async def test_each_method_has_a_name(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200))
    async with client_of(engine) as client:
        for call in (
            client.get,
            client.head,
            client.options,
            client.post,
            client.put,
            client.patch,
            client.delete,
        ):
            (await call(url)).unwrap()
    assert [r.method for r in fault_server.requests] == METHODS


@CORES
def test_each_method_has_a_name_blocking(core: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200))
    with SyncHTTPClient.create(HTTPConfig(engine=core)).unwrap() as client:
        for call in (
            client.get,
            client.head,
            client.options,
            client.post,
            client.put,
            client.patch,
            client.delete,
        ):
            call(url).unwrap()
    assert [r.method for r in fault_server.requests] == METHODS


async def test_the_response_is_httpx_s_own(ask: Any, fault_server: FaultServer) -> None:
    body = '{"tea": "grün"}'.encode()
    url = fault_server.on(
        "/", answer(200, body, [("Content-Type", "application/json"), ("X-Two", "1"), ("X-Two", "2")])
    )
    response = (await ask("GET", url, params={"a": "1"})).unwrap()
    assert (response.json(), response.text, response.content) == ({"tea": "grün"}, body.decode(), body)
    assert (response.status_code, response.reason_phrase, response.http_version) == (200, "OK", "HTTP/1.1")
    assert response.headers.get_list("x-two") == ["1", "2"]
    assert (response.is_closed, response.num_bytes_downloaded) == (True, len(body))
    assert str(response.url) == f"{url}?a=1"
    assert response.raise_for_status() is response
    assert response.is_success
    assert list(response.iter_bytes()) == [body]
    assert [chunk async for chunk in response.aiter_bytes()] == [body]
    assert response.elapsed.total_seconds() > 0


async def test_many_at_once(engine: Any, fault_server: FaultServer) -> None:
    fault_server.default = answer(200, b"tea")
    async with client_of(engine, max_connections=10) as client:
        results = await asyncio.gather(*(client.get(f"{fault_server.url}/{n}") for n in range(200)))
    assert {result.unwrap().content for result in results} == {b"tea"}
    assert sorted(str(result.unwrap().url) for result in results) == sorted(
        f"{fault_server.url}/{n}" for n in range(200)
    )
    assert fault_server.connections <= 10


@CORES
def test_many_threads_at_once(core: Any, fault_server: FaultServer) -> None:
    fault_server.default = answer(200, b"tea")
    found: list[Result[httpx.Response]] = []
    with SyncHTTPClient.create(HTTPConfig(engine=core, max_connections=4)).unwrap() as client:

        def work(number: int) -> None:
            found.extend(client.get(f"{fault_server.url}/{number}/{n}") for n in range(10))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 120
    assert {result.unwrap().content for result in found} == {b"tea"}
    assert fault_server.connections <= 4


async def test_a_breaker_for_each_origin(engine: Any, fault_server: FaultServer) -> None:
    with FaultServer() as other:
        well = other.on("/", answer(200))
        ill = fault_server.on("/", reset())
        async with client_of(engine, retry=None) as plain:
            client = plain.with_circuit_breaker(CircuitBreakerConfig(failure_threshold=3))
            codes = [getattr((await client.get(ill)).error, "code", "") for _ in range(5)]
            assert codes == ["NETWORK_ERROR"] * 3 + ["CIRCUIT_OPEN"] * 2
            assert (await client.get(well)).is_success
            # The client it was made from asks nobody, and has the same pool.
            assert getattr((await plain.get(ill)).error, "code", "") == "NETWORK_ERROR"
            before = other.connections
            (await plain.get(well)).unwrap()
            assert other.connections == before
            assert fault_server.count("/") == 4
            error = (await client.get(ill)).error
            assert error is not None
            wait: Any = error.context["retry_after"]
            assert (error.get_category().value, 50 < wait <= 60) == ("NETWORK", True)
            assert "name" in error.context


async def test_breakers_that_several_clients_use(engine: Any, fault_server: FaultServer) -> None:
    ill = fault_server.on("/", reset())
    shared = CircuitBreakers(CircuitBreakerConfig(failure_threshold=1))
    async with client_of(engine, retry=None) as plain:
        one, other = plain.with_circuit_breaker(shared), plain.with_circuit_breaker(shared)
        assert getattr((await one.get(ill)).error, "code", "") == "NETWORK_ERROR"
        assert getattr((await other.get(ill)).error, "code", "") == "CIRCUIT_OPEN"
    with SyncHTTPClient.create().unwrap() as blocking:
        error = blocking.with_circuit_breaker(shared).get(ill).error
        assert getattr(error, "code", "") == "CIRCUIT_OPEN"


@pytest.mark.parametrize(
    ("behaviour", "counts"),
    [(answer(404), False), (answer(401), False), (answer(429), False), (answer(500), True), (reset(), True)],
)
async def test_only_what_is_ill_counts(
    ask: Any, behaviour: Any, counts: bool, fault_server: FaultServer
) -> None:
    ask.configure(HTTPConfig(retry=None))
    ask.break_at(CircuitBreakerConfig(failure_threshold=2))
    url = fault_server.on("/", behaviour)
    codes = [(await ask("GET", url)).error.code for _ in range(4)]
    assert ("CIRCUIT_OPEN" in codes) is counts


async def test_what_the_caller_does_wrong_does_not_count(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(retry=None, max_connections=1, pool_timeout=0.05))
    ask.break_at(CircuitBreakerConfig(failure_threshold=1))

    def broken() -> Iterator[bytes]:
        yield b"a"
        raise RuntimeError("no leaves")

    good = fault_server.on("/", answer(200))
    assert (await ask("POST", good, content=broken())).is_failure
    assert (await ask("GET", good, headers={"X-Bad": "\n"})).is_failure
    slow = asyncio.create_task(ask("GET", fault_server.on("/drip", drip([b"x"] * 20, 0.02))))
    await asyncio.sleep(0.05)
    assert (await ask("GET", good)).error.context["reason"] == "pool"
    await slow
    assert (await ask("GET", good)).is_success


async def test_raw_is_httpx(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"tea"))
    async with client_of(engine) as client:
        (await client.get(url)).unwrap()
        async with client.raw as raw:
            assert isinstance(raw, httpx.AsyncClient)
            assert (await raw.get(url)).content == b"tea"
            async with raw.stream("GET", url) as response:
                assert await response.aread() == b"tea"
        (await client.get(url)).unwrap()
        assert fault_server.connections == 1


@CORES
def test_raw_is_httpx_blocking(core: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"tea"))
    with SyncHTTPClient.create(HTTPConfig(engine=core)).unwrap() as client:
        with client.raw as raw:
            assert raw.get(url).content == b"tea"
        client.get(url).unwrap()
        assert fault_server.connections == 1


@contextmanager
def contexts_made() -> Generator[list[object]]:
    """Count the contexts of TLS that are made, wherever that happens."""
    made: list[object] = []
    real = ssl.SSLContext.__new__

    def counting(kind: type[ssl.SSLContext], *more: Any, **named: Any) -> ssl.SSLContext:
        context = real(kind, *more, **named)
        made.append(context)
        return context

    ssl.SSLContext.__new__ = counting  # type: ignore[method-assign,assignment]
    try:
        yield made
    finally:
        ssl.SSLContext.__new__ = real  # type: ignore[method-assign]


async def test_clients_cost_no_context_each(engine: Any, tls_server: TLSServer) -> None:
    with contexts_made() as made:
        for _ in range(20):
            async with client_of(engine, verify=tls_server.certificates.authority) as client:
                (await client.get(f"{tls_server.url}/version")).unwrap()
                (await client.get(f"{tls_server.url}/version")).unwrap()
        ours = len(made)
        assert ours <= 1
        for _ in range(2):
            # Each of httpx's own makes one, in 20 ms or so.
            async with httpx.AsyncClient():
                pass
        assert len(made) == ours + 2


async def test_a_client_without_https_costs_none(ask: Any, fault_server: FaultServer) -> None:
    with contexts_made() as made:
        for _ in range(5):
            ask.configure(HTTPConfig())
            (await ask("GET", fault_server.on("/", answer(200)))).unwrap()
    assert made == []


@dataclass
class Tea:
    name: str
    leaves: int = 0


class Pot(BaseModel):
    tea: str
    secret: int


async def test_json_into_values(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b'{"name": "Assam", "leaves": 9, "more": []}'))
    many = fault_server.on("/many", answer(200, b"[1, 2]"))
    async with client_of(engine) as client:
        assert (await client.get_json(url)).unwrap()["leaves"] == 9
        assert (await client.get_json(url, Tea)).unwrap() == Tea("Assam", 9)
        assert (await client.get_json(many, TypeAdapter(list[int]))).unwrap() == [1, 2]
        assert (await client.get_json(many, len)).unwrap() == 2
        error = (await client.get_json(fault_server.url + "/none", Tea)).error
        assert error is not None
        assert error.code == "HTTP_ERROR"


@pytest.mark.parametrize(
    ("body", "into"),
    [
        (b"", None),
        (b"no json", None),
        (b"\xff\xfe\xfd", None),
        (b'{"a": ', None),
        (b"[" * 100_000, None),
        (b"[1]", Tea),
        (b"{}", Tea),
        (b'{"tea": "Assam", "secret": "MARKER"}', Pot),
        (b'"MARKER"', TypeAdapter(int)),
        (b'"MARKER"', int),
    ],
)
def test_json_that_is_none(body: bytes, into: Any) -> None:
    error = decode_json(httpx.Response(200, content=body), into).error
    assert error is not None
    assert (error.code, error.get_category().value) == ("PARSE_ERROR", "VALIDATION")
    assert "MARKER" not in str(error.to_structured_data())
    assert error.context["status"] == 200


def test_json_into_types_with_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    response = httpx.Response(200, content=b'[{"name": "Assam", "leaves": 9}]')
    assert decode_json(response, list[Tea]).unwrap() == [Tea("Assam", 9)]
    error = decode_json(response, dict[str, Tea]).error
    assert error is not None
    assert "dict: it: Input should be" in error.message
    monkeypatch.setitem(sys.modules, "pydantic", None)
    error = decode_json(response, set[Tea]).error
    assert error is not None
    assert (error.code, "install it" in error.message) == ("PARSE_ERROR", True)


def test_json_errors_have_their_place() -> None:
    error = decode_json(httpx.Response(200, content=b'{\n "a": x}')).error
    assert error is not None
    assert (error.context["line"], error.context["column"]) == (2, 7)
    error = decode_json(httpx.Response(200, content=b'{"tea": 1, "secret": "x"}'), Pot).error
    assert error is not None
    assert "secret" in error.message
    unread = httpx.Response(200, stream=httpx.ByteStream(b"1"))
    assert decode_json(unread).is_failure


@CORES
def test_json_blocking(core: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b'{"name": "Assam"}'))
    with SyncHTTPClient.create(HTTPConfig(engine=core)).unwrap() as client:
        match client.get_json(url, Tea).variant:
            case Success(tea):
                assert tea == Tea("Assam")
            case Failure(error):
                pytest.fail(str(error))
