"""Response caching through the clients, against servers that count what reaches them."""

import asyncio
import gzip
import logging
import threading
import time
from collections.abc import Awaitable
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.http import HTTPClient, HTTPConfig, ResponseCache, SyncHTTPClient
from qicore.resilience import CircuitBreakerConfig, RetryConfig
from qicore_testkit.fault_server import Exchange, FaultServer, wait_until
from qicore_testkit.faults import answer, drop_after_reading, hang, redirect, reset

KEPT = {"Cache-Control": "max-age=60"}
STALE = {"Cache-Control": "max-age=0, stale-while-revalidate=600", "ETag": '"v"'}


class MemoryStore:
    """A store that answers at once, as a memory cache does."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.ttls: list[float | None] = []

    def get(self, key: str) -> Result[Any]:
        if key not in self.values:
            return Failure(QiError.cache("KEY_NOT_FOUND", "no such key"))
        return Success(self.values[key])

    def set(self, key: str, value: bytes, ttl: float | None = None) -> Result[None]:
        self.values[key] = value
        self.ttls.append(ttl)
        return Success(None)

    def remove(self, key: str) -> Result[bool]:
        return Success(self.values.pop(key, None) is not None)


class RemoteStore(MemoryStore):
    """The same, after a round of the event loop, as one on a network answers."""

    async def _later(self, answer: Result[Any]) -> Result[Any]:
        await asyncio.sleep(0)
        return answer

    def get(self, key: str) -> Any:
        return self._later(super().get(key))

    def set(self, key: str, value: bytes, ttl: float | None = None) -> Any:
        return self._later(super().set(key, value, ttl))

    def remove(self, key: str) -> Any:
        return self._later(super().remove(key))


def cached(engine: Any, store: Any, **more: Any) -> HTTPClient:
    return HTTPClient.create(HTTPConfig(engine=engine, cache=store, **more)).unwrap()


@pytest.mark.parametrize("make", [MemoryStore, RemoteStore])
async def test_the_second_request_never_leaves(engine: Any, make: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/tea", answer(200, b"leaves", {**KEPT, "Content-Type": "text/plain"}))
    async with cached(engine, make()) as client:
        first = (await client.get(url)).unwrap()
        second = (await client.get(url, params={})).unwrap()
    assert (first.content, second.content) == (b"leaves", b"leaves")
    assert second.headers["content-type"] == "text/plain"
    assert (second.headers["age"], second.extensions["cache"]) == ("0", "hit")
    assert "cache" not in first.extensions
    assert fault_server.count("/tea") == 1


async def test_a_compressed_body_comes_back_decompressed(engine: Any, fault_server: FaultServer) -> None:
    packed = gzip.compress(b"leaves" * 1000)
    url = fault_server.on("/", answer(200, packed, {**KEPT, "Content-Encoding": "gzip"}))
    async with cached(engine, MemoryStore()) as client:
        for _ in range(3):
            assert (await client.get(url)).unwrap().content == b"leaves" * 1000
    assert fault_server.count("/") == 1


async def test_validation_saves_the_body(engine: Any, fault_server: FaultServer) -> None:
    fields = {"ETag": '"v1"', "Cache-Control": "no-cache"}
    url = fault_server.on(
        "/", answer(200, b"leaves", fields), answer(304, b"", fields), answer(200, b"new", fields)
    )
    async with cached(engine, RemoteStore()) as client:
        assert (await client.get(url)).unwrap().content == b"leaves"
        second = (await client.get(url)).unwrap()
        assert (second.status_code, second.content, second.extensions["cache"]) == (
            200,
            b"leaves",
            "revalidated",
        )
        third = (await client.get(url)).unwrap()
        assert third.content == b"new"
        assert "if-none-match" not in third.request.headers
    assert [request.header("if-none-match") for request in fault_server.requests] == [None, '"v1"', '"v1"']


async def test_a_change_makes_the_stored_untrue(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"1", KEPT))
    async with cached(engine, RemoteStore()) as client:
        await client.get(url)
        await client.post(url, content=b"x")
        await client.get(url)
    assert [request.method for request in fault_server.requests] == ["GET", "POST", "GET"]


async def test_each_hop_of_a_redirect_has_its_own_entry(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/old", redirect("/new", 301, list(KEPT.items())))
    fault_server.on("/new", answer(200, b"here", KEPT))
    async with cached(engine, MemoryStore()) as client:
        for _ in range(3):
            response = (await client.get(url)).unwrap()
            assert (response.content, len(response.history)) == (b"here", 1)
    assert len(fault_server.requests) == 2


async def test_credentials_keep_entries_apart(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"ann's", KEPT), answer(200, b"bob's", KEPT))
    store = MemoryStore()
    async with cached(engine, store) as client:
        for _ in range(2):
            assert (await client.get(url, auth=("ann", "pw"))).unwrap().content == b"ann's"
            assert (await client.get(url, auth=("bob", "pw"))).unwrap().content == b"bob's"
    assert len(fault_server.requests) == 2


async def test_stale_while_it_is_refreshed(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"old", STALE), answer(200, b"new", {**STALE, "ETag": '"w"'}))
    async with cached(engine, RemoteStore()) as client:
        await client.get(url)
        # One refresh, however many ask.
        many = await asyncio.gather(*(client.get(url) for _ in range(5)))
        assert {result.unwrap().content for result in many} == {b"old"}
        assert {result.unwrap().extensions["cache"] for result in many} == {"stale"}
        assert await asyncio.to_thread(wait_until, lambda: fault_server.count("/") == 2)
        for _ in range(200):
            await asyncio.sleep(0.01)
            if (await client.get(url)).unwrap().content == b"new":
                break
        else:
            pytest.fail("it was never refreshed")


async def test_closing_ends_what_is_refreshed(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"old", STALE), hang())
    async with cached(engine, RemoteStore()) as client:
        await client.get(url)
        assert (await client.get(url)).unwrap().content == b"old"
        assert await asyncio.to_thread(wait_until, lambda: fault_server.count("/") == 2)
    assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("fault", [drop_after_reading(), answer(503, b"ill")])
async def test_stale_stands_in_for_a_server_that_fails(
    engine: Any, fault: Any, fault_server: FaultServer
) -> None:
    fields = {"Cache-Control": "max-age=0, stale-if-error=600", "ETag": '"v"'}
    url = fault_server.on("/", answer(200, b"good", fields), fault)
    async with cached(engine, MemoryStore()) as client:
        await client.get(url)
        response = (await client.get(url)).unwrap()
        assert (response.content, response.extensions["cache"]) == (b"good", "stale")
        assert (await client.get(url + "?other")).is_failure


async def test_only_if_cached_never_asks_the_server(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"1", KEPT))
    only = {"Cache-Control": "only-if-cached"}
    async with cached(engine, MemoryStore()) as client:
        error = (await client.get(url, headers=only)).error
        assert error is not None
        assert error.context["status"] == 504
        assert fault_server.connections == 0
        await client.get(url)
        assert (await client.get(url, headers=only)).unwrap().content == b"1"


class BadStore:
    """Fails in the way it is told."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    async def _fail(self) -> Result[Any]:
        if self.fault == "raises":
            raise ConnectionError("redis://ann:s3cr3t@store is down")
        if self.fault == "hangs":
            await asyncio.Event().wait()
        return Failure(QiError.cache("CACHE_LOAD_FAILED", "redis://ann:s3cr3t@store is down"))

    def get(self, key: str, /) -> Awaitable[Result[Any]]:
        return self._fail()

    def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Awaitable[Result[Any]]:
        return self._fail()

    def remove(self, key: str, /) -> Awaitable[Result[Any]]:
        return self._fail()


