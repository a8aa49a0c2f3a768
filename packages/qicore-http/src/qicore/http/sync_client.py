"""SyncHTTPClient: the blocking twin of `HTTPClient`."""

from __future__ import annotations

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
from qicore.http.engine import SyncEngine, SyncEngineTransport, open_sync_engine
from qicore.http.errors import file_error, invalid_request
from qicore.http.events import EventOptions, SyncEventStream, event_options_for
from qicore.http.request import Call, Defaults, RequestOptions, prepare
from qicore.http.response import Answer
from qicore.http.store import open_sync_cache
from qicore.http.sync_sending import SyncSender
from qicore.http.sync_stream import SyncHTTPStream, SyncStreamContext
from qicore.resilience import CircuitBreakerConfig, CircuitBreakers

if TYPE_CHECKING:  # it needs the extra `cache`
    from qicore.http.cached import SyncCached

__all__ = ["SyncHTTPClient"]

T = TypeVar("T")


class _Core:
    """What clients of one pool share."""

    def __init__(self, config: HTTPConfig, engine: SyncEngine, cached: SyncCached | None) -> None:
        self.config = config
        self.engine = engine
        self.cached = cached
        self.store = CookieStore()
        self.defaults = Defaults(config)
        self.closed = False


class SyncHTTPClient:
    """Sends HTTP requests and waits for the answers; each gives a Result. See `HTTPClient` for asyncio.

    It opens with `create`, and closes with `close` or at the end of a `with`. It may be used by any number of
    threads at once. The engine aiohttp has no blocking side: INVALID_HTTP_CONFIG.

    >>> client = SyncHTTPClient.create(HTTPConfig(base_url="https://api.example.org/v2")).unwrap()
    >>> client.config.timeout
    30.0
    """

    def __init__(self, core: _Core, breakers: CircuitBreakers | None = None) -> None:
        if isinstance(cast("object", core), HTTPConfig):  # what many try first
            raise TypeError("use SyncHTTPClient.create(config), which checks the options")
        self._core = core
        config = core.config
        self._sender = SyncSender(
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
        return open_sync_cache(options.cache).flat_map(
            lambda cached: open_sync_engine(options).map(lambda engine: cls(_Core(options, engine, cached)))
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
    def raw(self) -> httpx.Client:
        """A new `httpx.Client` over the same pool, for what needs one: it raises, and judges nothing.

        Closing it closes nothing. Of this client's options it has those that concern connections.
        """
        return httpx.Client(transport=SyncEngineTransport(self._core.engine))

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
        call = prepare(core.defaults, core.store, method, url, blocking=True, stream=stream, **options)
        if call.timeout is not None:
            call.deadline = time.monotonic() + call.timeout
        return call

    def request(
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
        return self._sender.send(call)

    def get(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a GET request; see `request`."""
        return self.request("GET", url, **options)

    def head(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a HEAD request; see `request`."""
        return self.request("HEAD", url, **options)

    def options(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send an OPTIONS request; see `request`."""
        return self.request("OPTIONS", url, **options)

    def post(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a POST request; see `request`."""
        return self.request("POST", url, **options)

    def put(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a PUT request; see `request`."""
        return self.request("PUT", url, **options)

    def patch(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a PATCH request; see `request`."""
        return self.request("PATCH", url, **options)

    def delete(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[httpx.Response]:
        """Send a DELETE request; see `request`."""
        return self.request("DELETE", url, **options)

    @overload
    def get_json(self, url: str | httpx.URL, **options: Unpack[RequestOptions]) -> Result[Any]: ...
    @overload
    def get_json(
        self, url: str | httpx.URL, into: ReadsJSON[T], **options: Unpack[RequestOptions]
    ) -> Result[T]: ...
    @overload
    def get_json(
        self, url: str | httpx.URL, into: type[T], **options: Unpack[RequestOptions]
    ) -> Result[T]: ...
    @overload
    def get_json(
        self, url: str | httpx.URL, into: Callable[[Any], T], **options: Unpack[RequestOptions]
    ) -> Result[T]: ...

    def get_json(
        self, url: str | httpx.URL, into: Any = None, **options: Unpack[RequestOptions]
    ) -> Result[Any]:
        """Send a GET request and return the JSON of its body as a value of `into`: see `decode_json`."""
        got = self.request("GET", url, **options)
        return got.flat_map(lambda response: decode_json(response, into))

    def stream(
        self, method: str, url: str | httpx.URL, **options: Unpack[RequestOptions]
    ) -> SyncStreamContext:
        """Send a request and read the body as it comes: `with client.stream("GET", url) as opened:`.

        `opened` is the Result of a `SyncHTTPStream`, which is closed when the block is left. `timeout` covers
        the head, and the body too when it is given here; `max_response_size` counts when it is given here.
        For the codes see `request`.
        """
        options.setdefault("max_response_size", None)

        def open_it() -> Result[SyncHTTPStream]:
            try:
                call = self._prepare(method, url, options, stream=True)
            except QiError as error:
                return Failure(error)
            result = self._sender.send(call)
            return result.map(lambda answer: self._streamed(call, answer))

        return SyncStreamContext(open_it)

    def _streamed(self, call: Call, answer: Answer) -> SyncHTTPStream:
        return SyncHTTPStream(call, answer, self._core.config.max_response_size)

    def events(
        self,
        url: str | httpx.URL,
        *,
        method: str = "GET",
        event_options: EventOptions | None = None,
        **options: Unpack[RequestOptions],
    ) -> SyncEventStream:
        """Receive server-sent events: `with client.events(url) as events:`, then a Result for each event.

        When the stream breaks off or ends, it is asked for again, from behind the last event on, as
        `EventOptions` says; the answer 204 ends it. A method other than GET is only repeated when they are
        given.
        """
        options.setdefault("max_response_size", None)
        options.setdefault("retry", None)  # it comes back by itself
        own = options.pop("headers", None) or {}
        pairs = list(own.items()) if isinstance(own, Mapping) else list(own)

        def connect(headers: dict[str, str]) -> SyncStreamContext:
            options["headers"] = [*pairs, *headers.items()]
            return self.stream(method, url, **options)

        return SyncEventStream(connect, event_options_for(method, event_options))

    def download(
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
        with self.stream("GET", url, **options) as opened:
            stream = opened.data
            if stream is None:
                return Failure(cast("QiError", opened.error))
            try:
                target.open()
                for result in stream:
                    chunk = result.data
                    if chunk is None:
                        return Failure(cast("QiError", result.error))
                    target.write(chunk)
                return Success(target.finish())
            except OSError as error:
                return Failure(file_error(path, error))
            finally:
                target.discard()

    def close(self) -> Result[None]:
        """Close the connections, of all clients that share them. A second call changes nothing."""
        if not self._core.closed:
            self._core.closed = True
            self._core.engine.close()
        return Success(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
