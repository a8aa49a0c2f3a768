"""Workers with real processes and signals: what starts, what fails, what is replaced, and what is left."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.asgi import Server, ServerConfig, ServerState, WorkerState
from qicore.asgi.supervisor import delay_before
from qicore.base.testing import assert_failure, assert_success
from qicore_testkit.leftovers import new_children, nothing_left

APP = "qicore_testkit.pid_app:app"
GOOD = """
import os
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("no lifespan")
    body = b"VERSION"
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
REFUSING = """
async def app(scope, receive, send):
    assert scope["type"] == "lifespan"
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database at hand"})
"""
SLOW_TO_START = "import time\ntime.sleep(600)\n"


@pytest.fixture(autouse=True)
def leaves_nothing() -> Generator[None]:
    with nothing_left():
        yield


def options(**changes: Any) -> ServerConfig:
    chosen: dict[str, Any] = {"workers": 1, "restart_backoff": 0.05, "restart_backoff_max": 0.1, **changes}
    return ServerConfig(port=0, **chosen)


def pids(server: Server) -> list[int]:
    return [worker.pid for worker in server.workers().unwrap()]


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 - other processes tell nobody
        await asyncio.sleep(0.02)


async def get(server: Server, path: str = "/") -> str:
    def ask() -> str:
        with closing(HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
            return body if answer.status == 200 else str(answer.status)

    return await asyncio.to_thread(ask)


def write(folder: Path, text: str) -> str:
    name = f"served_{folder.name}".replace("-", "_")
    (folder / f"{name}.py").write_text(text)
    # The file may have the same size, and be of the same second.
    for cached in folder.glob("__pycache__/*"):
        cached.unlink()
    return f"{name}:app"


# What can't start


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("def broken(:\n", "ASGI_APP_NOT_FOUND", "SyntaxError"),
        ("raise ValueError('secret')\n", "ASGI_APP_NOT_FOUND", "ValueError"),
        ("application = None\n", "ASGI_APP_NOT_FOUND", "no attribute 'app'"),
        ("app = 7\n", "ASGI_APP_NOT_FOUND", "can't be called"),
        (REFUSING, "ASGI_LIFESPAN_FAILED", "no database at hand"),
        ("import os\nos._exit(7)\n", "ASGI_WORKER_DIED", "status 7"),
        ("raise SystemExit(5)\n", "ASGI_WORKER_DIED", "status 5"),
    ],
)
async def test_what_can_not_start_is_a_failure(text: str, code: str, says: str, tmp_path: Path) -> None:
    server = Server(write(tmp_path, text), options(workers=2, app_dir=str(tmp_path)))
    error = assert_failure(await server.start())
    assert error.code == code
    assert says in error.message
    assert "secret" not in error.to_string()
    assert server.state is ServerState.STOPPED
    assert server.workers().unwrap() == ()


