"""The steps of a call that need no I/O: the asynchronous and the blocking sender take the same ones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx
from qicore.base import ErrorCategory, Failure, QiError, Result
from qicore.http.body import Upload
from qicore.http.cookies import CookieStore, cookie_header, origin_of
from qicore.http.errors import timed_out, to_error, too_many_redirects
from qicore.http.redirects import is_redirect, redirect_request, same_origin
from qicore.http.request import Call
from qicore.http.response import Answer, judge
from qicore.resilience import CircuitBreakers, Permit

__all__ = ["Journey", "admit", "deadline_error", "settle", "translate"]


class Journey:
    """Where a call is on its way from redirect to redirect."""

    def __init__(self, call: Call, store: CookieStore | None, max_redirects: int) -> None:
        self._call = call
        self._store = store
        self._max_redirects = max_redirects
        self._history: list[httpx.Response] = []
        self._cookies: Mapping[str, str] = call.cookies
        self.request = call.request
        self.auth = call.auth

    def arrive(self, answer: Answer) -> Result[Answer] | None:
        """Return the judged answer, or None when `request` is another one to be sent; may raise QiError."""
        call = self._call
        request = answer.request
        if answer.sets_cookies and self._store is not None:
            self._store.remember(request.url, answer.headers)
        answer.history = self._history
        if not (call.follow and is_redirect(answer.status_code, answer.headers)):
            return judge(call, answer)
        if len(self._history) >= self._max_redirects:
            raise too_many_redirects(
                self._max_redirects, answer.status_code, call.request.method, call.request.url
            )
        self._history = [*self._history, answer]
        self.request = following = redirect_request(request, answer.status_code, answer.headers["location"])
        foreign = not same_origin(request.url, following.url)
        if foreign:
            self.auth = None
            self._cookies = {}
        kept = None if self._store is None else self._store.header(following.url, foreign=foreign)
        cookie = cookie_header(self._cookies, kept)
        if cookie is not None:
            following.headers["Cookie"] = cookie
        return None


def admit(breakers: CircuitBreakers | None, request: httpx.Request) -> Result[Permit] | None:
    """Ask the breaker of the request's host for leave; None when there are no breakers."""
    return None if breakers is None else breakers.get(origin_of(request.url)).admit()


def settle(permit: Permit, call: Call, result: Result[Answer]) -> None:
    """Tell the breaker how the request ended; an open stream takes the permit along."""
    answer = result.data
    if answer is not None:
        if answer.reply is not None:
            answer.permit = permit
        elif answer.status_code >= 500 and answer.status_code not in call.accepted:
            judged = judge(call, answer).error
            assert judged is not None
            permit.failure(judged)
        else:
            permit.success()
        return
    error = result.error
    assert error is not None
    stream = call.request.stream
    ours = error.context.get("reason") == "pool" or (
        isinstance(stream, Upload) and stream.failure is not None
    )
    if ours:
        # The caller's own limits or body say nothing about the service.
        permit.release()
    else:
        permit.failure(error)


def translate(call: Call, request: httpx.Request, error: Exception) -> Failure:
    """Return the Failure for what an engine, a body or a callback raised."""
    stream = request.stream
    cause = stream.failure if isinstance(stream, Upload) and stream.failure is not None else error
    sent: Any = request.extensions.get("sent")
    found = to_error(cause, method=request.method, url=request.url, sent=sent)
    late = call.deadline is not None and time.monotonic() >= call.deadline
    if late and found.category is ErrorCategory.TIMEOUT:
        # Whatever the engine makes of having no time left.
        return Failure(deadline_error(call, request))
    return Failure(found)


def deadline_error(call: Call, request: httpx.Request) -> QiError:
    """Return the error of a call whose time is up."""
    assert call.timeout is not None
    sent = bool(request.extensions.get("sent", False))
    return timed_out(call.timeout, request.method, request.url, sent=sent)
