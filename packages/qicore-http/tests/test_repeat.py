"""Attempts: what is made again, what never is, and what becomes of them in the end."""

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Iterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import QiError
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient
from qicore.http.repeat import may_repeat
from qicore.resilience import CircuitBreakerConfig, RetryBudget, RetryConfig, RetryEvent
from qicore_testkit.fault_server import FaultServer, wait_until
from qicore_testkit.faults import (
    answer,
    answer_then_close,
    drop_after_reading,
    garbage,
    half_body,
    hang,
    redirect,
    reset,
)
from qicore_testkit.http_servers import closed_port

AT_ONCE = RetryConfig(wait_initial=0)
GOOD = answer(200, b"tea")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "TRACE", "HEAD"])
@pytest.mark.parametrize("fault", [answer(503), reset(), drop_after_reading()])
async def test_what_may_be_done_twice_is(
    ask: Any, method: str, fault: Any, fault_server: FaultServer
) -> None:
    url = fault_server.on("/", fault, GOOD)
    response = (await ask(method, url, retry=AT_ONCE)).unwrap()
    assert (response.status_code, response.extensions["attempts"]) == (200, 2)
    assert fault_server.count("/") == 2


@pytest.mark.parametrize(
    "fault", [garbage(), half_body(), half_body(abort=True), *map(answer, (408, 425, 429, 500, 502, 504))]
)
async def test_what_passes_is_waited_for(ask: Any, fault: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", fault, fault, GOOD)
    response = (await ask("GET", url, retry=AT_ONCE)).unwrap()
    assert (response.content, response.extensions["attempts"]) == (b"tea", 3)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 501, 505])
async def test_what_stays_is_not(ask: Any, status: int, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(status), GOOD)
    error = (await ask("GET", url, retry=AT_ONCE)).error
    assert (error.context["status"], "attempts" in error.context) == (status, False)
    assert fault_server.count("/") == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("fault", [answer(500), answer(503), reset(), drop_after_reading(), half_body()])
async def test_what_may_have_happened_is_not_done_twice(
    ask: Any, method: str, fault: Any, fault_server: FaultServer
) -> None:
    url = fault_server.on("/", fault, GOOD)
    error = (await ask(method, url, json={"order": 1}, retry=AT_ONCE)).error
    assert error.context.get("status", error.context.get("sent")) in (500, 503, True)
    assert fault_server.count("/") == 1


