"""What a cache has counted."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CacheStatistics"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheStatistics:
    """What a cache, this object in this process, has counted since it was made.

    >>> CacheStatistics(hits=3, misses=1).hit_rate
    0.75

    Attributes:
        hits: reads that found a value, stale ones included.
        misses: reads that found none.
        stale_hits: those hits that were beyond their time, answered while a new value was computed.
        sets: values written.
        removals: values removed by `remove` and `clear`.
        evictions: values that left for want of room. Redis counts its own.
        loads: computations of `get_or_set` that gave a value.
        load_failures: those that failed or were cancelled.
        unreadable: values that were damaged, truncated, foreign, or not signed with the cache's key.
        failures: operations that the file or Redis failed, or that an open circuit turned away.
    """

    hits: int = 0
    misses: int = 0
    stale_hits: int = 0
    sets: int = 0
    removals: int = 0
    evictions: int = 0
    loads: int = 0
    load_failures: int = 0
    unreadable: int = 0
    failures: int = 0

    @property
    def hit_rate(self) -> float:
        """The share of reads that found a value, 0 to 1; 0 before the first read."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0
