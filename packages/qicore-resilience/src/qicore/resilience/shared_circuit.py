"""A circuit that is one with those of other processes: it follows the fleet's, and tells what happens here.

A call meets only what is known here; nothing of it waits for Redis. While the fleet can't be heard it is a
circuit like any other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from qicore.base import Failure, QiError
from qicore.resilience.config import CircuitBreakerConfig
from qicore.resilience.errors import circuit_open
from qicore.resilience.machine import Circuit
from qicore.resilience.phases import Closed, HalfOpen, Open, Phase

__all__ = ["Change", "Fleet", "SharedCircuit", "Told"]

_IDLE: Final = 0.25  # seconds for which those go first, after `reset_timeout`, that have calls to make
_ASK: Final = 0.05  # seconds between two questions for the lead


class Told(NamedTuple):
    """What a circuit is for the fleet; `version` None when it never opened, `left` None by hand."""

    version: tuple[str, int] | None
    open: bool
    left: float | None


class Change(NamedTuple):
    """What has happened here, and on which version of the fleet's circuit; `left` None by hand."""

    base: tuple[str, int] | None
    open: bool
    left: float | None
    by_hand: bool


class Fleet(Protocol):
    """The way to the others."""

    def heard(self) -> bool:
        """Whether the others are heard now."""
        ...

    def notify(self, circuit: SharedCircuit) -> None:
        """Look after a circuit soon: it has something to tell, or to ask."""
        ...


