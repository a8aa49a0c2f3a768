"""What policies have seen so far."""

from __future__ import annotations

from dataclasses import dataclass

from qicore.resilience.phases import CircuitState

__all__ = ["BulkheadStatistics", "CircuitStatistics", "HedgeStatistics", "RateLimiterStatistics"]


@dataclass(frozen=True, slots=True)
class CircuitStatistics:
    """Counts since the breaker was made, or was reset; and what it looks at now.

    A call that ended after its circuit had changed its state is counted as `late` and as nothing else.

    Attributes:
        state: the state now.
        succeeded: calls that counted as a success.
        failed: calls that counted as a failure.
        slow: calls that took `slow_call_duration` or longer, whatever their outcome.
        released: calls that counted as neither: they were cancelled, or turned away further down.
        rejected: calls that were not let through: CIRCUIT_OPEN.
        late: calls that counted for nothing, for the state had changed since they were let through.
        opened: how often the circuit opened.
        recent_failures: failures within the window; 0 unless CLOSED.
        retry_after: seconds until probes are let through; None unless OPEN, or when it was opened by hand.
        last_error: the last error that counted as a failure, as text, or None. The error itself is not kept,
            for behind it may stand an exception, its traceback, and all that its frames hold.
    """

    state: CircuitState
    succeeded: int
    failed: int
    slow: int
    released: int
    rejected: int
    late: int
    opened: int
    recent_failures: int
    retry_after: float | None
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkheadStatistics:
    """How full a bulkhead is.

    Attributes:
        running: calls that are in.
        waiting: calls that wait for their turn.
        rejected: calls that were turned away, or left the line, since it was made.
    """

    running: int
    waiting: int
    rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeStatistics:
    """What a hedge has done since it was made. Their ratio says whether its delay is right.

    Attributes:
        calls: calls that were made through it.
        further: attempts that it began beside, or after, the first ones.
    """

    calls: int
    further: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimiterStatistics:
    """What a rate limiter has done since it was made, and what it would do now.

    Attributes:
        allowed: calls that had their turn.
        waiting: calls that wait for it.
        rejected: calls that were turned away.
        available: how many calls could begin now.
    """

    allowed: int
    waiting: int
    rejected: int
    available: int