@pytest.mark.parametrize("fault", ["raises", "hangs", "fails"])
async def test_a_store_that_fails_fails_no_request(
    engine: Any, fault: str, fault_server: FaultServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = fault_server.on("/", answer(200, b"1", KEPT))
    options = ResponseCache(store=BadStore(fault), patience=0.05)
    with caplog.at_level(logging.WARNING, "qicore.http"):
        async with cached(engine, options) as client:
            assert (await client.get(url)).unwrap().content == b"1"
            assert (await client.post(url)).unwrap().content == b"1"
    assert len(caplog.records) == 4
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize("value", [b"", b"QHC1", b"\x80\x04garbage", "text", None, 5, {"a": 1}])
async def test_a_foreign_value_is_a_miss(engine: Any, value: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"1", KEPT))
    store = MemoryStore()
    async with cached(engine, store) as client:
        await client.get(url)
        (key,) = store.values
        good = store.values[key]
        for damaged in (value, good[:-1], good + b"x"):
            store.values[key] = damaged
            assert (await client.get(url)).unwrap().content == b"1"
            assert (await client.get(url)).unwrap().extensions["cache"] == "hit"
    assert fault_server.count("/") == 4


async def test_what_is_too_large_is_not_kept(engine: Any, fault_server: FaultServer) -> None:
    store = MemoryStore()
    async with cached(engine, ResponseCache(store=store, max_size=1000)) as client:
        for size, kept in ((1000, 1), (1001, 1), (999, 2)):
            url = fault_server.on(f"/{size}", answer(200, b"x" * size, KEPT))
            await client.get(url)
            assert len(store.values) == kept
    assert store.ttls == [pytest.approx(60.0, abs=5), pytest.approx(60.0, abs=5)]


