"""The total time of a call covers everything."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from qicore.base import ErrorCategory
from qicore.http import HTTPConfig
from qicore_testkit.fault_server import FaultServer
from qicore_testkit.faults import answer, drip, hang, redirect, slow_headers


async def late(ask: Any, method: str, url: str, **options: Any) -> Any:
    error = (await ask(method, url, retry=None, **options)).error
    assert error is not None
    assert (error.code, error.get_category()) == ("TIMEOUT_ERROR", ErrorCategory.TIMEOUT)
    return error


async def test_a_dripping_body(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/drip", drip([b"x"] * 60, 0.05))
    started = time.monotonic()
    error = await late(ask, "GET", url, timeout=0.5)
    assert 0.4 < time.monotonic() - started < 2.5, "3 s is what the whole body takes"
    assert {**error.context, "url": ""} == {
        "url": "",
        "method": "GET",
        "reason": "deadline",
        "timeout": 0.5,
        "sent": True,
    }


async def test_dripping_headers(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/slow", slow_headers(0.05, 100))
    error = await late(ask, "GET", url, timeout=0.2)
    assert error.context["sent"] is True


async def test_silence(ask: Any, fault_server: FaultServer) -> None:
    await late(ask, "GET", fault_server.on("/hang", hang()), timeout=0.1)


async def test_redirects_share_the_time(ask: Any, fault_server: FaultServer) -> None:
    def slowly(exchange: Any) -> None:
        exchange.sleep(0.08)
        redirect("/again")(exchange)

    fault_server.on("/again", slowly)
    await late(ask, "GET", fault_server.url + "/again", timeout=0.2)
    assert 1 < fault_server.count("/again") < 5


async def test_waiting_for_a_connection(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(max_connections=1, timeout=0.2))
    url = fault_server.on("/hang", hang())
    first = asyncio.create_task(ask("GET", url, timeout=0.4))
    await asyncio.sleep(0.05)
    error = await late(ask, "GET", fault_server.on("/quick", answer(200)))
    assert error.context["sent"] is False
    assert fault_server.count("/quick") == 0
    assert (await first).error.code == "TIMEOUT_ERROR"


async def test_a_full_pool_has_a_time_of_its_own(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(max_connections=1, pool_timeout=0.1, timeout=5))
    first = asyncio.create_task(ask("GET", fault_server.on("/hang", hang()), timeout=0.3))
    await asyncio.sleep(0.05)
    error = await late(ask, "GET", fault_server.on("/quick", answer(200)))
    assert (error.context["reason"], error.context["sent"]) == ("pool", False)
    await first


async def test_a_silent_server_has_a_time_of_its_own(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(read_timeout=0.15, timeout=5))
    error = await late(ask, "GET", fault_server.on("/hang", hang()))
    assert (error.context["reason"], error.context["sent"]) == ("read", True)
    # What comes slowly, but comes, is in time.
    slow = fault_server.on("/drip", drip([b"x"] * 5, 0.05))
    assert (await ask("GET", slow)).unwrap().content == b"xxxxx"


async def test_a_server_that_takes_nothing(ask: Any, fault_server: FaultServer) -> None:
    def deaf(exchange: Any) -> None:
        exchange.sleep(5)
        exchange.close()

    fault_server.on_connect.append(deaf)
    error = await late(ask, "POST", fault_server.url, content=b"x" * 30_000_000, timeout=0.2)
    assert error.context["sent"] is True


async def test_a_handshake_that_never_ends(ask: Any, fault_server: FaultServer) -> None:
    fault_server.on_connect.append(lambda exchange: exchange.wait_for_close())
    error = await late(ask, "GET", f"https://127.0.0.1:{fault_server.port}/", timeout=0.15)
    assert error.context["sent"] is False


async def test_connecting_has_a_time_of_its_own(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(connect_timeout=0.1, timeout=5))
    fault_server.on_connect.append(lambda exchange: exchange.wait_for_close())
    error = await late(ask, "GET", f"https://127.0.0.1:{fault_server.port}/")
    assert (error.context["reason"], error.context["sent"]) == ("connect", False)


async def test_no_limit_at_all(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(timeout=None, read_timeout=None, connect_timeout=None))
    url = fault_server.on("/drip", drip([b"x"] * 3, 0.05))
    assert (await ask("GET", url)).unwrap().content == b"xxx"


async def test_credentials_that_take_time_count(engine: Any, fault_server: FaultServer) -> None:
    from qicore.http import HTTPClient

    class Slow(httpx.Auth):
        async def async_auth_flow(
            self, request: httpx.Request
        ) -> AsyncGenerator[httpx.Request, httpx.Response]:
            await asyncio.sleep(5)
            yield request

    async with HTTPClient.create(HTTPConfig(engine=engine, timeout=0.2)).unwrap() as client:
        error = (await client.get(fault_server.url, auth=Slow())).error
        assert error is not None
        assert (error.code, error.context["sent"]) == ("TIMEOUT_ERROR", False)
    assert fault_server.requests == []


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), True, "1"])
async def test_a_time_that_can_not_be_is_refused(ask: Any, seconds: Any) -> None:
    error = (await ask("GET", "http://127.0.0.1:1/", timeout=seconds)).error
    assert (error.code, error.get_category()) == ("INVALID_REQUEST", ErrorCategory.VALIDATION)
