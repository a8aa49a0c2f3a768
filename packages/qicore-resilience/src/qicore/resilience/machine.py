"""The state machine of a circuit: what `CircuitBreaker` and `Permit` are two faces of."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from threading import RLock
from typing import Final

from qicore.base import Failure, QiError
from qicore.resilience.config import CircuitBreakerConfig
from qicore.resilience.errors import NEVER_CALLED
from qicore.resilience.listeners import CircuitChange, Listeners
from qicore.resilience.phases import CircuitState, Closed, HalfOpen, Open, Phase
from qicore.resilience.statistics import CircuitStatistics
from qicore.resilience.window import Window

__all__ = ["Circuit"]

_log: Final = logging.getLogger("qicore.resilience")


class Circuit:
    """Admits calls, takes in how they ended, and goes from phase to phase, always under its lock.

    Attributes:
        closed: the phase, if it is closed: the way in of nearly all calls, which takes no lock.
        quick: the same, if of a success it needs to know no more than that there was one: their way out.
        timed: whether it matters how long a call takes.
    """

    __slots__ = (
        "_config",
        "_failed",
        "_last_error",
        "_late",
        "_limit",
        "_lock",
        "_name",
        "_opened",
        "_phase",
        "_rejected",
        "_released",
        "_simple",
        "_slow",
        "_succeeded",
        "clock",
        "closed",
        "listeners",
        "quick",
        "timed",
    )

    def __init__(self, config: CircuitBreakerConfig, name: str, clock: Callable[[], float]) -> None:
        self._config = config
        self._name = name
        self.clock = clock
        self.timed = config.slow_call_duration is not None
        self._limit = math.inf if config.slow_call_duration is None else config.slow_call_duration
        self._simple = config.failure_rate is None and config.slow_call_rate is None
        # A call may end in a signal handler or a finaliser, in a thread that holds the lock already.
        self._lock = RLock()
        self.listeners = Listeners(self._lock)
        self._last_error: str | None = None
        self._forget()
        closed = self._closed(clock())
        self._phase: Phase = closed
        self.closed: Closed | None = closed
        self.quick: Closed | None = closed if self._simple else None

    @property
    def state(self) -> CircuitState:
        """The state now: an open circuit whose time is over lets the next call through."""
        phase = self._phase
        if type(phase) is Open and phase.until is not None and self.clock() >= phase.until:
            return CircuitState.HALF_OPEN
        return phase.state

    def admit(self) -> Closed | HalfOpen | Failure:
        """Return the phase that lets a call through, or why none does."""
        phase = self._phase
        if type(phase) is Closed:
            return phase
        now = self.clock()
        if type(phase) is Open and (phase.until is None or now < phase.until):
            phase.rejected += 1
            return phase.rejection(self._name, now)
        with self._lock:
            admitted = self._admit_probe(now)
        try:
            self.listeners.tell()
        except BaseException:  # an interrupt: nobody holds yet what was admitted
            if not isinstance(admitted, Failure):
                admitted.release()
            raise
        return admitted

    def _admit_probe(self, now: float) -> Closed | HalfOpen | Failure:
        phase = self._phase
        if type(phase) is Open and phase.until is not None and now >= phase.until:
            phase = HalfOpen(self._config.half_open_requests)
            self._enter(phase, now)
        if type(phase) is Closed:  # another thread's probe was the last that was needed
            return phase
        if type(phase) is HalfOpen and phase.take():
            return phase
        phase.rejected += 1
        return phase.rejection(self._name, now) if type(phase) is Open else phase.rejection(self._name)

    def succeed(self, phase: Closed | HalfOpen, started: float) -> None:
        """Take in that a call succeeded which `phase` let through."""
        closed = self.closed
        if closed is not None and phase is closed:
            rates = closed.window.rates
            if rates is None:
                phase.succeeded += 1
                return
            now = self.clock()
            if rates.calm and now < rates.until and now - started < self._limit:
                phase.succeeded += 1
                rates.calls += 1
                return
        self._settle(phase, started, None)

    def fail(self, phase: Closed | HalfOpen, started: float, error: QiError) -> None:
        """Take in that a call failed which `phase` let through; what that means is up to `error`."""
        ill = self._is_ill(error)
        if ill:
            self._settle(phase, started, error)
        elif ill is None or error.code in NEVER_CALLED:
            phase.release()
        else:
            self._settle(phase, started, None)

    def _is_ill(self, error: QiError) -> bool | None:
        try:
            return self._config.counts(error)
        except Exception:  # noqa: BLE001 - logged, and taken for a failure: nothing here hurts a call
            _log.exception("`counts` of circuit %r failed: the error counts", self._name)
            return True

    def _settle(self, phase: Closed | HalfOpen, started: float, failure: QiError | None) -> None:
        now = self.clock()
        failed, slow = failure is not None, self.timed and now - started >= self._limit
        with self._lock:
            if phase is not self._phase:
                self._late += 1
                return
            self._slow += slow
            if failed:
                self._failed += 1
                self._last_error = str(failure)
            else:
                phase.succeeded += 1
            if type(phase) is HalfOpen:
                self._settle_probe(phase, now, failure, slow=slow)
            elif phase.window.add(now, failed=failed, slow=slow) and self._decides(phase):
                self._enter(Open(now + self._config.reset_timeout), now, failure)
        self.listeners.tell()

    def _decides(self, phase: Closed) -> bool:  # noqa: ARG002 - for a circuit that is shared with others
        """Whether its own window is enough to open it."""
        return True

    def _settle_probe(self, phase: HalfOpen, now: float, failure: QiError | None, *, slow: bool) -> None:
        phase.slow += slow
        needed, limit = self._config.half_open_requests, self._config.slow_call_rate
        if failure is None and phase.succeeded < needed:
            return
        if failure is not None or (limit is not None and phase.slow / needed >= limit):
            self._enter(Open(now + self._config.reset_timeout), now, failure)
        else:
            self._enter(self._closed(now), now)

    def open(self) -> None:
        """Open it until further notice."""
        self._force(Open(None))

    def close(self, *, anew: bool) -> None:
        """Close it with an empty window; `anew` with empty statistics, too."""
        self._force(self._closed(self.clock()), anew=anew)

    def _force(self, phase: Phase, *, anew: bool = False) -> None:
        with self._lock:
            self._enter(phase, self.clock(), by_hand=True)
            if anew:
                self._forget()
        self.listeners.tell()

    def _closed(self, now: float) -> Closed:
        return Closed(Window(self._config, now))

    def _enter(
        self,
        phase: Phase,
        now: float,
        error: QiError | None = None,
        *,
        by_hand: bool = False,  # noqa: ARG002 - for a circuit that is shared with others
    ) -> None:
        before, self._phase = self._phase, phase
        self.closed = phase if type(phase) is Closed else None
        self.quick = self.closed if self._simple else None
        self._succeeded += before.succeeded
        self._released += before.released
        self._rejected += before.rejected
        if before.state is not phase.state:
            self._opened += type(phase) is Open
            self.listeners.push(CircuitChange(self._name, before.state, phase.state, error, now))

    def _forget(self) -> None:
        self._succeeded = self._failed = self._slow = self._released = 0
        self._rejected = self._late = self._opened = 0
        self._last_error = None

    def illness(self) -> int:
        """Return 0 if it has nothing to remember, and more the worse it would be to forget it."""
        phase = self._phase
        if type(phase) is Closed:
            return 1 if phase.window.failures(self.clock()) else 0
        if type(phase) is Open:
            return 4 if phase.until is None else 3
        return 2

    def statistics(self) -> CircuitStatistics:
        """Return what it has seen so far."""
        with self._lock:
            phase, now = self._phase, self.clock()
            until = phase.until if type(phase) is Open else None
            return CircuitStatistics(
                state=self.state,
                succeeded=self._succeeded + phase.succeeded,
                failed=self._failed,
                slow=self._slow,
                released=self._released + phase.released,
                rejected=self._rejected + phase.rejected,
                late=self._late,
                opened=self._opened,
                recent_failures=phase.window.failures(now) if type(phase) is Closed else 0,
                retry_after=None if until is None else max(0.0, until - now),
                last_error=self._last_error,
            )
