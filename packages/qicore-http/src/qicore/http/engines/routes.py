"""What both engines on httpcore, asynchronous and blocking, know: routes, proxies, contexts, requests."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, Final, TypeAlias, TypeVar, cast

import httpcore
import httpx
from qicore.http.config import HTTPConfig
from qicore.http.engines.library import Library
from qicore.http.engines.setup import guard_of, proxies_of, tls_options
from qicore.http.methods import IDEMPOTENT
from qicore.http.tls import tls_context

__all__ = ["Key", "Routes", "is_repeatable", "key_of"]

Key: TypeAlias = tuple[bytes, bytes, int]
"""Scheme, host and port."""

_PORTS: Final = {b"http": 80, b"https": 443}

P = TypeVar("P")


def key_of(url: httpx.URL) -> Key:
    """Return what a connection is made for: scheme, host and port.

    >>> key_of(httpx.URL("https://example.org/a?b"))
    (b'https', b'example.org', 443)
    """
    scheme = url.raw_scheme
    return scheme, url.raw_host, url.port or _PORTS.get(scheme, 0)


def is_repeatable(request: httpx.Request, *, written: bool) -> bool:
    """Return whether a request may be sent once more: nothing of it went out, or twice is as good as once."""
    stream = request.stream
    if not (isinstance(stream, httpx.ByteStream) or getattr(stream, "repeatable", False)):
        return False
    return not written or request.method in IDEMPOTENT


class Routes:
    """Makes what httpcore needs for a request, lazily: no context for a client that never speaks TLS."""

    def __init__(self, library: Library, config: HTTPConfig) -> None:
        self.library = library
        self.config = config
        self.guard = guard_of(config)
        self._proxies = proxies_of(config)
        self._factories: dict[tuple[str | None, bool], Any] = {}

    def multiplexed(self, key: Hashable) -> bool:
        """Return whether a connection for this key may turn out to carry several requests at once."""
        return self.config.http2 and cast("Key", key)[0] == b"https"

    def origin(self, key: Key) -> httpcore.Origin:
        """Return the key as the library spells it."""
        return self.library.URL(scheme=key[0], host=self._host(key), port=key[2], target=b"/").origin

    def _host(self, key: Key) -> bytes:
        host = key[1]
        # httpcore 1.0.9 asks a proxy for `::1:443` (RFC 9110, section 7.1, wants brackets). Without a proxy
        # the host is what is connected to, and has none.
        return b"[%b]" % host if b":" in host and self._proxy_for(key) is not None else host

    def _proxy_for(self, key: Key) -> str | None:
        return self._proxies.choose(key[0].decode(), key[1].decode(), key[2])

    def request(self, request: httpx.Request) -> httpcore.Request:
        """Return the request as the library spells it."""
        url = request.url
        host = url.raw_host
        if b":" in host:
            host = self._host(key_of(url))
        return self.library.Request(
            request.method,
            self.library.URL(scheme=url.raw_scheme, host=host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=cast("Any", request.stream),
            extensions=request.extensions,
        )

    def factory(self, key: Key, kind: type[P], backend: Callable[[int], object]) -> P:
        """Return a pool of the library, whose books stay empty: it knows how to make connections.

        It makes all kinds of them: direct, through a tunnel, or to a forwarding proxy. `backend` is called
        with the number of TLS handshakes that come before the request.
        """
        proxy = self._proxy_for(key)
        secure = key[0] == b"https"
        made = self._factories.get((proxy, secure))
        if made is None:
            make = cast("Any", kind)
            context = tls_context(tls_options(self.config)) if secure else None
            made = self._factories[proxy, secure] = make(
                ssl_context=context,
                proxy=None if proxy is None else self._proxy(proxy),
                keepalive_expiry=self.config.keepalive_expiry,
                http2=self.config.http2,
                network_backend=backend(secure + (proxy is not None and proxy.startswith("https:"))),
            )
        return cast("P", made)

    def _proxy(self, address: str) -> httpcore.Proxy:
        url = httpx.URL(address)
        auth = (url.username.encode(), url.password.encode()) if url.username or url.password else None
        # A context of its own: httpcore sets on it, at each connection, that a proxy speaks HTTP/1.1.
        options = replace(tls_options(self.config), http2=False)
        secure = tls_context(options) if url.scheme == "https" else None
        return self.library.Proxy(
            self.library.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=b"/"),
            auth=auth,
            ssl_context=secure,
        )
