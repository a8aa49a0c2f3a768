"""The options of the circuit breaker, and the checks on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from qicore.base import QiError, Result
from qicore.base.options import Checks, is_number
from qicore.resilience.errors import INVALID_CONFIG
from qicore.resilience.predicates import is_ill

__all__ = ["CircuitBreakerConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CircuitBreakerConfig:
    """When a circuit opens, and how it closes again. The defaults are meant for production.

    >>> CircuitBreakerConfig(failure_rate=0.5, minimum_calls=20).check().is_success
    True
    >>> CircuitBreakerConfig(reset_timeout=-1).check().error.message
    'reset_timeout must be a number of seconds above 0'

    Attributes:
        failure_threshold: how many failures within `monitoring_period` open the circuit. Where `failure_rate`
            is given, that decides instead.
        reset_timeout: seconds that the circuit stays OPEN before it lets probes through (HALF_OPEN).
        monitoring_period: seconds of the sliding window in which calls are counted. What is exactly that old
            is out of it. Failures slide out one by one; for rates the window slides in hundredths of it.
        half_open_requests: how many probes HALF_OPEN lets through, whatever the concurrency. When all of them
            succeed the circuit closes; when one fails it opens again.
        failure_rate: the share of the calls within the window, above 0 and up to 1, that must fail to open
            the circuit, once there were `minimum_calls`; or None. For services with so much traffic that a
            number of failures says little.
        minimum_calls: how many calls the window must hold before a rate says anything.
        slow_call_duration: seconds from which a call counts as slow, whatever its outcome; or None. It goes
            with `slow_call_rate`.
        slow_call_rate: the share of slow calls, above 0 and up to 1, that opens the circuit, once there were
            `minimum_calls`, beside what failures do; or None.
        counts: whether an error says that the service is ill, and so is a failure. False means that the
            service answered, which counts as a success; None that the error tells nothing of it, and counts
            as neither. CIRCUIT_OPEN, BULKHEAD_FULL and RATE_LIMITED count as neither for False, too: the
            service was never asked.
    """

    failure_threshold: int = 5
    reset_timeout: float = 60.0
    monitoring_period: float = 10.0
    half_open_requests: int = 3
    failure_rate: float | None = None
    minimum_calls: int = 10
    slow_call_duration: float | None = None
    slow_call_rate: float | None = None
    counts: Callable[[QiError], bool | None] = is_ill

    def check(self) -> Result[Self]:
        """Return these options, or INVALID_RESILIENCE_CONFIG [VALIDATION] naming every one that is wrong."""
        checks = Checks()
        for name in ("failure_threshold", "half_open_requests", "minimum_calls"):
            checks.whole(name, getattr(self, name))
        for name in ("reset_timeout", "monitoring_period"):
            checks.seconds(name, getattr(self, name))
        for name in ("failure_rate", "slow_call_rate"):
            share = getattr(self, name)
            right = share is None or (is_number(share) and 0 < share <= 1)
            checks.that(right, f"{name} must be a share above 0 and up to 1, or None")
        checks.seconds("slow_call_duration", self.slow_call_duration, none=True)
        checks.that(
            (self.slow_call_duration is None) == (self.slow_call_rate is None),
            "slow_call_duration and slow_call_rate go together",
        )
        counts: object = self.counts  # whatever callers without types gave
        checks.that(callable(counts), "counts must be a function of an error")
        return checks.answer(self, INVALID_CONFIG)
