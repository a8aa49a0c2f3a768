"""After whatever went wrong, no socket, task, thread or memory is left behind."""

import asyncio
import contextlib
import gc
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient
from qicore_testkit.fault_server import Behaviour, Exchange, FaultServer, wait_until
from qicore_testkit.faults import (
    answer,
    answer_then_close,
    bad_chunks,
    drip,
    drop_after_reading,
    endless,
    garbage,
    gzip_bomb,
    half_body,
    hang,
    huge_headers,
    redirect,
    reset,
)
from qicore_testkit.http_servers import Certificates, TLSServer, closed_port

Ways: TypeAlias = Callable[[HTTPClient, str], Awaitable[object]]

FAULTS: dict[str, Behaviour] = {
    "answered": answer(200, b"tea"),
    "answered and closed": answer_then_close(200, b"tea"),
    "refused": answer(503, b"x" * 100_000),
    "dropped": drop_after_reading(),
    "reset": reset(),
    "half": half_body(),
    "half and reset": half_body(abort=True),
    "bad chunks": bad_chunks(),
    "garbage": garbage(),
    "huge head": huge_headers(200_000),
    "silence": hang(),
    "dripping": drip([b"x"] * 100, 0.05),
    "endless": endless(),
    "bomb": gzip_bomb(20_000_000),
    "round and round": redirect("/"),
}


def sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            count += entry.readlink().name.startswith("socket:")
    return count


async def settle() -> None:
    """Let transports close: they do in the next rounds of the loop."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def server() -> Any:
    with FaultServer() as running:
        yield running
        # Those of the server end when the client's do.
        assert wait_until(lambda: running.open_connections() == 0)


async def ask(client: HTTPClient, url: str) -> None:
    await client.get(url)


async def post(client: HTTPClient, url: str) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10_000

    await client.post(url, content=pieces())


async def leave(client: HTTPClient, url: str) -> None:
    async with client.stream("GET", url) as opened:
        if opened.data is not None:
            async for _ in opened.data:
                break


async def cancel(client: HTTPClient, url: str) -> None:
    task = asyncio.create_task(client.get(url))
    await asyncio.sleep(0.03)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def fail_inside(client: HTTPClient, url: str) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with client.stream("GET", url):
            raise ZeroDivisionError


@pytest.mark.parametrize("way", [ask, post, leave, cancel, fail_inside])
async def test_nothing_is_left_behind(engine: Any, way: Ways, server: FaultServer) -> None:
    gc.collect()
    tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
    config = HTTPConfig(
        engine=engine,
        timeout=0.25,
        retry=None,
        max_connections=4,
        max_response_size=1_000_000,
        max_redirects=3,
    )
    async with HTTPClient.create(config).unwrap() as client:
        for name, behaviour in FAULTS.items():
            url = server.on("/", behaviour)
            await asyncio.gather(*(way(client, url) for _ in range(3)))
            await settle()
            assert asyncio.all_tasks() == tasks, name
            assert sockets_of(server) <= 4, name
        assert (await client.get(server.on("/", answer(200)))).is_success
    await settle()
    assert asyncio.all_tasks() == tasks
    assert wait_until(lambda: sockets_of(server) == 0)
    ours = [
        one
        for one in threading.enumerate()
        if one not in threads and not one.name.startswith(("asyncio", "Thread"))
    ]
    assert ours == []


def sockets_of(server: FaultServer) -> int:
    """How many of this process's sockets are connected to the server, by what the kernel says."""
    table = Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    inodes = {
        fields[9]
        for fields in map(str.split, table)
        if int(fields[2].rpartition(":")[2], 16) == server.port and fields[9] != "0"
    }
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += entry.readlink().name.removeprefix("socket:[").removesuffix("]") in inodes
    return found


