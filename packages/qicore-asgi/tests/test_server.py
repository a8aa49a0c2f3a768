"""The server in its own process, over real sockets."""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families
from qicore.asgi import Server, ServerConfig, ServerState
from qicore.asgi.sockets import bind
from qicore.base import Result


class App:
    """An application that says what it did."""

    def __init__(self, *, lifespan: str = "fine") -> None:
        self.lifespan = lifespan
        self.events = list[str]()
        self.entered = asyncio.Event()
        self.release = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        self.events.append(scope["path"])
        if scope["path"] == "/wait":
            self.entered.set()
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.events.append("cancelled")
                raise
        body = b""
        more = True
        while more and scope["path"] == "/body":
            message = await receive()
            if message["type"] == "http.disconnect":
                self.events.append("disconnect")
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        text = scope["scheme"].encode() + b" " + body
        headers = [(b"content-length", str(len(text)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": text})

    async def _live(self, receive: Any, send: Any) -> None:
        if self.lifespan == "deaf":
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    if self.release.is_set():
                        raise
        if self.lifespan == "none":
            raise RuntimeError("no lifespan here")
        await receive()
        if self.lifespan == "fails":
            await send({"type": "lifespan.startup.failed", "message": "Traceback\nno database"})
            return
        if self.lifespan == "hangs":
            await asyncio.sleep(3600)
        self.events.append("open")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.events.append("close")
        await send({"type": "lifespan.shutdown.complete"})


def config(**options: Any) -> ServerConfig:
    given: dict[str, Any] = {"port": 0, "drain_idle": 0.1, **options}
    return ServerConfig(**given)


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncGenerator[tuple[Server, str]]:
    async with Server(app, config(**options)) as server:
        assert server.url is not None
        yield server, server.url


def state_of(server: Server) -> ServerState:
    # A call, so that no checker takes the state for one that stays.
    return server.state


def code_of(result: Result[Any]) -> str | None:
    return None if result.error is None else result.error.code


BOTH = pytest.mark.parametrize("http", ["h11", "httptools"])


@BOTH
async def test_from_start_to_stop(http: str) -> None:
    app = App()
    server = Server(app, config(http=http))
    assert state_of(server) is ServerState.STOPPED
    assert (await server.start()).is_success
    assert state_of(server) is ServerState.RUNNING
    assert server.port
    assert server.raw is not None
    assert code_of(await server.start()) == "ASGI_WRONG_STATE"
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{server.url}/")).text == "http "
        assert (
            await client.post(f"{server.url}/body", content=b"x" * 200_000)
        ).text == "http " + "x" * 200_000
    (worker,) = server.workers().unwrap()
    assert worker.statistics.requests == 2
    assert worker.statistics.memory > 1_000_000
    assert (await server.shutdown()).is_success
    assert app.events == ["open", "/", "/body", "close"]
    for operation in (server.shutdown(), server.reload(), server.scale(2), server.wait()):
        assert code_of(await operation) == "ASGI_WRONG_STATE"
    assert code_of(server.accept()) == code_of(server.reject()) == "ASGI_WRONG_STATE"
    assert server.workers().unwrap() == ()
    assert (await server.health()).unwrap().healthy is False
    assert (await server.start()).is_success
    assert (await server.shutdown()).is_success


@BOTH
async def test_the_log_of_requests_leaves_out_the_query(http: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "uvicorn.access"):
        async with serving(App(), http=http, access_log=True) as (_, url), httpx.AsyncClient() as client:
            await client.get(f"{url}/where?token=hunter2&x=?")
    (line,) = (record.getMessage() for record in caplog.records if record.name == "uvicorn.access")
    assert line.endswith('- "GET /where HTTP/1.1" 200')


async def test_one_of_two_starts_at_once_wins() -> None:
    server = Server(App(), config())
    results = await asyncio.gather(server.start(), server.start())
    assert sorted(code_of(result) or "" for result in results) == ["", "ASGI_WRONG_STATE"]
    await server.shutdown()


async def test_a_place_that_is_taken(tmp_path: Path) -> None:
    async with serving(App()) as (first, _):
        second = Server(App(), config(port=first.port))
        error = (await second.start()).error
        assert error is not None
        assert (error.code, str(first.port) in error.message) == ("ASGI_BIND_FAILED", True)
        assert second.state is ServerState.STOPPED
    for wrong in (
        *({"host": "host.invalid"}, {"host": "192.0.2.1"}, {"host": "x" * 70}, {"host": "a..b"}),
        *({"host": "\udc80"}, {"uds": str(tmp_path / "no" / "socket")}, {"uds": "\udc80\ud800"}),
        {"backlog": 2**40},
    ):
        assert code_of(await Server(App(), config(**wrong)).start()) == "ASGI_BIND_FAILED"


async def test_an_application_that_does_not_start() -> None:
    app = App(lifespan="fails")
    server = Server(app, config())
    error = (await server.start()).error
    assert error is not None
    assert (error.code, error.message.endswith("no database")) == ("ASGI_LIFESPAN_FAILED", True)
    hanging = Server(App(lifespan="hangs"), config(start_timeout=0.1))
    assert code_of(await hanging.start()) == "ASGI_START_TIMEOUT"
    assert len(asyncio.all_tasks()) == 1


async def test_an_application_without_a_lifespan() -> None:
    async with serving(App(lifespan="none")) as (_, url), httpx.AsyncClient() as client:
        assert (await client.get(url)).status_code == 200


async def test_cancelling_a_start_leaves_nothing_open() -> None:
    server = Server(App(lifespan="hangs"), config())
    starting = asyncio.create_task(server.start())
    await asyncio.sleep(0.1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert server.state is ServerState.STOPPED
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize(
    "name", ["", "nowhere", "nowhere:app", "os:nothing", "os:path.nothing", ":", "os:", "os:environ"]
)
async def test_an_application_that_is_not_there(name: str) -> None:
    assert code_of(await Server(name, config()).start()) == "ASGI_APP_NOT_FOUND"


async def test_factories() -> None:
    def raising() -> Any:
        raise RuntimeError("hunter2")

    broken: Any = raising
    error = (await Server(broken, config(factory=True)).start()).error
    assert error is not None
    assert (error.code, "hunter2" in error.message) == ("ASGI_APP_NOT_FOUND", False)
    async with serving(App, factory=True) as (_, url), httpx.AsyncClient() as client:
        assert (await client.get(url)).status_code == 200


async def test_what_is_in_flight_finishes() -> None:
    app = App()
    async with serving(app) as (server, url), httpx.AsyncClient() as client:
        waiting = asyncio.create_task(client.get(f"{url}/wait"))
        await app.entered.wait()
        stopping = asyncio.create_task(server.shutdown())
        await asyncio.sleep(0.1)
        assert server.state is ServerState.DRAINING
        with pytest.raises(httpx.TransportError):
            await httpx.AsyncClient().get(url)
        app.release.set()
        answer = await waiting
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert (await stopping).is_success


async def test_what_takes_too_long_is_cancelled() -> None:
    app = App()
    async with serving(app) as (server, url), httpx.AsyncClient() as client:
        waiting = asyncio.create_task(client.get(f"{url}/wait"))
        await app.entered.wait()
        error = (await server.shutdown(0.1)).error
        assert error is not None
        assert (error.code, error.context["cancelled"]) == ("ASGI_DRAIN_TIMEOUT", 1)
        assert server.state is ServerState.STOPPED
        answer = await waiting
        assert (answer.status_code, answer.headers["connection"]) == (500, "close")
        assert app.events[-2:] == ["cancelled", "close"]


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "soon", True])
async def test_a_timeout_that_is_none(wrong: Any) -> None:
    async with serving(App()) as (server, _):
        assert code_of(await server.shutdown(wrong)) == "INVALID_TIMEOUT"
        assert server.state is ServerState.RUNNING


async def test_cancelling_a_shutdown_leaves_nothing_open() -> None:
    app = App()
    server = Server(app, config())
    await server.start()
    async with httpx.AsyncClient() as client:
        waiting = asyncio.create_task(client.get(f"{server.url}/wait"))
        await app.entered.wait()
        stopping = asyncio.create_task(server.shutdown())
        await asyncio.sleep(0.1)
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping
        with pytest.raises(httpx.TransportError):
            await waiting
    assert server.state is ServerState.STOPPED
    assert len(asyncio.all_tasks()) == 1


async def test_the_gate_of_a_server() -> None:
    app = App()
    async with serving(app, retry_after=7) as (server, url), httpx.AsyncClient() as client:
        waiting = asyncio.create_task(client.get(f"{url}/wait"))
        await app.entered.wait()
        server.reject()
        refused = await client.get(url)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
        assert refused.json()["code"] == "SERVICE_UNAVAILABLE"
        assert (await server.health()).unwrap().accepting is False
        app.release.set()
        assert (await waiting).status_code == 200
        server.accept()
        assert (await client.get(url)).status_code == 200
        assert server.statistics.rejected == 1


async def test_metrics_are_what_prometheus_reads() -> None:
    async with serving(App()) as (server, url), httpx.AsyncClient() as client:
        await client.get(url)
        families = {family.name: family for family in text_string_to_metric_families(await server.metrics())}
        assert families["qicore_asgi_healthy"].samples[0].value == 1
        (requests,) = families["qicore_asgi_requests"].samples
        assert requests.value == 1
        assert requests.labels["worker"] == "0"


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with serving(App(), uds=path) as (server, url):
        assert (url, server.port) == (f"unix:{path}", None)
        transport = httpx.AsyncHTTPTransport(uds=path)
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get("http://x/")).status_code == 200
        assert code_of(await Server(App(), config(uds=path)).start()) == "ASGI_BIND_FAILED"
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - names
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    async with serving(App(), uds=path):
        pass
    (tmp_path / "file").write_text("a file")
    assert code_of(await Server(App(), config(uds=str(tmp_path / "file"))).start()) == "ASGI_BIND_FAILED"
    assert (tmp_path / "file").read_text() == "a file"


async def test_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)  # pyright: ignore[reportUnknownMemberType]  # it takes others' contexts, too
    files = {"certfile": str(certificate), "keyfile": str(key)}
    async with serving(App(), **files) as (_, url):
        assert url.startswith("https://")
        async with httpx.AsyncClient(verify=trust) as client:
            assert (await client.get(url)).text == "https "
        # A client that speaks no TLS, and one that says nothing at all, disturb nobody.
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            async with httpx.AsyncClient(verify=trust) as client:
                assert (await client.get(url)).status_code == 200
    key.write_text("no key")
    for wrong in (files, {"certfile": str(tmp_path / "none.pem")}):
        assert code_of(await Server(App(), config(**wrong)).start()) == "ASGI_TLS_FAILED"


