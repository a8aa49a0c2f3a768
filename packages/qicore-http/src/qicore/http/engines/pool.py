"""Which connection carries which request: the bookkeeping of a pool, without any I/O.

httpcore 1.0.9 keeps its own books in `AsyncConnectionPool`, and loses count when a request is cancelled:

* A connection is assigned to a waiting request before the task of that request has run again. Cancelled in
  between, the request leaves and the connection stays: never connected, hence never idle, closed or expired,
  it holds its place for good (`AsyncHTTPConnection.is_closed` asks `_connect_failed`, which nobody set).
* A connection that has just been made takes its request under a lock whose acquisition is a checkpoint. A
  cancellation there leaves it in the state NEW, which is neither idle nor closed.
* Closing a body awaits too. Cancelled there, `PoolByteStream.aclose` has already noted that it is closed, and
  never takes its request out of the books.

After as many of these as `max_connections` every request fails with PoolTimeout. Its look for a connection is
quadratic in the number of requests besides. So only httpcore's connections are used, and the books are kept
here: every step is synchronous, so that no cancellation falls inside one, and a connection whose exchange
did not end well is thrown away, never asked how it is.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

__all__ = ["Books", "Line", "Slot", "Waiter", "Wire"]


class Line(Protocol):
    """What the books ask of a connection."""

    def is_available(self) -> bool:
        """Return whether it may take a request now."""
        ...

    def is_idle(self) -> bool:
        """Return whether it carries none, and is still open."""
        ...

    def has_expired(self) -> bool:
        """Return whether it has been idle for too long, or was closed meanwhile."""
        ...


class Wire(Protocol):
    """A socket below a connection."""

    @property
    def sent(self) -> int:
        """Bytes written so far."""
        ...

    @property
    def received(self) -> int:
        """Bytes read so far."""
        ...

    def abort(self) -> None:
        """Close it at once, whatever state it is in."""
        ...


L = TypeVar("L", bound=Line)


class Slot(Generic[L]):
    """A place in the pool: a connection, the sockets it opened, and how many requests it carries."""

    __slots__ = ("key", "line", "served", "shared", "users", "wires")

    def __init__(self, key: Hashable, line: L, *, shared: bool) -> None:
        self.key = key
        self.line = line
        self.shared = shared
        """Whether it may carry several requests at once; known only when it is connected."""
        self.users = 1
        self.served = 0
        """Requests that ended well on it: above 0, the server may have closed it meanwhile."""
        self.wires: list[Wire] = []

    @property
    def sent(self) -> int:
        """Bytes written so far."""
        total = 0
        for wire in self.wires:  # mostly one: `sum` takes four times as long
            total += wire.sent
        return total

    @property
    def received(self) -> int:
        """Bytes read so far."""
        total = 0
        for wire in self.wires:
            total += wire.received
        return total

    def abort(self) -> None:
        """Close its sockets at once."""
        for wire in self.wires:
            wire.abort()


class Waiter(Protocol):
    """A future: of asyncio or of concurrent.futures."""

    def cancelled(self) -> bool:
        """Return whether nobody waits any more."""
        ...

    def done(self) -> bool:
        """Return whether it was woken, or cancelled."""
        ...

    def set_result(self, result: None, /) -> None:
        """Wake it."""
        ...


class Books(Generic[L]):
    """The books of one pool. Not thread-safe: the caller holds a lock, or is the only thread."""

    def __init__(
        self, make: Callable[[Hashable], L], *, limit: int, keep: int, multiplexed: Callable[[Hashable], bool]
    ) -> None:
        self._make = make
        self._limit = limit
        self._keep = keep
        self._multiplexed = multiplexed
        self._open = 0
        # Ordered by when they fell idle, the longest ago first.
        self._idle: OrderedDict[Slot[L], None] = OrderedDict()
        self._idle_by_key: dict[Hashable, list[Slot[L]]] = {}
        self._shared: dict[Hashable, list[Slot[L]]] = {}
        self._waiting: deque[Waiter] = deque()
        # Those woken that have not taken yet. What they were woken for is theirs: a task that asks again and
        # again without a pause would starve them otherwise.
        self._woken = 0

    @property
    def size(self) -> int:
        """How many connections there are, idle ones and those being made included."""
        return self._open

    @property
    def idle(self) -> int:
        """How many of them carry nothing."""
        return len(self._idle)

    def take(self, key: Hashable, *, fresh: bool = False, woken: bool = False) -> Slot[L] | None:
        """Return a place for one request, to be given back; None if all are taken.

        `fresh` asks for a new connection, and `woken` says that the caller waited in line until now.
        """
        if woken:
            self._woken -= 1
        elif self._woken and self._free <= self._woken:
            return None
        if not fresh:
            slot = self._find(key)
            if slot is not None:
                return slot
        if self._open >= self._limit:
            if not self._idle:
                return None
            # The one that has been idle for longest makes room.
            self._drop_idle(next(iter(self._idle)))
        shared = self._multiplexed(key)
        slot = Slot(key, self._make(key), shared=shared)
        self._open += 1
        if shared:
            self._shared.setdefault(key, []).append(slot)
        return slot

    def _find(self, key: Hashable) -> Slot[L] | None:
        # The one used last is the least likely to have been closed by the server meanwhile.
        idle = self._idle_by_key.get(key)
        while idle:
            slot = idle[-1]
            if slot.line.has_expired() or not slot.line.is_available():
                self._drop_idle(slot)
                continue
            idle.pop()
            del self._idle[slot]
            slot.users = 1
            return slot
        for slot in self._shared.get(key, ()):
            if slot.users and slot.line.is_available():
                slot.users += 1
                return slot
        return None

    @property
    def _free(self) -> int:
        return self._limit - self._open + len(self._idle)

    def wait(self, waiter: Waiter) -> None:
        """Stand in line; the waiter is woken when `take` may succeed, first come, first served."""
        self._waiting.append(waiter)

    def leave(self, waiter: Waiter) -> None:
        """Leave the line; whoever was woken and has no use for it wakes the next."""
        if waiter.done() and not waiter.cancelled():
            self._woken -= 1
            self._wake()
        elif waiter in self._waiting:
            self._waiting.remove(waiter)

    def step_off(self, slot: Slot[L]) -> None:
        """Leave a connection that turned out to take one request at a time: the server speaks HTTP/1.1."""
        slot.shared = False
        self._unshare(slot)
        self.give_back(slot, well=True)

    def give_back(self, slot: Slot[L], *, well: bool) -> None:
        """End one request. Unless it ended well, its connection takes no other one."""
        slot.users -= 1
        if not well:
            self._retire(slot)
        elif slot.users == 0 and slot.key is not None:
            if slot.line.is_idle() and self._keep > 0:
                slot.served += 1
                self._idle[slot] = None
                self._idle_by_key.setdefault(slot.key, []).append(slot)
                if len(self._idle) > self._keep:
                    self._drop_idle(next(iter(self._idle)))
            else:
                self._retire(slot)
        if slot.key is None and slot.users == 0:
            slot.abort()
        self._wake()

    def _retire(self, slot: Slot[L]) -> None:
        if slot.key is None:
            return
        # Others on it finish what they began; HTTP/2 would let a cancelled one's unread data fill the window.
        self._unshare(slot)
        slot.key = None
        self._open -= 1

    def _unshare(self, slot: Slot[L]) -> None:
        sharing = self._shared.get(slot.key)
        if sharing and slot in sharing:
            sharing.remove(slot)
            if not sharing:
                del self._shared[slot.key]

    def _drop_idle(self, slot: Slot[L]) -> None:
        del self._idle[slot]
        same = self._idle_by_key[slot.key]
        same.remove(slot)
        if not same:
            del self._idle_by_key[slot.key]
        self._retire(slot)
        slot.abort()

    def _wake(self) -> None:
        while self._waiting and self._free > self._woken:
            waiter = self._waiting.popleft()
            if not waiter.done():  # else it was cancelled, and has yet to leave
                self._woken += 1
                waiter.set_result(None)

    def close(self) -> None:
        """Drop what is idle; connections in use are dropped as they are given back."""
        for slot in list(self._idle):
            self._drop_idle(slot)
        self._keep = 0
