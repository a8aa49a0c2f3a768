"""A budget for retries: it keeps them from becoming the outage."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import RLock
from typing import Final

__all__ = ["RetryBudget"]

# Ten times 0.1 is a little less than 1, and is one retry all the same.
_ONE: Final = 1 - 1e-9


class RetryBudget:
    """Bounds the retries of all who share it to a share of their calls.

    When a service is down every caller retries, and three attempts each are three times the load on what is
    ill already. Each call pays `ratio` of a retry in, and `minimum` more a second, up to `capacity`; each
    retry takes one out. So in any time there are no more retries than `capacity + ratio * calls + minimum *
    seconds`, whatever happens. Finagle and gRPC do the same ("retry budget", "retry throttling").

    Tasks and threads may share one. Raises ValueError for options that are wrong.

    >>> budget = RetryBudget(ratio=0.5, minimum=0, capacity=1)
    >>> budget.withdraw(), budget.withdraw()
    (True, False)
    >>> budget.deposit(); budget.deposit(); budget.withdraw()
    True
    """

    __slots__ = ("_capacity", "_clock", "_lock", "_minimum", "_ratio", "_tokens", "_updated")

    def __init__(
        self,
        *,
        ratio: float = 0.2,
        minimum: float = 1.0,
        capacity: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (0 <= ratio < math.inf and 0 <= minimum < math.inf and 1 <= capacity < math.inf):
            raise ValueError("ratio and minimum must be 0 or more, capacity 1 or more")
        self._ratio = ratio
        self._minimum = minimum
        self._capacity = capacity
        self._clock = clock
        # A call may begin in a signal handler or a finaliser, in a thread that holds the lock already.
        self._lock = RLock()
        self._tokens = capacity
        self._updated = clock()

    def deposit(self) -> None:
        """Pay for a call that is made for the first time."""
        with self._lock:
            self._refill()
            self._tokens = min(self._capacity, self._tokens + self._ratio)

    def withdraw(self) -> bool:
        """Take out one retry; False when there is none left."""
        with self._lock:
            self._refill()
            if self._tokens < _ONE:
                return False
            self._tokens = max(0.0, self._tokens - 1)
            return True

    @property
    def available(self) -> float:
        """How many retries are left now."""
        with self._lock:
            self._refill()
            return self._tokens

    def _refill(self) -> None:
        now = self._clock()
        # A clock that goes back is waited for, lest the same seconds pay twice.
        if now > self._updated:
            self._tokens = min(self._capacity, self._tokens + (now - self._updated) * self._minimum)
            self._updated = now

    def __repr__(self) -> str:
        return f"<RetryBudget {self.available:.3g} of {self._capacity:g}>"