class SharedCircuit(Circuit):
    """Follows the fleet, and leads it while this process has the lead.

    In HALF_OPEN one process at a time has the lead, and with it all `half_open_requests` probes; at the
    others the circuit stays open meanwhile.

    Attributes:
        pending: the last change here that the fleet has not heard of, or None.
        synchronised: whether the fleet's state was asked for since the connection stands.
        queued: whether the fleet will look after it soon.
    """

    __slots__ = (
        "__weakref__", "_adopting", "_ask_at", "_base", "_fleet", "_known", "_lead_until", "_probed",
        "_reported", "_unreported", "pending", "queued", "synchronised",
    )  # fmt: skip

    def __init__(
        self, config: CircuitBreakerConfig, name: str, clock: Callable[[], float], fleet: Fleet
    ) -> None:
        super().__init__(config, name, clock)
        self._fleet = fleet
        self._adopting = self.synchronised = self.queued = False
        self._base: tuple[str, int] | None = None  # what changes here are founded on
        self._known: tuple[str, int] | None = None  # the same since the connection stands
        self.pending: Change | None = None
        self._unreported = 0
        self._reported: tuple[Closed, tuple[int, int, int]] | None = None
        self._lead_until = self._ask_at = self._probed = float("-inf")

    @property
    def name(self) -> str:
        """What it leads to."""
        return self._name

    @property
    def config(self) -> CircuitBreakerConfig:
        """The options."""
        return self._config

    # ---- calls

    def _admit_probe(self, now: float) -> Closed | HalfOpen | Failure:
        phase = self._phase
        moment = time.monotonic()
        if type(phase) is not Closed and self._fleet.heard() and moment >= self._lead_until:
            phase.rejected += 1
            if moment >= self._ask_at:
                self._fleet.notify(self)
            return Failure(circuit_open(self._name, None, "is half open, and its probes are under way"))
        self._probed = moment
        return super()._admit_probe(now)

    def _settle(self, phase: Closed | HalfOpen, started: float, failure: QiError | None) -> None:
        super()._settle(phase, started, failure)
        if failure is not None and phase is self.closed and self._config.failure_rate is None:
            self._unreported += 1
            self._fleet.notify(self)

    def _decides(self, phase: Closed) -> bool:
        # A rate is one of the whole fleet's calls. So many failures here are at least as many in the fleet.
        return phase.window.rates is None or not self._fleet.heard()

    def _enter(
        self, phase: Phase, now: float, error: QiError | None = None, *, by_hand: bool = False
    ) -> None:
        super()._enter(phase, now, error, by_hand=by_hand)
        self._unreported = 0
        self._reported = None
        if type(phase) is not HalfOpen:
            self._lead_until = float("-inf")
        if self._adopting or type(phase) is HalfOpen:
            return
        left = phase.until - now if type(phase) is Open and phase.until is not None else None
        self.pending = Change(self._base, type(phase) is Open, left, by_hand)
        self._fleet.notify(self)

    # ---- the fleet

    @property
    def version(self) -> tuple[str, int] | None:
        """The version of the fleet's circuit that is known here."""
        return self._known

    def disconnected(self) -> None:
        """Take in that the fleet is no more heard: whatever it says next is news."""
        with self._lock:
            self.synchronised = False
            self._known = None
            self._lead_until = float("-inf")

    def situation(self) -> Change:
        """Return what it is here, to be told where the fleet knows nothing of it."""
        with self._lock:
            if self.pending is not None:
                return self.pending
            phase = self._phase
            left: float | None = 0.0
            if type(phase) is Open:
                left = None if phase.until is None else max(0.0, phase.until - self.clock())
            return Change(None, type(phase) is not Closed, left, by_hand=False)

    def answered(self, change: Change, told: Told, *, accepted: bool) -> None:
        """Take in what came of a change that was told to the fleet."""
        with self._lock:
            if accepted and self._is_news(told):
                self._base = self._known = told.version
            if self.pending is change:
                self.pending = None
            elif accepted and self.pending is not None:
                self.pending = self.pending._replace(base=told.version)
        if not accepted:
            self.adopt(told)

    def adopt(self, told: Told) -> None:
        """Become what the fleet's circuit is, if that is news here."""
        with self._lock:
            if not self._is_news(told):
                return
            anew = self._base is not None and self._base != told.version
            self._base = self._known = told.version
            if self.pending is not None and self.pending.by_hand:
                return
            self.pending = None
            self._adopting = True
            try:
                self._become(told, self.clock(), anew=anew)
            finally:
                self._adopting = False
        self.listeners.tell()

    def _is_news(self, told: Told) -> bool:
        known = self._known
        if told.version is None:
            return False
        return known is None or told.version[0] != known[0] or told.version[1] > known[1]

    def _become(self, told: Told, now: float, *, anew: bool) -> None:
        phase = self._phase
        if not told.open:
            if anew or type(phase) is not Closed:
                self._enter(self._closed(now), now)
            return
        until = None if told.left is None else now + told.left
        if type(phase) is Open:
            phase.until = until
        else:
            self._enter(Open(until), now)

    def report(self) -> tuple[int, int, int] | None:
        """Take the calls, failed calls and slow calls that the fleet has not heard of, or None."""
        with self._lock:
            phase = self._phase
            if type(phase) is not Closed:
                return None
            failed = min(self._unreported, phase.window.failures(self.clock()))
            self._unreported = 0
            rates = phase.window.rates
            if rates is None:
                return (0, failed, 0) if failed else None
            before = self._reported[1] if self._reported and self._reported[0] is phase else (0, 0, 0)
            totals = rates.totals()
            self._reported = (phase, totals)
            calls, ill, slow = (after - earlier for after, earlier in zip(totals, before, strict=True))
            return (calls, ill, slow) if calls else None

    @property
    def rated(self) -> bool:
        """Whether the fleet counts every call."""
        phase = self._phase
        return type(phase) is Closed and phase.window.rates is not None

    # ---- the lead

    def due_in(self) -> float | None:
        """Return in how many seconds probes may be sent; None when it is closed, or open by hand."""
        phase = self._phase
        if type(phase) is HalfOpen:
            return 0.0
        if type(phase) is Open and phase.until is not None:
            return max(0.0, phase.until - self.clock())
        return None

    @property
    def leads(self) -> bool:
        """Whether this process has the lead."""
        return time.monotonic() < self._lead_until

    def asks(self) -> bool | None:
        """Return whether there are calls to make; None when it is no time to ask for the lead."""
        phase = self._phase
        moment = time.monotonic()
        if self.due_in() != 0.0 or moment < self._ask_at:
            return None
        demand = phase.rejected > 0
        if not (demand or self.leads or type(phase) is HalfOpen):
            waited = self.clock() - phase.until if type(phase) is Open and phase.until is not None else 0.0
            if waited < _IDLE:
                return None
        self._ask_at = moment + _ASK
        return demand

    def lead(self, until: float) -> None:
        """Have the lead until that moment of `time.monotonic`."""
        with self._lock:
            if self.due_in() == 0.0:
                if not self.leads:
                    self._probed = time.monotonic()
                self._lead_until = until

    def postpone(self, left: float) -> None:
        """Take in that probes may be sent only in `left` seconds, by the fleet's clock."""
        with self._lock:
            phase = self._phase
            if type(phase) is Open and phase.until is not None:
                phase.until = max(phase.until, self.clock() + left)

    def step_down(self, patience: float) -> bool:
        """Give the lead up, if no probe is under way or has begun within so many seconds."""
        with self._lock:
            phase = self._phase
            if type(phase) is HalfOpen and phase.running:
                return False
            if time.monotonic() - self._probed < patience:
                return False
            self._lead_until = float("-inf")
            return True
