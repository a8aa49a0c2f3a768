"""Continuous load on a server, in a process of its own, which accounts for every request.

`python -m qicore_testkit.load HOST PORT CLIENTS` opens CLIENTS keep-alive connections and sends one request
after the other on each, until its standard input ends. It prints one line of JSON: what was sent, what was
answered, and what was lost: a request is lost when it was sent on an open connection, and the connection ended
before its answer did. A connection whose last answer said `Connection: close` gets no further request; one that
can't be opened has sent nothing, and is counted as refused.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Any

PATIENCE = 20.0
"""Seconds after which a request without an answer is lost."""

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@dataclass(frozen=True)
class Account:
    """What became of all requests."""

    sent: int
    answered: int
    lost: int
    refused: int
    statuses: dict[str, int]
    bodies: int
    """How many different bodies came: with pids in them, how many processes answered."""


class Load:
    """`async with Load(host, port) as load: …` and then `load.account`."""

    account: Account

    def __init__(self, host: str, port: int, clients: int = 32) -> None:
        self._command = [sys.executable, "-m", "qicore_testkit.load", host, str(port), str(clients)]

    async def __aenter__(self) -> "Load":
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"begun\n"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # With nothing to send, communicate() would leave it open.
        out, _ = await self._process.communicate(b"")
        self.account = Account(**json.loads(out))


class _Counts:
    def __init__(self) -> None:
        self.sent = self.answered = self.lost = self.refused = 0
        self.statuses: Counter[str] = Counter()
        self.bodies: set[bytes] = set()


async def _client(host: str, port: int, counts: _Counts, over: asyncio.Event) -> None:
    while not over.is_set():
        try:
            reader, writer = await asyncio.open_connection(host, port)
        except OSError:
            counts.refused += 1
            await asyncio.sleep(0.02)
            continue
        try:
            while not over.is_set():
                # What the server has closed already gets no request: its end was there to be seen.
                if reader.at_eof():
                    break
                counts.sent += 1
                writer.write(REQUEST)
                try:
                    async with asyncio.timeout(PATIENCE):
                        status, body, closes = await _answer(reader)
                except (OSError, EOFError, ValueError):
                    counts.lost += 1
                    break
                counts.answered += 1
                counts.statuses[status] += 1
                counts.bodies.add(body)
                if closes:
                    break
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, bytes, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = head.split(b" ", 2)[1].decode()
    length, chunked = 0, b"transfer-encoding: chunked" in head
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    if chunked:
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    else:
        body = await reader.readexactly(length)
    return status, body, b"connection: close" in head


async def main(host: str, port: int, clients: int) -> dict[str, Any]:
    counts, over = _Counts(), asyncio.Event()
    loop = asyncio.get_running_loop()
    tasks = [asyncio.create_task(_client(host, port, counts, over)) for _ in range(clients)]
    print("begun", flush=True)  # noqa: T201 - it is what its parent waits for
    loop.run_in_executor(None, sys.stdin.read).add_done_callback(lambda _: over.set())
    await asyncio.gather(*tasks)
    return {
        "sent": counts.sent,
        "answered": counts.answered,
        "lost": counts.lost,
        "refused": counts.refused,
        "statuses": dict(counts.statuses),
        "bodies": len(counts.bodies),
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))  # noqa: T201 - as above
