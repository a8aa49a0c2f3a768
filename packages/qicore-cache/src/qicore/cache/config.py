"""The options of a cache, and the checks on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from qicore.base import Failure, QiError, Result, Success
from qicore.cache.serializers import MessagePackSerializer, Serializer
from qicore.cache.times import is_seconds, ttl_is_wrong
from qicore.resilience import CircuitBreakerConfig

__all__ = ["CacheConfig"]

_CHOICES: Final = ("fail", "fall_through")
_MESSAGE_PACK: Final = MessagePackSerializer()  # one for all, so that equal options are equal


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheConfig:
    """How a cache behaves; the defaults are right for production.

    Attributes:
        namespace: keeps the keys of this cache apart from those of others in the same file or Redis; `clear`,
            `keys` and `size` see no other.
        ttl: seconds after which a value expires, where `set` and `get_or_set` name none; None for never.
        ttl_jitter: the share of a time to live, 0 to 1, by which it may be shortened at random, so that what
            was written together does not expire together.
        stale_ttl: seconds after its expiry for which `get_or_set` still answers a value, at once, while one
            task computes a new one. `get` never answers it. 0 for none.
        max_entries: how many values memory or the file keep; the least recently used go first. None for no
            bound. Redis has its own: `maxmemory`.
        max_weight: the sum of weights that memory or the file keep, or None. A value that weighs more is not
            kept: CACHE_WRITE_FAILED.
        weigh: gives the weight of a value in memory, a whole number of 0 or more; without it each weighs 1.
            In a file a value weighs its serialised bytes.
        max_value_size: serialised bytes that one value may have in a file or in Redis.
        serializer: makes bytes of values for a file or Redis; memory keeps the values themselves.
        timeout: seconds that one operation on a file or Redis may take.
        lock_timeout: seconds after which others take over a computation whose process has died.
        max_connections: connections to Redis, to each server of a Cluster.
        max_staleness: seconds for which the memory level over Redis may answer what has changed, when the
            connection that tells it so is lost.
        circuit_breaker: when to stop asking a file or Redis that is ill, or None.
        on_failure: what `get_or_set` does when the file or Redis fails: `fail` with its error, or
            `fall_through` to the factory.
    """

    namespace: str = "qicore"
    ttl: float | None = None
    ttl_jitter: float = 0.0
    stale_ttl: float = 0.0
    max_entries: int | None = 10_000
    max_weight: int | None = None
    weigh: Callable[[Any], int] | None = None
    max_value_size: int = 64 * 1024 * 1024
    serializer: Serializer = field(default=_MESSAGE_PACK, repr=False)
    timeout: float = 5.0
    lock_timeout: float = 30.0
    max_connections: int = 50
    max_staleness: float = 5.0
    circuit_breaker: CircuitBreakerConfig | None = field(default_factory=CircuitBreakerConfig)
    on_failure: Literal["fail", "fall_through"] = "fail"

    def check(self) -> Result[Self]:
        """Return these options, or what is wrong with them: INVALID_TTL, CACHE_CREATION_FAILED [VALIDATION].

        >>> CacheConfig(timeout=0).check().error.message
        'timeout must be a number of seconds above 0'
        """
        if (self.ttl is not None and ttl_is_wrong(self.ttl)) or not is_seconds(self.stale_ttl):
            return Failure(
                QiError.validation(
                    "INVALID_TTL",
                    "ttl must be a number of seconds above 0 and up to 1e12, or None; stale_ttl 0 or more",
                )
            )
        wrong = [
            f"{name} must be a number of seconds above 0"
            for name in ("timeout", "lock_timeout", "max_staleness")
            if not is_seconds(getattr(self, name)) or getattr(self, name) == 0
        ]
        wrong += [
            f"{name} must be a whole number of at least 1"
            + ("" if name == "max_connections" else ", or None")
            for name in ("max_entries", "max_weight", "max_connections")
            if (value := getattr(self, name)) is not None and (type(value) is not int or value < 1)
        ]
        if type(self.max_value_size) is not int or self.max_value_size < 0:
            wrong.append("max_value_size must be a whole number of bytes")
        if not is_seconds(self.ttl_jitter) or self.ttl_jitter > 1:
            wrong.append("ttl_jitter must be a share from 0 to 1")
        if not _is_text(self.namespace) or not self.namespace:
            wrong.append("namespace must be a text that is not empty")
        if self.weigh is not None and self.max_weight is None:
            wrong.append("weigh goes with max_weight")
        if self.on_failure not in _CHOICES:
            wrong.append(f"on_failure must be one of {', '.join(_CHOICES)}")
        if not (hasattr(self.serializer, "dumps") and hasattr(self.serializer, "loads")):
            wrong.append("serializer must have dumps and loads")
        if self.circuit_breaker is not None:
            checked = self.circuit_breaker.check()
            if checked.error is not None:
                wrong.append(f"circuit_breaker: {checked.error.message}")
        if wrong:
            return Failure(QiError.validation("CACHE_CREATION_FAILED", "; ".join(wrong)))
        return Success(self)


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
