"""Response caching (RFC 9111): what a handler has answered is answered again, for as long as it says."""

from __future__ import annotations

import time
from collections.abc import Callable
from secrets import token_hex
from typing import Final

from qicore.base import Failure, Result, Success
from qicore.web.answering import caught
from qicore.web.handlers import Handler, Middleware
from qicore.web.middleware.cache_entries import Kept, Names
from qicore.web.middleware.cache_flights import Flight, Flights
from qicore.web.middleware.cache_keys import choice_of, key_of
from qicore.web.middleware.cache_rules import Asked, kept_fields, lifetime_of, names_in_vary
from qicore.web.middleware.cache_stores import BytesStore, Distant, Near, Shelf
from qicore.web.middleware.checks import check_count, check_seconds
from qicore.web.middleware.conditions import Ready, conditioned, is_whole, tag
from qicore.web.statuses import error_of_status
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["response_cache"]

_READING: Final = ("GET", "HEAD")
_SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
_FAILED: Final = 400


def response_cache(
    *,
    ttl: float | None = None,
    store: BytesStore | None = None,
    max_size: int = 1_048_576,
    max_entries: int = 1024,
    max_bytes: int = 67_108_864,
    patience: float = 1.0,
    clock: Callable[[], float] = time.time,
) -> Middleware:
    """Answer GET and HEAD from what was answered before, and with 304 who has it already.

    It is a shared cache, as RFC 9111 describes them. A handler says how long its answer holds:
    `Cache-Control: max-age=60`, `s-maxage`, or `Expires`; `ttl` stands in where it says nothing. Never stored
    is `no-store`, `private`, `no-cache`, what sets cookies, problems, streams, files, and what is larger than
    `max_size`. A request that says who asks (Authorization, Cookie, a field like `X-Api-Key` or `X-User`) is
    answered from the store, and its answer stored, only where the answer says `public` or `s-maxage`. `Vary`
    is heeded. Of several requests for the same at once one asks the handler, the others wait for it. Another
    method that succeeds at a path makes forget it.

    Answers with status 200 get a strong ETag of their bytes, cached or not; `If-None-Match`,
    `If-Modified-Since` and the other conditions are judged.

    Dependencies of a handler, those that check who asks too, do not run for what comes from the store. What
    they decide by other fields must be named by `Vary`.

    Args:
        ttl: seconds for answers that do not say how long they hold; None to store only those that say it.
        store: a cache of qicore-cache, or another store of its shape: for several workers, on Redis. None
            for one in this process.
        max_size: bytes of an answer above which it is neither stored nor tagged.
        max_entries: of the store in this process.
        max_bytes: of the store in this process, about.
        patience: seconds that a store may take; after that requests go on without it.
        clock: epoch seconds.

    >>> import asyncio
    >>> async def now(request: Request) -> Result[Response]:
    ...     return Success(Response("12:00", headers={"cache-control": "max-age=60"}))
    >>> handler = response_cache(clock=lambda: 1000.0)(now)
    >>> async def ask() -> Result[Response]:
    ...     return await handler(Request({"type": "http", "method": "GET", "path": "/", "headers": []}))
    >>> asyncio.run(ask()).unwrap().headers.get("age"), asyncio.run(ask()).unwrap().headers.get("age")
    (None, '0')
    """
    check_count("max_size", max_size)
    if store is None:
        shelf: Shelf = Near(
            check_count("max_entries", max_entries), check_count("max_bytes", max_bytes), clock
        )
    else:
        shelf = Distant(store, check_seconds("patience", patience))
    flights = Flights()
    seconds = None if ttl is None else check_seconds("ttl", ttl)

    def around(handler: Handler) -> Handler:
        return _Cache(caught(handler), shelf, flights, seconds, max_size, clock)

    return around