async def test_a_key_makes_it_safe(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", drop_after_reading(), answer(500), GOOD)
    headers = {"Idempotency-Key": "order-1"}
    response = (await ask("POST", url, json={"order": 1}, headers=headers, retry=AT_ONCE)).unwrap()
    assert response.extensions["attempts"] == 3
    assert {request.body for request in fault_server.requests} == {b'{"order":1}'}
    assert {request.header("idempotency-key") for request in fault_server.requests} == {"order-1"}


@pytest.mark.parametrize("status", [425, 429])
async def test_what_was_turned_away_did_not_happen(ask: Any, status: int, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(status), GOOD)
    assert (await ask("POST", url, content=b"order", retry=AT_ONCE)).unwrap().extensions["attempts"] == 2


async def test_what_never_left_may_go_again(ask: Any) -> None:
    events: list[RetryEvent] = []
    retry = RetryConfig(wait_initial=0, on_retry=events.append)
    with closed_port() as port:
        error = (await ask("POST", f"http://127.0.0.1:{port}/", content=b"order", retry=retry)).error
    assert (error.code, error.context["reason"], error.context["sent"]) == ("NETWORK_ERROR", "refused", False)
    assert error.context["attempts"] == 3
    assert [(event.attempt, event.error.code) for event in events] == [(1, error.code), (2, error.code)]


async def test_a_full_pool_is_waited_for(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(max_connections=1, pool_timeout=0.1, retry=AT_ONCE))
    slow = asyncio.create_task(ask("GET", fault_server.on("/hang", hang()), timeout=0.25))
    await asyncio.sleep(0.05)
    response = (await ask("POST", fault_server.on("/", GOOD), content=b"order")).unwrap()
    assert response.extensions["attempts"] > 1
    assert (await slow).is_failure


def test_that_some_attempt_arrived_is_not_forgotten() -> None:
    # The first attempt reaches a server that is gone at the second.
    with FaultServer() as server:
        url = server.on("/", reset())

        def gone(event: RetryEvent) -> None:
            server.__exit__(None, None, None)

        with SyncHTTPClient.create().unwrap() as client:
            error = client.get(url, retry=RetryConfig(attempts=2, wait_initial=0, on_retry=gone)).error
        server.__enter__()
    assert error is not None
    assert (error.context["reason"], error.context["sent"], error.context["attempts"]) == ("refused", True, 2)


async def test_a_body_that_is_gone_is_not_sent_again(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(503), GOOD)
    once = iter([b"a", b"b"])
    error = (await ask("PUT", url, content=once, retry=AT_ONCE)).error
    assert error.context["status"] == 503
    assert fault_server.count("/") == 1


async def test_a_body_that_is_still_there_is(ask: Any, fault_server: FaultServer, tmp_path: Path) -> None:
    file = tmp_path / "leaves.bin"
    file.write_bytes(b"leaves" * 50_000)

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"lea", b"ves"])

    with file.open("rb") as opened:
        opened.read(6)
        for content, body in (
            (file, b"leaves" * 50_000),
            (opened, b"leaves" * 49_999),
            (Pieces(), b"leaves"),
            ([b"l", b"eaves"], b"leaves"),
            ("leaves", b"leaves"),
        ):
            url = fault_server.on("/", answer(503), GOOD)
            assert (await ask("PUT", url, content=content, retry=AT_ONCE)).is_success
            assert [request.body for request in fault_server.requests[-2:]] == [body, body]


async def test_files_of_a_form_are_rewound(ask: Any, fault_server: FaultServer, tmp_path: Path) -> None:
    file = tmp_path / "leaves.bin"
    file.write_bytes(b"leaves")
    url = fault_server.on("/", answer(503), GOOD)
    with file.open("rb") as opened:
        assert (await ask("PUT", url, files={"file": opened}, retry=AT_ONCE)).is_success
    first, second = fault_server.requests
    assert b"leaves" in first.body
    assert first.body == second.body


async def test_a_body_that_fails_is_not_tried_again(ask: Any, fault_server: FaultServer) -> None:
    made: list[int] = []

    class Broken:
        def __iter__(self) -> Iterator[bytes]:
            made.append(1)
            yield b"lea"
            raise OSError("the disk is gone")

    error = (await ask("PUT", fault_server.on("/", GOOD), content=Broken(), retry=AT_ONCE)).error
    assert "the disk is gone" in str(error)
    assert len(made) == 1


async def test_the_time_of_the_call_covers_attempts_and_waits(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(503))
    retry = RetryConfig(attempts=1000, wait_initial=0.2, budget=RetryBudget(capacity=1e6))
    started = time.monotonic()
    error = (await ask("GET", url, retry=retry, timeout=0.8)).error
    made = fault_server.count("/")
    if error.code == "HTTP_ERROR":  # the last answer is told, rather than that time ran out
        assert (error.context["status"], error.context["attempts"]) == (503, made)
    else:  # unless it ran out in an attempt
        assert error.code == "TIMEOUT_ERROR"
        assert error.context["attempts"] in (made, made + 1)
    assert made > 1
    assert time.monotonic() - started < 3


async def test_no_wait_begins_that_ends_too_late(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(503, b"", {"Retry-After": "20"}))
    error = (await ask("GET", url, timeout=5)).error
    assert (error.context["retry_after"], fault_server.count("/")) == (20.0, 1)


async def test_an_attempt_that_hangs_has_the_rest_of_the_time(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(503), hang())
    error = (await ask("GET", url, retry=AT_ONCE, timeout=0.4)).error
    assert (error.code, error.context["attempts"]) == ("TIMEOUT_ERROR", 2)


