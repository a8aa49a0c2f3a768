"""Carry out a call, blocking: the same steps as in `qicore.http.sending`."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import httpx
from qicore.base import Failure, QiError, Result, Success
from qicore.http.cookies import CookieStore
from qicore.http.engine import SyncEngine
from qicore.http.engines.reply import Deadline, SyncReply
from qicore.http.errors import too_large
from qicore.http.repeat import Attempts
from qicore.http.request import Call
from qicore.http.response import Answer, collector_for, wants_body
from qicore.http.steps import Journey, admit, deadline_error, settle, translate
from qicore.resilience import CircuitBreakers, Retry

if TYPE_CHECKING:  # it needs the extra `cache`
    from qicore.http.cached import SyncCached

__all__ = ["SyncSender"]


class SyncSender:
    """Sends calls over one engine, which several senders may share."""

    def __init__(
        self,
        engine: SyncEngine,
        store: CookieStore | None,
        max_redirects: int,
        breakers: CircuitBreakers | None = None,
        cached: SyncCached | None = None,
    ) -> None:
        self.engine = engine
        self._store = store
        self._max_redirects = max_redirects
        self._breakers = breakers
        self._cached = cached

    def send(self, call: Call) -> Result[Answer]:
        """Carry out the call and judge its answer."""
        journey = Journey(call, self._store, self._max_redirects)
        try:
            while True:
                result = (
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

    def _authorize(self, call: Call, request: httpx.Request, auth: httpx.Auth) -> Result[Answer]:
        try:
            return self._flow(call, request, auth)
        except QiError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever somebody's auth raises is answered
            return translate(call, request, error)

    def _flow(self, call: Call, request: httpx.Request, auth: httpx.Auth) -> Result[Answer]:
        if auth.requires_request_body:
            request.read()
        flow = auth.sync_auth_flow(request)
        try:
            following = next(flow)
            while True:
                result = self._hop(call, following)
                answer = result.data
                if answer is None:
                    return result
                try:
                    following = flow.send(answer)
                except StopIteration:
                    return result
                if answer.reply is not None:
                    cast("SyncReply", answer.reply).body.close()
        finally:
            flow.close()

    def _hop(self, call: Call, request: httpx.Request) -> Result[Answer]:
        """Get the answer to one request: from the cache if it may come from there."""
        if self._cached is None or call.stream:
            return self._repeat(call, request)
        result = self._cached.send(request, lambda following: self._repeat(call, following))
        answer = result.data
        if answer is not None and call.limit is not None and len(answer.content) > call.limit:
            # Stored under a larger limit than this call's.
            return Failure(too_large(call.limit, answer.status_code, request.method, request.url))
        return result

    def _repeat(self, call: Call, request: httpx.Request) -> Result[Answer]:
        """Get the answer to one request, in several attempts if it must be and may be."""
        if call.retry is None:
            return self._ask(call, request)
        begun = time.monotonic()
        first = self._ask(call, request)
        try:
            attempts = Attempts.begin(call, request, first, begun)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever somebody's retry_on raises is answered
            return translate(call, request, error)
        if attempts is None:
            return first

        def again() -> Result[Result[Answer]]:
            held = attempts.held()
            return attempts.sort(self._ask(call, request) if held is None else held)

        return attempts.outcome(Retry(attempts.config).call_sync(again))

    def _ask(self, call: Call, request: httpx.Request) -> Result[Answer]:
        """Send one request and read its answer, as far as it is to be read here."""
        admitted = admit(self._breakers, request)
        if admitted is None:
            return self._attempt(call, request)
        permit = admitted.data
        if permit is None:
            return Failure(cast("QiError", admitted.error))
        try:
            result = self._attempt(call, request)
        except BaseException:
            permit.release()
            raise
        settle(permit, call, result)
        return result

    def _attempt(self, call: Call, request: httpx.Request) -> Result[Answer]:
        if call.deadline is not None and time.monotonic() >= call.deadline:
            return Failure(deadline_error(call, request))
        try:
            return Success(self._exchange(call, request))
        except Exception as error:  # noqa: BLE001 - the boundary: whatever an engine raises is answered
            return translate(call, request, error)

    def _exchange(self, call: Call, request: httpx.Request) -> Answer:
        deadline = Deadline(call.deadline)
        begun = time.monotonic()
        reply = self.engine.send(request, deadline)
        # From here on the server has the request, whatever happens.
        request.extensions["sent"] = True
        try:
            if call.stream:
                answer = Answer(reply, request, None, 0)
                answer.elapsed = timedelta(seconds=time.monotonic() - begun)
                if not wants_body(call, answer):
                    if not call.timed_body:
                        deadline.at = None
                    return answer
            answer = self._read(call, request, reply)
            answer.elapsed = timedelta(seconds=time.monotonic() - begun)
            return answer
        except BaseException:
            reply.body.close()
            raise

    def _read(self, call: Call, request: httpx.Request, reply: SyncReply) -> Answer:
        collector = collector_for(call, reply, request.method)
        pieces: list[bytes] = []
        try:
            for chunk in reply.body:
                pieces += collector.add(chunk)
                if not collector.complete:
                    reply.body.close()
                    break
        except OverflowError:
            raise too_large(cast("int", call.limit), reply.status, request.method, request.url) from None
        collector.finish()
        answer = Answer(reply, request, b"".join(pieces), collector.received)
        answer.truncated = not collector.complete
        return answer
