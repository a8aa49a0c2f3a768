"""The leave to make one call, for what succeeds or fails long after it began, such as a stream."""

from __future__ import annotations

from qicore.base import QiError
from qicore.resilience.machine import Circuit
from qicore.resilience.phases import Closed, HalfOpen

__all__ = ["Permit"]


class Permit:
    """The leave to make one call, from `CircuitBreaker.admit`. Whoever holds it says how the call ended.

    Exactly one of `success`, `failure` and `release` counts, the first one; later ones do nothing. A permit
    that is forgotten is given back when it is collected. One from before a change of the circuit's state
    counts for nothing.

    >>> from qicore.resilience import CircuitBreaker
    >>> breaker = CircuitBreaker()
    >>> permit = breaker.admit().unwrap()
    >>> permit.failure(QiError.network("NETWORK_ERROR", "the stream broke off"))
    >>> permit.success()
    >>> breaker.statistics().failed, breaker.statistics().succeeded
    (1, 0)
    """

    __slots__ = ("_circuit", "_phase", "_started")

    def __init__(self, circuit: Circuit, phase: Closed | HalfOpen, started: float) -> None:
        self._circuit = circuit
        self._phase: Closed | HalfOpen | None = phase
        self._started = started

    def success(self) -> None:
        """Count the call as a success."""
        phase, self._phase = self._phase, None
        if phase is not None:
            self._circuit.succeed(phase, self._started)

    def failure(self, error: QiError) -> None:
        """Count the call as what `error` says, which is up to `config.counts`."""
        phase, self._phase = self._phase, None
        if phase is not None:
            self._circuit.fail(phase, self._started, error)

    def release(self) -> None:
        """Give the permit back: the call was cancelled, or never made, and counts as neither."""
        phase, self._phase = self._phase, None
        if phase is not None:
            phase.release()

    def __del__(self) -> None:
        self.release()
