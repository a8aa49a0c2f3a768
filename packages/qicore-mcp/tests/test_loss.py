"""A server that is killed: what is in flight hears of it at once, and the next call connects anew."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from mcp_types import CallToolResult
from qicore.base import Result
from qicore.base.testing import assert_failure, assert_success
from qicore.mcp import MCPClient, MCPConfig
from qicore.resilience import CircuitBreakerConfig, RetryConfig
from qicore_testkit.fault_server import wait_until
from qicore_testkit.leftovers import new_children

from .conftest import SCRIPT, HTTPServer, until

# Starting an interpreter is what takes the time.
ROUNDS = {"auto": 20, "legacy": 5}
PATIENT = MCPConfig(timeout=60.0, reconnect=RetryConfig(attempts=50, wait_initial=0.05, wait_max=0.2))


Calls = list[asyncio.Task[Result[CallToolResult]]]


def cancellations() -> int:
    """How often somebody wanted to cancel the task that runs now."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


async def pid_of(client: MCPClient) -> int:
    content = assert_success(await client.call_tool("pid")).structured_content
    assert content is not None
    return int(content["result"])


async def in_flight(client: MCPClient, count: int = 3) -> Calls:
    """Begin some calls that take long, and wait until they are at the server."""
    tasks = [asyncio.create_task(client.call_tool("sleep", {"seconds": 3600})) for _ in range(count)]
    await asyncio.sleep(0.1)
    assert_success(await client.call_tool("add", {"a": 1}))
    assert not any(task.done() for task in tasks)
    return tasks


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_child_that_is_killed_20_times(child: StdioServerParameters, mode: str) -> None:
    children = new_children()
    config = MCPConfig(timeout=60.0, mode=mode)
    known: set[int] = set()
    async with MCPClient.create(child, config).unwrap() as client:
        for number in range(ROUNDS[mode]):
            pid = await pid_of(client)
            known.add(pid)
            tasks = await in_flight(client) if number % 2 else []
            os.kill(pid, signal.SIGKILL)
            for result in await asyncio.gather(*tasks):
                assert_failure(result, "MCP_DISCONNECTED")
            if not tasks:
                await until(client, connected=False)  # a loss is noticed while nobody calls
            assert cancellations() == 0
    assert len(known) == ROUNDS[mode], "each time a new child answered"
    assert not children()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_server_over_http_that_is_killed_20_times(http_server: HTTPServer, mode: str) -> None:
    config = MCPConfig(timeout=60.0, mode=mode, reconnect=PATIENT.reconnect)
    known: set[int] = set()
    async with MCPClient.create(http_server.url, config).unwrap() as client:
        for number in range(ROUNDS[mode]):
            pid = await pid_after_loss(client)
            known.add(pid)
            tasks = await in_flight(client) if number % 2 else []
            http_server.kill()
            for result in await asyncio.gather(*tasks):
                assert_failure(result, "MCP_DISCONNECTED")
            http_server.start()
            assert cancellations() == 0
    assert len(known) == ROUNDS[mode]


async def pid_after_loss(client: MCPClient) -> int:
    """The first call after a loss that nobody could notice may hear of it; not the second."""
    result = await client.call_tool("pid")
    if result.error is not None:
        assert_failure(result, "MCP_DISCONNECTED")
    return await pid_of(client)


async def test_while_the_server_is_away_calls_fail_and_then_they_work(http_server: HTTPServer) -> None:
    quick = MCPConfig(reconnect=RetryConfig(attempts=2, wait_initial=0.01), mode="legacy")
    async with MCPClient.create(http_server.url, quick).unwrap() as client:
        await pid_of(client)
        http_server.kill()
        assert_failure(await client.call_tool("pid"), "MCP_DISCONNECTED")
        for _ in range(3):
            assert_failure(await client.call_tool("pid"), "MCP_CONNECT_FAILED")
        http_server.start()
        await pid_of(client)


async def test_many_callers_reconnect_once(child: StdioServerParameters) -> None:
    children = new_children()
    async with MCPClient.create(child, PATIENT).unwrap() as client:
        os.kill(await pid_of(client), signal.SIGKILL)
        await until(client, connected=False)
        assert len(set(await asyncio.gather(*(pid_of(client) for _ in range(20))))) == 1
        assert len(children()) == 1


async def test_a_receiver_hears_of_the_loss(child: StdioServerParameters) -> None:
    async with MCPClient.create(child, PATIENT).unwrap() as client:
        pid = await pid_of(client)
        receiving = asyncio.create_task(client.receive())
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        assert_failure(await receiving, "MCP_DISCONNECTED")
        receiving = asyncio.create_task(client.receive())
        await until(client, connected=True)
        assert await pid_of(client) != pid
        receiving.cancel()


MUTE = StdioServerParameters(command=sys.executable, args=["-c", "import time; time.sleep(3600)"])


async def test_disconnecting_ends_connecting_for_good() -> None:
    children = new_children()
    client = MCPClient.create(MUTE, PATIENT).unwrap()
    calls = [asyncio.create_task(client.call_tool("pid")) for _ in range(3)]
    assert await asyncio.to_thread(wait_until, lambda: bool(children()))
    assert_success(await client.disconnect())
    for result in await asyncio.gather(*calls):
        assert_failure(result, "MCP_DISCONNECTED")
    assert not children()
    assert_failure(await client.call_tool("pid"), "MCP_DISCONNECTED")
    assert not children()


