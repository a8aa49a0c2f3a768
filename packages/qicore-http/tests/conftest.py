import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from qicore.base import Result
from qicore.http import HTTPClient, HTTPConfig, SyncHTTPClient
from qicore.resilience import CircuitBreakerConfig
from qicore_testkit.http_servers import certificates, fault_server, httpbin_url, proxy, tls_server

__all__ = ["certificates", "engine", "fault_server", "httpbin_url", "proxy", "tls_server"]


@pytest.fixture(params=["httpx", "httpx2", "aiohttp"])
def engine(request: pytest.FixtureRequest) -> Any:
    """Each engine in turn."""
    return request.param


class Asker:
    """A client of either kind: the blocking one runs in a thread, so that one test serves both."""

    def __init__(self, engine: Any, blocking: bool) -> None:
        self.engine = engine
        self.blocking = blocking
        self._clients: list[HTTPClient | SyncHTTPClient] = []
        self._usual: HTTPClient | SyncHTTPClient | None = None

    def configure(self, config: HTTPConfig) -> None:
        """Ask with these options from now on, whose engine does not matter."""
        chosen = replace(config, engine=self.engine)
        made = SyncHTTPClient.create(chosen) if self.blocking else HTTPClient.create(chosen)
        self._usual = made.unwrap()
        self._clients.append(self._usual)

    def break_at(self, config: CircuitBreakerConfig) -> None:
        """Ask through circuit breakers from now on."""
        assert self._usual is not None
        self._usual = self._usual.with_circuit_breaker(config)

    async def __call__(self, method: str, url: str, **options: Any) -> Result[httpx.Response]:
        if self._usual is None:
            self.configure(HTTPConfig())
        client = self._usual
        if isinstance(client, SyncHTTPClient):
            return await asyncio.to_thread(client.request, method, url, **options)
        assert client is not None
        return await client.request(method, url, **options)

    async def close(self) -> None:
        for client in self._clients:
            await client.close()


@pytest.fixture(params=["httpx", "httpx2", "aiohttp", "httpx-blocking", "httpx2-blocking"])
async def ask(request: pytest.FixtureRequest) -> AsyncIterator[Asker]:
    """Each engine in turn, asynchronous and, where there is such a side, blocking."""
    name, _, kind = request.param.partition("-")
    asker = Asker(name, kind == "blocking")
    yield asker
    await asker.close()
