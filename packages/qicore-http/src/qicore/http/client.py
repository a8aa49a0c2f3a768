"""HTTPClient: what users of qicore-http hold in their hands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast, overload

import httpx
from qicore.base import Failure, QiError, Result, Success
from qicore.http.config import HTTPConfig
from qicore.http.cookies import CookieStore
from qicore.http.decode import ReadsJSON, decode_json
from qicore.http.engine import AsyncEngine, EngineTransport, open_engine
from qicore.http.errors import file_error, invalid_request
from qicore.http.events import EventOptions, EventStream, event_options_for
from qicore.http.request import Call, Defaults, RequestOptions, prepare
from qicore.http.response import Answer
from qicore.http.sending import Sender
from qicore.http.store import open_cache
from qicore.http.stream import HTTPStream, StreamContext
from qicore.resilience import CircuitBreakerConfig, CircuitBreakers

if TYPE_CHECKING:  # it needs the extra `cache`
    from qicore.http.cached import AsyncCached

__all__ = ["HTTPClient"]

T = TypeVar("T")


class _Core:
    """What clients of one pool share."""

    def __init__(self, config: HTTPConfig, engine: AsyncEngine, cached: AsyncCached | None) -> None:
        self.config = config
        self.engine = engine
        self.cached = cached
        self.store = CookieStore()
        self.defaults = Defaults(config)
        self.closed = False


class HTTPClient:
    """Sends HTTP requests under asyncio; each gives a Result. See `SyncHTTPClient` for the blocking one.

    It opens with `create`, and closes with `close` or at the end of an `async with`. Any number of tasks of
    one event loop may use it at once.

    >>> client = HTTPClient.create(HTTPConfig(base_url="https://api.example.org/v2")).unwrap()
    >>> client.config.timeout
    30.0
    """

    def __init__(self, core: _Core, breakers: CircuitBreakers | None = None) -> None:
        if isinstance(cast("object", core), HTTPConfig):  # what many try first
            raise TypeError("use HTTPClient.create(config), which checks the options")
        self._core = core
        config = core.config
        self._sender = Sender(
            core.engine,
            core.store if config.store_cookies else None,
            config.max_redirects,
            breakers,
            core.cached,
        )

    @classmethod
    def create(cls, config: HTTPConfig | None = None) -> Result[Self]:
        """Check the options and return a client; INVALID_HTTP_CONFIG [VALIDATION].

        Nothing is connected, and no certificate loaded, before the first request needs it.
        """
        checked = (config or HTTPConfig()).check()
        options = checked.data
        if options is None:
            return Failure(cast("QiError", checked.error))
        return open_cache(options.cache).flat_map(
            lambda cached: open_engine(options).map(lambda engine: cls(_Core(options, engine, cached)))
        )

    @property
    def config(self) -> HTTPConfig:
        """The options it was made with."""
        return self._core.config

    @property
    def cookies(self) -> httpx.Cookies:
        """The cookies that servers have set, to be read and changed."""
        return self._core.store.cookies

    @property
    def closed(self) -> bool:
        """Whether `close` was called, on this client or one that shares its pool."""
        return self._core.closed

    @property
    def raw(self) -> httpx.AsyncClient:
        """A new `httpx.AsyncClient` over the same pool, for what needs one: it raises, and judges nothing.

        Closing it closes nothing. Of this client's options it has those that concern connections.
        """
        return httpx.AsyncClient(transport=EngineTransport(self._core.engine))

    def with_circuit_breaker(self, config: CircuitBreakerConfig | CircuitBreakers | None = None) -> Self:
        """Return a client that shares this one's pool and cookies, with a circuit breaker for each origin.

        While a circuit is open, requests to that origin answer CIRCUIT_OPEN [NETWORK] at once. Answers below
        500 say that the service is well. Closing either client closes the pool of both. ValueError for bad
        options. Instead of options it takes `CircuitBreakers` that others use, too.
        """
        breakers = config if isinstance(config, CircuitBreakers) else CircuitBreakers(config)
        return type(self)(self._core, breakers)

    def _prepare(self, method: str, url: str | httpx.URL, options: RequestOptions, *, stream: bool) -> Call:
        core = self._core
        if core.closed:
            raise invalid_request("the client is closed")
        call = prepare(core.defaults, core.store, method, url, blocking=False, stream=stream, **options)
        if call.timeout is not None:
            call.deadline = time.monotonic() + call.timeout
        return call

    async def request(
        self, method: str, url: str | httpx.URL, **options: Unpack[RequestOptions]
    ) -> Result[httpx.Response]:
        """Send a request and return the response, its body read and decoded.

        See `RequestOptions` for the options. Codes: INVALID_URL, INVALID_REQUEST, PARSE_ERROR [VALIDATION];
        NETWORK_ERROR, SSL_ERROR, HTTP_ERROR, TOO_MANY_REDIRECTS, RESPONSE_TOO_LARGE, CIRCUIT_OPEN [NETWORK];
        TIMEOUT_ERROR [TIMEOUT]; HTTP_ERROR for 401 and 403, PRIVATE_NETWORK [PERMISSION].
        """
        try:
            call = self._prepare(method, url, options, stream=False)
        except QiError as error:
            return Failure(error)
        return await self._sender.send(call)

    async def get(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a GET request; see `request`."""
        return await self.request("GET", url, **options)

    async def head(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a HEAD request; see `request`."""
        return await self.request("HEAD", url, **options)

    async def options(
        self, url: str | httpx.URL, **options: Unpack[RequestOptions]
    ) -> Result[httpx.Response]:
        """Send an OPTIONS request; see `request`."""
        return await self.request("OPTIONS", url, **options)

    async def post(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a POST request; see `request`."""
        return await self.request("POST", url, **options)

    async def put(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a PUT request; see `request`."""
        return await self.request("PUT", url, **options)

    async def patch(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a PATCH request; see `request`."""
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a DELETE request; see `request`."""
        return await self.request("DELETE", url, **options)

    @overload
    async def get_json(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[Any]: ...
    @overload
    async def get_json(
        self, url: str | httpx.URL, into: ReadsJSON[T], **options: Unpack[RequestOptions]
    ) -> Result[T]: ...
    @overload
    async def get_json(
        self, url: str | httpx.URL, into: type[T], **options: Unpack[RequestOptions]
    ) -> Result[T]: ...
    @overload
    async def get_json(
        self, url: str | httpx.URL, into: Callable[[Any], T], **options: Unpack[RequestOptions]
    ) -> Result[T]: ...

    async def get_json(
        self, url: str | httpx.URL, into: Any = None, **options: Unpack[RequestOptions]
    ) -> Result[Any]:
        """Send a GET request and return the JSON of its body as a value of `into`: see `decode_json`."""
        got = await self.request("GET", url, **options)
        return got.flat_map(lambda response: decode_json(response, into))

    def stream(self, method: str, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> StreamContext:
        """Send a request and read the body as it comes: `async with client.stream("GET", url) as opened:`.

        `opened` is the Result of an `HTTPStream`, which is closed when the block is left. `timeout` covers
        the head, and the body too when it is given here; `max_response_size` counts when it is given here.
        For the codes see `request`.
        """
        options.setdefault("max_response_size", None)

        async def open_it() -> Result[HTTPStream]:
            try:
                call = self._prepare(method, url, options, stream=True)
            except QiError as error:
                return Failure(error)
            result = await self._sender.send(call)
            return result.map(lambda answer: self._streamed(call, answer))

        return StreamContext(open_it)

    def _streamed(self, call: Call, answer: Answer) -> HTTPStream:
        return HTTPStream(call, answer, self._core.config.max_response_size)

    def events(
        self,
        url: str | httpx.URL,
        *,
        method: str = "GET",
        event_options: EventOptions | None = None,
        **options: Unpack[RequestOptions],
    ) -> EventStream:
        """Receive server-sent events: `async with client.events(url) as events:`, then a Result for each.

        When the stream breaks off or ends, it is asked for again, from behind the last event on, as
        `EventOptions` says; the answer 204 ends it. A method other than GET is only repeated when they are
        given.
        """
        options.setdefault("max_response_size", None)
        options.setdefault("retry", None)  # it comes back by itself
        own = options.pop("headers", None) or {}
        pairs = list(own.items()) if isinstance(own, Mapping) else list(own)

        def connect(headers: dict[str, str]) -> StreamContext:
            options["headers"] = [*pairs, *headers.items()]
            return self.stream(method, url, **options)

        return EventStream(connect, event_options_for(method, event_options))

    async def download(
        self, url: str | httpx.URL, path: str | Path, **options: Unpack[RequestOptions]
    ) -> Result[int]:
        """Write the body of a GET request to a file, and return its bytes.

        The file appears when all of it is there, and not before: what was there stays until then. FILE_ERROR
        [FILESYSTEM] when it can't be written.
        """
        from qicore.http.files import PartialFile

        try:
            target = PartialFile(Path(path))
        except TypeError as error:
            return Failure(invalid_request(f"this is no path: {error}"))
        async with self.stream("GET", url, **options) as opened:
            stream = opened.data
            if stream is None:
                return Failure(cast("QiError", opened.error))
            try:
                await asyncio.to_thread(target.open)
                async for result in stream:
                    chunk = result.data
                    if chunk is None:
                        return Failure(cast("QiError", result.error))
                    await asyncio.to_thread(target.write, chunk)
                return Success(await asyncio.to_thread(target.finish))
            except OSError as error:
                return Failure(file_error(path, error))
            finally:
                target.discard()

    async def close(self) -> Result[None]:
        """Close the connections, of all clients that share them. A second call changes nothing."""
        if not self._core.closed:
            self._core.closed = True
            if self._core.cached is not None:
                await self._core.cached.aclose()
            await self._core.engine.aclose()
        return Success(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
