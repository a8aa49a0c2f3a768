"""Bulkhead: no more than so many calls at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeVar

from qicore.base import Failure, Result
from qicore.base.options import Checks
from qicore.resilience.errors import INVALID_CONFIG, bulkhead_full
from qicore.resilience.policy import attempt, attempt_sync
from qicore.resilience.statistics import BulkheadStatistics

if TYPE_CHECKING:
    import asyncio

__all__ = ["Bulkhead", "BulkheadConfig"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkheadConfig:
    """How many may be in at once, and how many may wait for it.

    >>> BulkheadConfig(max_concurrent=0).check().error.message
    'max_concurrent must be a whole number of at least 1'

    Attributes:
        max_concurrent: how many calls run at once.
        max_waiting: how many more may wait for their turn, first come, first served.
        max_wait: seconds that one may wait, or None for as long as it takes.
    """

    max_concurrent: int = 10
    max_waiting: int = 0
    max_wait: float | None = None

    def check(self) -> Result[Self]:
        """Return these options, or INVALID_RESILIENCE_CONFIG [VALIDATION] naming every one that is wrong."""
        checks = Checks().whole("max_concurrent", self.max_concurrent)
        checks.whole("max_waiting", self.max_waiting, least=0)
        return checks.seconds("max_wait", self.max_wait, none=True).answer(self, INVALID_CONFIG)


class _Waiter:
    """One that waits. What wakes it says whether it can still be woken."""

    __slots__ = ("granted", "wake")

    def __init__(self, wake: Callable[[], bool]) -> None:
        self.granted = False
        self.wake = wake


class Bulkhead:
    """Lets `max_concurrent` calls run at once, so that one slow service does not take up everything.

    A call beyond that waits, if it may, or is BULKHEAD_FULL [TIMEOUT] at once, with the `name` in its
    context. Tasks, of any event loop, and threads may share one, and wait in one line. A cancelled call
    leaves its place. A blocking call in an event loop must not wait for a task of that loop: use `call`.

    Raises ValueError for options that are wrong; `create` answers a Failure.

    >>> from qicore.base import Success
    >>> bulkhead = Bulkhead(BulkheadConfig(max_concurrent=1))
    >>> bulkhead.call_sync(lambda: bulkhead.call_sync(lambda: Success(1))).error.code
    'BULKHEAD_FULL'
    """

    __slots__ = ("_config", "_free", "_line", "_lock", "_name", "_rejected", "_settling")

    def __init__(self, config: BulkheadConfig | None = None, *, name: str = "default") -> None:
        config = config or BulkheadConfig()
        wrong = config.check().error
        if wrong is not None:
            raise ValueError(wrong.message)
        self._config = config
        self._name = name
        self._free = config.max_concurrent
        self._line: OrderedDict[_Waiter, None] = OrderedDict()
        # A call may begin or end in a signal handler or a finaliser, in a thread that holds the lock already.
        self._lock = threading.RLock()
        self._settling = False
        self._rejected = 0

    @classmethod
    def create(cls, config: BulkheadConfig | None = None, *, name: str = "default") -> Result[Self]:
        """Check the options and return a bulkhead; INVALID_RESILIENCE_CONFIG [VALIDATION]."""
        return (config or BulkheadConfig()).check().map(lambda config: cls(config, name=name))

    @property
    def name(self) -> str:
        """What is bounded: it stands in errors."""
        return self._name

    @property
    def config(self) -> BulkheadConfig:
        """The options."""
        return self._config

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        """Call and await `operation` when there is room for it; else BULKHEAD_FULL [TIMEOUT]."""
        entered = self._enter()
        if not entered and (entered is None or not await self._wait()):
            return Failure(bulkhead_full(self._name, self._config.max_concurrent))
        try:
            return await attempt(operation)
        finally:
            self._leave()

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        """Call `operation` when there is room for it; else BULKHEAD_FULL [TIMEOUT]."""
        entered = self._enter()
        if not entered and (entered is None or not self._wait_sync()):
            return Failure(bulkhead_full(self._name, self._config.max_concurrent))
        try:
            return attempt_sync(operation)
        finally:
            self._leave()

    def statistics(self) -> BulkheadStatistics:
        """Return how full it is, and how often it was too full."""
        with self._lock:
            running = self._config.max_concurrent - self._free
            return BulkheadStatistics(running=running, waiting=len(self._line), rejected=self._rejected)

    def _enter(self) -> bool | None:
        """Return True for in, False when it may wait for it, None when too many do."""
        with self._lock:
            # Whoever waits comes first.
            if self._free and not self._line:
                self._free -= 1
                return True
            if len(self._line) < self._config.max_waiting:
                return False
            self._rejected += 1
            return None

    async def _wait(self) -> bool:
        import asyncio

        loop = asyncio.get_running_loop()
        woken = loop.create_future()

        def wake() -> bool:
            try:
                # Over the wires of the loop only from elsewhere: they cost system calls.
                if _running_loop() is loop:
                    _set(woken)
                else:
                    loop.call_soon_threadsafe(_set, woken)
            except RuntimeError:  # the loop is closed, and with it all that waited there
                return False
            return True

        waiter = _Waiter(wake)
        if not self._join(waiter):
            return False
        most = self._config.max_wait
        try:
            if most is None:
                await woken
            else:
                async with asyncio.timeout(most):
                    await woken
        except TimeoutError:
            return self._quit(waiter)
        except BaseException:
            if self._quit(waiter):
                self._leave()
            raise
        return True

    def _wait_sync(self) -> bool:
        woken = threading.Event()

        def wake() -> bool:
            woken.set()
            return True

        waiter = _Waiter(wake)
        if not self._join(waiter):
            return False
        most = self._config.max_wait
        try:
            return woken.wait(most and min(most, threading.TIMEOUT_MAX)) or self._quit(waiter)
        except BaseException:  # an interrupt from the keyboard
            if self._quit(waiter):
                self._leave()
            raise

    def _join(self, waiter: _Waiter) -> bool:
        """Stand in line, which moves on at once when there is room by now; False when it is too long."""
        with self._lock:
            self._line[waiter] = None
            self._settle()
            if len(self._line) <= self._config.max_waiting:
                return True
            return self._quit(waiter)

    def _quit(self, waiter: _Waiter) -> bool:
        """Leave the line; True when its turn has come in this very moment."""
        with self._lock:
            if waiter.granted:
                return True
            self._line.pop(waiter, None)  # one whose loop is gone was taken out already
            self._rejected += 1
            return False

    def _leave(self) -> None:
        with self._lock:
            self._free += 1
            self._settle()

    def _settle(self) -> None:
        """Give the room that is free to those who wait: nobody slips in between."""
        if self._settling:  # by what this very thread was about to do: it looks again
            return
        self._settling = True
        try:
            while self._free and self._line:
                waiter, _ = self._line.popitem(last=False)
                self._free -= 1
                waiter.granted = waiter.wake()
                self._free += not waiter.granted
        finally:
            self._settling = False

    def __repr__(self) -> str:
        return f"<Bulkhead {self._name!r} max_concurrent={self._config.max_concurrent}>"


def _running_loop() -> asyncio.AbstractEventLoop | None:
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # in a thread without one
        return None


def _set(woken: asyncio.Future[None]) -> None:
    if not woken.done():  # a cancelled one has left the line, or gives its room back
        woken.set_result(None)
