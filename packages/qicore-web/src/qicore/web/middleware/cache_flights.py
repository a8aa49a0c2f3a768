"""Single flight: of several requests for the same at once, one asks the handler."""

from __future__ import annotations

import asyncio
from typing import Final

__all__ = ["Flight", "Flights"]

_MAX_PASSING: Final = 4096


class Flight:
    """One request that asks the handler, and may store the answer.

    Attributes:
        key: what is waited for.
        url: the key of its URL.
        answered: whether the handler gave a response; without one nothing is known about the next.
        landed: whether it came to an end, and was not cancelled.
        storing: whether its answer is on its way into the store.
        stored: whether its answer lies in the store now.
        spoiled: whether something was written at its URL meanwhile, so that its answer may be out of date.
    """

    __slots__ = ("_over", "answered", "key", "landed", "spoiled", "stored", "storing", "url")

    def __init__(self, key: str, url: str) -> None:
        self.key = key
        self.url = url
        self.answered = self.landed = self.spoiled = False
        self.storing = self.stored = False
        self._over = asyncio.Event()

    async def wait(self) -> None:
        """Wait until it is over, however it ends."""
        await self._over.wait()

    def is_spoiled(self) -> bool:
        """Return whether something was written meanwhile: it may happen at every `await`."""
        return self.spoiled

    def end(self) -> None:
        """Let those go on who wait."""
        self._over.set()


class Flights:
    """Those that are under way, and the keys whose answers could not be stored: nobody waits for those."""

    def __init__(self) -> None:
        self._awaited: dict[str, Flight] = {}
        self._all: set[Flight] = set()
        self._passing: dict[str, None] = {}

    def of(self, key: str) -> Flight | None:
        """Return the flight to wait for."""
        return self._awaited.get(key)

    def begin(self, key: str, url: str, *, alone: bool) -> Flight:
        """Return a new flight. Others wait for it, unless it goes alone or its answers are never stored."""
        flight = Flight(key, url)
        self._all.add(flight)
        if not alone and key not in self._passing:
            self._awaited[key] = flight
        return flight

    def end(self, flight: Flight) -> None:
        """Let those go on who wait, and remember whether it was worth it."""
        self._all.discard(flight)
        if self._awaited.get(flight.key) is flight:
            del self._awaited[flight.key]
        if flight.stored:
            self._passing.pop(flight.key, None)
        elif flight.answered and not flight.spoiled:
            while len(self._passing) >= _MAX_PASSING:
                del self._passing[next(iter(self._passing))]
            self._passing[flight.key] = None
        flight.end()

    def spoil(self, url: str) -> list[Flight]:
        """Let nothing be stored of what is being read at a URL now, nor be waited for by those who come.

        Return those that are storing already: when they are over they have taken it back.
        """
        spoiled = [flight for flight in self._all if flight.url == url]
        for flight in spoiled:
            flight.spoiled = True
            if self._awaited.get(flight.key) is flight:
                del self._awaited[flight.key]
        return [flight for flight in spoiled if flight.storing]
