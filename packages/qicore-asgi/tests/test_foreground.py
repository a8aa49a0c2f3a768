"""A server in the foreground of a script: its signals, and reloads while somebody develops."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, closing
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest
from qicore_testkit.leftovers import nothing_left

PROGRAM = """
import sys
from qicore.asgi import Server, ServerConfig

class Told(Server):
    async def start(self):
        started = await super().start()
        print(self.port, flush=True)
        return started

config = ServerConfig(port=0, workers=int(sys.argv[2]), app_dir=sys.argv[1], reload=sys.argv[3] == "reload")
result = Told("served:app", config).run()
sys.exit(0 if result.is_success else result.error.to_string())
"""
APP = """
import asyncio
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("no lifespan")
    await asyncio.sleep(float(scope["query_string"] or b"0"))
    body = b"VERSION"
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture(autouse=True)
def leaves_nothing() -> Generator[None]:
    with nothing_left():
        yield


class Program:
    """A script that serves."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self._log = process, port, log

    def workers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    def log(self) -> str:
        return self._log.read_text()

    async def get(self, seconds: float = 0) -> str:
        def ask() -> str:
            with closing(HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
                connection.request("GET", f"/?{seconds}")
                return connection.getresponse().read().decode()

        return await asyncio.to_thread(ask)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - other processes tell nobody
        await asyncio.sleep(0.05)


@asynccontextmanager
async def program(folder: Path, *, workers: int, develop: bool = False) -> AsyncGenerator[Program]:
    write(folder, APP)
    log = folder / "log.txt"
    command = [sys.executable, "-c", PROGRAM, str(folder), str(workers), "reload" if develop else ""]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output)  # noqa: ASYNC220 - it does not wait
    try:
        assert process.stdout is not None
        yield Program(process, int(await asyncio.to_thread(process.stdout.readline)), log)
    finally:
        process.kill()
        process.communicate()


def write(folder: Path, text: str) -> None:
    for cached in folder.glob("__pycache__/*"):
        cached.unlink()
    (folder / "served.py").write_text(text)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_to_stop_lets_requests_finish(workers: int, number: int, tmp_path: Path) -> None:
    async with program(tmp_path, workers=workers) as served:
        slow = asyncio.create_task(served.get(1.5))
        await asyncio.sleep(0.5)
        served.process.send_signal(number)
        assert await slow == "VERSION"
        assert await asyncio.to_thread(served.process.wait) == 0, served.log()


@pytest.mark.parametrize("workers", [0, 2])
async def test_a_second_signal_waits_no_longer(workers: int, tmp_path: Path) -> None:
    async with program(tmp_path, workers=workers) as served:
        slow = asyncio.create_task(served.get(600))
        await asyncio.sleep(0.5)
        served.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert served.process.poll() is None
        served.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(served.process.wait) == 1
        assert "ASGI_DRAIN_TIMEOUT" in served.log()
        # uvicorn answers 500 for what was cancelled.
        assert await slow == "Internal Server Error"


async def test_signals_reload_and_scale(tmp_path: Path) -> None:
    async with program(tmp_path, workers=1) as served:
        before = served.workers()
        assert len(before) == 1
        write(tmp_path, APP.replace("VERSION", "two"))
        served.process.send_signal(signal.SIGHUP)
        await until(lambda: len(served.workers()) == 1 and not served.workers() & before)
        assert await served.get() == "two"
        served.process.send_signal(signal.SIGTTIN)
        await until(lambda: len(served.workers()) == 2)
        served.process.send_signal(signal.SIGTTOU)
        await until(lambda: len(served.workers()) == 1)
        # The last one stays.
        served.process.send_signal(signal.SIGTTOU)
        await until(lambda: "not scaled" in served.log())
        assert await served.get() == "two"


async def test_a_signal_while_it_starts_stops_it(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text("import time\ntime.sleep(600)\n")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), "2", ""]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: ASYNC220 - it does not wait
    try:
        await until(lambda: len(psutil.Process(process.pid).children()) == 2)
        process.send_signal(signal.SIGHUP)
        await asyncio.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait) == 0
    finally:
        process.kill()
        process.communicate()


async def test_a_ctrl_c_comes_to_the_whole_group_and_drops_nothing(tmp_path: Path) -> None:
    async with program(tmp_path, workers=2) as served:
        slow = asyncio.create_task(served.get(1.0))
        await asyncio.sleep(0.5)
        for process in (served.process.pid, *served.workers()):
            os.kill(process, signal.SIGINT)
        assert await slow == "VERSION"
        assert await asyncio.to_thread(served.process.wait) == 0, served.log()


async def test_a_changed_file_is_served_and_a_broken_one_is_told(tmp_path: Path) -> None:
    async with program(tmp_path, workers=1, develop=True) as served:
        await asyncio.sleep(1.0)  # the watcher begins after the workers
        write(tmp_path, APP.replace("VERSION", "two"))
        await until(lambda: "reloaded" in served.log())
        assert await served.get() == "two"
        write(tmp_path, "def broken(:\n")
        await until(lambda: "not reloaded" in served.log())
        assert "SyntaxError" in served.log()
        assert await served.get() == "two"
        write(tmp_path, APP.replace("VERSION", "three"))
        await until(lambda: served.log().count("INFO qicore.asgi: reloaded") == 2)
        assert await served.get() == "three"
        served.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(served.process.wait) == 0, served.log()
