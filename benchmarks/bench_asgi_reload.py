"""Requests sent, answered and lost while servers reload, stop, and lose a worker: qicore-asgi and its peers.

The clients are those of the package's own test under load, 32 in a process of their own: keep-alive
connections with plain and slow requests, bodies after their heads, heads in two parts, and connections for
one request. A request is lost when some of it was sent on an open connection and its answer did not come; a
refused connection has sent nothing. Every server runs the same application with two workers.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

from harness import RESULTS, machine
from qicore_testkit.http_load import Loading, loading

APP = "qicore_testkit.pid_app:app"
RELOADS = 10
BETWEEN = 2.5
OURS = f"""
import sys
from qicore.asgi import Server, ServerConfig
Server({APP!r}, ServerConfig(port=int(sys.argv[1]), workers=2)).run()
"""


def commands(port: int) -> dict[str, list[str]]:
    """Return how each server is started."""
    python = [sys.executable, "-m"]
    listen = ["--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    return {
        "qicore-asgi": [sys.executable, "-c", OURS, str(port)],
        "uvicorn": [*python, "uvicorn", APP, *listen, "--log-level", "error"],
        "granian": [*python, "granian", "--interface", "asgi", *listen, "--log-level", "error", APP],
        "gunicorn": [*python, "gunicorn", "-k", "asgi", "-w", "2", "-b", f"127.0.0.1:{port}", APP],
    }


def ask(port: int) -> int:
    """Return the process that answers a request."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return int(answer.read().split()[0])


@asynccontextmanager
async def serving(name: str) -> AsyncGenerator[tuple[subprocess.Popen[bytes], int]]:
    """Run a server while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = commands(port)[name]
    process = subprocess.Popen(  # noqa: ASYNC220 - it does not wait
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _ in range(200):
            try:
                ask(port)
                break
            except OSError:
                await asyncio.sleep(0.1)
        # The second worker may be slower.
        await asyncio.sleep(1.5)
        yield process, port
    finally:
        # A group of its own: peers leave workers behind when they are killed.
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


async def reloads(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(RELOADS):
        process.send_signal(signal.SIGHUP)
        await asyncio.sleep(BETWEEN)


async def stop(process: subprocess.Popen[bytes], port: int) -> None:
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < deadline:  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.05)


async def kill(process: subprocess.Popen[bytes], port: int) -> None:
    os.kill(await asyncio.to_thread(ask, port), signal.SIGKILL)
    await asyncio.sleep(8)


EVENTS: dict[str, Callable[[subprocess.Popen[bytes], int], Awaitable[None]]] = {
    f"{RELOADS} reloads (SIGHUP)": reloads,
    "one SIGTERM": stop,
    "one kill -9 of a worker": kill,
}


async def measure(name: str, event: Callable[[subprocess.Popen[bytes], int], Awaitable[None]]) -> Loading:
    """Load a server while something happens to it."""
    async with serving(name) as (process, port), loading(port) as load:
        await asyncio.sleep(1)
        await event(process, port)
        await asyncio.sleep(0.5)
    return load


async def main() -> None:
    rows: dict[str, dict[str, dict[str, object]]] = {}
    for what, event in EVENTS.items():
        for name in commands(0):
            report = (await measure(name, event)).report
            rows.setdefault(what, {})[name] = {
                "sent": report.sent,
                "answered": report.answered,
                "lost": len(report.lost),
                "wrong": len(report.wrong),
                "workers": len(report.workers),
                "slowest": round(report.slowest, 3),
                "gap": round(report.gap, 3),
            }
            print(what, name, rows[what][name], flush=True)
    save(rows)


def save(rows: dict[str, dict[str, dict[str, object]]]) -> None:
    """Write `results/asgi_reload.json` and `.md`."""
    versions = {name: version(name) for name in commands(0)}
    data = {"suite": "asgi_reload", "machine": machine(), "versions": versions, "rows": rows}
    (RESULTS / "asgi_reload.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    beside = ", ".join(f"{name} {number}" for name, number in versions.items())
    lines = ["# asgi_reload", "", f"{', '.join(machine().values())}, {beside}", ""]
    lines += ["32 clients; two workers. `gap` is the longest time in which no client got an answer.", ""]
    for what, row in rows.items():
        lines += [f"## {what}", "", "| server | sent | answered | lost | wrong | slowest | gap |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|"]
        lines += [
            f"| {name} | {facts['sent']} | {facts['answered']} | {facts['lost']} | {facts['wrong']} "
            f"| {facts['slowest']} s | {facts['gap']} s |"
            for name, facts in row.items()
        ]
        lines.append("")
    (RESULTS / "asgi_reload.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