async def test_httpbin_agrees(engine: Any, httpbin_url: str) -> None:
    async with cached(engine, RemoteStore(), base_url=httpbin_url) as client:
        (await client.get("/cache/60")).unwrap()
        assert (await client.get("/cache/60")).unwrap().extensions["cache"] == "hit"
        first = (await client.get("/cache")).unwrap()
        again = (await client.get("/cache", headers={"Cache-Control": "no-cache"})).unwrap()
        assert (again.status_code, again.extensions["cache"]) == (200, "revalidated")
        assert again.json() == first.json()
        (await client.get("/etag/v1")).unwrap()
        assert (await client.get("/etag/v1")).unwrap().extensions["cache"] == "revalidated"


@pytest.mark.parametrize("core", ["httpx", "httpx2"])
def test_the_blocking_client_caches_too(core: Any, fault_server: FaultServer) -> None:
    fields = {"ETag": '"v"', "Cache-Control": "max-age=0, stale-while-revalidate=60, stale-if-error=60"}
    url = fault_server.on("/", answer(200, b"1", fields), answer(304, b"", fields), answer(503))
    kept = fault_server.on("/kept", answer(200, b"2", KEPT))
    config = HTTPConfig(engine=core, cache=MemoryStore())
    with SyncHTTPClient.create(config).unwrap() as client:
        assert client.get(url).unwrap().content == b"1"
        assert client.get(url).unwrap().extensions["cache"] == "revalidated"
        assert client.get(url).unwrap().extensions["cache"] == "stale"
        client.get(kept)
        assert client.get(kept).unwrap().extensions["cache"] == "hit"
        client.put(kept, content=b"x")
        client.get(kept)
    assert fault_server.count("/kept") == 3


class Coroutines(BadStore):
    async def get(self, key: str, /) -> Result[Any]:
        return await self._fail()


def test_a_blocking_client_refuses_a_store_that_must_be_awaited(fault_server: FaultServer) -> None:
    error = SyncHTTPClient.create(HTTPConfig(cache=Coroutines("fails"))).error
    assert error is not None
    assert error.code == "INVALID_HTTP_CONFIG"
    # One whose nature shows only when it is used is left out.
    url = fault_server.on("/", answer(200, b"1", KEPT))
    with SyncHTTPClient.create(HTTPConfig(cache=RemoteStore())).unwrap() as client:
        assert client.get(url).unwrap().content == b"1"


