"""The entries of a cache in memory: who leaves when, and what they weigh. What comes here is checked.

The order of use is kept by cachebox. It bounds nothing here: its own bounds know of no expiry, and tell
nobody what they push out. Beside it the ends of entries are noted in a heap. An entry that is replaced by one
that ends later keeps its note, and is noted anew when that comes up; so a key that is set again and again
costs the heap nothing.

No value is dropped while cachebox works. It holds a lock of its own meanwhile, for which the finaliser of a
value that uses the cache would wait forever; so what leaves is always returned, or held, first.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final, TypeAlias

from cachebox import LRUCache

__all__ = ["Entry", "MemoryStore"]

_PURGE: Final = 16  # expired entries that one write sweeps away at most: no write has to pay for a million
_SPARE: Final = 64  # notes of entries that have left, of which the heap may have so many in any case


# A value in memory: when it expires by the clock of the cache (None for never), the value, its weight, the
# time under which it is noted in the heap (None for not at all), and the Result that `get` answers (None
# until it is asked for). Only the last two change. A plain list: an object takes five times as long to make.
Entry: TypeAlias = list[Any]


class MemoryStore:
    """Entries by key, in the order of their use. Every method may be called from any thread.

    An entry stays for `stale` seconds after it has expired, for those that may be answered a stale value.
    When room is wanted those that have expired leave first, in the order of their ends, then the least
    recently used.

    Attributes:
        lru: the LRUCache of cachebox. To read it needs no lock.
        find: returns an entry, expired or not, or None, and makes it the one used last.
        peek: returns it, and leaves the order as it is.
        evictions: how many entries have left before their end, for want of room.
    """

    def __init__(self, max_entries: int | None, max_weight: int | None, stale: float) -> None:
        self.lru: LRUCache[str, Entry] = LRUCache(0)
        self.find: Callable[[str], Entry | None] = self.lru.get
        self.peek: Callable[[str], Entry | None] = self.lru.peek
        self.evictions = 0
        self._max_entries = sys.maxsize if max_entries is None else max_entries
        self._max_weight = sys.maxsize if max_weight is None else max_weight
        self._stale = stale
        self._weight = 0
        # For each entry that ends a time, not after its end, and its key; and some of entries that have left.
        self._notes: list[tuple[float, str]] = []
        self._most_notes = _SPARE
        # The keys that are being computed. A key that is set, removed or cleared meanwhile leaves.
        self._computing: dict[str, object] = {}
        self._closed = False
        # Re-entrant: whatever the garbage collector finalises within a section may use the cache.
        self._lock = threading.RLock()
        self._insert: Callable[[str, Entry], Entry | None] = self.lru.insert

    def put(
        self,
        key: str,
        value: object,
        ends: float | None,
        weight: int,
        now: float,
        token: object | None = None,
    ) -> bool:
        """Keep a value, which weighs no more than may be kept; False when the store is closed.

        With a token it is a computed one, and only kept when nothing happened to the key since its `begin`.
        """
        # All in one place: each call more would be felt.
        with self._lock:
            if (self._computing or token is not None) and not self._may_put(key, token):
                return not self._closed
            if self._closed:
                return False
            entry = [ends, value, weight, None, None]
            old = self._insert(key, entry)
            notes = self._notes
            if ends is not None:
                noted = None if old is None else old[3]
                if noted is None or noted > ends:
                    noted = ends
                    heappush(notes, (ends, key))
                entry[3] = noted
            elif old is not None:
                entry[3] = old[3]
            if notes and (notes[0][0] + self._stale <= now or len(notes) > self._most_notes):
                self._tidy(now)
            if old is None:
                self._weight += weight
                if len(self.lru) > self._max_entries or self._weight > self._max_weight:
                    self._make_room(now)
            elif weight != old[2]:
                self._weight += weight - old[2]
                if self._weight > self._max_weight:
                    self._make_room(now)
            return True

    def put_all(self, entries: dict[str, tuple[object, float | None, int]], now: float) -> bool:
        """Keep many values, with nothing in between; False when the store is closed."""
        with self._lock:
            return all(self.put(key, *entry, now) for key, entry in entries.items())

    def begin(self, key: str) -> object:
        """Note that the value is being computed, and return the token of it."""
        token = object()
        with self._lock:
            self._computing[key] = token
        return token

    def end(self, key: str, token: object) -> None:
        """Note that the computation has ended without a value to keep."""
        with self._lock:
            if self._computing.get(key) is token:
                del self._computing[key]

    def take(self, key: str) -> Entry | None:
        """Remove an entry and return it, expired or not."""
        with self._lock:
            self._computing.pop(key, None)
            return self._take(key)

    def drop_if(self, key: str, entry: Entry) -> None:
        """Remove this very entry, if it is still there."""
        with self._lock:
            if self.peek(key) is entry:
                self._take(key)

    def clear(self, now: float, *, close: bool = False) -> int:
        """Remove all entries, and return how many had not expired."""
        with self._lock:
            gone = self.entries()
            self.lru.clear()
            self._notes.clear()
            self._computing.clear()
            self._weight = 0
            self._closed = self._closed or close
        return sum(entry[0] is None or entry[0] > now for _, entry in gone)

    def entries(self) -> list[tuple[str, Entry]]:
        """Return all keys and entries, expired ones too, the least recently used first."""
        with self._lock:  # while one is written there may be one too many
            while True:
                try:
                    return list(self.lru.items())
                except RuntimeError:  # another thread has read an entry, which moved it to the end
                    continue

    def size(self, now: float) -> int:
        """Return how many entries have not expired."""
        if self._stale:
            return sum(entry[0] is None or entry[0] > now for _, entry in self.entries())
        with self._lock:
            while self._notes and self._notes[0][0] <= now:
                self._drop_first(now)
            return len(self.lru)

    @property
    def closed(self) -> bool:
        """Whether it keeps nothing any more."""
        return self._closed

    # ---- with the lock held

    def _take(self, key: str) -> Entry | None:
        entry = self.lru.pop(key, None)
        if entry is not None:
            self._weight -= entry[2]
        return entry

    def _may_put(self, key: str, token: object | None) -> bool:
        return self._computing.pop(key, None) is token or token is None

    def _tidy(self, now: float) -> None:
        """Drop some of what has expired, and the notes of what has left."""
        until = now - self._stale
        for _ in range(_PURGE):
            if not self._notes or self._notes[0][0] > until:
                break
            self._drop_first(until)
        if len(self._notes) > self._most_notes:
            self._notes = list({note for note in self._notes if self._noted(*note) is not None})
            heapify(self._notes)
            self._most_notes = 2 * len(self._notes) + _SPARE

    def _make_room(self, now: float) -> None:
        while len(self.lru) > self._max_entries or self._weight > self._max_weight:
            if self._notes and self._notes[0][0] <= now:
                self._drop_first(now)
            else:
                _, entry = self.lru.popitem()
                self._weight -= entry[2]
                self.evictions += 1

    def _drop_first(self, until: float) -> None:
        """Take the first note. Drop the entry if it has ended by then, else note it anew."""
        time, key = heappop(self._notes)
        entry = self._noted(time, key)
        if entry is None:
            return
        ends = entry[0]
        if ends is not None and ends <= until:
            self._take(key)
        else:
            entry[3] = ends
            if ends is not None:
                heappush(self._notes, (ends, key))

    def _noted(self, time: float, key: str) -> Entry | None:
        """Return the entry that is noted so; None when it has left."""
        entry = self.peek(key)
        return entry if entry is not None and entry[3] == time else None
