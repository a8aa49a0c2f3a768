"""qicore-http on each of its engines against plain httpx, httpx2, aiohttp and niquests, in one run.

A small GET over loopback, one at a time and 50 at once. The server is an asyncio protocol that answers fixed
bytes, in a process of its own on another core, so that the client is what is measured.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
import httpx2
import niquests
from harness import Suite, run
from httpx_aiohttp import AiohttpTransport
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient

AT_ONCE = 50
ENGINES = ("httpx", "httpx2", "aiohttp")
BODY = b'{"hello": "world", "numbers": [1, 2, 3]}'
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\n"
    b"Server: bench\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)

Call = Callable[[], Awaitable[object]]


class Answers(asyncio.Protocol):
    """Answers every request that ends in an empty line."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        heads = (self.rest + data).split(b"\r\n\r\n")
        self.rest = heads.pop()
        self.transport.write(ANSWER * len(heads))


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def server_process() -> Generator[str]:
    """Run the server on the core that the harness does not use, if there is one; yield its address."""
    process = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        if hasattr(os, "sched_setaffinity"):
            others = set(range(os.cpu_count() or 1)) - os.sched_getaffinity(0)
            os.sched_setaffinity(process.pid, others or os.sched_getaffinity(0))
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/"
    finally:
        process.terminate()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def at_once(call: Call) -> Call:
    async def all_of_them() -> None:
        await asyncio.gather(*[call() for _ in range(AT_ONCE)])

    return all_of_them


def ours(engine: Any) -> HTTPClient:
    return HTTPClient.create(HTTPConfig(engine=engine)).unwrap()


async def requests(suite: Suite, url: str) -> None:
    plain = httpx.AsyncClient()
    successor = httpx2.AsyncClient()
    carried = httpx.AsyncClient(transport=AiohttpTransport())
    session = aiohttp.ClientSession()
    modern = niquests.AsyncSession()
    clients = {engine: ours(engine) for engine in ENGINES}

    async def with_aiohttp() -> bytes:
        async with session.get(url) as response:
            return await response.read()

    async def with_ours(client: HTTPClient) -> bytes:
        return (await client.get(url)).unwrap().content

    calls: dict[str, Call] = {
        "httpx": lambda: plain.get(url),
        "httpx2": lambda: successor.get(url),
        "httpx + httpx-aiohttp": lambda: carried.get(url),
        "aiohttp": with_aiohttp,
        "niquests": lambda: modern.get(url),
        "qicore, engine httpx": lambda: with_ours(clients["httpx"]),
        "qicore, engine httpx2": lambda: with_ours(clients["httpx2"]),
        "qicore, engine aiohttp": lambda: with_ours(clients["aiohttp"]),
    }
    for number, words in ((1, "one at a time"), (AT_ONCE, f"{AT_ONCE} at once")):
        chosen = calls if number == 1 else {name: at_once(call) for name, call in calls.items()}
        await suite.compare_async(
            f"small GET, {words}",
            chosen,
            calls=number,
            target=""
            if number == 1
            else "the fastest of ours at most 0.25 of httpx (4 times its throughput)",
        )
        for engine in ENGINES:
            names = [engine, f"qicore, engine {engine}"]
            if engine == "aiohttp":
                names.insert(1, "httpx + httpx-aiohttp")
            await suite.compare_async(
                f"small GET, {words}, engine {engine}",
                {name: chosen[name] for name in names},
                calls=number,
                target="ours at most 1.05 times its library",
            )
    for client in clients.values():
        await client.close()
    await session.close()
    await modern.close()
    await carried.aclose()
    await successor.aclose()
    await plain.aclose()


def blocking_requests(suite: Suite, url: str) -> None:
    with httpx.Client() as plain, httpx2.Client() as successor, niquests.Session() as modern:
        client = SyncHTTPClient.create(HTTPConfig()).unwrap()
        on_httpx2 = SyncHTTPClient.create(HTTPConfig(engine="httpx2")).unwrap()
        calls: dict[str, Callable[[], object]] = {
            "httpx": lambda: plain.get(url),
            "httpx2": lambda: successor.get(url),
            "niquests": lambda: modern.get(url),
            "qicore, engine httpx": lambda: client.get(url).unwrap().content,
            "qicore, engine httpx2": lambda: on_httpx2.get(url).unwrap().content,
        }
        suite.compare("small GET, blocking", calls)
        for engine in ENGINES[:2]:
            suite.compare(
                f"small GET, blocking, engine {engine}",
                {name: calls[name] for name in (engine, f"qicore, engine {engine}")},
                target="ours at most 1.05 times its library",
            )
        client.close()
        on_httpx2.close()


async def creation(suite: Suite) -> None:
    async def create_httpx() -> None:
        await httpx.AsyncClient().aclose()

    async def create_ours() -> None:
        await ours("httpx").close()

    await suite.compare_async(
        "create and close a client",
        {"httpx": create_httpx, "qicore": create_ours},
        target="no TLS context of its own: at most 0.05 of httpx",
    )


async def main() -> None:
    packages = ("qicore-http", "httpx", "httpx2", "httpx-aiohttp", "aiohttp", "niquests")
    suite = Suite("http", packages, rounds=31)
    with server_process() as url:
        await requests(suite, url)
        await asyncio.to_thread(blocking_requests, suite, url)
    await creation(suite)
    suite.save()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        run(main)
