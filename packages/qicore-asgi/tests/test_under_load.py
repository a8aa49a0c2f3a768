"""Every request that was sent has its answer, whatever happens to the server meanwhile.

32 clients in a process of their own count what they send and what comes back (`qicore_testkit.http_load`).
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from qicore.asgi import Server, ServerConfig
from qicore.base.testing import assert_success
from qicore_testkit.http_load import Report, loading
from qicore_testkit.leftovers import nothing_left

APP = "qicore_testkit.pid_app:app"
CLIENTS = 32
PROGRAM = """
import sys
from qicore.asgi import Server, ServerConfig

class Told(Server):
    async def start(self):
        started = await super().start()
        print(self.port, flush=True)
        return started

result = Told("qicore_testkit.pid_app:app", ServerConfig(port=0, workers=int(sys.argv[1]))).run()
sys.exit(0 if result.is_success else result.error.to_string())
"""


@pytest.fixture(autouse=True)
def leaves_nothing() -> Generator[None]:
    with nothing_left():
        yield


@asynccontextmanager
async def program(workers: int) -> AsyncGenerator[tuple[subprocess.Popen[str], int]]:
    """Run a script that serves in the foreground; it has ended when the block ends."""
    command = [sys.executable, "-c", PROGRAM, str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # noqa: ASYNC220 - it does not wait
    try:
        assert process.stdout is not None
        yield process, int(await asyncio.to_thread(process.stdout.readline))
    finally:
        process.kill()
        process.communicate()


def options(**changes: Any) -> ServerConfig:
    given: dict[str, Any] = {"restart_backoff": 0.05, "restart_backoff_max": 0.1, **changes}
    return ServerConfig(port=0, **given)


def assert_none_lost(report: Report) -> None:
    assert report.lost == []
    assert report.wrong == []
    assert report.answered == report.sent > CLIENTS


async def healthy(server: Server) -> None:
    while not (await server.health()).unwrap().healthy:  # noqa: ASYNC110 - it is seen from outside
        await asyncio.sleep(0.02)


async def gone(server: Server, pid: int) -> None:
    while pid in {worker.pid for worker in server.workers().unwrap()}:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.02)


async def reloaded(server: Server, times: int, *, tls: bool = False) -> Report:
    """Reload under load, and return what the clients met."""
    before: set[int] = {worker.pid for worker in server.workers().unwrap()}
    assert server.port is not None
    async with loading(server.port, clients=CLIENTS, tls=tls) as load:
        await asyncio.sleep(0.5)
        for _ in range(times):
            assert_success(await server.reload())
            now = {worker.pid for worker in server.workers().unwrap()}
            assert len(now) == server.config.workers
            assert not now & before
            before |= now
        await asyncio.sleep(0.3)
    assert set(load.report.workers) <= before
    return load.report


@pytest.mark.parametrize("workers", [1, 2])
async def test_ten_reloads_drop_no_request(workers: int) -> None:
    async with Server(APP, options(workers=workers)) as server:
        report = await reloaded(server, 10)
    assert_none_lost(report)
    assert report.refused == 0
    # Workers of every generation have served.
    assert len(report.workers) > 10


@pytest.mark.parametrize(
    "changes", [{"loop": "asyncio", "http": "h11"}, {"loop": "asyncio", "http": "httptools"}]
)
async def test_reloads_drop_no_request_on_any_loop_and_parser(changes: dict[str, Any]) -> None:
    async with Server(APP, options(workers=1, **changes)) as server:
        report = await reloaded(server, 3)
    assert_none_lost(report)
    assert report.refused == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_reloads_drop_no_request_over_tls(loop: Any, tmp_path: Path) -> None:
    import trustme

    certificate = trustme.CA().issue_cert("127.0.0.1")
    file = tmp_path / "certificate.pem"
    certificate.private_key_and_cert_chain_pem.write_to_path(str(file))
    async with Server(APP, options(workers=1, loop=loop, certfile=str(file))) as server:
        report = await reloaded(server, 3, tls=True)
    assert_none_lost(report)
    assert report.refused == 0


@pytest.mark.parametrize("workers", [0, 1, 2])
async def test_a_sigterm_drops_no_request(workers: int) -> None:
    async with program(workers) as (process, port):
        async with loading(port, clients=CLIENTS) as load:
            await asyncio.sleep(1.5)
            process.send_signal(signal.SIGTERM)
            _, complaint = await asyncio.to_thread(process.communicate)
            assert process.returncode == 0, complaint
        assert_none_lost(load.report)
        # They went on to knock when nobody was there any more: nothing was sent then.
        assert load.report.refused > 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_sighup_drops_no_request(workers: int) -> None:
    async with program(workers) as (process, port):
        async with loading(port, clients=CLIENTS) as load:
            for _ in range(4):
                await asyncio.sleep(0.7)
                process.send_signal(signal.SIGHUP)
            await asyncio.sleep(2)
        assert_none_lost(load.report)
        assert load.report.refused == 0
        assert len(load.report.workers) > workers
        process.send_signal(signal.SIGTERM)
        _, complaint = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, complaint


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_kill_loses_only_what_that_worker_held(workers: int) -> None:
    async with Server(APP, options(workers=workers)) as server:
        assert server.port is not None
        killed: dict[int, float] = {}
        async with loading(server.port, clients=CLIENTS) as load:
            for _ in range(3):
                await asyncio.sleep(1)
                victim = server.workers().unwrap()[0].pid
                killed[victim] = time.monotonic()
                os.kill(victim, signal.SIGKILL)
                await gone(server, victim)
                await healthy(server)
            await asyncio.sleep(0.5)
        health = (await server.health()).unwrap()
        assert health.restarts == 3
        report = load.report
        assert report.wrong == []
        # New connections waited for the next worker.
        assert report.refused == 0
        assert report.answered + len(report.lost) == report.sent
        # One at a time for each client, sent before its death was known, to that worker.
        assert len(report.lost) <= len(killed) * CLIENTS
        for lost in report.lost:
            assert lost.worker in killed or lost.worker is None
            assert any(died - 1 <= lost.noticed and lost.at <= died + 1 for died in killed.values())


async def test_scaling_up_and_down_drops_no_request() -> None:
    async with Server(APP, options(workers=1)) as server:
        assert server.port is not None
        async with loading(server.port, clients=CLIENTS) as load:
            for number in (3, 1, 2, 1):
                await asyncio.sleep(0.3)
                assert_success(await server.scale(number))
                assert len(server.workers().unwrap()) == number
        assert_none_lost(load.report)
        assert load.report.refused == 0
        assert len(load.report.workers) >= 4


@pytest.mark.parametrize("workers", [1, 2])
async def test_workers_that_grow_old_drop_no_request(workers: int) -> None:
    config = options(workers=workers, max_requests=700, max_requests_jitter=300, heartbeat=0.05)
    async with Server(APP, config) as server:
        assert server.port is not None
        async with loading(server.port, clients=CLIENTS) as load:
            await asyncio.sleep(5)
        assert_none_lost(load.report)
        assert load.report.refused == 0
        assert len(load.report.workers) > workers
        # Age is no failure.
        assert (await server.health()).unwrap().restarts == 0


async def test_a_blocked_worker_loses_only_what_it_held() -> None:
    async with Server(APP, options(workers=2, heartbeat=0.1, stuck_after=1.0)) as server:
        assert server.port is not None
        victim = server.workers().unwrap()[0].pid
        async with loading(server.port, clients=CLIENTS) as load:
            await asyncio.sleep(1)
            os.kill(victim, signal.SIGSTOP)
            await gone(server, victim)
            await healthy(server)
            await asyncio.sleep(0.5)
        report = load.report
        assert report.wrong == []
        assert len(report.lost) <= CLIENTS
        assert {lost.worker for lost in report.lost} <= {victim, None}
        assert report.answered + len(report.lost) == report.sent
