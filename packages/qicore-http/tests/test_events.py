"""Streams of server-sent events from servers that break off, and from one that nobody here wrote."""

import asyncio
from typing import Any

import httpx
import pytest
from qicore.base import QiError
from qicore.http import EventOptions, HTTPClient, HTTPConfig, SyncHTTPClient
from qicore.http.events import Subscription
from qicore_testkit.fault_server import FaultServer, wait_until
from qicore_testkit.faults import answer, drop_after_reading, events, hang, redirect
from qicore_testkit.http_servers import TLSServer


def client_of(engine: Any, **more: Any) -> HTTPClient:
    return HTTPClient.create(HTTPConfig(engine=engine, **more)).unwrap()


async def collect(client: HTTPClient, url: str, **more: Any) -> tuple[list[str], QiError | None]:
    data: list[str] = []
    async with client.events(url, **more) as stream:
        async for result in stream:
            if result.data is None:
                return data, result.error
            data.append(result.data.data)
    return data, None


async def test_it_goes_on_where_it_broke_off(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on(
        "/events",
        events(b"retry: 1\nid: 1\ndata: one\n\n", b"id: 2\ndata: two\n\nid: 3\ndata: lost"),
        drop_after_reading(),
        answer(503, b"", {"Retry-After": "0"}),
        events(b": back again\n\nid: 3\ndata: three\n\n"),
        answer(204),
    )
    async with client_of(engine) as client:
        assert await collect(client, url) == (["one", "two", "three"], None)
    asked = fault_server.requests
    assert [request.header("last-event-id") for request in asked] == [None, "2", "2", "2", "3"]
    assert {request.header("accept") for request in asked} == {"text/event-stream"}


async def test_events_come_when_they_are_sent(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", events(b"data: now\n\n", stay=True))
    async with client_of(engine) as client, client.events(url) as stream:
        result = await anext(stream)
        assert result.unwrap().data == "now"
        assert fault_server.open_connections() == 1
    assert await asyncio.to_thread(wait_until, lambda: fault_server.open_connections() == 0)


async def test_leaving_early_ends_the_connection(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", events(b"data: 1\n\n" * 50, stay=True))
    async with client_of(engine, max_connections=1) as client:
        for _ in range(3):
            async with client.events(url) as stream:
                async for _ in stream:
                    break
        assert await asyncio.to_thread(wait_until, lambda: fault_server.open_connections() == 0)


async def test_a_cancelled_reader_ends_the_connection(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", events(b"data: 1\n\n", stay=True))
    async with client_of(engine) as client:
        task = asyncio.create_task(collect(client, url))
        assert await asyncio.to_thread(wait_until, lambda: fault_server.count("/") == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(wait_until, lambda: fault_server.open_connections() == 0)


async def test_it_gives_up_when_nothing_comes(engine: Any, fault_server: FaultServer) -> None:
    options = EventOptions(reconnects=2, wait=0.001)
    silent = fault_server.on("/silent", events())
    dead = fault_server.on("/dead", drop_after_reading())
    async with client_of(engine) as client:
        assert await collect(client, silent, event_options=options) == ([], None)
        data, error = await collect(client, dead, event_options=options)
        assert (data, error and error.code) == ([], "NETWORK_ERROR")
    assert (fault_server.count("/silent"), fault_server.count("/dead")) == (3, 3)


async def test_a_server_that_falls_silent_is_asked_anew(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", events(b"retry: 1\nid: 1\ndata: 1\n\n", stay=True), hang(), answer(204))
    async with client_of(engine, read_timeout=0.1) as client:
        assert await collect(client, url) == (["1"], None)
    assert fault_server.count("/") == 3


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (answer(404), "HTTP_ERROR"),
        (answer(401), "HTTP_ERROR"),
        (answer(200, b"<html>", {"Content-Type": "text/html"}), "PARSE_ERROR"),
        (answer(200, b"data: 1\n\n"), "PARSE_ERROR"),
        (events(b"data: " + b"x" * 2000), "RESPONSE_TOO_LARGE"),
    ],
)
async def test_what_is_no_stream_is_not_asked_again(
    engine: Any, behaviour: Any, code: str, fault_server: FaultServer
) -> None:
    url = fault_server.on("/", behaviour)
    async with client_of(engine) as client:
        data, error = await collect(client, url, event_options=EventOptions(max_event_size=1000, wait=0.001))
    assert (data, error and error.code) == ([], code)
    assert fault_server.count("/") == 1


async def test_a_post_is_not_repeated_by_itself(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", events(b"data: a\n\n", b"data: b\n\n"))
    async with client_of(engine) as client:
        assert await collect(client, url, method="POST", json={"q": 1}) == (["a", "b"], None)
    assert [request.body for request in fault_server.requests] == [b'{"q":1}']


async def test_redirects_and_own_headers(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/old", redirect("/new"))
    fault_server.on("/new", events(b"id: 8\ndata: 1\n\n"), answer(204))
    options = EventOptions(last_event_id="7", wait=0.001)
    async with client_of(engine) as client:
        await collect(client, url, event_options=options, headers={"X-Own": "1"})
    first = fault_server.requests[0]
    assert (first.header("x-own"), first.header("last-event-id")) == ("1", "7")


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
async def test_over_http2(core: Any, tls_server: TLSServer) -> None:
    config = HTTPConfig(engine=core, http2=True, verify=tls_server.certificates.authority)
    async with HTTPClient.create(config).unwrap() as client:
        data, error = await collect(
            client, f"{tls_server.url}/events", event_options=EventOptions(reconnects=0)
        )
    assert (data, error) == (["1", "2", "3"], None)


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
def test_the_blocking_client_has_them_too(core: Any, fault_server: FaultServer) -> None:
    url = fault_server.on(
        "/", events(b"retry: 1\nid: 1\ndata: one\n\n"), events(b"id: 2\ndata: two\n\n"), answer(204)
    )
    stay = fault_server.on("/stay", events(b"data: 1\n\n", stay=True))
    with SyncHTTPClient.create(HTTPConfig(engine=core)).unwrap() as client:
        with client.events(url) as stream:
            assert [result.unwrap().data for result in stream] == ["one", "two"]
        with client.events(stay) as stream:
            assert next(stream).unwrap().data == "1"
        assert wait_until(lambda: fault_server.open_connections() <= 1)
    assert [request.header("last-event-id") for request in fault_server.requests[:3]] == [None, "1", "2"]


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (answer(404), "HTTP_ERROR"),
        (drop_after_reading(), "NETWORK_ERROR"),
        (answer(200, b"<html>", {"Content-Type": "text/html"}), "PARSE_ERROR"),
        (events(b"data: " + b"x" * 2000), "RESPONSE_TOO_LARGE"),
        (events(), None),
    ],
)
@pytest.mark.parametrize("core", ["httpx", "httpx2"])
def test_how_they_end_blocking(core: Any, behaviour: Any, code: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", behaviour)
    options = EventOptions(reconnects=1, wait=0.001, max_event_size=1000)
    with SyncHTTPClient.create(HTTPConfig(engine=core)).unwrap() as client:
        with client.events(url, event_options=options) as stream:
            results = list(stream)
            assert [getattr(result.error, "code", "") for result in results] == ([code] if code else [])
            assert stream.close().is_success
        cut = fault_server.on("/cut", events(b"data: 1\n\n", b"data: cut"), answer(204))
        with client.events(cut, event_options=options) as stream:
            assert [result.unwrap().data for result in stream] == ["1"]


async def test_it_closes_more_than_once(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", events(b"data: 1\n\n", stay=True))
    async with client_of(engine) as client, client.events(url) as stream:
        assert (await anext(stream)).is_success
        assert (await stream.close()).is_success
        assert (await stream.close()).is_success
        assert [result async for result in stream] == []


def test_reconnections_back_off_and_are_spread() -> None:
    ill = QiError.network("NETWORK_ERROR", "reset")
    subscription = Subscription(EventOptions(reconnects=5, wait=1.0, wait_max=9.0), lambda: 0.0)
    assert [subscription.wait(ill) for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 9.0, None]
    list(subscription.feed(b"retry: 500\n: alive\n"))
    assert subscription.wait(None) == 0.5, "whatever arrives shows that it is alive"
    assert subscription.wait(ill.with_context({"retry_after": 3})) == 3.0
    spread = Subscription(EventOptions(wait=1.0), lambda: 1.0)
    assert spread.wait(None) == 1.25
    assert Subscription(EventOptions()).wait(QiError.validation("X", "x")) is None


def test_an_id_without_data_counts() -> None:
    subscription = Subscription(EventOptions())
    assert list(subscription.feed(b"id: 5\n\n")) == []
    assert subscription.headers()["Last-Event-ID"] == "5"
    response = httpx.Response(200, headers={"content-type": "Text/Event-Stream; charset=utf-8"})
    assert subscription.refuse(response) is None