async def test_retry_after_is_heeded(ask: Any, fault_server: FaultServer) -> None:
    events: list[RetryEvent] = []
    retry = RetryConfig(attempts=4, wait_initial=0, on_retry=events.append)
    soon = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1), usegmt=True)
    past = format_datetime(dt.datetime.now(dt.UTC) - dt.timedelta(days=1), usegmt=True)
    url = fault_server.on(
        "/",
        answer(503, b"", {"Retry-After": past}),
        answer(429, b"", {"Retry-After": soon}),
        answer(503, b"", {"Retry-After": "0"}),
        GOOD,
    )
    assert (await ask("GET", url, retry=retry)).is_success
    told: list[Any] = [event.error.context["retry_after"] for event in events]
    assert told == [event.wait for event in events]
    assert told[0] == told[2] == 0
    assert 0 <= told[1] <= 1


async def test_a_wait_that_is_too_long_is_told_instead(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(503, b"", {"Retry-After": "3600"}))
    error = (await ask("GET", url, timeout=None)).error
    assert (error.context["retry_after"], fault_server.count("/")) == (3600.0, 1)


async def test_nothing_is_repeated_that_the_caller_accepts(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(503))
    response = (await ask("GET", url, accept_status=[503], retry=AT_ONCE)).unwrap()
    assert (response.status_code, fault_server.count("/")) == (503, 1)


async def test_none_is_one_attempt(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(503))
    error = (await ask("GET", url, retry=None)).error
    assert ("attempts" in error.context, fault_server.count("/")) == (False, 1)
    ask.configure(HTTPConfig(retry=None))
    await ask("GET", url)
    assert fault_server.count("/") == 2


async def test_by_default_there_are_three(ask: Any, fault_server: FaultServer) -> None:
    error = (await ask("GET", fault_server.on("/", answer(503, b"ill")))).error
    assert (error.context["attempts"], error.context["body"]) == (3, "ill")
    assert fault_server.count("/") == 3


