"""TLS and HTTP/2 against hypercorn, a real server, and certificates that are not what they should be."""

from typing import Any

import pytest
from qicore.base import ErrorCategory
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient
from qicore_testkit.fault_server import FaultServer
from qicore_testkit.faults import answer, garbage
from qicore_testkit.http_servers import Certificates, TLSServer


def config(engine: Any, trusted: Certificates | None, **more: Any) -> HTTPConfig:
    return HTTPConfig(engine=engine, verify=True if trusted is None else trusted.authority, **more)


async def test_https_with_an_authority_of_ones_own(engine: Any, tls_server: TLSServer) -> None:
    async with HTTPClient.create(config(engine, tls_server.certificates)).unwrap() as client:
        response = (await client.post(f"{tls_server.url}/echo", content=b"x" * 300_000)).unwrap()
        assert response.content == b"x" * 300_000
        assert (await client.get(f"{tls_server.url}/version")).unwrap().text == "1.1"


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
async def test_http2_is_negotiated(core: Any, tls_server: TLSServer) -> None:
    async with HTTPClient.create(config(core, tls_server.certificates, http2=True)).unwrap() as client:
        response = (await client.get(f"{tls_server.url}/version")).unwrap()
        assert (response.text, response.http_version) == ("2", "HTTP/2")
        sent = (await client.post(f"{tls_server.url}/echo", content=b"y" * 300_000)).unwrap()
        assert sent.content == b"y" * 300_000
        large = (await client.get(f"{tls_server.url}/bytes/3000000")).unwrap()
        assert len(large.content) == 3_000_000


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
async def test_http2_is_only_offered(core: Any, fault_server: FaultServer) -> None:
    fault_server.on("/", answer(200, b"old"))
    async with HTTPClient.create(HTTPConfig(engine=core, http2=True)).unwrap() as client:
        response = (await client.get(fault_server.url)).unwrap()
        assert (response.content, response.http_version) == (b"old", "HTTP/1.1")


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
def test_the_blocking_client_speaks_it_too(core: Any, tls_server: TLSServer) -> None:
    with SyncHTTPClient.create(config(core, tls_server.certificates, http2=True)).unwrap() as client:
        assert client.get(f"{tls_server.url}/version").unwrap().text == "2"
    with SyncHTTPClient.create(config(core, None)).unwrap() as client:
        error = client.get(f"{tls_server.url}/version").error
        assert error is not None
        assert error.code == "SSL_ERROR"


async def test_an_unknown_authority_is_an_ssl_error(engine: Any, tls_server: TLSServer) -> None:
    async with HTTPClient.create(config(engine, None)).unwrap() as client:
        error = (await client.get(f"{tls_server.url}/version")).error
        assert error is not None
        assert (error.code, error.get_category()) == ("SSL_ERROR", ErrorCategory.NETWORK)
    async with HTTPClient.create(HTTPConfig(engine=engine, verify=False)).unwrap() as client:
        assert (await client.get(f"{tls_server.url}/version")).is_success


@pytest.mark.parametrize("flaw", ["expired", "other_host"])
async def test_a_certificate_that_does_not_hold_is_an_ssl_error(
    engine: Any, flaw: str, certificates: Certificates
) -> None:
    with FaultServer(tls=certificates.server_context(getattr(certificates, flaw))) as server:
        server.on("/", answer(200, b"trust me"))
        async with HTTPClient.create(config(engine, certificates)).unwrap() as client:
            error = (await client.get(f"https://localhost:{server.port}/")).error
        assert error is not None
        assert error.code == "SSL_ERROR"
        assert server.requests == []


async def test_https_to_a_server_without_it_is_an_ssl_error(engine: Any, fault_server: FaultServer) -> None:
    fault_server.on_connect.append(garbage(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
    async with HTTPClient.create(HTTPConfig(engine=engine)).unwrap() as client:
        error = (await client.get(f"https://127.0.0.1:{fault_server.port}/")).error
    assert error is not None
    assert error.code == "SSL_ERROR"


async def test_a_tunnel_through_a_proxy(engine: Any, tls_server: TLSServer, proxy: FaultServer) -> None:
    made = HTTPClient.create(config(engine, tls_server.certificates, proxy=proxy.url))
    async with made.unwrap() as client:
        assert (await client.get(f"{tls_server.url}/version")).unwrap().text == "1.1"
    assert [request.method for request in proxy.requests] == ["CONNECT"]