async def test_callers_share_an_attempt_that_fails(tmp_path: Path) -> None:
    log = tmp_path / "starts.txt"
    program = f"open({str(log)!r}, 'a').write('started\\n'); raise SystemExit(3)"
    dying = StdioServerParameters(command=sys.executable, args=["-c", program])
    config = MCPConfig(reconnect=RetryConfig(attempts=2, wait_initial=0.01))
    async with MCPClient.create(dying, config).unwrap() as client:
        for result in await asyncio.gather(*(client.call_tool("pid") for _ in range(10))):
            assert_failure(result, "MCP_CONNECT_FAILED")
    assert log.read_text().count("started") == 2


async def test_a_breaker_spares_a_server_that_can_not_be_started(tmp_path: Path) -> None:
    log, works = tmp_path / "starts.txt", tmp_path / "works"
    program = f"""
open({str(log)!r}, 'a').write('started\\n')
import pathlib, runpy, sys
if not pathlib.Path({str(works)!r}).exists():
    raise SystemExit(3)
sys.argv = [{SCRIPT!r}]
runpy.run_path({SCRIPT!r}, run_name='__main__')
"""
    target = StdioServerParameters(command=sys.executable, args=["-c", program])
    once = MCPConfig(reconnect=RetryConfig(attempts=1))
    long = CircuitBreakerConfig(failure_threshold=2, monitoring_period=600.0, reset_timeout=600.0)
    short = CircuitBreakerConfig(failure_threshold=1, monitoring_period=600.0, reset_timeout=0.01)
    async with MCPClient.create(target, once).unwrap() as client:
        guarded = client.with_circuit_breaker(long)
        for _ in range(2):
            assert_failure(await guarded.call_tool("pid"), "MCP_CONNECT_FAILED")
        for _ in range(5):
            assert_failure(await guarded.call_tool("pid"), "CIRCUIT_OPEN")
        assert log.read_text().count("started") == 2
        guarded = client.with_circuit_breaker(short)
        assert_failure(await guarded.call_tool("pid"), "MCP_CONNECT_FAILED")
        works.touch()
        while (error := (await guarded.call_tool("pid")).error) is not None:
            assert error.code == "CIRCUIT_OPEN"
        assert log.read_text().count("started") == 4


async def test_a_breaker_does_not_count_that_the_client_was_closed(child: StdioServerParameters) -> None:
    breaking = CircuitBreakerConfig(failure_threshold=2, monitoring_period=600.0, reset_timeout=600.0)
    async with MCPClient.create(child).unwrap().with_circuit_breaker(breaking) as client:
        assert_success(await client.disconnect())
        for _ in range(5):
            assert_failure(await client.call_tool("pid"), "MCP_DISCONNECTED")
        assert_success(await client.connect())
        await pid_of(client)


async def test_one_who_can_not_wait_leaves_the_attempt_to_the_others(child: StdioServerParameters) -> None:
    children = new_children()
    async with MCPClient.create(child, PATIENT).unwrap() as client:
        hasty = asyncio.create_task(client.call_tool("pid"))
        assert await asyncio.to_thread(wait_until, lambda: bool(children()))
        patient = asyncio.create_task(pid_of(client))
        await asyncio.sleep(0)
        hasty.cancel()
        assert {await patient} == children()
        with pytest.raises(asyncio.CancelledError):
            await hasty


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_disconnecting_from_a_server_that_hangs(http_server: HTTPServer, mode: str) -> None:
    client = MCPClient.create(http_server.url, MCPConfig(mode=mode)).unwrap()
    await pid_of(client)
    process = http_server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    async with asyncio.timeout(120):  # for ever, if it waited for the server
        assert_success(await client.disconnect())


async def test_disconnecting_ends_what_is_in_flight(child: StdioServerParameters) -> None:
    children = new_children()
    client = MCPClient.create(child, PATIENT).unwrap()
    tasks = await in_flight(client)
    assert_success(await client.disconnect())
    for result in await asyncio.gather(*tasks):
        assert_failure(result, "MCP_DISCONNECTED")
    assert not children()


STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("started", file=sys.stderr, flush=True)
while True:
    time.sleep(1)
"""


async def test_a_child_that_will_not_end_is_killed(tmp_path: Path) -> None:
    children = new_children()
    log = tmp_path / "log.txt"
    with log.open("w") as stderr:
        stubborn = StdioServerParameters(command=sys.executable, args=["-c", STUBBORN])
        options = MCPConfig(connect_timeout=0.5, stderr=stderr, reconnect=RetryConfig(attempts=1))
        client = MCPClient.create(stubborn, options).unwrap()
        assert_failure(await client.connect(), "MCP_TIMEOUT")
        assert_success(await client.disconnect())
    assert log.read_text() == "started\n"
    assert not children()


async def test_a_cancelled_connect_leaves_no_child() -> None:
    children = new_children()
    client = MCPClient.create(MUTE).unwrap()
    task = asyncio.create_task(client.connect())
    assert await asyncio.to_thread(wait_until, lambda: bool(children()))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_success(await client.close())
    assert not children()
