"""Carry out a call asynchronously: hop by hop, with credentials, a deadline and a circuit breaker."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import httpx
from qicore.base import Failure, QiError, Result, Success
from qicore.http.cookies import CookieStore
from qicore.http.deadlines import Deadlines
from qicore.http.engine import AsyncEngine
from qicore.http.engines.reply import Reply
from qicore.http.errors import too_large
from qicore.http.repeat import Attempts
from qicore.http.request import Call
from qicore.http.response import Answer, collector_for, wants_body
from qicore.http.steps import Journey, admit, deadline_error, settle, translate
from qicore.resilience import CircuitBreakers, Retry

if TYPE_CHECKING:  # it needs the extra `cache`
    from qicore.http.cached import AsyncCached

__all__ = ["Sender"]


class Sender:
    """Sends calls over one engine, which several senders may share."""

    def __init__(
        self,
        engine: AsyncEngine,
        store: CookieStore | None,
        max_redirects: int,
        breakers: CircuitBreakers | None = None,
        cached: AsyncCached | None = None,
    ) -> None:
        self.engine = engine
        self._store = store
        self._max_redirects = max_redirects
        self._breakers = breakers
        self._cached = cached
        self._deadlines = Deadlines()

    async def send(self, call: Call) -> Result[Answer]:
        """Carry out the call and judge its answer."""
        journey = Journey(call, self._store, self._max_redirects)
        try:
            while True:
                result = await (
                    self._hop(call, journey.request)
                    if journey.auth is None
                    else self._authorize(call, journey.request, journey.auth)
                )
                answer = result.data
                if answer is None:
                    return result
                judged = journey.arrive(answer)
                if judged is not None:
                    return judged
        except QiError as error:
            return Failure(error)

    async def _authorize(self, call: Call, request: httpx.Request, auth: httpx.Auth) -> Result[Answer]:
        """Let the auth see each request and response; what it awaits itself counts for the deadline too."""
        scope = asyncio.timeout(None if call.deadline is None else call.deadline - time.monotonic())
        try:
            async with scope:
                return await self._flow(call, request, auth)
        except TimeoutError as error:
            return (
                Failure(deadline_error(call, request)) if scope.expired() else translate(call, request, error)
            )
        except QiError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever somebody's auth raises is answered
            return translate(call, request, error)

    async def _flow(self, call: Call, request: httpx.Request, auth: httpx.Auth) -> Result[Answer]:
        if auth.requires_request_body:
            await request.aread()
        flow = auth.async_auth_flow(request)
        try:
            following = await anext(flow)
            while True:
                result = await self._hop(call, following)
                answer = result.data
                if answer is None:
                    return result
                try:
                    following = await flow.asend(answer)
                except StopAsyncIteration:
                    return result
                if answer.reply is not None:
                    await cast("Reply", answer.reply).body.aclose()
        finally:
            await flow.aclose()

    async def _hop(self, call: Call, request: httpx.Request) -> Result[Answer]:
        """Get the answer to one request: from the cache if it may come from there."""
        if self._cached is None or call.stream:
            return await self._repeat(call, request)
        result = await self._cached.send(
            request, lambda following: self._repeat(call, following), call.deadline
        )
        answer = result.data
        if answer is not None and call.limit is not None and len(answer.content) > call.limit:
            # Stored under a larger limit than this call's.
            return Failure(too_large(call.limit, answer.status_code, request.method, request.url))
        return result

    async def _repeat(self, call: Call, request: httpx.Request) -> Result[Answer]:
        """Get the answer to one request, in several attempts if it must be and may be."""
        if call.retry is None:
            return await self._ask(call, request)
        begun = time.monotonic()
        first = await self._ask(call, request)
        try:
            attempts = Attempts.begin(call, request, first, begun)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever somebody's retry_on raises is answered
            return translate(call, request, error)
        if attempts is None:
            return first

        async def again() -> Result[Result[Answer]]:
            held = attempts.held()
            return attempts.sort(await self._ask(call, request) if held is None else held)

        return attempts.outcome(await Retry(attempts.config).call(again))

    async def _ask(self, call: Call, request: httpx.Request) -> Result[Answer]:
        """Send one request and read its answer, as far as it is to be read here."""
        admitted = admit(self._breakers, request)
        if admitted is None:
            return await self._attempt(call, request)
        permit = admitted.data
        if permit is None:
            return Failure(cast("QiError", admitted.error))
        try:
            result = await self._attempt(call, request)
        except BaseException:
            permit.release()
            raise
        settle(permit, call, result)
        return result

    async def _attempt(self, call: Call, request: httpx.Request) -> Result[Answer]:
        watch = None if call.deadline is None else self._deadlines.watch(call.deadline)
        try:
            return Success(await self._exchange(call, request))
        except asyncio.CancelledError:
            if watch is not None and watch.end():
                return Failure(deadline_error(call, request))
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever an engine raises is answered
            return translate(call, request, error)
        finally:
            if watch is not None:
                watch.end()

    async def _exchange(self, call: Call, request: httpx.Request) -> Answer:
        begun = time.monotonic()
        reply = await self.engine.send(request)
        # From here on the server has the request, whatever happens.
        request.extensions["sent"] = True
        try:
            if call.stream:
                answer = Answer(reply, request, None, 0)
                answer.elapsed = timedelta(seconds=time.monotonic() - begun)
                if not wants_body(call, answer):
                    return answer
            answer = await self._read(call, request, reply)
            answer.elapsed = timedelta(seconds=time.monotonic() - begun)
            return answer
        except BaseException:
            await reply.body.aclose()
            raise

    async def _read(self, call: Call, request: httpx.Request, reply: Reply) -> Answer:
        collector = collector_for(call, reply, request.method)
        pieces: list[bytes] = []
        try:
            async for chunk in reply.body:
                pieces += collector.add(chunk)
                if not collector.complete:
                    await reply.body.aclose()
                    break
        except OverflowError:
            raise too_large(cast("int", call.limit), reply.status, request.method, request.url) from None
        collector.finish()
        answer = Answer(reply, request, b"".join(pieces), collector.received)
        answer.truncated = not collector.complete
        return answer
