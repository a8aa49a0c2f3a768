"""The phases of a circuit: an object for each time it was closed, open or half open.

A call keeps the phase that let it through. If that is no longer the circuit's own when the call ends, the
call counts for nothing: it tells of a time that is over.

`succeeded`, `released` and `rejected` are for the statistics. They are counted up without a lock where
nothing else depends on them: CPython's interpreter lock is not given away within `x.n += 1`, and on a build
without that lock a count may be lost, never a decision.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Final, TypeAlias, final

from qicore.base import Failure
from qicore.resilience.errors import circuit_open
from qicore.resilience.window import Window

__all__ = ["CircuitState", "Closed", "HalfOpen", "Open", "Phase"]


class CircuitState(StrEnum):
    """Whether a circuit lets calls through: all (CLOSED), none (OPEN), or a few to try (HALF_OPEN)."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


@final
class Closed:
    """Every call goes through."""

    __slots__ = ("rejected", "released", "succeeded", "window")

    state: Final = CircuitState.CLOSED

    def __init__(self, window: Window) -> None:
        self.window = window
        self.succeeded = self.released = self.rejected = 0

    def release(self) -> None:
        """Take note of a call that counts as neither."""
        self.released += 1


@final
class Open:
    """No call goes through before `until`; none at all when that is None, for it was opened by hand."""

    __slots__ = ("_fresh", "rejected", "released", "succeeded", "until")

    state: Final = CircuitState.OPEN

    def __init__(self, until: float | None) -> None:
        self.until = until
        self._fresh: tuple[float, Failure] | None = None
        self.succeeded = self.released = self.rejected = 0

    def rejection(self, name: str, now: float) -> Failure:
        """Return why a call of circuit `name` does not go through.

        An open circuit is asked most when it has least to give. So an answer serves all who come within the
        same millisecond, which is as finely as errors tell time, unless it was raised or given a note.
        """
        fresh = self._fresh
        if fresh is not None and fresh[0] <= now < fresh[0] + 0.001:
            error = fresh[1].error
            if error.__traceback__ is None and not error.__dict__:
                return fresh[1]
        if self.until is None:
            answer = Failure(circuit_open(name, None, "was opened by hand"))
        else:
            answer = Failure(circuit_open(name, max(0.0, self.until - now), "is open"))
        self._fresh = (now, answer)
        return answer


@final
class HalfOpen:
    """As many calls go through as there are permits."""

    __slots__ = ("_left", "_permits", "_returned", "rejected", "released", "slow", "succeeded")

    state: Final = CircuitState.HALF_OPEN

    def __init__(self, permits: int) -> None:
        self._left = self._permits = permits
        # The garbage collector may give a permit back, at any moment of any thread, even of one that is in
        # the middle of a change. A deque takes it whatever goes on, and `take` looks there.
        self._returned: deque[None] = deque()
        self.succeeded = self.released = self.rejected = self.slow = 0

    def take(self) -> bool:
        """Take a permit, under the lock; False when there is none left."""
        while self._returned:
            self._returned.pop()
            self._left += 1
        self._left -= 1
        if self._left >= 0:
            return True
        self._left = 0
        return False

    @property
    def running(self) -> int:
        """How many probes are under way."""
        return self._permits - self._left - len(self._returned) - self.succeeded

    def rejection(self, name: str) -> Failure:
        """Return why a call of circuit `name` does not go through."""
        return Failure(circuit_open(name, None, "is half open, and its probes are under way"))

    def release(self) -> None:
        """Take back the permit of a call that counts as neither."""
        self.released += 1
        self._returned.append(None)


Phase: TypeAlias = Closed | Open | HalfOpen
