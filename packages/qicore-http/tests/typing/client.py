from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, assert_type

import httpx
from pydantic import BaseModel, TypeAdapter
from qicore.base import Failure, QiError, Result, Success
from qicore.http import (
    BearerAuth,
    EventStream,
    HTTPClient,
    HTTPConfig,
    HTTPStream,
    RequestOptions,
    ResponseCache,
    ServerSentEvent,
    SyncEventStream,
    SyncHTTPClient,
    SyncHTTPStream,
    decode_json,
)
from qicore.resilience import CircuitBreakerConfig, RetryConfig


@dataclass
class Tea:
    name: str


class Pot(BaseModel):
    tea: str


assert_type(HTTPClient.create(HTTPConfig()), Result[HTTPClient])
assert_type(
    SyncHTTPClient.create(HTTPConfig(retry=RetryConfig(), auth=("ann", "pw"))), Result[SyncHTTPClient]
)


def say(result: Result[HTTPClient]) -> str:
    match result.variant:
        case Success(client):
            assert_type(client, HTTPClient)
            return "ready"
        case Failure(error):
            assert_type(error, QiError)
            return error.code


async def use(client: HTTPClient) -> None:
    url = "https://example.org"
    assert_type(await client.get(url, params={"q": "tea"}), Result[httpx.Response])
    assert_type(await client.post(url, json={"a": 1}, retry=None, timeout=None), Result[httpx.Response])
    assert_type(await client.request("PUT", url, content=b"x", auth=BearerAuth("t")), Result[httpx.Response])
    assert_type(await client.get_json(url), Result[Any])
    assert_type(await client.get_json(url, Tea), Result[Tea])
    assert_type(await client.get_json(url, Pot), Result[Pot])
    assert_type(await client.get_json(url, TypeAdapter(list[int]), timeout=1), Result[list[int]])
    assert_type(await client.get_json(url, len), Result[int])
    assert_type(await client.download(url, "film.mkv"), Result[int])
    assert_type(client.with_circuit_breaker(CircuitBreakerConfig()), HTTPClient)
    assert_type(client.raw, httpx.AsyncClient)
    assert_type(client.cookies, httpx.Cookies)
    assert_type(await client.close(), Result[None])
    async with client.stream("GET", url) as opened:
        assert_type(opened, Result[HTTPStream])
        stream = opened.unwrap()
        async for chunk in stream:
            assert_type(chunk, Result[bytes])
        assert_type(stream.lines(), AsyncIterator[Result[str]])
        assert_type(await stream.read(), Result[bytes])
        assert_type(stream.response, httpx.Response)
    async with client.events(url) as events:
        assert_type(events, EventStream)
        async for event in events:
            assert_type(event, Result[ServerSentEvent])
            assert_type(event.unwrap().data, str)


def use_blocking(client: SyncHTTPClient) -> None:
    url = httpx.URL("https://example.org")
    assert_type(client.get(url), Result[httpx.Response])
    assert_type(client.get_json(url, Tea), Result[Tea])
    assert_type(client.with_circuit_breaker(), SyncHTTPClient)
    assert_type(client.raw, httpx.Client)
    with client.stream("GET", url) as opened:
        assert_type(opened, Result[SyncHTTPStream])
        assert_type(opened.unwrap().lines(), Iterator[Result[str]])
    with client.events(url) as events:
        assert_type(events, SyncEventStream)
        assert_type(next(events), Result[ServerSentEvent])


class Store:
    """Fits by its shape: a Result may be awaited."""

    def get(self, key: str, /) -> Result[bytes]:
        return Failure(QiError.cache("KEY_NOT_FOUND", key))

    async def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Result[None]:
        return Success(None)

    async def remove(self, key: str, /) -> Result[bool]:
        return Success(False)


cached = HTTPConfig(cache=ResponseCache(store=Store(), shared=True))
also = HTTPConfig(cache=Store())
options: RequestOptions = {
    "headers": {"X-Key": "1"},
    "accept_status": {404},
    "retry": RetryConfig(attempts=5),
}
assert_type(decode_json(httpx.Response(200), Tea), Result[Tea])