class _Cache:
    def __init__(
        self,
        handler: Handler,
        shelf: Shelf,
        flights: Flights,
        ttl: float | None,
        max_size: int,
        clock: Callable[[], float],
    ) -> None:
        self._handler = handler
        self._shelf = shelf
        self._flights = flights
        self._ttl = ttl
        self._max_size = max_size
        self._clock = clock

    async def __call__(self, request: Request) -> Result[Response]:
        method = request.scope["method"]
        if method in _READING:
            return await self._read(request)
        result = await self._handler(request)
        response = result.data
        if method not in _SAFE and response is not None and response.status_code < _FAILED:
            # Section 4.4. What is being read right now may be older than what was just written.
            key = key_of(request.scope, Asked.read(request.scope["headers"]).host)
            storing = self._flights.spoil(key)
            await self._shelf.remove(key)
            for flight in storing:
                await flight.wait()
        return result

    async def _read(self, request: Request) -> Result[Response]:
        fields = request.scope["headers"]
        asked = Asked.read(fields)
        if asked.partial or b"no-store" in asked.directives:
            return await self._fresh(request, asked)
        key = key_of(request.scope, asked.host)
        waited_for = ""
        while True:
            place, kept = await self._find(key, request)
            if kept is not None:
                age = max(0.0, self._clock() - kept.born)
                if asked.takes(age, kept.lifetime, public=kept.public):
                    return _answer(kept, age, request, asked)
            if b"only-if-cached" in asked.directives:
                return Failure(error_of_status(504, "there is no stored response, and none is to be made"))
            # What is for one who asks is not waited for by others, and the other way round.
            waited = place + "+" if asked.identified else place
            flight = self._flights.of(waited)
            if flight is not None and waited != waited_for and b"no-cache" not in asked.directives:
                await flight.wait()
                if flight.stored or not flight.landed:
                    # Once for each key: what was stored may not be for this request.
                    waited_for = waited if flight.landed else ""
                    continue
            if request.scope["method"] != "GET":
                return await self._fresh(request, asked)
            return await self._led(request, asked, self._flights.begin(waited, key, alone=flight is not None))

    async def _find(self, key: str, request: Request) -> tuple[str, Kept | None]:
        """Return where the response to this request lies, or would lie, and the response."""
        found = await self._shelf.get(key)
        if not isinstance(found, Names):
            return key, found
        place = choice_of(key + found.salt, found.names, request.scope["headers"])
        chosen = await self._shelf.get(place)
        return place, chosen if isinstance(chosen, Kept) else None

    async def _led(self, request: Request, asked: Asked, flight: Flight) -> Result[Response]:
        """Ask the handler, while others wait; store what may be stored."""
        try:
            result = await self._handler(request)
            response = result.data
            if response is not None:
                flight.answered = True
                if is_whole(response):
                    tag(response, self._max_size)
                    await self._keep(request, asked, response, flight)
            flight.landed = True
        finally:
            self._flights.end(flight)
        return _judged(result, asked, request)

    async def _keep(self, request: Request, asked: Asked, response: Response, flight: Flight) -> None:
        now = self._clock()
        fields = response.raw_headers
        allowed = lifetime_of(response.status_code, fields, asked, now=now, ttl=self._ttl)
        names = names_in_vary(fields)
        if (
            allowed is None
            or names is None
            or response.background is not None
            or len(response.body) > self._max_size
        ):
            return
        lifetime, public = allowed
        kept = Kept(response.status_code, kept_fields(fields), bytes(response.body), now, lifetime, public)
        if flight.is_spoiled():
            return
        flight.storing = True
        place = flight.url
        if names:
            found = await self._shelf.get(place)
            choice = Names(names, token_hex(8))
            if isinstance(found, Names) and found.names == names:
                choice = found
            await self._shelf.put(place, choice, lifetime)
            place = choice_of(place + choice.salt, names, request.scope["headers"])
        await self._shelf.put(place, kept, lifetime)
        if flight.is_spoiled():  # meanwhile, while the store took its time
            await self._shelf.remove(flight.url)
            await self._shelf.remove(place)
        else:
            flight.stored = True

    async def _fresh(self, request: Request, asked: Asked) -> Result[Response]:
        """Ask the handler, and store nothing."""
        result = await self._handler(request)
        response = result.data
        if response is not None and is_whole(response):
            tag(response, self._max_size)
        return _judged(result, asked, request)


def _judged(result: Result[Response], asked: Asked, request: Request) -> Result[Response]:
    response = result.data
    if asked.conditional and response is not None and is_whole(response):
        return conditioned(request.scope["headers"], response)
    return result


def _answer(kept: Kept, age: float, request: Request, asked: Asked) -> Result[Response]:
    response = Ready(kept.status, [*kept.fields, (b"age", b"%d" % age)], kept.body)
    return conditioned(request.scope["headers"], response) if asked.conditional else Success(response)
