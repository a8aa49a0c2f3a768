"""Who is told when a circuit opens and closes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

from qicore.base import QiError
from qicore.resilience.phases import CircuitState

__all__ = ["CircuitChange", "Listener", "Listeners"]

_log = logging.getLogger("qicore.resilience")


@dataclass(frozen=True, slots=True)
class CircuitChange:
    """A circuit changed its state.

    Attributes:
        name: the circuit breaker's.
        before: the state it left.
        after: the state it is in since.
        error: the error that opened it; None for every other reason.
        at: when, by the breaker's own clock, in seconds.
    """

    name: str
    before: CircuitState
    after: CircuitState
    error: QiError | None
    at: float


Listener: TypeAlias = Callable[[CircuitChange], object]


class Listeners:
    """Tells every change to every listener, in the order the changes happened, one after the other.

    `push` is called under the circuit's lock and `tell` outside of it, so a listener may use the breaker, and
    one that takes its time holds up nobody but the call that brought the change about.
    """

    __slots__ = ("_changes", "_listeners", "_lock", "_telling")

    def __init__(self, lock: AbstractContextManager[object]) -> None:
        self._lock = lock
        self._listeners: tuple[Listener, ...] = ()
        self._changes: deque[CircuitChange] = deque()
        self._telling = False

    def add(self, listener: Listener) -> None:
        """Tell `listener` from now on."""
        with self._lock:
            self._listeners = (*self._listeners, listener)

    def remove(self, listener: Listener) -> None:
        """Tell `listener` no more; nothing happens when it is not there."""
        with self._lock:
            self._listeners = tuple(known for known in self._listeners if known != listener)

    def push(self, change: CircuitChange) -> None:
        """Take a change to be told."""
        self._changes.append(change)

    def tell(self) -> None:
        """Tell what is to be told, unless another call is at it already: that one tells this, too."""
        while self._changes:
            with self._lock:
                if self._telling or not self._changes:
                    return
                self._telling = True
                change, listeners = self._changes.popleft(), self._listeners
            try:
                _report(change)
                for listener in listeners:
                    try:
                        listener(change)
                    except Exception:  # noqa: BLE001 - logged: what listens never hurts a call
                        _log.exception("a listener of circuit %r failed", change.name)
            finally:
                self._telling = False


def _report(change: CircuitChange) -> None:
    level = logging.WARNING if change.after is CircuitState.OPEN else logging.INFO
    why = "" if change.error is None else f": {change.error.category.value}/{change.error.code}"
    _log.log(level, "circuit %r is %s, it was %s%s", change.name, change.after, change.before, why)
