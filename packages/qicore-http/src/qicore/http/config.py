"""The options of qicore-http, and the checks on them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

import httpx
from qicore.base import Failure, QiError, Result, Success
from qicore.http.auth import AuthSpec
from qicore.http.headers import FRAMING, wrong_header
from qicore.http.store import ResponseCache, Store
from qicore.resilience import RetryConfig

__all__ = ["HTTPConfig", "is_duration", "wrong_retry"]

_ENGINES: Final = ("httpx", "httpx2", "aiohttp")
_PROXY_SCHEMES: Final = ("http", "https")


@dataclass(frozen=True, kw_only=True, slots=True)
class HTTPConfig:
    """How a client behaves; the defaults are right for production.

    Credentials given here belong to the origin of `base_url`, if there is one: a request to an absolute URL
    elsewhere goes without `auth`, `params`, `cookies` and all `headers` but the harmless ones.

    Attributes:
        base_url: what relative URLs are appended to, such as `https://api.example.org/v2`, or empty.
        headers: sent with every request.
        params: query parameters of every request whose URL does not name them itself.
        cookies: sent with every request, besides those that servers set.
        auth: `(user, password)`, a `BearerAuth`, or any `httpx.Auth`.
        timeout: seconds that a call may take in all: attempts, waits between them, redirects, connecting,
            sending, and the whole body. None for no limit. A stream's limit ends with its head.
        connect_timeout: seconds to reach the server, TLS included.
        read_timeout: seconds in which at least one byte must move, or None.
        pool_timeout: seconds to wait for a free connection, or None.
        max_connections: how many may be open at once.
        max_keepalive_connections: how many of them may be idle.
        keepalive_expiry: seconds after which an idle one is not used again.
        max_response_size: bytes that a body may have, decompressed, or None.
        follow_redirects: whether to follow them.
        max_redirects: how many in a row.
        store_cookies: whether to keep and send back what servers set.
        retry: how requests are repeated that failed in passing, or None for one attempt. Only what is safe to
            repeat is: see `qicore.http.repeat`. The retries of a client share a budget, its own unless this
            has one, and the time of the call, waits included. An event stream has its own `EventOptions`.
        verify: True, False (trust anybody, for tests), or the path of a PEM file or folder of authorities.
        certificate: PEM file with the client's certificate, with its key or without.
        certificate_key: PEM file with its key.
        certificate_password: of that key.
        http2: whether to offer HTTP/2 to https servers; needs the extra `http2`.
        proxy: URL of a proxy for everything, such as `http://user:password@proxy:3128`.
        trust_env: whether HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY are heeded when `proxy` is None.
        block_private_networks: refuse to connect to addresses that are not public: PRIVATE_NETWORK.
        allowed_networks: networks (CIDR) that are exempt from it.
        cache: a store for responses (RFC 9111), such as a cache of qicore-cache, or a `ResponseCache`; needs
            the extra `cache`. Streams pass it by.
        engine: the library below: `httpx` (httpcore), or with the extra of that name `httpx2` or `aiohttp`.
    """

    base_url: str = field(default="", repr=False)  # it may hold credentials
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    params: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    auth: AuthSpec | None = field(default=None, repr=False)
    timeout: float | None = 30.0
    connect_timeout: float | None = 10.0
    read_timeout: float | None = 30.0
    pool_timeout: float | None = None
    max_connections: int = 100
    max_keepalive_connections: int = 100
    keepalive_expiry: float = 5.0
    max_response_size: int | None = 32 * 1024 * 1024
    follow_redirects: bool = True
    max_redirects: int = 10
    store_cookies: bool = True
    retry: RetryConfig | None = field(default=RetryConfig())
    verify: bool | str | Path = True
    certificate: str | Path | None = None
    certificate_key: str | Path | None = None
    certificate_password: str | None = field(default=None, repr=False)
    http2: bool = False
    proxy: str | None = field(default=None, repr=False)
    trust_env: bool = True
    block_private_networks: bool = False
    allowed_networks: tuple[str, ...] = ()
    cache: Store | ResponseCache | None = field(default=None, repr=False)
    engine: Literal["httpx", "httpx2", "aiohttp"] = "httpx"

    def check(self) -> Result[Self]:
        """Return these options, or what is wrong with them, all of it: INVALID_HTTP_CONFIG [VALIDATION].

        >>> str(HTTPConfig(timeout=0).check().error)
        'VALIDATION/INVALID_HTTP_CONFIG: timeout must be seconds above 0, or None'
        """
        wrong = [*self._wrong_numbers(), *self._wrong_addresses(), *self._wrong_combinations()]
        if wrong:
            return Failure(QiError.validation("INVALID_HTTP_CONFIG", "; ".join(wrong)))
        return Success(self)

    def _wrong_numbers(self) -> list[str]:
        wrong = [
            f"{name} must be seconds above 0, or None"
            for name in ("timeout", "connect_timeout", "read_timeout", "pool_timeout")
            if getattr(self, name) is not None and not is_duration(getattr(self, name))
        ]
        if not is_duration(self.keepalive_expiry):
            wrong.append("keepalive_expiry must be seconds above 0")
        wrong += [
            f"{name} must be a whole number, {least} or more"
            for name, least in (
                ("max_connections", 1),
                ("max_keepalive_connections", 0),
                ("max_redirects", 0),
            )
            if type(getattr(self, name)) is not int or getattr(self, name) < least
        ]
        if self.max_response_size is not None and (
            type(self.max_response_size) is not int or self.max_response_size < 0
        ):
            wrong.append("max_response_size must be a whole number of bytes, or None")
        return wrong

    def _wrong_addresses(self) -> list[str]:
        wrong: list[str] = []
        if self.base_url and (
            not _is_url(self.base_url, ("http", "https")) or set(self.base_url) & {"?", "#"}
        ):
            wrong.append("base_url must be an absolute http or https URL, without a query or a fragment")
        if self.proxy is not None and not _is_url(self.proxy, _PROXY_SCHEMES):
            wrong.append(f"proxy must be a URL of one of these schemes: {', '.join(_PROXY_SCHEMES)}")
        for network in self.allowed_networks:
            try:
                ipaddress.ip_network(network)
            except ValueError:
                wrong.append(f"allowed_networks: {network!r} is no network")
        for name in ("verify", "certificate", "certificate_key"):
            place = getattr(self, name)
            if isinstance(place, str | Path) and not Path(place).exists():
                wrong.append(f"{name}: there is no {place}")
        for name, value in self.headers.items():
            problem = wrong_header(name, value)
            if problem is not None:
                wrong.append(f"headers: {problem}")
            elif name.lower() in FRAMING:
                wrong.append(f"headers: {name} belongs to a request")
        return wrong

    def _wrong_combinations(self) -> list[str]:
        wrong: list[str] = []
        if self.engine not in _ENGINES:
            wrong.append(f"engine must be one of {', '.join(_ENGINES)}")
        if self.engine == "aiohttp" and self.http2:
            wrong.append("http2: aiohttp speaks HTTP/1.1 only")
        if self.block_private_networks and self.proxy is not None:
            wrong.append("block_private_networks: behind a proxy it is the proxy that connects")
        if self.certificate_key is not None and self.certificate is None:
            wrong.append("certificate_key needs a certificate")
        retry = None if self.retry is None else wrong_retry(self.retry)
        if retry is not None:
            wrong.append(retry)
        if isinstance(self.cache, ResponseCache):
            wrong += self.cache.wrong()
        return wrong


def wrong_retry(retry: object) -> str | None:
    """Return what is wrong with it, or None."""
    if not isinstance(retry, RetryConfig):
        return "retry must be a RetryConfig, or None"
    error = retry.check().error
    return None if error is None else f"retry: {error.message}"


def is_duration(value: object) -> bool:
    """Return whether this can be a time limit: seconds above 0, of which timers can reckon with 1e12."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1e12


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        return False
    return url.scheme in schemes and bool(url.host) and (url.port is None or 0 < url.port < 65_536)
