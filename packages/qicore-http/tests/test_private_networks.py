"""The guard on real sockets: what counts is the address that would be connected to, however it is spelled."""

import asyncio
import socket
from typing import Any

import pytest
from qicore.base import ErrorCategory
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient
from qicore_testkit.fault_server import FaultServer
from qicore_testkit.faults import answer, redirect
from qicore_testkit.http_servers import Certificates


def guarded(engine: Any, *allowed: str, **more: Any) -> HTTPClient:
    config = HTTPConfig(engine=engine, block_private_networks=True, allowed_networks=allowed, **more)
    return HTTPClient.create(config).unwrap()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]", "0"],
)
async def test_a_private_address_is_refused_in_every_spelling(
    engine: Any, host: str, fault_server: FaultServer
) -> None:
    fault_server.on("/", answer(200, b"secret"))
    async with guarded(engine) as client:
        error = (await client.get(f"http://{host}:{fault_server.port}/")).error
    assert error is not None
    assert (error.code, error.get_category()) == ("PRIVATE_NETWORK", ErrorCategory.PERMISSION)
    assert fault_server.connections == 0


async def test_a_name_with_its_dot_is_no_way_round(engine: Any, fault_server: FaultServer) -> None:
    fault_server.on("/", answer(200, b"secret"))
    async with guarded(engine) as client:
        error = (await client.get(f"http://localhost.:{fault_server.port}/")).error
    assert error is not None
    # Not every resolver knows it.
    assert error.code == "PRIVATE_NETWORK" or error.context["reason"] == "dns"
    assert fault_server.connections == 0


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
def test_the_blocking_client_is_guarded_too(core: Any, fault_server: FaultServer) -> None:
    fault_server.on("/", answer(200, b"fine"))
    with SyncHTTPClient.create(HTTPConfig(engine=core, block_private_networks=True)).unwrap() as client:
        for host in ("127.0.0.1", "localhost", "0x7f.1"):
            error = client.get(f"http://{host}:{fault_server.port}/").error
            assert error is not None
            assert error.code == "PRIVATE_NETWORK"
    assert fault_server.connections == 0
    config = HTTPConfig(engine=core, block_private_networks=True, allowed_networks=("127.0.0.0/8",))
    with SyncHTTPClient.create(config).unwrap() as client:
        assert client.get(fault_server.url).unwrap().content == b"fine"


async def test_a_redirect_into_a_private_network_is_refused(engine: Any, fault_server: FaultServer) -> None:
    with FaultServer("127.0.0.2") as inside:
        inside.on("/", answer(200, b"secret"))
        fault_server.on("/", redirect(f"http://127.0.0.2:{inside.port}/"))
        async with guarded(engine, "127.0.0.1/32") as client:
            error = (await client.get(fault_server.url)).error
        assert error is not None
        assert error.code == "PRIVATE_NETWORK"
        assert inside.connections == 0


async def test_an_allowed_network_may_be_reached_by_name_over_tls(
    engine: Any, certificates: Certificates
) -> None:
    with FaultServer(tls=certificates.server_context()) as server:
        server.on("/", answer(200, b"fine"))
        async with guarded(engine, "127.0.0.0/8", "::1/128", verify=certificates.authority) as client:
            response = (await client.get(f"https://localhost:{server.port}/")).unwrap()
        assert response.content == b"fine"
        assert server.requests[0].header("host") == f"localhost:{server.port}"


async def test_a_name_that_changes_its_meaning_meanwhile_gains_nothing(
    engine: Any, monkeypatch: pytest.MonkeyPatch, fault_server: FaultServer
) -> None:
    fault_server.on("/", answer(200, b"secret"))
    looked_up: list[object] = []

    def rebinding(host: object) -> list[Any]:
        # The first answer is harmless; whoever asks again is sent inside.
        looked_up.append(host)
        address = "127.0.0.2" if len(looked_up) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, fault_server.port))]

    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *more: Any, **named: Any) -> list[Any]:
        rebound = host in ("rebind.example", b"rebind.example")
        return rebinding(host) if rebound else real(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with guarded(engine, "127.0.0.2/32") as client:
        # Nothing listens at 127.0.0.2, so the connection that was permitted fails.
        error = (await client.get(f"http://rebind.example:{fault_server.port}/")).error
    assert error is not None
    assert error.code in ("NETWORK_ERROR", "PRIVATE_NETWORK")
    assert fault_server.connections == 0


async def test_one_private_address_in_an_answer_spoils_it(
    engine: Any, monkeypatch: pytest.MonkeyPatch, fault_server: FaultServer
) -> None:
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *more: Any, **named: Any) -> list[Any]:
        if host not in ("mixed.example", b"mixed.example"):
            return real(host, *more, **named)
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, fault_server.port)) for address in ("127.0.0.1", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    fault_server.on("/", answer(200))
    async with guarded(engine, "127.0.0.1/32") as client:
        error = (await client.get(f"http://mixed.example:{fault_server.port}/", timeout=5)).error
    assert error is not None
    assert error.code == "PRIVATE_NETWORK"
    assert fault_server.connections == 0


async def test_many_at_once_are_all_refused(engine: Any, fault_server: FaultServer) -> None:
    async with guarded(engine) as client:
        results = await asyncio.gather(*(client.get(fault_server.url) for _ in range(20)))
    assert {result.error.code for result in results if result.error is not None} == {"PRIVATE_NETWORK"}
    assert all(result.is_failure for result in results)