async def test_a_client_has_a_budget(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", reset())
    ask.configure(HTTPConfig(retry=RetryConfig(attempts=100, wait_initial=0)))
    error = (await ask("GET", url)).error
    assert error.context["retry_budget"] == "exhausted"
    assert error.context["attempts"] < 100
    before = fault_server.count("/")
    # Every call of the client takes from the same, whatever it brings along.
    error = (await ask("GET", url, retry=RetryConfig(attempts=100, wait_initial=0))).error
    assert fault_server.count("/") - before < 5


async def test_calls_that_succeed_pay_in(ask: Any, fault_server: FaultServer) -> None:
    budget = RetryBudget(ratio=0.5, minimum=0, capacity=4)
    while budget.withdraw():
        pass
    retry = RetryConfig(wait_initial=0, budget=budget)
    url = fault_server.on("/", GOOD)
    for _ in range(4):
        await ask("GET", url, retry=retry)
    assert budget.available == 2
    await ask("GET", fault_server.on("/ill", answer(503)), retry=retry)
    assert fault_server.count("/ill") == 3
    assert budget.available == 0.5


async def test_redirects_have_attempts_each(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/old", answer(503), redirect("/new"))
    fault_server.on("/new", answer(503), answer(503), GOOD)
    response = (await ask("GET", url, retry=AT_ONCE)).unwrap()
    assert [request.target for request in fault_server.requests] == ["/old", "/old", "/new", "/new", "/new"]
    assert response.extensions["attempts"] == 3


async def test_an_open_circuit_ends_the_attempts(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(503))
    async with HTTPClient.create(HTTPConfig(engine=engine, retry=AT_ONCE)).unwrap() as plain:
        client = plain.with_circuit_breaker(CircuitBreakerConfig(failure_threshold=2))
        error = (await client.get(url)).error
        assert error is not None
        assert (error.code, error.context["attempts"], fault_server.count("/")) == ("CIRCUIT_OPEN", 3, 2)
        again = (await client.get(url)).error
        assert again is not None
        assert (again.code, "attempts" in again.context) == ("CIRCUIT_OPEN", False)
    assert fault_server.count("/") == 2


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
def test_an_open_circuit_ends_blocking_attempts(core: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(503))
    with SyncHTTPClient.create(HTTPConfig(engine=core, retry=AT_ONCE)).unwrap() as plain:
        client = plain.with_circuit_breaker(CircuitBreakerConfig(failure_threshold=2))
        assert [getattr(client.get(url).error, "code", "") for _ in range(3)] == ["CIRCUIT_OPEN"] * 3
    assert fault_server.count("/") == 2


async def test_a_stream_is_opened_again(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", reset(), answer(503), half_body(b"half"))
    config = HTTPConfig(engine=engine, retry=AT_ONCE)
    async with HTTPClient.create(config).unwrap() as client, client.stream("GET", url) as opened:
        stream = opened.unwrap()
        assert stream.response.extensions["attempts"] == 3
        results = [result async for result in stream]
    # What has begun to arrive is not asked for again: the caller has seen some of it.
    assert results[-1].is_failure
    assert fault_server.count("/") == 3


async def test_a_stream_of_bytes_is_sent_once(engine: Any, fault_server: FaultServer) -> None:
    async def once() -> AsyncIterator[bytes]:
        yield b"a"

    url = fault_server.on("/", answer(503), GOOD)
    async with HTTPClient.create(HTTPConfig(engine=engine, retry=AT_ONCE)).unwrap() as client:
        assert (await client.put(url, content=once())).is_failure
    assert fault_server.count("/") == 1


async def test_cancelling_ends_a_wait(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(503, b"", {"Retry-After": "29"}))
    async with HTTPClient.create(HTTPConfig(engine=engine)).unwrap() as client:
        task = asyncio.create_task(client.get(url))
        assert await asyncio.to_thread(wait_until, lambda: fault_server.count("/") == 1)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert fault_server.count("/") == 1


async def test_a_predicate_chooses(ask: Any, fault_server: FaultServer) -> None:
    def only_502(error: QiError) -> bool:
        return error.context.get("status") == 502

    url = fault_server.on("/", answer(502), answer(503))
    error = (await ask("GET", url, retry=RetryConfig(wait_initial=0, retry_on=only_502))).error
    assert (error.context["status"], error.context["attempts"]) == (503, 2)


async def test_a_predicate_that_raises_is_told(ask: Any, fault_server: FaultServer) -> None:
    def broken(_error: QiError) -> bool:
        raise RuntimeError("no idea")

    error = (await ask("GET", fault_server.on("/", answer(502)), retry=RetryConfig(retry_on=broken))).error
    assert (str(error.category), "no idea" in str(error)) == ("UNKNOWN", True)


@pytest.mark.parametrize("retry", [RetryConfig(attempts=0), 3, True])
async def test_what_is_no_retry_is_refused(ask: Any, retry: Any) -> None:
    error = (await ask("GET", "http://127.0.0.1:1/", retry=retry)).error
    assert (error.code, "retry" in error.message) == ("INVALID_REQUEST", True)
    refused = HTTPConfig(retry=retry).check().error
    assert refused is not None
    assert (refused.code, "retry" in refused.message) == ("INVALID_HTTP_CONFIG", True)


async def test_a_stale_connection_needs_no_retry(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(retry=None))
    url = fault_server.on("/", answer_then_close(200, b"1"))
    for _ in range(5):
        assert (await ask("GET", url)).unwrap().content == b"1"


@given(
    st.sampled_from(["GET", "POST", "PATCH", "PUT", "LOCK"]),
    st.booleans(),
    st.sampled_from([True, False, None]),
    st.sampled_from([None, 408, 425, 429, 500, 503]),
)
def test_only_what_does_no_harm(method: str, keyed: bool, sent: bool | None, status: int | None) -> None:
    request = httpx.Request(
        method, "http://a/", content=b"x", headers={"Idempotency-Key": "1"} if keyed else {}
    )
    context = {"sent": sent, "status": status}
    error = QiError.network("X", "x", **{name: value for name, value in context.items() if value is not None})
    harmless = method in ("GET", "PUT") or keyed or sent is False or status in (425, 429)
    assert may_repeat(request, error) == harmless
    request.stream = httpx.Request("POST", "http://a/", content=iter([b"x"])).stream
    assert not may_repeat(request, error)
