"""Circuit breakers that many processes share through Redis: what one of them learns, all know.

It needs the extra `qicore-resilience[redis]`. `import qicore.resilience` does not load it.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

from qicore.base import Result, Success
from qicore.base.options import Checks
from qicore.resilience.circuit import CircuitBreaker, breaker_over, how_ill
from qicore.resilience.config import CircuitBreakerConfig
from qicore.resilience.errors import INVALID_CONFIG
from qicore.resilience.registry import CircuitBreakers
from qicore.resilience.shared_circuit import SharedCircuit
from qicore.resilience.shared_link import Link
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

__all__ = ["SharedCircuitBreakers"]


class SharedCircuitBreakers(CircuitBreakers):
    """`CircuitBreakers` whose circuits are one with those of the same name in all processes of a fleet.

    Failures are counted together: `failure_threshold` of them within `monitoring_period`, wherever they
    happened, open the circuit everywhere. HALF_OPEN lets exactly `half_open_requests` calls through in the
    whole fleet: one process at a time has the lead, and with it all the probes. How they end, all are told.

    No call waits for Redis, and none fails because of it: a thread does all the talking. While Redis is away
    each process decides alone, by what it sees itself. No clocks are compared but Redis's own.

    All processes should have the same options, and reach the service in the same way: one whose own network
    is ill opens the circuit for all. After a `fork` the child is alone: let it make its own.

    >>> from qicore.base import Success
    >>> with SharedCircuitBreakers.create("redis://localhost:1").unwrap() as breakers:  # nobody is there
    ...     breakers.get("geocoder").call_sync(lambda: Success("Oslo"))
    Success('Oslo')
    """

    __slots__ = ("__weakref__", "_close", "_link")

    def __init__(
        self, link: Link, config: CircuitBreakerConfig, max_size: int, clock: Callable[[], float]
    ) -> None:
        """Use `create`."""

        def make(key: str) -> CircuitBreaker:
            circuit = SharedCircuit(config, key, clock, link)
            link.add(circuit)
            return breaker_over(circuit, config, key)

        super(CircuitBreakers, self).__init__(make, worth=how_ill, max_size=max_size)
        self._link = link
        self._close = weakref.finalize(self, link.stop)

    @classmethod
    def create(
        cls,
        redis: str | Callable[[], Redis],
        config: CircuitBreakerConfig | None = None,
        *,
        namespace: str = "qicore",
        max_size: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> Result[Self]:
        """Check the options and begin to connect; INVALID_RESILIENCE_CONFIG [VALIDATION].

        `redis` is a URL, `redis://`, `rediss://` or `unix://`, or makes a client of redis-py's, for Sentinel
        say, which must not decode. Circuits of one `namespace` are the same. It may be away: that is no
        Failure.
        """
        options = config or CircuitBreakerConfig()
        checks = Checks().nested("config", options.check()).whole("max_size", max_size)
        checks.that(
            isinstance(cast("object", namespace), str) and bool(namespace), "namespace must be a text"
        )
        connect = redis if callable(redis) else _connector(redis)
        checks.that(connect is not None, "the URL must be redis://, rediss:// or unix://")
        if connect is None or checks.wrong:
            return cast("Result[Self]", checks.answer(None, INVALID_CONFIG))
        return Success(cls(Link(connect, namespace), options, max_size, clock))

    @property
    def connected(self) -> bool:
        """Whether the others are heard now; while not, each process decides alone."""
        return self._link.heard()

    def wait(self, seconds: float) -> bool:
        """Wait until they are heard; False when that takes longer. For the start of a program."""
        return self._link.wait(seconds)

    def close(self) -> Result[None]:
        """Close the connections: from here on each circuit is this process's own. Awaiting it is optional."""
        self._close()
        return Success(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _connector(url: object) -> Callable[[], Redis] | None:
    """Return what makes a client for the URL, or None when it is none."""
    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,  # the link has times of its own
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    client: Any = Redis  # of whose types much is unknown
    try:
        client.from_url(str(url), **options)
    except ValueError:
        return None
    return partial(client.from_url, str(url), **options)