async def test_a_start_that_takes_too_long_is_a_failure_and_shows_where(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = Server(write(tmp_path, SLOW_TO_START), options(app_dir=str(tmp_path), start_timeout=2.0))
    error = assert_failure(await server.start())
    assert error.code == "ASGI_START_TIMEOUT"
    assert f"served_{tmp_path.name}".replace("-", "_") in capfd.readouterr().err


async def test_a_start_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    children = new_children()
    server = Server(write(tmp_path, SLOW_TO_START), options(workers=2, app_dir=str(tmp_path)))
    starting = asyncio.create_task(server.start())
    await until(lambda: len(children()) == 2)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert server.state is ServerState.STOPPED


async def test_a_system_without_processes_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    error = assert_failure(await Server(APP, options()).start())
    assert error.code == "ASGI_WORKER_DIED"
    assert "Resource temporarily unavailable" in error.message


# What is told


async def test_workers_and_health_are_told() -> None:
    async with Server(APP, options(workers=2, heartbeat=0.05)) as server:
        answered = {(await get(server)).split(" ")[0] for _ in range(5)}
        assert answered <= {str(pid) for pid in pids(server)}
        await until(lambda: server.statistics.requests == 5)
        for worker in server.workers().unwrap():
            assert worker.state is WorkerState.RUNNING
            assert worker.age > 0
            assert worker.restarts == 0
            assert worker.statistics.memory > 1_000_000
        holding = asyncio.create_task(get(server, "/sleep?1"))
        await until(lambda: server.statistics.in_flight == 1)
        await holding
        health = (await server.health()).unwrap()
        assert (health.healthy, health.wanted, health.running, health.restarts) == (True, 2, 2, 0)
        assert "qicore_asgi_workers_running 2" in await server.metrics()


async def test_the_gate_is_that_of_all_workers_also_of_later_ones() -> None:
    async with Server(APP, options(workers=1)) as server:
        assert_success(server.reject())
        while await get(server) != "503":
            pass  # the worker hears of it a moment later
        for _ in range(2):
            assert_success(await server.reload())
            assert await get(server) == "503"
        assert not (await server.health()).unwrap().accepting
        assert_success(server.accept())
        while (answer := await get(server)) == "503":
            pass
        assert answer.split(" ")[0] == str(pids(server)[0])


async def test_operations_at_the_wrong_time_are_failures() -> None:
    server = Server(APP, options())
    for operation in (server.reload, lambda: server.scale(2), server.shutdown):
        assert assert_failure(await operation()).code == "ASGI_WRONG_STATE"
    for gate in (server.accept, server.reject):
        assert assert_failure(gate()).code == "ASGI_WRONG_STATE"
    async with server:
        assert assert_failure(await server.start()).code == "ASGI_WRONG_STATE"
        for wrong in (0, -1, 1.5, True, "2", None):
            assert assert_failure(await server.scale(wrong)).code == "INVALID_WORKERS"  # type: ignore[arg-type]  # that is the point
    assert assert_failure(await server.reload()).code == "ASGI_WRONG_STATE"


# What is replaced


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_worker_that_is_killed_is_replaced(workers: int) -> None:
    async with Server(APP, options(workers=workers)) as server:
        before = pids(server)
        os.kill(before[0], signal.SIGKILL)
        await until(lambda: before[0] not in pids(server))
        while not (await server.health()).unwrap().healthy:  # noqa: ASYNC110 - as in until()
            await asyncio.sleep(0.02)
        await get(server)
        assert server.workers().unwrap()[0].restarts == 1
        assert (await server.health()).unwrap().restarts == 1
        assert pids(server)[1:] == before[1:]


async def test_a_worker_that_gets_a_sigterm_is_replaced_first() -> None:
    async with Server(APP, options()) as server:
        (before,) = pids(server)
        slow = asyncio.create_task(get(server, "/sleep?1"))
        await asyncio.sleep(0.3)
        os.kill(before, signal.SIGTERM)
        await until(lambda: before not in pids(server))
        assert (await slow).startswith(f"{before} ")
        assert (await server.health()).unwrap().restarts == 0


@pytest.mark.parametrize("stop", ["block", "SIGSTOP"])
async def test_a_worker_that_is_stuck_is_replaced(stop: str, capfd: pytest.CaptureFixture[str]) -> None:
    async with Server(APP, options(heartbeat=0.1, stuck_after=1.0)) as server:
        (before,) = pids(server)
        waiting: asyncio.Task[str] | None = None
        if stop == "block":
            waiting = asyncio.create_task(get(server, "/block?600"))
        else:
            os.kill(before, signal.SIGSTOP)
        await until(lambda: before not in pids(server) and len(pids(server)) == 1)
        await get(server)
        if waiting is not None:
            with pytest.raises((OSError, HTTPException)):
                await waiting
            # Its stack tells where it was.
            assert "pid_app.py" in capfd.readouterr().err


async def test_a_supervisor_that_stood_still_kills_nobody() -> None:
    async with Server(APP, options(workers=2, heartbeat=0.1, stuck_after=1)) as server:
        before = pids(server)
        for worker in before:
            os.kill(worker, signal.SIGSTOP)
        time.sleep(2.5)  # noqa: ASYNC251 - as when a terminal stops the whole group
        for worker in before:
            os.kill(worker, signal.SIGCONT)
        await asyncio.sleep(0.5)
        assert pids(server) == before


async def test_the_end_of_a_worker_is_seen_though_its_own_children_live(tmp_path: Path) -> None:
    forking = "import os, time\nif os.fork() == 0:\n    time.sleep(600)\n    os._exit(0)\n" + GOOD
    async with Server(write(tmp_path, forking), options(app_dir=str(tmp_path))) as server:
        (before,) = pids(server)
        os.kill(before, signal.SIGKILL)
        await until(lambda: before not in pids(server) and len(pids(server)) == 1)
        orphans = [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if process.pid not in pids(server)
            and "qicore.asgi.worker" in (process.info["cmdline"] or [])
            and socket_of(server) in inodes(process)
        ]
        for orphan in orphans:
            os.kill(orphan, signal.SIGKILL)
    assert len(orphans) >= 1


def socket_of(server: Server) -> int:
    assert server.port is not None
    return server.port


def inodes(process: psutil.Process) -> set[int]:
    return {one.laddr.port for one in process.net_connections("tcp") if one.status == psutil.CONN_LISTEN}


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0.01, 10), st.floats(10, 1000))
def test_waits_grow_to_their_limit(failures: int, draw: float, least: float, most: float) -> None:
    config = ServerConfig(restart_backoff=least, restart_backoff_max=most)
    delay = delay_before(failures, config, lambda: draw)
    assert 0 <= delay <= most
    assert (delay == 0) == (failures == 1)
    assert delay_before(failures + 1, config, lambda: draw) >= delay


