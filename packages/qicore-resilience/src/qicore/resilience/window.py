"""What a closed circuit remembers of its last calls."""

from __future__ import annotations

from collections import deque
from typing import Final

from qicore.resilience.config import CircuitBreakerConfig

__all__ = ["Rates", "Window"]

_STEPS: Final = 100


class Window:
    """The calls of the last `monitoring_period` seconds, and whether they are reason to open.

    Without rates only failures are remembered, and no more of them than it takes to open the circuit, each by
    its very moment. Rates need every call, so there they are counted by steps of time, see `Rates`.
    """

    __slots__ = ("_config", "_failures", "rates")

    def __init__(self, config: CircuitBreakerConfig, now: float) -> None:
        self._config = config
        self._failures: deque[float] = deque(maxlen=config.failure_threshold)
        rated = config.failure_rate is not None or config.slow_call_rate is not None
        self.rates = Rates(config.monitoring_period, now) if rated else None

    def add(self, now: float, *, failed: bool, slow: bool) -> bool:
        """Remember a call that ended at `now`; return whether the circuit must open."""
        config, rates = self._config, self.rates
        if failed:
            self._failures.append(now)
        if rates is not None:
            rates.add(now, failed=failed, slow=slow)
            calls, failures, slow_calls = rates.counts(now)
            if calls >= config.minimum_calls:
                if config.failure_rate is not None and failures / calls >= config.failure_rate:
                    return True
                if config.slow_call_rate is not None and slow_calls / calls >= config.slow_call_rate:
                    return True
        return (
            failed
            and config.failure_rate is None
            and len(self._failures) == config.failure_threshold
            and now - self._failures[0] < config.monitoring_period
        )

    def failures(self, now: float) -> int:
        """Return how many failures are within the window at `now`."""
        if self._config.failure_rate is not None and self.rates is not None:
            return self.rates.counts(now)[1]
        return sum(now - moment < self._config.monitoring_period for moment in tuple(self._failures))


class Rates:
    """How many calls, failed calls and slow calls there were within a period that slides by steps of time.

    The counts only ever grow; what they were at the start of each step is kept in a ring, and what is within
    the window is what came since the oldest of these marks. So a call costs one addition, whatever the
    traffic, and that of a success needs no lock (see `qicore.resilience.phases`); all else is done under one.

    Attributes:
        calls: how many calls there were ever.
        until: when the current step ends, by the circuit's clock.
        calm: whether no call within the window failed or was slow, so that one more success changes nothing.
    """

    __slots__ = ("_failed", "_marks", "_oldest", "_slow", "_step", "_width", "calls", "calm", "until")

    def __init__(self, period: float, now: float) -> None:
        self._width = period / _STEPS
        self._step = int(now // self._width)
        self.until = (self._step + 1) * self._width
        self.calls = self._failed = self._slow = 0
        self.calm = True
        self._oldest = (0, 0, 0)
        self._marks: list[tuple[int, int, int]] = [self._oldest] * _STEPS

    def add(self, now: float, *, failed: bool, slow: bool) -> None:
        """Count a call that ended at `now`."""
        self._slide(now)
        self.calls += 1
        self._failed += failed
        self._slow += slow
        if failed or slow:
            self.calm = False

    def counts(self, now: float) -> tuple[int, int, int]:
        """Return how many calls, failed calls and slow calls are within the window at `now`."""
        self._slide(now)
        calls, failed, slow = self._oldest
        return self.calls - calls, self._failed - failed, self._slow - slow

    def totals(self) -> tuple[int, int, int]:
        """Return how many calls, failed calls and slow calls there were ever."""
        return self.calls, self._failed, self._slow

    def _slide(self, now: float) -> None:
        step = int(now // self._width)
        # A thread may come with a moment that it read before another one came with a later.
        if step <= self._step:
            return
        mark = (self.calls, self._failed, self._slow)
        for passed in range(max(self._step + 1, step - _STEPS + 1), step + 1):
            self._marks[passed % _STEPS] = mark
        self._step = step
        self.until = (step + 1) * self._width
        self._oldest = self._marks[(step + 1) % _STEPS]
        self.calm = self._oldest[1:] == mark[1:]
