from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import httpx
import pytest
from starlette.types import ASGIApp

Connect = Callable[[ASGIApp], httpx.AsyncClient]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Clients of applications in this process: `client = connect(app)`."""
    async with AsyncExitStack() as stack:
        clients: list[httpx.AsyncClient] = []

        def client_of(app: ASGIApp) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(app, raise_app_exceptions=False)
            clients.append(httpx.AsyncClient(transport=transport, base_url="http://test"))
            return clients[-1]

        yield client_of
        for client in clients:
            await stack.enter_async_context(client)
