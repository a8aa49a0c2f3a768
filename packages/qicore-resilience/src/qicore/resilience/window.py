"""What a closed circuit remembers of its last calls."""

from __future__ import annotations

from collections import deque
from typing import Final

from qicore.resilience.config import CircuitBreakerConfig

__all__ = ["Rates", "Window"]

_STEPS: Final = 100
"""Into how many steps the period of a window for rates is divided."""


class Window:
    """The calls of the last `monitoring_period` seconds, and whether they are reason to open.

    Without rates only failures are remembered, and no more of them than it takes to open the circuit, each by
    its very moment. Rates need every call, so there they are counted by steps of time, see `Rates`.
    """

    __slots__ = ("_config", "_failures", "_rates")

    def __init__(self, config: CircuitBreakerConfig, now: float) -> None:
        self._config = config
        self._failures: deque[float] = deque(maxlen=config.failure_threshold)
        rated = config.failure_rate is not None or config.slow_call_rate is not None
        self._rates = Rates(config.monitoring_period, now) if rated else None

    def add(self, now: float, *, failed: bool, slow: bool) -> bool:
        """Remember a call that ended at `now`; return whether the circuit must open."""
        config, rates = self._config, self._rates
        if failed:
            self._failures.append(now)
        if rates is not None:
            rates.add(now, failed=failed, slow=slow)
            if rates.calls >= config.minimum_calls:
                if config.failure_rate is not None and rates.failed / rates.calls >= config.failure_rate:
                    return True
                if config.slow_call_rate is not None and rates.slow / rates.calls >= config.slow_call_rate:
                    return True
        return (
            failed
            and config.failure_rate is None
            and len(self._failures) == config.failure_threshold
            and now - self._failures[0] < config.monitoring_period
        )

    def failures(self, now: float) -> int:
        """Return how many of the failures it remembers are within the window at `now`."""
        if self._config.failure_rate is not None and self._rates is not None:
            self._rates.slide(now)
            return self._rates.failed
        return sum(now - moment < self._config.monitoring_period for moment in tuple(self._failures))


class Rates:
    """Counts of calls, failures and slow calls, by steps of time in a ring, with their sums kept up to date.

    Its memory is bounded whatever the traffic, and adding a call costs the same whatever came before.
    """

    __slots__ = ("_calls", "_failed", "_slow", "_step", "_width", "calls", "failed", "slow")

    def __init__(self, period: float, now: float) -> None:
        self._width = period / _STEPS
        self._step = int(now // self._width)
        self._calls, self._failed, self._slow = [0] * _STEPS, [0] * _STEPS, [0] * _STEPS
        self.calls = self.failed = self.slow = 0

    def slide(self, now: float) -> int:
        """Forget what is out of the window at `now`; return the place of the current step in the ring."""
        step = int(now // self._width)
        last = self._step
        # A thread may come with a moment it read before another came with a later one.
        if step > last:
            for place in range(max(last + 1, step - _STEPS + 1), step + 1):
                index = place % _STEPS
                if self._calls[index]:
                    self.calls -= self._calls[index]
                    self.failed -= self._failed[index]
                    self.slow -= self._slow[index]
                    self._calls[index] = self._failed[index] = self._slow[index] = 0
            self._step = step
        return self._step % _STEPS

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        """Count a call that ended at `now`."""
        index = self.slide(now)
        self._calls[index] += 1
        self.calls += 1
        if failed:
            self._failed[index] += 1
            self.failed += 1
        if slow:
            self._slow[index] += 1
            self.slow += 1