async def test_what_never_connects_leaves_nothing(engine: Any, certificates: Certificates) -> None:
    gc.collect()
    tasks, before = asyncio.all_tasks(), sockets()
    config = HTTPConfig(engine=engine, timeout=0.3, retry=None, trust_env=False)
    with closed_port() as port, FaultServer(tls=certificates.server_context()) as untrusted:
        held = sockets()
        async with HTTPClient.create(config).unwrap() as client:
            for url in (
                f"http://127.0.0.1:{port}/",
                f"http://localhost:{port}/",
                "http://nowhere.invalid/",
                untrusted.url,
                untrusted.url.replace("https", "http"),
            ):
                results = await asyncio.gather(*(client.get(url) for _ in range(4)))
                assert all(result.is_failure for result in results)
            untrusted.on_connect.extend([Exchange.wait_for_close] * 4)
            results = await asyncio.gather(*(client.get(untrusted.url) for _ in range(4)))
            assert {result.error.code for result in results if result.error is not None} == {"TIMEOUT_ERROR"}
        await settle()
        assert wait_until(lambda: untrusted.open_connections() == 0)
        assert sockets() == held
    assert sockets() == before
    assert asyncio.all_tasks() == tasks


async def test_a_closed_client_has_no_connection(engine: Any, tls_server: TLSServer) -> None:
    gc.collect()
    before = sockets()
    config = HTTPConfig(engine=engine, verify=tls_server.certificates.authority)
    client = HTTPClient.create(config).unwrap()
    await asyncio.gather(*(client.get(f"{tls_server.url}/bytes/1000") for _ in range(10)))
    assert sockets() > before
    await client.close()
    await settle()
    assert sockets() == before


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
def test_the_blocking_client_leaves_nothing(core: Any, server: FaultServer) -> None:
    gc.collect()
    threads = threading.active_count()
    config = HTTPConfig(
        engine=core, timeout=0.25, retry=None, max_connections=2, max_response_size=1_000_000, max_redirects=3
    )
    with SyncHTTPClient.create(config).unwrap() as client:
        for name, behaviour in FAULTS.items():
            url = server.on("/", behaviour)
            client.get(url)
            with client.stream("GET", url) as opened:
                if opened.data is not None:
                    next(iter(opened.data), None)
            assert sockets_of(server) <= 2, name
    assert sockets_of(server) == 0
    assert wait_until(lambda: server.open_connections() == 0)
    assert threading.active_count() <= threads + 1


class Tea(asyncio.Protocol):
    """A server that answers each request, which comes in one piece."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntea")


async def test_ten_thousand_requests_take_no_memory(engine: Any) -> None:
    running = await asyncio.get_running_loop().create_server(Tea, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}/"
    async with HTTPClient.create(HTTPConfig(engine=engine)).unwrap() as client:

        async def many(count: int) -> int:
            for number in range(count):
                (await client.get(f"{url}?n={number}")).unwrap()
            gc.collect()
            return sys.getallocatedblocks()

        first = await many(2_000)
        last = await many(8_000)
    running.close()
    await settle()
    assert last - first < 1_000, "blocks of memory more after 8,000 more requests"


async def test_a_pool_is_no_larger_than_was_said(engine: Any, server: FaultServer) -> None:
    url = server.on("/", drip([b"x"] * 3, 0.01))
    config = HTTPConfig(engine=engine, max_connections=5, timeout=30)
    async with HTTPClient.create(config).unwrap() as client:
        results = await asyncio.gather(*(client.get(url) for _ in range(60)))
        assert all(result.is_success for result in results)
        assert sockets_of(server) <= 5
    assert server.connections <= 5


def test_a_client_may_be_used_in_one_loop_after_the_other(engine: Any, server: FaultServer) -> None:
    client = HTTPClient.create(
        HTTPConfig(engine=engine, keepalive_expiry=60, max_keepalive_connections=0)
    ).unwrap()
    url = server.on("/", answer(200, b"tea"))
    for _ in range(3):
        assert asyncio.run(client.request("GET", url)).unwrap().content == b"tea"
    asyncio.run(closing(client))


async def closing(client: HTTPClient) -> None:
    assert (await client.close()).is_success


def test_sockets_are_told_from_other_descriptors() -> None:
    before = sockets()
    reader, writer = os.pipe()
    assert sockets() == before
    os.close(reader)
    os.close(writer)