async def test_clients_must_show_certificates_where_that_is_wanted(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    paths = {name: tmp_path / f"{name}.pem" for name in ("cert", "key", "ca")}
    issued.cert_chain_pems[0].write_to_path(paths["cert"])
    issued.private_key_pem.write_to_path(paths["key"])
    authority.cert_pem.write_to_path(paths["ca"])
    trust = ssl.create_default_context()
    authority.configure_trust(trust)  # pyright: ignore[reportUnknownMemberType]  # it takes others' contexts, too
    options = {"certfile": str(paths["cert"]), "keyfile": str(paths["key"]), "ca_certs": str(paths["ca"])}
    async with serving(App(), **options) as (_, url):
        async with httpx.AsyncClient(verify=trust) as client:
            with pytest.raises(httpx.TransportError):
                await client.get(url)
        authority.issue_cert("client@example.org").configure_cert(trust)  # pyright: ignore[reportUnknownMemberType]  # as above
        async with httpx.AsyncClient(verify=trust) as client:
            assert (await client.get(url)).status_code == 200


def test_packets_are_not_held_back() -> None:
    # asyncio turns Nagle's algorithm off for connections whose protocol is named.
    with bind(config()).unwrap() as listener:
        assert listener.proto == socket.IPPROTO_TCP


async def test_a_lifespan_that_is_deaf_is_left_behind() -> None:
    app = App(lifespan="deaf")
    assert code_of(await Server(app, config(start_timeout=0.1)).start()) == "ASGI_START_TIMEOUT"
    app.release.set()
    (left,) = asyncio.all_tasks() - {asyncio.current_task()}
    left.cancel()
    await asyncio.wait([left])


def test_one_server_runs_in_one_event_loop_after_the_other() -> None:
    app = App()
    server = Server(app, config())

    async def once() -> None:
        running = asyncio.create_task(server.serve())
        while state_of(server) is not ServerState.RUNNING:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{server.url}/")).status_code == 200
        await server.shutdown()
        assert (await running).is_success

    asyncio.run(once())
    asyncio.run(once())
    assert app.events == ["open", "/", "close"] * 2


async def test_clients_that_begin_no_handshake_are_ended(tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    async with serving(App(), certfile=str(file), header_timeout=0.3) as (server, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await reader.read() == b""
        writer.close()
