"""qicore-asgi beside bare uvicorn on the same application with the same options. Needs wrk on the PATH."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import Any

from harness import Suite
from wrk import cost, free_port, servers, shuffled

ROUNDS = 15
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"5")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer as little as can be, so that what is measured is the server."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"Hello"})


def commands(ports: dict[str, int], loop: str, http: str) -> dict[str, list[str]]:
    folder = str(Path(__file__).parent)
    ours = (
        "from qicore.asgi import Server, ServerConfig\n"
        f"Server('bench_asgi:app', ServerConfig(port={ports['qicore']}, app_dir={folder!r},"
        f" loop={loop!r}, http={http!r})).run().unwrap()"
    )
    return {
        "uvicorn": [
            *(sys.executable, "-m", "uvicorn", "bench_asgi:app", "--port", str(ports["uvicorn"])),
            *("--app-dir", folder, "--loop", loop, "--http", http, "--log-level", "warning"),
            *("--no-access-log", "--no-server-header", "--no-proxy-headers"),
        ],
        "qicore": [sys.executable, "-c", ours],
    }


def connections(suite: Suite, count: int = 200) -> None:
    """Time a connection with one request, from its opening to its end."""
    ports = {name: free_port() for name in ("uvicorn", "qicore")}
    samples: dict[str, list[float]] = {name: [] for name in ports}
    with servers(commands(ports, "uvloop", "httptools"), ports):
        for _ in range(ROUNDS):
            for name in shuffled(list(ports)):
                start = time.perf_counter()
                for _ in range(count):
                    with socket.create_connection(("127.0.0.1", ports[name])) as opened:
                        opened.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                        while opened.recv(65536):
                            pass
                samples[name].append((time.perf_counter() - start) / count)
    suite.record("a connection for each request", samples)


def main() -> None:
    suite = Suite("asgi", ("qicore-asgi", "uvicorn", "uvloop", "httptools", "h11"))
    for loop, http in (("uvloop", "httptools"), ("asyncio", "httptools"), ("asyncio", "h11")):
        ports = {name: free_port() for name in ("uvicorn", "qicore")}
        samples: dict[str, list[float]] = {name: [] for name in ports}
        with servers(commands(ports, loop, http), ports) as running:
            for _ in range(ROUNDS):
                for name in shuffled(list(ports)):
                    samples[name].append(cost(running[name], f"http://127.0.0.1:{ports[name]}/", seconds=2))
        suite.record(f"{loop}, {http}: CPU time per request", samples, target="at most 1.02 of uvicorn")
    connections(suite)
    suite.save()


if __name__ == "__main__":
    main()
