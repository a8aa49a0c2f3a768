"""A circuit breaker for each of many services: hosts, models, tenants."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import RLock
from weakref import WeakValueDictionary

from qicore.resilience.circuit import CircuitBreaker, how_ill
from qicore.resilience.config import CircuitBreakerConfig

__all__ = ["CircuitBreakers"]


class CircuitBreakers:
    """One circuit breaker per key, made when it is first asked for, and no more than `max_size` of them.

    When there are too many, the one that was not asked for longest is forgotten; but one with failures in its
    window only when none is without, a half-open or open one only when none is closed, and last of all one
    that was opened by hand. Whoever still holds a forgotten breaker shares it with whoever asks for its key
    again.

    Raises ValueError for options that are wrong, and for a `max_size` below 1.

    >>> breakers = CircuitBreakers(CircuitBreakerConfig(failure_threshold=3), max_size=100)
    >>> breakers.get("api.example.org") is breakers.get("api.example.org")
    True
    >>> breakers.get("api.example.org").name
    'api.example.org'
    """

    __slots__ = ("_breakers", "_clock", "_config", "_forgotten", "_lock", "_max_size")

    def __init__(
        self,
        config: CircuitBreakerConfig | None = None,
        *,
        max_size: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_size < 1:
            raise ValueError("max_size must be at least 1")
        self._config = config or CircuitBreakerConfig()
        wrong = self._config.check().error
        if wrong is not None:
            raise ValueError(wrong.message)
        self._max_size = max_size
        self._clock = clock
        self._lock = RLock()
        self._breakers: OrderedDict[str, CircuitBreaker] = OrderedDict()
        self._forgotten: WeakValueDictionary[str, CircuitBreaker] = WeakValueDictionary()

    def get(self, key: str) -> CircuitBreaker:
        """Return the breaker of `key`, which is its name."""
        with self._lock:
            breaker = self._breakers.get(key)
            if breaker is not None:
                self._breakers.move_to_end(key)
                return breaker
            breaker = self._forgotten.pop(key, None)
            if breaker is None:
                breaker = CircuitBreaker(self._config, name=key, clock=self._clock)
            if len(self._breakers) >= self._max_size:
                self._forget_one()
            self._breakers[key] = breaker
            return breaker

    def _forget_one(self) -> None:
        least, chosen = None, ""
        for key, breaker in self._breakers.items():
            illness = how_ill(breaker)
            if least is None or illness < least:
                least, chosen = illness, key
                if illness == 0:
                    break
        self._forgotten[chosen] = self._breakers.pop(chosen)

    def __len__(self) -> int:
        return len(self._breakers)

    def __contains__(self, key: object) -> bool:
        return key in self._breakers
