"""Clients in a process of their own that count every request sent and every complete answer.

`python -m qicore_testkit.http_load HOST PORT CLIENTS [tls]` loads a server that runs `pid_app`, prints
`running`, goes on until a line comes from stdin or its end, waits for the answers that are due, and prints a
`Report` as JSON. `loading` does that from a test.

Each client has one connection at a time and sends as every client may by RFC 9112: the next request after
the last answer, and none on a connection whose end was announced or has been seen. Clients differ: plain
requests, slow ones, bodies that come after their heads, heads that come in two parts, and a connection for
each request.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Load", "Lost", "Report", "loading"]

_KINDS = ("plain", "plain", "plain", "slow", "body", "split", "once", "plain")
_PAUSE = 0.01
_PART_PAUSE = 0.01
_TOO_LONG = 30.0


@dataclass(frozen=True)
class Lost:
    """A request that was sent, in part or whole, and whose answer did not come.

    Attributes:
        kind: which kind of request.
        at: when its first byte was sent, by the machine's monotonic clock.
        noticed: when it was known to be lost.
        worker: the process that answered the connection's requests before; None where it was the first.
        reason: what happened instead.
    """

    kind: str
    at: float
    noticed: float
    worker: int | None
    reason: str


@dataclass
class Report:
    """What the clients met.

    Attributes:
        sent: requests of which a byte was sent.
        answered: requests whose whole answer came.
        lost: those whose did not.
        wrong: answers that were not the 200 that was due, with their status.
        refused: connections that were not made: nothing was sent on them.
        connections: connections that were made.
        workers: which processes answered how many requests.
        slowest: seconds that the longest answer took.
        gap: the longest time in seconds between two answers to any of the clients.
    """

    sent: int = 0
    answered: int = 0
    lost: list[Lost] = field(default_factory=list[Lost])
    wrong: list[str] = field(default_factory=list[str])
    refused: int = 0
    connections: int = 0
    workers: dict[int, int] = field(default_factory=dict[int, int])
    slowest: float = 0.0
    gap: float = 0.0

    @classmethod
    def read(cls, text: str) -> Report:
        """Return the report that was printed."""
        facts: dict[str, Any] = json.loads(text)
        facts["lost"] = [Lost(**one) for one in facts["lost"]]
        facts["workers"] = {int(pid): number for pid, number in facts["workers"].items()}
        return cls(**facts)


class Load:
    """All clients together."""

    def __init__(self, host: str, port: int, clients: int, *, tls: bool = False) -> None:
        self.host, self.port = host, port
        self.tls: ssl.SSLContext | None = None
        if tls:
            self.tls = ssl.create_default_context()
            self.tls.check_hostname = False
            self.tls.verify_mode = ssl.CERT_NONE
        self.report = Report()
        self.workers: Counter[int] = Counter()
        self.stopping = False
        self.last_answer = time.monotonic()
        self._clients = clients

    async def run(self) -> Report:
        """Go on until stdin says that it is enough."""
        loop = asyncio.get_running_loop()
        clients = [asyncio.create_task(self._client(number)) for number in range(self._clients)]
        print("running", flush=True)  # noqa: T201 - what the test waits for
        await loop.run_in_executor(None, sys.stdin.readline)
        self.stopping = True
        await asyncio.gather(*clients)
        self.report.workers = dict(self.workers)
        return self.report

    async def _client(self, number: int) -> None:
        dice = random.Random(number)
        kind = _KINDS[number % len(_KINDS)]
        loop = asyncio.get_running_loop()
        while not self.stopping:
            connection = _Connection()
            try:
                await loop.create_connection(lambda made=connection: made, self.host, self.port, ssl=self.tls)
            except OSError:
                self.report.refused += 1
                await asyncio.sleep(_PAUSE)
                continue
            self.report.connections += 1
            while connection.is_open and not self.stopping:
                await self._request(connection, kind)
                await asyncio.sleep(_PAUSE * (0.5 + dice.random()))
            connection.close()

    async def _request(self, connection: _Connection, kind: str) -> None:
        report, began = self.report, time.monotonic()
        expected = f"{report.sent}"
        report.sent += 1
        head = _head(kind, expected)
        answer: asyncio.Future[bytes] = connection.expect()
        reason = ""
        try:
            async with asyncio.timeout(_TOO_LONG):
                for part in head[:-1]:
                    connection.send(part)
                    await asyncio.wait([answer], timeout=_PART_PAUSE)
                connection.send(head[-1])
                status, pid, echo = (await answer).decode("latin-1").split(" ")
        except TimeoutError:
            reason = "no answer"
        except OSError as error:
            reason = str(error)
        except ValueError:
            reason = "an answer of another kind"
        else:
            now = time.monotonic()
            report.answered += 1
            report.slowest = max(report.slowest, now - began)
            report.gap = max(report.gap, now - self.last_answer)
            self.last_answer = now
            self.workers[int(pid)] += 1
            connection.worker = int(pid)
            if status != "200" or echo != expected:
                report.wrong.append(f"{status} {echo!r} for {expected!r}")
            return
        connection.close()
        report.lost.append(Lost(kind, began, time.monotonic(), connection.worker, reason))


def _head(kind: str, echo: str) -> list[bytes]:
    """Return the parts of a request, between which there is a pause."""
    line, host = f"GET /{kind}?{echo} HTTP/1.1\r\n".encode(), b"Host: load.test\r\n"
    if kind == "body":
        head = b"POST /body HTTP/1.1\r\n" + host + b"Content-Length: %d\r\n\r\n" % len(echo)
        return [head, echo.encode()]
    if kind == "split":
        return [line + host[:5], host[5:] + b"\r\n"]
    if kind == "once":
        return [line + host + b"Connection: close\r\n\r\n"]
    return [line + host + b"\r\n"]


class _Connection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self) -> None:
        self.worker: int | None = None
        self.is_open = False
        self._transport: Any = None
        self._buffer = b""
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.is_open = True

    def expect(self) -> asyncio.Future[bytes]:
        """Return what is done when the next answer has come: status, worker and body."""
        self._answer = asyncio.get_running_loop().create_future()
        return self._answer

    def send(self, data: bytes) -> None:
        if self.is_open:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.lower().split(b"\r\n")
        fields = dict(line.split(b": ", 1) for line in lines[1:])
        if len(body) < int(fields.get(b"content-length", 0)):
            return
        self._buffer = b""
        if fields.get(b"connection") == b"close":
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(lines[0].split(b" ")[1] + b" " + body)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            part = "in the midst of" if self._buffer else "before"
            what = "reset" if exc is not None else "closed"
            self._answer.set_exception(ConnectionError(f"{what} {part} the answer"))
            # Nobody may be waiting for it any more.
            self._answer.exception()

    def close(self) -> None:
        self.is_open = False
        if self._transport is not None:
            self._transport.close()


@asynccontextmanager
async def loading(
    port: int, *, clients: int = 32, host: str = "127.0.0.1", tls: bool = False
) -> AsyncGenerator[Loading]:
    """Load a server while the block runs; `report` is there after it."""
    command = [sys.executable, "-m", "qicore_testkit.http_load", host, str(port), str(clients)]
    command += ["tls"] if tls else []
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - it does not wait
    handle = Loading()
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "running\n"
        yield handle
        told, _ = await asyncio.to_thread(process.communicate, "stop\n", _TOO_LONG + 30)
        handle.report = Report.read(told)
    finally:
        process.kill()
        process.communicate()


class Loading:
    """What becomes of a load."""

    report: Report


def main() -> None:
    """Run the clients that the command line asks for."""
    host, port, clients, *tls = sys.argv[1:]
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    report = asyncio.run(Load(host, int(port), int(clients), tls=bool(tls)).run())
    print(json.dumps(asdict(report)))  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main()
