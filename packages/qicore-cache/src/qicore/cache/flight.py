"""One computation at a time for each key, across the tasks of every event loop and across threads.

The first that asks leads: it computes. All others that ask meanwhile wait, and get the same Result. When the
leader is cancelled, one of those that wait takes the lead, and computes itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, TypeVar, cast

from qicore.base import Failure, QiError, Result
from qicore.cache.waiting import LEAD, LOCK, Flight, Waiter

__all__ = ["Flights", "computing_nothing"]

V = TypeVar("V")

# The computations that the current task or thread is a part of, the outermost first. What a factory starts,
# by create_task or asyncio.to_thread, inherits them.
_COMPUTING: Final[ContextVar[tuple[Flight, ...]]] = ContextVar("qicore.cache.computing", default=())


def computing_nothing() -> None:
    """Say that the current task or thread, though a computation started it, is no part of one."""
    _COMPUTING.set(())


class Flights:
    """The computations in the air for one cache. Nothing is kept of one that has ended.

    `compute` is called by whoever leads. It should look again first whether there is a value: between the
    caller's own look and its lead another flight may have ended.

    >>> async def main() -> None:
    ...     flights = Flights()
    ...     async def compute() -> Result[int]:
    ...         print("computing")
    ...         await asyncio.sleep(0)
    ...         return Result.success(42)
    ...     print(await asyncio.gather(*(flights.fly("answer", compute) for _ in range(3))))
    >>> asyncio.run(main())
    computing
    [Success(42), Success(42), Success(42)]
    """

    __slots__ = ("_flights",)

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._flights

    def __len__(self) -> int:
        return len(self._flights)

    async def fly(self, key: str, compute: Callable[[], Awaitable[Result[V]]]) -> Result[V]:
        """Return what `compute` gives here or, at this moment, elsewhere.

        To wait for itself (a factory that asks for its own key, if only through others) would never end: that
        is CACHE_REENTRANT [CACHE]. An exception of `compute` is a Failure for all that wait.
        """
        chain = _COMPUTING.get()
        entered = self._enter(key, asyncio.get_running_loop(), chain)
        if isinstance(entered, QiError):
            return Failure(entered)
        flight, waiter = entered
        if waiter is not None:
            try:
                await waiter.wait()
            except BaseException:
                LOCK.soon(lambda: self._leave(key, flight, waiter, chain))
                raise
            outcome = self._arrive(flight, waiter, chain)
            if outcome is not LEAD:
                return cast("Result[V]", outcome)
        _COMPUTING.set((*chain, flight))
        try:
            result = await compute()
        except Exception as exception:  # noqa: BLE001 - those that wait must not wait forever
            result = Failure(QiError.from_exception(exception))
        except BaseException:
            LOCK.soon(lambda: self._pass_on(key, flight))
            raise
        finally:
            _COMPUTING.set(chain)
        self._land(key, flight, result)
        return result

    def fly_sync(self, key: str, compute: Callable[[], Result[V]]) -> Result[V]:
        """Return what `compute` gives, as `fly`, blocking this thread.

        To block an event loop for what one of its own tasks computes would never end: CACHE_REENTRANT too.
        """
        chain = _COMPUTING.get()
        entered = self._enter(key, None, chain)
        if isinstance(entered, QiError):
            return Failure(entered)
        flight, waiter = entered
        if waiter is not None:
            try:
                waiter.wait_sync()
            except BaseException:
                LOCK.soon(lambda: self._leave(key, flight, waiter, chain))
                raise
            outcome = self._arrive(flight, waiter, chain)
            if outcome is not LEAD:
                return cast("Result[V]", outcome)
        _COMPUTING.set((*chain, flight))
        try:
            result = compute()
        except Exception as exception:  # noqa: BLE001 - those that wait must not wait forever
            result = Failure(QiError.from_exception(exception))
        except BaseException:
            LOCK.soon(lambda: self._pass_on(key, flight))
            raise
        finally:
            _COMPUTING.set(chain)
        self._land(key, flight, result)
        return result

    def _enter(
        self, key: str, loop: asyncio.AbstractEventLoop | None, chain: tuple[Flight, ...]
    ) -> tuple[Flight, Waiter | None] | QiError:
        """Begin a flight, or begin to wait for the one that is in the air."""
        with LOCK:
            flight = self._flights.get(key)
            if flight is None:
                flight = self._flights[key] = Flight(loop)
                return flight, None
            if chain and flight.needs_any_of(chain):
                return _reentrant(key)
            if loop is None and flight.loop is not None and flight.loop is _running_loop():
                return _reentrant(key)
            waiter = Waiter(loop)
            flight.waiters[waiter] = None
            for outer in chain:
                outer.awaited.append(flight)
            return flight, waiter

    def _arrive(self, flight: Flight, waiter: Waiter, chain: tuple[Flight, ...]) -> object:
        """End a wait, and return its outcome."""
        if chain:
            with LOCK:
                _await_no_more(flight, chain)
        return waiter.outcome

    # ---- with the lock held

    def _leave(self, key: str, flight: Flight, waiter: Waiter, chain: tuple[Flight, ...]) -> None:
        """End a wait that was cancelled. A lead that was given to it meanwhile goes on to the next."""
        _await_no_more(flight, chain)
        flight.waiters.pop(waiter, None)
        if waiter.outcome is LEAD:
            self._pass_on(key, flight)

    def _pass_on(self, key: str, flight: Flight) -> None:
        """Give the lead to one that waits, or end the flight when none does."""
        while (waiter := flight.next_waiter()) is not None:
            waiter.outcome = LEAD
            if waiter.wake():
                flight.loop = waiter.loop
                return
            waiter.outcome = None
        del self._flights[key]

    # ----

    def _land(self, key: str, flight: Flight, result: Result[Any]) -> None:
        """End a flight, with the same Result for all that wait."""
        with LOCK:
            del self._flights[key]
            waiters = list(flight.waiters)
            flight.waiters.clear()
            for waiter in waiters:
                waiter.outcome = result
        for waiter in waiters:
            waiter.wake()


def _await_no_more(flight: Flight, chain: tuple[Flight, ...]) -> None:
    for outer in chain:
        outer.awaited.remove(flight)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _reentrant(key: str) -> QiError:
    return QiError.cache(
        "CACHE_REENTRANT",
        "what computes the value of a key waits for that very value, and so forever",
        key=key[:200],
    )
