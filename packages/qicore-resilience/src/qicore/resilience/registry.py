"""One policy for each of many services: hosts, models, tenants."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import RLock
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

from qicore.base.options import Checks
from qicore.resilience.circuit import CircuitBreaker, how_ill
from qicore.resilience.config import CircuitBreakerConfig
from qicore.resilience.errors import INVALID_CONFIG

__all__ = ["CircuitBreakers", "Registry"]

P = TypeVar("P")


class Registry(Generic[P]):
    """One policy per key, made when it is first asked for, and no more than `max_size` of them.

    When there are too many, the one with the least `worth` is forgotten, and of several the one that was not
    asked for longest. Whoever still holds a forgotten one shares it with whoever asks for its key again.
    """

    __slots__ = ("_forgotten", "_lock", "_make", "_max_size", "_policies", "_worth")

    def __init__(self, make: Callable[[str], P], *, worth: Callable[[P], float], max_size: int) -> None:
        wrong = Checks().whole("max_size", max_size).answer(None, INVALID_CONFIG).error
        if wrong is not None:
            raise ValueError(wrong.message)
        self._make = make
        self._worth = worth
        self._max_size = max_size
        self._lock = RLock()
        self._policies: OrderedDict[str, P] = OrderedDict()
        self._forgotten: WeakValueDictionary[str, P] = WeakValueDictionary()

    def get(self, key: str) -> P:
        """Return the policy of `key`."""
        with self._lock:
            policy = self._policies.get(key)
            if policy is not None:
                self._policies.move_to_end(key)
                return policy
            policy = self._forgotten.pop(key, None)
            if policy is None:
                policy = self._make(key)
            if len(self._policies) >= self._max_size:
                self._forget_one()
            self._policies[key] = policy
            return policy

    def _forget_one(self) -> None:
        least, chosen = None, ""
        for key, policy in self._policies.items():
            worth = self._worth(policy)
            if least is None or worth < least:
                least, chosen = worth, key
                if worth == 0:
                    break
        self._forgotten[chosen] = self._policies.pop(chosen)

    def __len__(self) -> int:
        return len(self._policies)

    def __contains__(self, key: object) -> bool:
        return key in self._policies


class CircuitBreakers(Registry[CircuitBreaker]):
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

    __slots__ = ()

    def __init__(
        self,
        config: CircuitBreakerConfig | None = None,
        *,
        max_size: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        config = config or CircuitBreakerConfig()
        wrong = config.check().error
        if wrong is not None:
            raise ValueError(wrong.message)
        super().__init__(
            lambda key: CircuitBreaker(config, name=key, clock=clock), worth=how_ill, max_size=max_size
        )
