"""Rate limiter: no more than so many calls in a time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from threading import RLock
from typing import Final, Self, TypeVar

from qicore.base import Failure, Result
from qicore.base.options import Checks
from qicore.resilience.errors import INVALID_CONFIG, rate_limited
from qicore.resilience.policy import attempt, attempt_sync, pause
from qicore.resilience.registry import Registry
from qicore.resilience.statistics import RateLimiterStatistics
from qicore.resilience.turns import Turns

__all__ = ["RateLimiter", "RateLimiterConfig", "RateLimiters"]

T = TypeVar("T")

_MOST: Final = 10**9
"""More calls than that are no limit, and larger numbers no floats."""

_LONGEST_SLEEP: Final = 86400.0
"""Seconds after which a thread that waits looks again: `time.sleep` takes only so many."""


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
        max_wait: seconds that a call may wait for its turn, as reckoned when it comes, first come, first
            served; None for as long as it takes, 0 for not at all.
    """

    limit: int = 10
    period: float = 1.0
    burst: int | None = None
    max_wait: float | None = None

    def check(self) -> Result[Self]:
        """Return these options, or INVALID_RESILIENCE_CONFIG [VALIDATION] naming every one that is wrong."""
        checks = Checks().whole("limit", self.limit, most=_MOST).seconds("period", self.period)
        checks.whole("burst", self.burst, most=_MOST, none=True)
        return checks.seconds("max_wait", self.max_wait, least=0, none=True).answer(self, INVALID_CONFIG)


class RateLimiter:
    """Lets calls begin at a rate, by the generic cell rate algorithm (ITU-T I.371).

    A call that comes too early waits for its turn; when that is too far away it is RATE_LIMITED [TIMEOUT] at
    once, with the `name` and, in seconds, `retry_after` in its context. One that is cancelled while it waits
    gives its turn back, unless others wait behind it, who keep theirs. Where an event loop or a thread was
    held up, turns move back: the rate holds.

    Tasks and threads may share one. It knows nothing of other processes.

    Raises ValueError for options that are wrong; `create` answers a Failure.

    >>> from qicore.base import Success
    >>> limiter = RateLimiter(RateLimiterConfig(limit=1, period=60, max_wait=0))
    >>> [limiter.call_sync(lambda: Success(1)).is_success for _ in range(2)]
    [True, False]
    """

    __slots__ = (
        "__weakref__", "_allowed", "_clock", "_config", "_lock", "_name", "_rejected", "_sleep",
        "_sleep_sync", "_turns",
    )  # fmt: skip

    def __init__(
        self,
        config: RateLimiterConfig | None = None,
        *,
        name: str = "default",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = pause,
        sleep_sync: Callable[[float], object] = time.sleep,
    ) -> None:
        config = config or RateLimiterConfig()
        wrong = config.check().error
        if wrong is not None:
            raise ValueError(wrong.message)
        self._config = config
        self._name = name
        self._clock = clock
        self._sleep = sleep
        self._sleep_sync = sleep_sync
        self._turns = Turns(config.period / config.limit, config.burst or config.limit)
        # A call may begin or end in a signal handler or a finaliser, in a thread that holds the lock already.
        self._lock = RLock()
        self._allowed = self._rejected = 0

    @classmethod
    def create(
        cls,
        config: RateLimiterConfig | None = None,
        *,
        name: str = "default",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = pause,
        sleep_sync: Callable[[float], object] = time.sleep,
    ) -> Result[Self]:
        """Check the options and return a limiter; INVALID_RESILIENCE_CONFIG [VALIDATION]."""
        checked = (config or RateLimiterConfig()).check()
        return checked.map(
            lambda config: cls(config, name=name, clock=clock, sleep=sleep, sleep_sync=sleep_sync)
        )

    @property
    def name(self) -> str:
        """What is limited: it stands in errors."""
        return self._name

    @property
    def config(self) -> RateLimiterConfig:
        """The options."""
        return self._config

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        """Call and await `operation` when its turn comes; or RATE_LIMITED [TIMEOUT], not calling it."""
        turn = self._enter()
        if turn is not None:
            if isinstance(turn, Failure):
                return turn
            try:
                # A loop, for a sleep may end a little early, a turn move back, and one before it be late.
                while (wait := self._begin(turn)) > 0:
                    await self._sleep(wait)
            except BaseException:
                self._give_back(turn)
                raise
        return await attempt(operation)

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        """Call `operation` when its turn comes; or RATE_LIMITED [TIMEOUT], not calling it."""
        turn = self._enter()
        if turn is not None:
            if isinstance(turn, Failure):
                return turn
            try:
                while (wait := self._begin(turn)) > 0:
                    self._sleep_sync(min(wait, _LONGEST_SLEEP))
            except BaseException:  # an interrupt from the keyboard
                self._give_back(turn)
                raise
        return attempt_sync(operation)

    def statistics(self) -> RateLimiterStatistics:
        """Return how many calls it has let through and turned away, and what it would do now."""
        with self._lock:
            return RateLimiterStatistics(
                allowed=self._allowed,
                waiting=len(self._turns.waiting),
                rejected=self._rejected,
                available=self._turns.available(self._clock()),
            )

    def _enter(self) -> float | Failure | None:
        """Return None when the call may begin now; the turn that it has to wait for; or RATE_LIMITED."""
        most = self._config.max_wait
        with self._lock:
            now = self._clock()
            if most is not None and (wait := self._turns.expect(now)) > most:
                self._rejected += 1
                return Failure(rate_limited(self._name, wait))
            turn = self._turns.promise(now)
            if self._turns.begin(turn, now) > 0:
                return turn
            self._allowed += 1
            return None

    def _begin(self, turn: float) -> float:
        """Begin, and return 0; or the seconds to wait yet."""
        with self._lock:
            wait = self._turns.begin(turn, self._clock())
            if wait <= 0:
                self._allowed += 1
            return wait

    def _give_back(self, turn: float) -> None:
        with self._lock:
            self._turns.give_back(turn, self._clock())

    def __repr__(self) -> str:
        return f"<RateLimiter {self._name!r} {self._config.limit} per {self._config.period:g} s>"


def how_busy(limiter: RateLimiter) -> float:
    """Return the seconds until a limiter has nothing to remember; 0 when it may be forgotten."""
    return limiter._turns.until_free(limiter._clock())  # pyright: ignore[reportPrivateUsage]  # its own module


class RateLimiters(Registry[RateLimiter]):
    """One rate limiter per key, made when it is first asked for, and no more than `max_size` of them.

    When there are too many, one that has been at rest is forgotten first. Raises ValueError for options that
    are wrong, and for a `max_size` below 1.

    >>> limiters = RateLimiters(RateLimiterConfig(limit=5))
    >>> limiters.get("api.example.org") is limiters.get("api.example.org")
    True
    >>> limiters.get("api.example.org")
    <RateLimiter 'api.example.org' 5 per 1 s>
    """

    __slots__ = ()

    def __init__(
        self,
        config: RateLimiterConfig | None = None,
        *,
        max_size: int = 1024,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = pause,
        sleep_sync: Callable[[float], object] = time.sleep,
    ) -> None:
        RateLimiter(config)  # wrong options are wrong now, not at the first call
        super().__init__(
            lambda key: RateLimiter(config, name=key, clock=clock, sleep=sleep, sleep_sync=sleep_sync),
            worth=how_busy,
            max_size=max_size,
        )