@pytest.mark.parametrize("kind", ["asynchronous", "blocking"])
async def test_a_hit_needs_no_closed_circuit(kind: str, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"tea", KEPT))
    stale = {"Cache-Control": "max-age=0, stale-if-error=600"}
    old = fault_server.on("/old", answer(200, b"old", stale), reset())
    ill = fault_server.on("/ill", reset())
    config = HTTPConfig(cache=MemoryStore(), retry=None)
    breaker = CircuitBreakerConfig(failure_threshold=1)

    def check(first: Any, hit: Any, stood_in: Any, miss: Any) -> None:
        assert (first.error.code, miss.error.code) == ("NETWORK_ERROR", "CIRCUIT_OPEN")
        assert (hit.unwrap().content, hit.unwrap().extensions["cache"]) == (b"tea", "hit")
        # A stale one may stand in for a server that nobody may ask.
        assert (stood_in.unwrap().content, stood_in.unwrap().extensions["cache"]) == (b"old", "stale")

    if kind == "blocking":
        with SyncHTTPClient.create(config).unwrap() as one:
            blocking = one.with_circuit_breaker(breaker)
            blocking.get(url).unwrap()
            blocking.get(old).unwrap()
            check(blocking.get(ill), blocking.get(url), blocking.get(old), blocking.get(url + "?other"))
    else:
        async with HTTPClient.create(config).unwrap() as plain:
            client = plain.with_circuit_breaker(breaker)
            (await client.get(url)).unwrap()
            (await client.get(old)).unwrap()
            check(*[await client.get(one) for one in (ill, url, old, url + "?other")])
    assert (fault_server.count("/"), fault_server.count("/old")) == (1, 1)


async def test_attempts_come_before_what_is_stale(engine: Any, fault_server: FaultServer) -> None:
    fields = {"Cache-Control": "max-age=0, stale-if-error=600"}
    url = fault_server.on("/", answer(200, b"old", fields), answer(503), reset(), answer(200, b"new", fields))
    async with cached(engine, MemoryStore(), retry=RetryConfig(wait_initial=0)) as client:
        (await client.get(url)).unwrap()
        assert (await client.get(url)).unwrap().content == b"new"
        fault_server.on("/", answer(503))
        response = (await client.get(url)).unwrap()
    assert (response.content, response.extensions["cache"]) == (b"new", "stale")
    assert fault_server.count("/") == 7


async def test_answers_vary(engine: Any, fault_server: FaultServer) -> None:
    fields = {**KEPT, "Vary": "Accept-Language"}
    url = fault_server.on("/", answer(200, b"tea", fields), answer(200, b"Tee", fields))
    anything = fault_server.on("/any", answer(200, b"x", {**KEPT, "Vary": "*"}))
    async with cached(engine, MemoryStore()) as client:
        for _ in range(2):
            for language, body in (("en", b"tea"), ("de", b"Tee")):
                response = (await client.get(url, headers={"Accept-Language": language})).unwrap()
                assert response.content == body
        for _ in range(2):
            (await client.get(anything)).unwrap()
    assert (fault_server.count("/"), fault_server.count("/any")) == (2, 2)


async def test_a_shared_store_keeps_what_is_private_out(engine: Any, fault_server: FaultServer) -> None:
    private = {"Cache-Control": "private, max-age=60"}
    url = fault_server.on("/", answer(200, b"ann's", private))
    async with cached(engine, ResponseCache(store=MemoryStore(), shared=True)) as client:
        for _ in range(2):
            (await client.get(url)).unwrap()
    assert fault_server.count("/") == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_change_that_failed_changed_nothing(
    engine: Any, method: str, fault_server: FaultServer
) -> None:
    url = fault_server.on("/", answer(200, b"tea", KEPT), answer(409), answer(200))
    async with cached(engine, MemoryStore()) as client:
        (await client.get(url)).unwrap()
        assert (await client.request(method, url)).is_failure
        assert (await client.get(url)).unwrap().extensions["cache"] == "hit"
        assert (await client.request(method, url)).is_success
        assert "cache" not in (await client.get(url)).unwrap().extensions