async def test_a_worker_that_dies_again_and_again_is_not_replaced_at_once_each_time() -> None:
    config = options(restart_backoff=0.4, restart_backoff_max=60.0)
    async with Server(APP, config) as server:
        moments: list[float] = []
        for _ in range(4):
            (worker,) = pids(server)
            os.kill(worker, signal.SIGKILL)
            killed = time.monotonic()
            await until(lambda: bool(pids(server)) and worker not in pids(server))  # noqa: B023 - used at once
            await until(lambda: server.workers().unwrap()[0].state is WorkerState.RUNNING)
            moments.append(time.monotonic() - killed)
        # At least half of 0.4, 0.8, 1.6 seconds were waited; and none the first time.
        assert all(took >= least for took, least in zip(moments, (0.0, 0.2, 0.4, 0.8), strict=True))
        assert server.workers().unwrap()[0].restarts == 4


# Reload and scale


async def test_a_reload_serves_the_new_code_and_a_broken_one_keeps_the_old(tmp_path: Path) -> None:
    app = write(tmp_path, GOOD.replace("VERSION", "one"))
    async with Server(app, options(workers=2, app_dir=str(tmp_path), start_timeout=10.0)) as server:
        assert await get(server) == "one"
        write(tmp_path, GOOD.replace("VERSION", "two"))
        assert_success(await server.reload())
        assert await get(server) == "two"
        before = pids(server)
        for broken, code in (("def broken(:\n", "ASGI_APP_NOT_FOUND"), (REFUSING, "ASGI_LIFESPAN_FAILED")):
            write(tmp_path, broken)
            error = assert_failure(await server.reload())
            assert error.code == "ASGI_RELOAD_FAILED"
            assert error.cause is not None
            assert error.cause.code == code
            assert pids(server) == before
            assert await get(server) == "two"
        write(tmp_path, GOOD.replace("VERSION", "three"))
        assert_success(await server.reload())
        assert await get(server) == "three"


async def test_a_reload_whose_worker_hangs_fails_in_time(tmp_path: Path) -> None:
    app = write(tmp_path, GOOD)
    async with Server(app, options(app_dir=str(tmp_path), start_timeout=3.0)) as server:
        before = pids(server)
        write(tmp_path, SLOW_TO_START)
        error = assert_failure(await server.reload())
        assert error.cause is not None
        assert error.cause.code == "ASGI_START_TIMEOUT"
        assert pids(server) == before
        assert await get(server) == "VERSION"


async def test_reloads_at_once_wait_for_each_other() -> None:
    async with Server(APP, options(workers=2)) as server:
        before = pids(server)
        for result in await asyncio.gather(server.reload(), server.reload(), server.scale(1)):
            assert_success(result)
        assert len(pids(server)) == 1
        assert not set(pids(server)) & set(before)


async def test_a_shutdown_during_a_reload_leaves_nothing(tmp_path: Path) -> None:
    children = new_children()
    server = Server(write(tmp_path, GOOD), options(workers=2, app_dir=str(tmp_path)))
    assert_success(await server.start())
    write(tmp_path, SLOW_TO_START)
    reloads = [asyncio.create_task(server.reload()) for _ in range(2)]
    scaling = asyncio.create_task(server.scale(4))
    await until(lambda: len(children()) == 3)
    assert_success(await server.shutdown(5.0))
    for result in await asyncio.gather(*reloads, scaling):
        assert assert_failure(result).code == "ASGI_WRONG_STATE"


async def test_a_request_that_takes_too_long_is_cut_off_and_told() -> None:
    server = Server(APP, options(workers=2))
    assert_success(await server.start())
    slow = asyncio.create_task(get(server, "/sleep?600"))
    await asyncio.sleep(0.5)
    error = assert_failure(await server.shutdown(0.5))
    assert error.code == "ASGI_DRAIN_TIMEOUT"
    # uvicorn answers for what was cancelled.
    assert await slow == "500"


# Who is gone


PARENT = """
import asyncio, sys
from qicore.asgi import Server, ServerConfig
async def main():
    server = Server("qicore_testkit.pid_app:app", ServerConfig(port=0, workers=2, drain_timeout=1.0))
    (await server.start()).unwrap()
    print(server.port, *[worker.pid for worker in server.workers().unwrap()], flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.parametrize("blocked", [False, True])
async def test_no_worker_outlives_its_supervisor(blocked: bool) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - it does not wait
    assert parent.stdout is not None
    port, *workers = map(int, (await asyncio.to_thread(parent.stdout.readline)).split())
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(20 if blocked else 0)]
    for connection in connections:
        connection.sendall(b"GET /block?600 HTTP/1.1\r\nHost: test\r\n\r\n")
    await asyncio.sleep(0.3)
    parent.kill()
    parent.communicate()
    await until(lambda: not any(psutil.pid_exists(worker) for worker in workers))
    for connection in connections:
        connection.close()
