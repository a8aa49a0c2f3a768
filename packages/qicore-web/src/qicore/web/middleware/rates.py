"""Rate limits: no more than so many requests of one client in a time."""

from __future__ import annotations

import hashlib
import ipaddress
import math
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from qicore.base import Failure, QiError, Result
from qicore.resilience import RateLimiter, RateLimiterConfig, RateLimiters
from qicore.web.answering import caught
from qicore.web.handlers import Handler, Middleware
from qicore.web.middleware.checks import check_count, check_seconds, header_name
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["rate_limit"]

_CODE: Final = "RATE_LIMITED"
_LONGEST_KEY: Final = 64
_KEYS_EACH: Final = 64
_FIELDS: Final = (b"ratelimit-policy", b"ratelimit")


def rate_limit(
    limit: int,
    period: float = 1.0,
    *,
    burst: int | None = None,
    key: Callable[[Request], str | None] | None = None,
    max_keys: int = 10_000,
    name: str = "default",
    clock: Callable[[], float] = time.monotonic,
) -> Middleware:
    """Answer no more than `limit` requests per `period` of each client: then RATE_LIMITED, a 429.

    By the generic cell rate algorithm: in any `t` seconds at most `burst + t * limit / period` requests pass.
    The problem has the wait as `Retry-After`; answers tell what is left as `RateLimit-Policy` and `RateLimit`
    (draft-ietf-httpapi-ratelimit-headers-10), the problem of a request that failed otherwise does not. It
    counts in this process: several workers let pass as many times more.

    Args:
        limit: requests per period, on average.
        period: seconds.
        burst: how many may come at once after a pause; None for `limit`.
        key: what requests are counted by, such as a user's name; None from it is not counted. Without it the
            client's address counts, of IPv6 the first 64 bits, which belong to one customer. Behind a proxy
            the server must take the address from it (uvicorn's `forwarded_allow_ips`).
        max_keys: how many keys are remembered, about; one that is at rest is forgotten first. What is beyond
            that starts anew, so it should well exceed the clients that are active within a period.
        name: of the policy, in the header fields. Several limits around one handler need several names.
        clock: seconds.

    Raises ValueError for options that are wrong.

    >>> import asyncio
    >>> from qicore.base import Success
    >>> async def hello(request: Request) -> Result[Response]:
    ...     return Success(Response("hello"))
    >>> handler = rate_limit(2, 60)(hello)
    >>> async def ask() -> Result[Response]:
    ...     return await handler(Request({"type": "http", "headers": [], "client": ("192.0.2.7", 5)}))
    >>> asyncio.run(ask()).unwrap().headers["ratelimit"]
    '"default";r=1;t=30'
    """
    config = RateLimiterConfig(
        limit=check_count("limit", limit),
        period=check_seconds("period", period),
        burst=None if burst is None else check_count("burst", burst),
        max_wait=0,
    )
    limiters = _Limiters(config, check_count("max_keys", max_keys), clock)
    policy = _Policy(config, header_name("name", name).decode())
    key_of = _by_address if key is None else key

    def around(handler: Handler) -> Handler:
        inner = caught(handler)

        async def handle(request: Request) -> Result[Response]:
            who = key_of(request)
            if who is None:
                return await handler(request)
            limiter = limiters.of(who if len(who) <= _LONGEST_KEY else _digest(who))
            passed = False

            async def call() -> Result[Response]:
                nonlocal passed
                passed = True
                return await inner(request)

            result = await limiter.call(call)
            if not passed and isinstance(result, Failure):
                return policy.refuse(result.error)
            response = result.data
            if response is not None:
                policy.tell(response, limiter)
            return result

        return handle

    return around


class _Limiters:
    """Limiters by key, in several registries.

    A registry that is full of limiters that are not at rest looks at all of them to forget one: with ten
    thousand that takes milliseconds, and a crowd of addresses could ask for it with every request. Which one
    a key falls into is not to be foreseen: Python salts the hashes of texts.
    """

    def __init__(self, config: RateLimiterConfig, max_keys: int, clock: Callable[[], float]) -> None:
        count = max(1, max_keys // _KEYS_EACH)
        size = math.ceil(max_keys / count)
        self._registries = [RateLimiters(config, max_size=size, clock=clock) for _ in range(count)]

    def of(self, key: str) -> RateLimiter:
        return self._registries[hash(key) % len(self._registries)].get(key)


class _Policy:
    """What answers tell about one limit."""

    def __init__(self, config: RateLimiterConfig, name: str) -> None:
        self._name = name
        self._burst = config.burst or config.limit
        self._interval = config.period / config.limit
        # The window is a whole number of seconds, or left out: the draft has no fractions.
        window = f";w={config.period:.0f}" if config.period == int(config.period) else ""
        self._policy = f'"{name}";q={config.limit}{window}'
        self._mark = f'"{name}"'.encode()

    def tell(self, response: Response, limiter: RateLimiter) -> None:
        """Put the policy and what is left on an answer."""
        left = limiter.statistics().available
        wait = math.ceil((self._burst - left) * self._interval)
        headers = response.raw_headers
        others = {pair[0]: place for place, pair in enumerate(headers) if pair[0] in _FIELDS}
        now = f'"{self._name}";r={left};t={wait}'
        for name, value in zip(_FIELDS, (self._policy.encode(), now.encode()), strict=True):
            place = others.get(name)
            if place is None:
                headers.append((name, value))
            else:  # members of other policies stay
                members = headers[place][1].split(b", ")
                kept = [member for member in members if not member.startswith(self._mark)]
                headers[place] = (name, b", ".join([*kept, value]))

    def refuse(self, refused: QiError) -> Failure:
        """Return the Failure for a request that is one too many; it does not tell whose."""
        found = refused.context.get("retry_after", 0.0)
        wait = found if isinstance(found, int | float) else 0.0
        error = QiError.timeout(
            _CODE, f"too many requests: the next may come in {max(1, math.ceil(wait))} s", retry_after=wait
        )
        left = f'"{self._name}";r=0;t={math.ceil(wait)}'
        # The core takes the header fields of a problem from such a cause.
        error.__cause__ = HTTPException(
            429, "too many requests", {"RateLimit-Policy": self._policy, "RateLimit": left}
        )
        return Failure(error)


def _digest(key: str) -> str:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _by_address(request: Request) -> str:
    """Return whose request it is; those without an address, such as by a Unix socket, share one key."""
    client = request.scope.get("client")
    return _network(client[0]) if client else ""


@lru_cache(maxsize=4096)
def _network(address: str) -> str:
    """Return the address, or the first 64 bits of an IPv6 address.

    >>> _network("2001:db8::7:1"), _network("192.0.2.7"), _network("::ffff:192.0.2.7")
    ('2001:db8::', '192.0.2.7', '192.0.2.7')
    """
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(found) >> 64 << 64))
