"""A request that is cancelled takes its connection with it, and nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qicore.http import HTTPClient, HTTPConfig
from qicore_testkit.fault_server import Exchange, FaultServer
from qicore_testkit.faults import answer, drip, hang
from qicore_testkit.http_servers import TLSServer


def pooled(engine: Any, **options: Any) -> HTTPClient:
    config = HTTPConfig(engine=engine, max_connections=2, pool_timeout=5, timeout=10, **options)
    return HTTPClient.create(config).unwrap()


async def cancel_all(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_twenty_rounds_of_cancelled_requests_leave_the_pool_sound(
    engine: Any, fault_server: FaultServer
) -> None:
    slow = fault_server.on("/slow", drip([b"x"] * 100, 0.02))
    quick = fault_server.on("/quick", answer(200, b"tea"))
    async with pooled(engine) as client:
        for number in range(20):
            tasks = [asyncio.create_task(client.get(slow)) for _ in range(6)]
            # From before the first step to well inside the body.
            for _ in range(number):
                await asyncio.sleep(0.001 if number > 10 else 0)
            await cancel_all(tasks)
        responses = await asyncio.gather(*(client.get(quick) for _ in range(6)))
        assert [response.unwrap().content for response in responses] == [b"tea"] * 6


async def test_a_cancellation_at_any_step_leaves_the_pool_sound(
    engine: Any, fault_server: FaultServer
) -> None:
    # Some steps are only there with a connection to be made, some only with one that is idle, some only with
    # both taken: each round cancels one step later than the last.
    quick = fault_server.on("/quick", answer(200, b"tea"))
    async with pooled(engine) as client:
        for steps in range(40):
            tasks = [asyncio.create_task(client.get(quick)) for _ in range(4)]
            for _ in range(steps):
                await asyncio.sleep(0)
            await cancel_all(tasks)
            assert (await client.get(quick)).unwrap().content == b"tea"


async def test_a_second_cancellation_during_the_first_is_no_harm(
    engine: Any, fault_server: FaultServer
) -> None:
    slow = fault_server.on("/slow", hang())
    quick = fault_server.on("/quick", answer(200, b"tea"))
    async with pooled(engine) as client:
        for _ in range(5):
            tasks = [asyncio.create_task(client.get(slow)) for _ in range(3)]
            await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        assert (await client.get(quick)).unwrap().content == b"tea"


async def test_a_cancelled_handshake_leaves_no_socket(engine: Any, fault_server: FaultServer) -> None:
    # The server accepts and says nothing, so that TLS never comes about.
    stuck: list[Exchange] = []

    def wait(exchange: Exchange) -> None:
        stuck.append(exchange)
        exchange.wait_for_close()
        exchange.close()

    fault_server.on_connect.extend([wait] * 6)
    async with pooled(engine, trust_env=False) as client:
        for _ in range(3):
            tasks = [
                asyncio.create_task(client.get(f"https://127.0.0.1:{fault_server.port}/")) for _ in range(2)
            ]
            await asyncio.sleep(0.05)
            await cancel_all(tasks)
        quick = fault_server.on("/quick", answer(200, b"tea"))
        assert (await client.get(quick)).unwrap().content == b"tea"
    for _ in range(200):
        if fault_server.open_connections() == 0:
            break
        await asyncio.sleep(0.01)
    assert fault_server.open_connections() == 0


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
async def test_cancelled_streams_of_http2_leave_the_others_alone(core: Any, tls_server: TLSServer) -> None:
    config = HTTPConfig(
        engine=core, http2=True, max_connections=1, verify=tls_server.certificates.authority, timeout=10
    )
    async with HTTPClient.create(config).unwrap() as client:
        (await client.get(f"{tls_server.url}/version")).unwrap()
        for steps in range(12):
            kept = [asyncio.create_task(client.get(f"{tls_server.url}/bytes/200000")) for _ in range(2)]
            doomed = [asyncio.create_task(client.get(f"{tls_server.url}/bytes/200000")) for _ in range(3)]
            for _ in range(steps * 3):
                await asyncio.sleep(0)
            await cancel_all(doomed)
            for result in await asyncio.gather(*kept):
                assert len(result.unwrap().content) == 200_000


async def test_a_cancelled_upload_leaves_the_pool_sound(engine: Any, fault_server: FaultServer) -> None:
    quick = fault_server.on("/quick", answer(200, b"tea"))

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0.001)

    async with pooled(engine) as client:
        for _ in range(4):
            task = asyncio.create_task(client.post(fault_server.url + "/sink", content=endless()))
            await asyncio.sleep(0.02)
            await cancel_all([task])
        assert (await client.get(quick)).unwrap().content == b"tea"


async def test_those_that_wait_are_served_in_their_turn(engine: Any, fault_server: FaultServer) -> None:
    quick = fault_server.on("/quick", answer(200, b"tea"))
    finished: list[int] = []
    async with pooled(engine) as client:

        async def many(number: int) -> None:
            for _ in range(30):
                (await client.get(quick)).unwrap()
            finished.append(number)

        async with asyncio.timeout(30):
            async with asyncio.TaskGroup() as group:
                for number in range(6):
                    group.create_task(many(number))
    assert sorted(finished) == list(range(6))
    assert fault_server.connections <= 2


@given(st.lists(st.integers(0, 30), min_size=2, max_size=8))
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("core", ["httpx", "httpx2", "aiohttp"])
def test_whatever_is_cancelled_when(core: Any, delays: list[int]) -> None:
    async def play() -> None:
        with FaultServer() as server:
            quick = server.on("/quick", answer(200, b"tea"))
            async with pooled(core) as client:
                tasks = [asyncio.create_task(client.get(quick)) for _ in delays]

                async def cancel(task: asyncio.Task[Any], steps: int) -> None:
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    task.cancel()

                await asyncio.gather(*map(cancel, tasks, delays))
                await asyncio.wait(tasks)
                assert (await client.get(quick)).unwrap().content == b"tea"

    asyncio.run(play())
