"""HTTPClient: what users of qicore-http hold in their hands."""

from __future__ import annotations

from types import TracebackType
from typing import Self, Unpack

import httpx

from qicore.base import Failure, QiError, Result, Success
from qicore.http.config import HTTPConfig
from qicore.http.cookies import CookieStore
from qicore.http.engine import open_engine
from qicore.http.errors import invalid_request
from qicore.http.request import Defaults, RequestOptions, prepare
from qicore.http.sending import Sender

__all__ = ["HTTPClient"]


class HTTPClient:
    """Opens with `create`, closes with `close` or at the end of an `async with`.

    >>> client = HTTPClient.create().unwrap()
    >>> client.config.timeout
    30.0
    """

    def __init__(self, config: HTTPConfig, sender: Sender, store: CookieStore) -> None:
        self.config = config
        self._sender = sender
        self._store = store
        self._defaults = Defaults(config)
        self._closed = False

    @classmethod
    def create(cls, config: HTTPConfig | None = None) -> Result[Self]:
        """Check the options and return a client; INVALID_HTTP_CONFIG [VALIDATION]."""
        checked = (config or HTTPConfig()).check()
        if checked.error is not None:
            return Failure(checked.error)
        options = checked.unwrap()
        store = CookieStore()
        return open_engine(options).map(
            lambda engine: cls(
                options,
                Sender(engine, store if options.store_cookies else None, options.max_redirects),
                store,
            )
        )

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def request(
        self, method: str, url: str | httpx.URL, **options: Unpack[RequestOptions]
    ) -> Result[httpx.Response]:
        """Send a request and return the response, its body read. See `RequestOptions`."""
        if self._closed:
            return Failure(invalid_request("the client is closed"))
        try:
            call = prepare(self._defaults, self._store, method.upper(), url, blocking=False, **options)
        except QiError as error:
            return Failure(error)
        return await self._sender.send(call)

    async def get(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a GET request; see `request`."""
        return await self.request("GET", url, **options)

    async def post(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a POST request; see `request`."""
        return await self.request("POST", url, **options)

    async def close(self) -> Result[None]:
        """Close the connections. A second call changes nothing."""
        if not self._closed:
            self._closed = True
            await self._sender.engine.aclose()
        return Success(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
