"""The servers do what the tests of others rely on, seen with nothing but sockets and the standard library."""

import http.client
import socket
import ssl
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from qicore_testkit import faults
from qicore_testkit.fault_server import Behaviour, FaultServer, wait_until
from qicore_testkit.http_servers import closed_port, httpbin, hypercorn, make_certificates
from qicore_testkit.proxy import forward_proxy


def talk(server: FaultServer, path: str, *, body: bytes = b"") -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    connection.request("POST" if body else "GET", path, body or None)
    return connection


def test_a_script_is_followed_and_every_request_is_remembered() -> None:
    with FaultServer() as server:
        server.on("/flaky", faults.answer(503, b"ill", {"Retry-After": "1"}), faults.answer(200, b"well"))
        connection = talk(server, "/flaky?a=1", body=b"twice")
        first = connection.getresponse()
        assert (first.status, first.headers["Retry-After"], first.read()) == (503, "1", b"ill")
        connection.request("GET", "/flaky", headers={"X-Key": "k"})
        assert connection.getresponse().read() == b"well"
        connection.close()
        assert server.count("/flaky") == 2
        assert [request.connection for request in server.requests] == [1, 1]
        assert server.requests[0].body == b"twice"
        assert server.requests[0].raw.startswith(b"POST /flaky?a=1 HTTP/1.1\r\n")
        assert server.requests[1].header("x-key") == "k"


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (faults.reset(), ConnectionResetError),
        (faults.drop_after_reading(), http.client.RemoteDisconnected),
        (faults.garbage(), http.client.BadStatusLine),
        (faults.half_body(), http.client.IncompleteRead),
        (faults.half_body(abort=True), ConnectionResetError),
        (faults.bad_chunks(), http.client.IncompleteRead),
        (faults.huge_headers(), http.client.HTTPException),
    ],
)
def test_a_fault_is_the_one_it_is_named_after(behaviour: Behaviour, error: type[Exception]) -> None:
    with FaultServer() as server:
        server.on("/", behaviour)
        connection = talk(server, "/")
        with pytest.raises(error):
            connection.getresponse().read()
        connection.close()
        assert server.count("/") == 1


def test_what_never_ends_ends_with_the_server() -> None:
    behaviours: list[Callable[[], Behaviour]] = [faults.hang, faults.endless, faults.slow_headers]
    with FaultServer() as server:
        sockets: list[socket.socket] = []
        for number, behaviour in enumerate(behaviours):
            server.on(f"/{number}", behaviour())
            client = socket.create_connection((server.host, server.port))
            client.sendall(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
            sockets.append(client)
        assert wait_until(lambda: len(server.requests) == 3)
        assert server.open_connections() == 3
    for client in sockets:
        client.close()


def test_a_stale_connection_is_closed_without_a_word() -> None:
    with FaultServer() as server:
        server.on("/", faults.answer_then_close(200, b"one"))
        connection = talk(server, "/")
        assert connection.getresponse().read() == b"one"
        assert connection.sock is not None
        assert connection.sock.recv(1) == b""
        connection.close()


def test_a_connection_can_be_reset_before_it_is_heard() -> None:
    with FaultServer(on_connect=[faults.reset()]) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
        with pytest.raises(OSError, match=r"reset|pipe"):
            connection.request("GET", "/")
            connection.getresponse()
        connection.close()
        assert server.requests == []


def test_a_closed_port_refuses() -> None:
    with closed_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_the_proxy_forwards_and_tunnels(tmp_path: Path) -> None:
    known = make_certificates(tmp_path)
    with (
        FaultServer() as plain,
        FaultServer(tls=known.server_context()) as secure,
        forward_proxy() as proxy,
    ):
        addresses = {"http": proxy.url, "https": proxy.url}
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler(addresses),
            urllib.request.HTTPSHandler(context=known.client_context()),
        )
        for server in (plain, secure):
            server.on("/x", faults.answer(200, b"through"))
            with opener.open(f"{server.url}/x") as response:
                assert response.read() == b"through"
            assert server.count("/x") == 1
        assert [request.method for request in proxy.requests] == ["GET", "CONNECT"]


def test_certificates_are_as_good_or_bad_as_named(tmp_path: Path) -> None:
    known = make_certificates(tmp_path)
    for chain, flaw in ((known.expired, "expired"), (known.other_host, "mismatch")):
        with (
            FaultServer(tls=known.server_context(chain)) as server,
            socket.create_connection((server.host, server.port)) as client,
            pytest.raises(ssl.SSLCertVerificationError, match=flaw),
        ):
            known.client_context().wrap_socket(client, server_hostname="localhost")


def test_hypercorn_speaks_http2_over_tls(tmp_path: Path) -> None:
    known = make_certificates(tmp_path)
    context = known.client_context()
    context.set_alpn_protocols(["h2"])
    with hypercorn(known.good) as url:
        port = int(url.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port)) as client,
            context.wrap_socket(client, server_hostname="localhost") as secure,
        ):
            assert secure.selected_alpn_protocol() == "h2"
        with urllib.request.urlopen(f"{url}/version", context=known.client_context()) as response:
            assert response.read() == b"1.1"


def test_httpbin_answers() -> None:
    with httpbin() as url, urllib.request.urlopen(f"{url}/bytes/5") as response:
        assert len(response.read()) == 5
