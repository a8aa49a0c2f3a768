"""Servers under wrk: the CPU time that each request costs them, one core for the server and one for wrk.

CPU time, not requests per second: on a busy machine the second says more about the neighbours.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import psutil

# As this process was started: a Suite holds it to one of them.
_AVAILABLE = sorted(os.sched_getaffinity(0))


def cores() -> tuple[int, int]:
    """Return the core for the server and the one for wrk."""
    return _AVAILABLE[-1], _AVAILABLE[0]


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def servers(
    commands: Mapping[str, Sequence[str]], ports: Mapping[str, int]
) -> Generator[dict[str, psutil.Process]]:
    """Run a server for each command, pinned to the server's core, until the block ends."""
    core, _ = cores()
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            environment = {**os.environ, "WEB_APP": name}
            running[name] = subprocess.Popen(["taskset", "-c", str(core), *command], env=environment)
        for name in commands:
            _wait_for(ports[name], running[name])
        yield {name: psutil.Process(process.pid) for name, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert process.poll() is None, f"the server at {port} ended with {process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nobody listens at {port}")


def post_script(body: str) -> str:
    """Return the path of a wrk script that posts JSON."""
    path = Path(tempfile.gettempdir()) / f"wrk-{os.getpid()}.lua"
    path.write_text(
        f"wrk.method = 'POST'\nwrk.body = [[{body}]]\nwrk.headers['Content-Type'] = 'application/json'\n",
        encoding="utf-8",
    )
    return str(path)


def cost(process: psutil.Process, url: str, *, seconds: int = 2, script: str | None = None) -> float:
    """Return the CPU seconds that one request costs the server."""
    before = _cpu(process)
    options = [] if script is None else ["-s", script]
    done = subprocess.run(
        ["taskset", "-c", str(cores()[1]), "wrk", "-t1", "-c16", f"-d{seconds}s", *options, url],
        capture_output=True,
        text=True,
        check=True,
    )
    spent = _cpu(process) - before
    found = re.search(r"(\d+) requests in", done.stdout)
    assert found is not None, done.stdout
    return spent / int(found[1])


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def shuffled(names: Sequence[str]) -> list[str]:
    """Return the names in a new order."""
    return random.sample(list(names), len(names))
