"""Carry out a call: hops, credentials, breaker and attempts, asynchronously."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import httpx

from qicore.base import Failure, QiError, Result, Success
from qicore.http.body import Upload
from qicore.http.cookies import CookieStore
from qicore.http.engine import AsyncEngine
from qicore.http.engines.reply import Reply
from qicore.http.errors import timed_out, to_error, too_large, too_many_redirects
from qicore.http.redirects import is_redirect, redirect_request, same_origin
from qicore.http.request import Call
from qicore.http.response import Answer, collector_for, judge, wants_body

__all__ = ["Sender"]


class Sender:
    """Sends calls over one engine; what clients of one pool share."""

    def __init__(self, engine: AsyncEngine, store: CookieStore | None, max_redirects: int) -> None:
        self.engine = engine
        self.store = store
        self.max_redirects = max_redirects

    async def send(self, call: Call) -> Result[Answer]:
        """Carry out the call and judge its answer."""
        if call.timeout is not None:
            call.deadline = time.monotonic() + call.timeout
        try:
            return await self._follow(call)
        except QiError as error:
            return Failure(error)

    async def _follow(self, call: Call) -> Result[Answer]:
        request = call.request
        history: list[httpx.Response] = []
        while True:
            result = await (self._hop(call, request) if call.auth is None else self._authorize(call, request))
            if result.error is not None:
                return result
            answer = result.unwrap()
            if self.store is not None and "set-cookie" in answer.headers:
                self.store.remember(request.url, answer.headers)
            if not (call.follow and is_redirect(answer.status_code, answer.headers)):
                answer.history = history
                return judge(call, answer)
            if len(history) >= self.max_redirects:
                raise too_many_redirects(
                    self.max_redirects, answer.status_code, call.request.method, call.request.url
                )
            history.append(answer)
            request = self._redirect(call, request, answer)

    def _redirect(self, call: Call, request: httpx.Request, answer: Answer) -> httpx.Request:
        following = redirect_request(request, answer.status_code, answer.headers["location"])
        foreign = not same_origin(request.url, following.url)
        if foreign:
            call.auth = None
        cookie = None if self.store is None else self.store.header(following.url, foreign=foreign)
        if cookie is not None:
            following.headers["Cookie"] = cookie
        return following

    async def _authorize(self, call: Call, request: httpx.Request) -> Result[Answer]:
        auth = call.auth
        assert auth is not None
        if auth.requires_request_body:
            await request.aread()
        flow = auth.async_auth_flow(request)
        try:
            request = await anext(flow)
            while True:
                result = await self._hop(call, request)
                if result.error is not None:
                    return result
                try:
                    request = await flow.asend(result.unwrap())
                except StopAsyncIteration:
                    return result
        finally:
            await flow.aclose()

    async def _hop(self, call: Call, request: httpx.Request) -> Result[Answer]:
        """Send one request and read its answer, as far as it is to be read here."""
        try:
            if call.deadline is None:
                return Success(await self._exchange(call, request))
            # asyncio.timeout has its own clock, the event loop's.
            async with asyncio.timeout(call.deadline - time.monotonic()) as scope:
                return Success(await self._exchange(call, request))
        except TimeoutError as error:
            if call.deadline is not None and scope.expired():
                sent = bool(request.extensions.get("sent", False))
                return Failure(timed_out(cast("float", call.timeout), request.method, request.url, sent=sent))
            return Failure(self._translate(error, request))
        except Exception as error:  # noqa: BLE001 - the boundary: whatever an engine raises is answered
            return Failure(self._translate(error, request))

    def _translate(self, error: Exception, request: httpx.Request) -> QiError:
        failure = request.stream.failure if isinstance(request.stream, Upload) else None
        return to_error(
            failure or error,
            method=request.method,
            url=request.url,
            sent=request.extensions.get("sent"),
        )

    async def _exchange(self, call: Call, request: httpx.Request) -> Answer:
        reply = await self.engine.send(request)
        # From here on the server has the request, whatever happens.
        request.extensions["sent"] = True
        try:
            if call.stream:
                answer = Answer(reply, request, None, 0)
                if not wants_body(call, answer):
                    answer.extensions["reply"] = reply
                    return answer
            return await self._read(call, request, reply)
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
