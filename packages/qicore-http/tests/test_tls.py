"""TLS and HTTP/2 against hypercorn, a real server, and certificates that are not what they should be."""

import asyncio
import datetime as dt
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qicore.base import ErrorCategory
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient
from qicore_testkit.fault_server import FaultServer
from qicore_testkit.faults import answer, garbage
from qicore_testkit.http_servers import Certificates, TLSServer, hypercorn, make_certificates


def trusting(certificates: Certificates | None, **more: Any) -> HTTPConfig:
    return HTTPConfig(verify=True if certificates is None else certificates.authority, retry=None, **more)


def self_signed(folder: Path) -> Path:
    """Write a certificate for localhost that nobody but itself vouches for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "self_signed.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


async def test_https_with_an_authority_of_ones_own(ask: Any, tls_server: TLSServer) -> None:
    ask.configure(trusting(tls_server.certificates))
    response = (await ask("POST", f"{tls_server.url}/echo", content=b"x" * 300_000)).unwrap()
    assert response.content == b"x" * 300_000
    assert (await ask("GET", f"{tls_server.url}/version")).unwrap().text == "1.1"


async def test_an_address_may_stand_in_a_certificate(ask: Any, certificates: Certificates) -> None:
    ask.configure(trusting(certificates))
    for host in ("127.0.0.1", "::1"):
        with FaultServer(host, tls=certificates.server_context()) as server:
            assert (await ask("GET", server.on("/", answer(200, b"tea")))).unwrap().content == b"tea"


async def test_an_unknown_authority_is_an_ssl_error(ask: Any, tls_server: TLSServer) -> None:
    ask.configure(trusting(None))
    error = (await ask("POST", f"{tls_server.url}/version", content=b"secret")).error
    assert (error.code, error.get_category()) == ("SSL_ERROR", ErrorCategory.NETWORK)
    assert (error.context["reason"], error.context["sent"]) == ("tls", False)
    ask.configure(HTTPConfig(verify=False))
    assert (await ask("GET", f"{tls_server.url}/version")).is_success


@pytest.mark.parametrize("flaw", ["expired", "other_host", "self_signed"])
async def test_a_certificate_that_does_not_hold_is_an_ssl_error(
    ask: Any, flaw: str, certificates: Certificates, tmp_path: Path
) -> None:
    chain = self_signed(tmp_path) if flaw == "self_signed" else getattr(certificates, flaw)
    ask.configure(trusting(certificates))
    with FaultServer(tls=certificates.server_context(chain)) as server:
        server.on("/", answer(200, b"trust me"))
        error = (await ask("POST", f"https://localhost:{server.port}/", content=b"secret")).error
        assert (error.code, error.context["sent"]) == ("SSL_ERROR", False)
        assert server.requests == []
        ask.configure(HTTPConfig(verify=False))
        assert (await ask("GET", f"https://localhost:{server.port}/")).is_success


async def test_https_to_a_server_without_it_is_an_ssl_error(ask: Any, fault_server: FaultServer) -> None:
    fault_server.on_connect.append(garbage(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
    ask.configure(trusting(None))
    error = (await ask("GET", f"https://127.0.0.1:{fault_server.port}/")).error
    assert error.code == "SSL_ERROR"


async def test_a_version_that_is_broken_is_refused(ask: Any, certificates: Certificates) -> None:
    context = certificates.server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    ask.configure(trusting(certificates))
    with FaultServer(tls=context) as server:
        error = (await ask("GET", server.on("/", answer(200)))).error
    assert error.code == "SSL_ERROR"


@pytest.fixture(scope="module")
def club(certificates: Certificates) -> Iterator[str]:
    """A hypercorn that wants to see a certificate."""
    with hypercorn(certificates.good, clients=certificates.authority) as url:
        yield url


async def test_a_certificate_of_the_client(
    ask: Any, club: str, certificates: Certificates, tmp_path: Path
) -> None:
    ask.configure(trusting(certificates, certificate=certificates.good))
    assert (await ask("GET", f"{club}/version")).unwrap().text == "1.1"
    other = make_certificates(tmp_path)
    for wrong in ({}, {"certificate": other.good}):
        ask.configure(trusting(certificates, **wrong))
        error = (await ask("GET", f"{club}/version")).error
        # With TLS 1.3 the server refuses when the client has begun to write already.
        assert error.code in ("SSL_ERROR", "NETWORK_ERROR")


async def test_a_key_may_be_elsewhere_and_encrypted(
    ask: Any, club: str, certificates: Certificates, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives import serialization

    whole = certificates.good.read_bytes()
    key = serialization.load_pem_private_key(whole, None)
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    (tmp_path / "chain.pem").write_bytes(whole[whole.index(b"-----BEGIN CERTIFICATE") :])
    parts = {"certificate": tmp_path / "chain.pem", "certificate_key": tmp_path / "key.pem"}
    ask.configure(trusting(certificates, **parts, certificate_password="word"))
    assert (await ask("GET", f"{club}/version")).is_success
    ask.configure(trusting(certificates, **parts, certificate_password="wrong"))
    error = (await ask("GET", f"{club}/version")).error
    assert error is not None
    assert "wrong" not in repr(error.to_structured_data())


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
async def test_http2_is_negotiated(core: Any, tls_server: TLSServer) -> None:
    config = trusting(tls_server.certificates, http2=True, engine=core)
    async with HTTPClient.create(config).unwrap() as client:
        response = (await client.get(f"{tls_server.url}/version")).unwrap()
        assert (response.text, response.http_version) == ("2", "HTTP/2")
        sent = (await client.post(f"{tls_server.url}/echo", content=b"y" * 300_000)).unwrap()
        assert sent.content == b"y" * 300_000
        large = (await client.get(f"{tls_server.url}/bytes/3000000")).unwrap()
        assert len(large.content) == 3_000_000


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
async def test_many_streams_share_a_connection(core: Any, tls_server: TLSServer) -> None:
    # One after the other they would take 25 s.
    config = trusting(tls_server.certificates, http2=True, engine=core, max_connections=1, timeout=15)
    async with HTTPClient.create(config).unwrap() as client:
        results = await asyncio.gather(*(client.get(f"{tls_server.url}/slow/0.5") for _ in range(50)))
        assert [result.unwrap().http_version for result in results] == ["HTTP/2"] * 50
        # Large bodies in both directions, mixed: each stream has a window of its own.
        bodies = [bytes([number]) * 100_000 for number in range(20)]
        echoes = await asyncio.gather(
            *(client.post(f"{tls_server.url}/echo", content=body) for body in bodies)
        )
        assert [echo.unwrap().content for echo in echoes] == bodies


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
async def test_a_stream_that_is_left_leaves_the_others_alone(core: Any, tls_server: TLSServer) -> None:
    config = trusting(tls_server.certificates, http2=True, engine=core, timeout=20)
    async with HTTPClient.create(config).unwrap() as client:
        (await client.get(f"{tls_server.url}/version")).unwrap()
        slow = [asyncio.create_task(client.get(f"{tls_server.url}/slow/0.4")) for _ in range(3)]
        doomed = asyncio.create_task(client.get(f"{tls_server.url}/slow/30"))
        late = asyncio.create_task(client.get(f"{tls_server.url}/slow/30", timeout=0.2))
        await asyncio.sleep(0.1)
        doomed.cancel()
        async with client.stream("GET", f"{tls_server.url}/bytes/5000000") as opened:
            async for chunk in opened.unwrap():
                chunk.unwrap()
                break
        with pytest.raises(asyncio.CancelledError):
            await doomed
        error = (await late).error
        assert error is not None
        assert error.code == "TIMEOUT_ERROR"
        assert [(await one).unwrap().status_code for one in slow] == [200] * 3
        assert (await client.get(f"{tls_server.url}/version")).unwrap().text == "2"


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
async def test_http2_is_only_offered(
    core: Any, fault_server: FaultServer, certificates: Certificates
) -> None:
    fault_server.on("/", answer(200, b"old"))
    async with HTTPClient.create(trusting(certificates, http2=True, engine=core)).unwrap() as client:
        response = (await client.get(fault_server.url)).unwrap()
        assert (response.content, response.http_version) == (b"old", "HTTP/1.1")
        with FaultServer(tls=certificates.server_context()) as server:
            url = server.on("/", answer(200, b"old"))
            # Several at once: the pool had hoped that they could share one connection.
            results = await asyncio.gather(*(client.get(url) for _ in range(8)))
            assert [result.unwrap().http_version for result in results] == ["HTTP/1.1"] * 8


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
def test_the_blocking_client_speaks_it_too(core: Any, tls_server: TLSServer) -> None:
    config = trusting(tls_server.certificates, http2=True, engine=core)
    with SyncHTTPClient.create(config).unwrap() as client:
        assert client.get(f"{tls_server.url}/version").unwrap().text == "2"
        assert len(client.get(f"{tls_server.url}/bytes/3000000").unwrap().content) == 3_000_000