VARIED = {**KEPT, "Vary": "Accept-Language"}


async def test_variants_that_come_at_once_are_both_kept(engine: Any, fault_server: FaultServer) -> None:
    both = threading.Barrier(2, timeout=60)

    def together(exchange: Exchange) -> None:
        both.wait()
        answer(200, b"tea", VARIED)(exchange)

    url = fault_server.on("/", together, together, answer(200, b"tea", VARIED))
    async with cached(engine, MemoryStore()) as client:
        for state in ("new", "hit"):
            asked = [client.get(url, headers={"Accept-Language": one}) for one in ("de", "fr")]
            for result in await asyncio.gather(*asked):
                assert result.unwrap().extensions.get("cache", "new") == state


async def test_nothing_untrue_comes_back_with_what_was_on_its_way(
    engine: Any, fault_server: FaultServer
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(exchange: Exchange) -> None:
        loop.call_soon_threadsafe(asked.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        answer(200, b"old", VARIED)(exchange)

    url = fault_server.on("/", answer(200, b"old", VARIED), slow, answer(204), answer(200, b"new", VARIED))
    store = RemoteStore()
    async with cached(engine, store) as client:
        await client.get(url, headers={"Accept-Language": "de"})
        late = asyncio.create_task(client.get(url, headers={"Accept-Language": "fr"}))
        await asked.wait()
        (await client.post(url)).unwrap()
        go_on.set()
        (await late).unwrap()
        for language in ("de", "fr"):
            assert (await client.get(url, headers={"Accept-Language": language})).unwrap().content == b"new"


async def test_a_newer_answer_that_may_not_be_stored_ends_the_older(
    engine: Any, fault_server: FaultServer
) -> None:
    secret = answer(200, b"new", {"Cache-Control": "no-store"})
    url = fault_server.on("/", answer(200, b"old", KEPT), answer(503), secret)
    async with cached(engine, MemoryStore(), retry=None) as client:
        reload = {"Cache-Control": "no-cache"}
        await client.get(url)
        assert (await client.get(url, headers=reload)).is_failure
        assert (await client.get(url)).unwrap().content == b"old"
        assert (await client.get(url, headers=reload)).unwrap().content == b"new"
        assert (await client.get(url)).unwrap().content == b"new"


async def test_the_store_has_no_more_time_than_the_call(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"tea", KEPT))
    options = ResponseCache(store=BadStore("hangs"), patience=30)
    async with cached(engine, options) as client:
        started = time.monotonic()
        error = (await client.get(url, timeout=0.2)).error
        assert time.monotonic() - started < 10
    assert error is not None
    assert (error.code, error.context["sent"]) == ("TIMEOUT_ERROR", False)


async def test_what_is_stored_obeys_the_limit_of_the_call(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"x" * 100, KEPT))
    async with cached(engine, MemoryStore()) as client:
        (await client.get(url)).unwrap()
        error = (await client.get(url, max_response_size=10)).error
    assert error is not None
    assert error.code == "RESPONSE_TOO_LARGE"


async def test_streams_pass_it_by(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"x", KEPT))
    store = MemoryStore()
    async with cached(engine, store) as client:
        for _ in range(2):
            async with client.stream("GET", url) as opened:
                assert (await opened.unwrap().read()).unwrap() == b"x"
    assert (store.values, fault_server.count("/")) == ({}, 2)


@pytest.mark.parametrize(
    "options", [{"max_size": -1}, {"patience": 0}, {"keep": float("nan")}, {"stale_if_error": -1.0}]
)
def test_options_that_can_not_work_are_refused(options: dict[str, Any]) -> None:
    error = HTTPConfig(cache=ResponseCache(store=MemoryStore(), **options)).check().error
    assert error is not None
    assert (error.code, next(iter(options)) in error.message) == ("INVALID_HTTP_CONFIG", True)
