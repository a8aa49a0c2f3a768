"""Turns at a rate: the arithmetic of the rate limiter, without a clock, a lock or a wait."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from typing import Final

__all__ = ["Turns"]

_COURTESY: Final = 0.01
"""Seconds for which one whose turn has come lets those before it go first, at most. They may be held up."""


class Turns:
    """Promises turns, `interval` seconds apart, of which up to `burst` may be taken at once after a pause.

    It is the generic cell rate algorithm (ITU-T I.371), twice: once for what was promised, so that each comes
    in the order in which it asked, and once for what has begun, so that the rate holds even when some begin
    late, for their event loop or thread was held up. Then all turns behind move back by as much.

    A turn is a time, as it was promised; it may begin up to the tolerance (what `burst` allows) before that.

    >>> turns = Turns(interval=1, burst=2)
    >>> [turns.begin(turns.promise(now=10), now=10) for _ in range(3)]
    [0.0, 0.0, 1.0]

    Attributes:
        waiting: the turns that were promised and have not begun, in order.
    """

    __slots__ = (
        "_begun", "_courtesy", "_given_back", "_head", "_interval", "_last", "_late", "_next", "_noticed",
        "_tolerance", "waiting",
    )  # fmt: skip

    def __init__(self, interval: float, burst: int) -> None:
        # Shorter than clocks tell apart and longer than anyone waits is enough, and can be reckoned with.
        self._interval = interval = min(max(interval, 1e-12), 1e12)
        self._tolerance = interval * (burst - 1)
        self._courtesy = min(interval, _COURTESY)
        # The "theoretical arrival times" of the algorithm: the earliest turns that are left.
        self._next = self._begun = -math.inf
        self._late = 0.0  # how far turns moved back since they were promised
        self._last = -math.inf  # the last turn that has begun
        self._head = self._noticed = -math.inf  # whom others let go first, and since when
        self._given_back: list[float] = []  # in order; those at the end go out again
        self.waiting: list[float] = []

    def until_free(self, now: float) -> float:
        """Return the seconds until all has passed that was promised, or begun; 0 when it is at rest."""
        return max(0.0, self._next + self._late - now, self._begun - now)

    def expect(self, now: float) -> float:
        """Return the seconds that who asks now would wait."""
        return max(0.0, self.until_free(now) - self._tolerance)

    def available(self, now: float) -> int:
        """Return how many could begin now."""
        spare = self._tolerance - self.until_free(now)
        return max(0, math.floor(spare / self._interval + 1 + 1e-9))

    def promise(self, now: float) -> float:
        """Promise the next turn and return it."""
        # Here and in `begin` no function is called between reading and writing: a signal handler that asks,
        # too, comes before or after that.
        turn = now - self._late
        if turn < self._next:
            turn = self._next
        self._next = turn + self._interval
        insort(self.waiting, turn)
        return turn

    def begin(self, turn: float, now: float) -> float:
        """Return the seconds until the turn comes. When it has come, which is 0, it is taken by that."""
        wait = max(turn + self._late, self._begun) - self._tolerance - now
        if wait > 0:
            return wait
        head = self.waiting[0]
        if head < turn and self._lets_go_first(head, now):
            return self._courtesy / 4
        begins = now
        if begins < self._begun:
            begins = self._begun
        self._begun = begins + self._interval
        if turn > self._last:
            self._last = turn
            if begins - turn > self._late:
                self._late = begins - turn
        self._leave(turn)
        return 0.0

    def give_back(self, turn: float, now: float) -> None:
        """Take a promise back. Who asks next gets the turn, if nobody waits behind it; else it passes."""
        self._leave(turn)
        given_back = self._given_back
        del given_back[: bisect_left(given_back, now - self._late - self._tolerance)]
        insort(given_back, turn)
        while given_back and given_back[-1] + self._interval == self._next:
            self._next = given_back.pop()

    def _lets_go_first(self, head: float, now: float) -> bool:
        if head != self._head:
            self._head, self._noticed = head, now
        return now - self._noticed < self._courtesy

    def _leave(self, turn: float) -> None:
        del self.waiting[bisect_left(self.waiting, turn)]
