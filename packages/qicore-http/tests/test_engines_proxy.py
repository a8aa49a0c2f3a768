"""Through a proxy and past it, with every engine."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import ErrorCategory
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient
from qicore.http.engines.proxies import Proxies, is_exempt
from qicore_testkit.fault_server import Exchange, FaultServer
from qicore_testkit.faults import answer, drop_after_reading, garbage, hang
from qicore_testkit.http_servers import Certificates, TLSServer, closed_port
from qicore_testkit.proxy import forward

PASSWORD = "p@ss:wörd"
CREDENTIALS = "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()


def strict(exchange: Exchange) -> None:
    """Forward for those who say who they are."""
    if exchange.request.header("proxy-authorization") == CREDENTIALS:
        forward(exchange)
    else:
        answer(407, b"who are you?", {"Proxy-Authenticate": 'Basic realm="proxy"'})(exchange)


@pytest.fixture
def strict_proxy() -> Iterator[FaultServer]:
    with FaultServer(default=strict) as running:
        yield running


def with_credentials(proxy: FaultServer, password: str = "p%40ss%3Aw%C3%B6rd") -> str:
    return proxy.url.replace("://", f"://ann:{password}@")


async def test_a_plain_request_is_forwarded(ask: Any, fault_server: FaultServer, proxy: FaultServer) -> None:
    url = fault_server.on("/tea", answer(200, b"green"))
    ask.configure(HTTPConfig(proxy=proxy.url))
    sent = await ask("POST", url + "?a=b", content=b"leaves", headers={"X-One": "1"})
    assert sent.unwrap().content == b"green"
    assert [request.target for request in proxy.requests] == [f"{fault_server.url}/tea?a=b"]
    (seen,) = fault_server.requests
    assert (seen.target, seen.body, seen.header("x-one")) == ("/tea?a=b", b"leaves", "1")


async def test_a_connection_to_a_proxy_is_kept(ask: Any, fault_server: FaultServer) -> None:
    fault_server.default = answer(200, b"from the proxy itself")
    ask.configure(HTTPConfig(proxy=fault_server.url))
    for _ in range(3):
        assert (await ask("GET", "http://origin.example:81/a?b")).is_success
    targets = {(request.target, request.header("host")) for request in fault_server.requests}
    assert targets == {("http://origin.example:81/a?b", "origin.example:81")}
    assert fault_server.connections == 1


async def test_a_secret_request_is_tunnelled(ask: Any, tls_server: TLSServer, proxy: FaultServer) -> None:
    ask.configure(HTTPConfig(proxy=proxy.url, verify=tls_server.certificates.authority))
    for _ in range(3):
        sent = await ask("POST", f"{tls_server.url}/echo", content=b"x" * 100_000)
        assert sent.unwrap().content == b"x" * 100_000
    place = tls_server.url.removeprefix("https://")
    assert [(request.method, request.target) for request in proxy.requests] == [("CONNECT", place)]
    assert proxy.requests[0].header("host") == place


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
async def test_http2_through_a_tunnel(core: Any, tls_server: TLSServer, proxy: FaultServer) -> None:
    authority = tls_server.certificates.authority
    config = HTTPConfig(engine=core, proxy=proxy.url, verify=authority, http2=True)
    async with HTTPClient.create(config).unwrap() as client:
        response = (await client.get(f"{tls_server.url}/version")).unwrap()
    assert (response.text, response.http_version) == ("2", "HTTP/2")


async def test_a_tunnel_to_a_sixth_version_address(
    ask: Any, certificates: Certificates, proxy: FaultServer
) -> None:
    with FaultServer("::1", tls=certificates.server_context()) as server:
        ask.configure(HTTPConfig(proxy=proxy.url, verify=certificates.authority))
        assert (await ask("GET", server.on("/", answer(200, b"six")))).unwrap().content == b"six"
        assert [request.target for request in proxy.requests] == [f"[::1]:{server.port}"]
    with FaultServer("::1") as server:
        assert (await ask("GET", server.on("/", answer(200, b"six")))).unwrap().content == b"six"
        assert proxy.requests[-1].target == f"http://[::1]:{server.port}/"


async def test_the_proxy_is_told_who_asks_and_nobody_else_is(
    ask: Any, fault_server: FaultServer, strict_proxy: FaultServer, certificates: Certificates
) -> None:
    ask.configure(HTTPConfig(proxy=with_credentials(strict_proxy), verify=certificates.authority))
    assert (await ask("GET", fault_server.on("/", answer(200, b"tea")))).unwrap().content == b"tea"
    with FaultServer(tls=certificates.server_context()) as server:
        assert (await ask("GET", server.on("/", answer(200, b"secret")))).unwrap().content == b"secret"
        seen = [*fault_server.requests, *server.requests]
    assert [request.header("proxy-authorization") for request in seen] == [None, None]
    assert {request.header("proxy-authorization") for request in strict_proxy.requests} == {CREDENTIALS}


async def test_a_proxy_that_wants_to_know(
    ask: Any, fault_server: FaultServer, strict_proxy: FaultServer, certificates: Certificates
) -> None:
    ask.configure(HTTPConfig(proxy=with_credentials(strict_proxy, "wrongword"), retry=None))
    error = (await ask("GET", fault_server.on("/", answer(200)))).error
    assert (error.code, error.context["status"]) == ("HTTP_ERROR", 407)
    tunnelled = (await ask("GET", "https://localhost:1/")).error
    assert (tunnelled.code, tunnelled.get_category()) == ("NETWORK_ERROR", ErrorCategory.NETWORK)
    assert (tunnelled.context["reason"], tunnelled.context["sent"]) == ("proxy", False)
    assert "wrongword" not in repr([error.to_structured_data(), tunnelled.to_structured_data()])
    assert fault_server.requests == []


async def test_a_proxy_that_is_not_there(ask: Any) -> None:
    with closed_port() as port:
        ask.configure(HTTPConfig(proxy=f"http://ann:word@127.0.0.1:{port}", retry=None))
        for url in ("http://localhost:1/", "https://localhost:1/"):
            error = (await ask("GET", url)).error
            assert (error.code, error.context["reason"]) == ("NETWORK_ERROR", "refused")
            assert error.context["sent"] is False
            assert "word" not in repr(error.to_structured_data())


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [(drop_after_reading(), "disconnected"), (garbage(), "protocol"), (answer(502, b"no"), "proxy")],
)
async def test_a_proxy_that_makes_no_tunnel(
    ask: Any, behaviour: Any, reason: str, fault_server: FaultServer
) -> None:
    fault_server.default = behaviour
    ask.configure(HTTPConfig(proxy=fault_server.url, retry=None))
    error = (await ask("POST", "https://localhost:1/", content=b"tea")).error
    assert (error.code, error.context["reason"]) == ("NETWORK_ERROR", reason)
    assert error.context["sent"] is False, "the request itself never left"


async def test_a_proxy_that_says_nothing(ask: Any, fault_server: FaultServer) -> None:
    fault_server.default = hang()
    ask.configure(HTTPConfig(proxy=fault_server.url, retry=None, timeout=0.4))
    error = (await ask("GET", "https://localhost:1/")).error
    assert (error.code, error.context["sent"]) == ("TIMEOUT_ERROR", False)


async def test_a_proxy_behind_tls(ask: Any, fault_server: FaultServer, certificates: Certificates) -> None:
    with FaultServer(tls=certificates.server_context(), default=strict) as proxy:
        ask.configure(HTTPConfig(proxy=with_credentials(proxy), verify=certificates.authority))
        assert (await ask("GET", fault_server.on("/", answer(200, b"tea")))).unwrap().content == b"tea"
        with FaultServer(tls=certificates.server_context()) as server:
            assert (await ask("GET", server.on("/", answer(200, b"deep")))).unwrap().content == b"deep"
        ask.configure(HTTPConfig(proxy=with_credentials(proxy), retry=None))
        error = (await ask("GET", fault_server.url)).error
        assert error.code == "SSL_ERROR", "its certificate is checked too"


async def test_the_environment_names_proxies(
    ask: Any,
    monkeypatch: pytest.MonkeyPatch,
    fault_server: FaultServer,
    proxy: FaultServer,
    certificates: Certificates,
) -> None:
    url = fault_server.on("/", answer(200, b"tea"))
    clean(monkeypatch)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    ask.configure(HTTPConfig(verify=certificates.authority))
    (await ask("GET", url)).unwrap()
    assert len(proxy.requests) == 1
    with FaultServer(tls=certificates.server_context()) as server:
        secret = server.on("/", answer(200, b"secret"))
        (await ask("GET", secret)).unwrap()
        assert len(proxy.requests) == 1, "that one is for http"
        monkeypatch.setenv("ALL_PROXY", proxy.url.removeprefix("http://"))
        (await ask("GET", secret)).unwrap()
        assert len(proxy.requests) == 1, "a client keeps what was there when it was made"
        ask.configure(HTTPConfig(verify=certificates.authority))
        (await ask("GET", secret)).unwrap()
        assert proxy.requests[-1].method == "CONNECT"
    ask.configure(HTTPConfig(trust_env=False))
    (await ask("GET", url)).unwrap()
    assert len(proxy.requests) == 2


@pytest.mark.parametrize("rules", ["127.0.0.1", "*", "example.org,127.0.0.0/8", "127.0.0.1:{port}"])
async def test_the_environment_names_exceptions(
    ask: Any, monkeypatch: pytest.MonkeyPatch, rules: str, fault_server: FaultServer, proxy: FaultServer
) -> None:
    clean(monkeypatch)
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", rules.format(port=fault_server.port))
    ask.configure(HTTPConfig())
    (await ask("GET", fault_server.on("/", answer(200)))).unwrap()
    assert (len(proxy.requests), len(fault_server.requests)) == (0, 1)


def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


def test_a_proxy_of_another_kind_is_told_at_once(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clean(monkeypatch)
    monkeypatch.setenv("ALL_PROXY", "socks5://ann:word@127.0.0.1:1080")
    for kind in (HTTPClient, SyncHTTPClient) if engine != "aiohttp" else (HTTPClient,):
        error = kind.create(HTTPConfig(engine=engine)).error
        assert error is not None
        assert (error.code, error.get_category()) == ("INVALID_HTTP_CONFIG", ErrorCategory.VALIDATION)
        assert ("ALL_PROXY" in error.message, "socks5" in error.message) == (True, True)
        assert "word" not in error.message
        assert kind.create(HTTPConfig(engine=engine, trust_env=False)).is_success


def test_those_of_the_system_come_without_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clean(monkeypatch)
    proxies = Proxies(None, trust_env=True)
    assert proxies.choose("http", "example.org", 80) is None
    assert proxies.unusable() is None


@pytest.mark.parametrize(
    ("rules", "host", "port", "expected"),
    [
        ("", "example.org", 80, False),
        (" , ,", "example.org", 80, False),
        ("example.org", "example.org", 80, True),
        ("EXAMPLE.org.", "Example.ORG", 80, True),
        ("example.org", "a.b.example.org", 80, True),
        ("example.org", "notexample.org", 80, False),
        (".example.org", "example.org", 80, True),
        ("example.org:8080", "example.org", 80, False),
        ("example.org:8080", "example.org", 8080, True),
        ("::1", "::1", 80, True),
        ("[::1]", "::1", 80, True),
        ("[::1]:80", "::1", 81, False),
        ("fe80::/10", "fe80::1%eth0", 80, True),
        ("10.0.0.0/8", "10.255.0.1", 80, True),
        ("10.0.0.0/8", "ten.example", 80, False),
        ("0.1", "10.0.0.1", 80, False),
        ("a, b ,*", "anything", 80, True),
    ],
)
def test_who_is_exempt(rules: str, host: str, port: int, expected: bool) -> None:
    assert is_exempt(host, port, rules) is expected


@given(st.text(max_size=60), st.text(min_size=1, max_size=30), st.integers(1, 65535))
def test_no_list_is_too_odd(rules: str, host: str, port: int) -> None:
    assert is_exempt(host, port, rules) in (True, False)
    assert is_exempt(host, port, f"{rules},*")


def test_a_path_is_no_proxy(tmp_path: Path) -> None:
    assert HTTPClient.create(HTTPConfig(proxy=str(tmp_path))).is_failure
