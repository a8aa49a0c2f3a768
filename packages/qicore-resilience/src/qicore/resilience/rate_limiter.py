"""Rate limiter: no more than so many calls in a time."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from threading import Lock
from typing import Self, TypeVar

from qicore.base import Failure, Result, Success
from qicore.resilience.checks import Checks
from qicore.resilience.errors import rate_limited
from qicore.resilience.policy import attempt, attempt_sync, pause
from qicore.resilience.registry import Registry
from qicore.resilience.statistics import RateLimiterStatistics

__all__ = ["RateLimiter", "RateLimiterConfig", "RateLimiters"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLimiterConfig:
    """How many calls there may be in how long.

    In any `t` seconds no more than `burst + t * limit / period` calls begin.

    >>> RateLimiterConfig(period=0).check().error.message
    'period must be a number of seconds above 0'

    Attributes:
        limit: how many calls there may be in each `period`, on average.
        period: seconds.
        burst: how many may begin at once, after a pause; None for `limit`. With 1 all come evenly.
        max_wait: seconds that a call may wait for its turn, first come, first served; None for as long as it
            takes, 0 for not at all.
    """

    limit: int = 10
    period: float = 1.0
    burst: int | None = None
    max_wait: float | None = None

    def check(self) -> Result[Self]:
        """Return these options, or INVALID_RESILIENCE_CONFIG [VALIDATION] naming every one that is wrong."""
        checks = Checks().whole("limit", self.limit).seconds("period", self.period)
        checks.whole("burst", self.burst, none=True)
        return checks.seconds("max_wait", self.max_wait, least=0, none=True).answer(self)


class RateLimiter:
    """Lets calls begin at a rate, by the generic cell rate algorithm (ITU-T I.371).

    A call that comes too early waits for its turn; when that is too far away it is RATE_LIMITED [TIMEOUT] at
    once, with the seconds to wait as `retry_after` in its context. One that is cancelled while it waits gives
    its turn back, if no other waits behind it. Tasks and threads may share one.

    Raises ValueError for options that are wrong; `create` answers a Failure.

    >>> from qicore.base import Success
    >>> limiter = RateLimiter(RateLimiterConfig(limit=1, period=60, max_wait=0))
    >>> [limiter.call_sync(lambda: Success(1)).is_success for _ in range(2)]
    [True, False]
    """

    __slots__ = (
        "__weakref__", "_allowed", "_clock", "_config", "_interval", "_lock", "_next", "_rejected", "_sleep",
        "_sleep_sync", "_tolerance",
    )  # fmt: skip

    def __init__(
        self,
        config: RateLimiterConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = pause,
        sleep_sync: Callable[[float], object] = time.sleep,
    ) -> None:
        config = config or RateLimiterConfig()
        wrong = config.check().error
        if wrong is not None:
            raise ValueError(wrong.message)
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self._sleep_sync = sleep_sync
        self._interval = config.period / config.limit
        self._tolerance = self._interval * ((config.burst or config.limit) - 1)
        # When the next call would begin if all came evenly: the algorithm's "theoretical arrival time".
        self._next = -math.inf
        self._lock = Lock()
        self._allowed = self._rejected = 0

    @classmethod
    def create(cls, config: RateLimiterConfig | None = None) -> Result[Self]:
        """Check the options and return a limiter; INVALID_RESILIENCE_CONFIG [VALIDATION]."""
        return (config or RateLimiterConfig()).check().map(cls)

    @property
    def config(self) -> RateLimiterConfig:
        """The options."""
        return self._config

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        """Call and await `operation` when its turn comes; or RATE_LIMITED [TIMEOUT], not calling it."""
        reserved = self._reserve()
        if isinstance(reserved, Failure):
            return reserved
        turn = reserved.unwrap()
        try:
            await self._until(turn)
        except BaseException:
            self._give_back(turn)
            raise
        return await attempt(operation)

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        """Call `operation` when its turn comes; or RATE_LIMITED [TIMEOUT], not calling it."""
        reserved = self._reserve()
        if isinstance(reserved, Failure):
            return reserved
        turn = reserved.unwrap()
        try:
            while (wait := turn - self._tolerance - self._clock()) > 0:
                self._sleep_sync(wait)
        except BaseException:  # an interrupt from the keyboard
            self._give_back(turn)
            raise
        return attempt_sync(operation)

    def statistics(self) -> RateLimiterStatistics:
        """Return how many calls it has let through, and turned away."""
        with self._lock:
            return RateLimiterStatistics(allowed=self._allowed, rejected=self._rejected)

    def _reserve(self) -> Result[float]:
        """Take the next turn and return it; or RATE_LIMITED, when it is too far away."""
        with self._lock:
            now = self._clock()
            turn = max(self._next, now)
            wait = turn - self._tolerance - now
            most = self._config.max_wait
            if wait > 0 and most is not None and wait > most:
                self._rejected += 1
                return Failure(rate_limited(wait))
            self._next = turn + self._interval
            self._allowed += 1
            return Success(turn)

    async def _until(self, turn: float) -> None:
        # A loop, for a sleep may end a little early.
        while (wait := turn - self._tolerance - self._clock()) > 0:
            await self._sleep(wait)

    def _give_back(self, turn: float) -> None:
        with self._lock:
            self._allowed -= 1
            if self._next == turn + self._interval:
                self._next = turn

    def debt(self) -> float:
        """Return the seconds until it has nothing to remember; 0 when it may be forgotten."""
        return max(0.0, self._next - self._clock())


class RateLimiters(Registry[RateLimiter]):
    """One rate limiter per key, made when it is first asked for, and no more than `max_size` of them.

    When there are too many, one that has been at rest is forgotten first. Raises ValueError for options that
    are wrong, and for a `max_size` below 1.

    >>> limiters = RateLimiters(RateLimiterConfig(limit=5))
    >>> limiters.get("api.example.org") is limiters.get("api.example.org")
    True
    """

    __slots__ = ()

    def __init__(
        self,
        config: RateLimiterConfig | None = None,
        *,
        max_size: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        RateLimiter(config)  # wrong options are wrong now, not at the first call
        super().__init__(
            lambda _: RateLimiter(config, clock=clock), worth=RateLimiter.debt, max_size=max_size
        )
