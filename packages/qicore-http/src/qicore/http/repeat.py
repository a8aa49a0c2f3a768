"""When a request may be made again, and what becomes of its attempts: both senders ask here.

A request is repeated only if that can do no harm, and only if its error is worth it (`RetryConfig.retry_on`):

* Its method is idempotent (RFC 9110, section 9.2.2), or it has a header `Idempotency-Key`, by which the
  server tells a repetition from a second request. Or the error says that it was not carried out: nothing of
  it was sent (`sent` is False in the context), or the status is 425 or 429.
* Its body can be produced again, and it was not the body that failed.
* It did not fail for its certificate: waiting makes none valid.
* Its next attempt would begin before the call's time is up; else the last failure is the answer.

By default `retry_on` is `is_transient`: no connection, a broken one, a timeout, and the statuses 408, 425,
429, 500, 502, 503, 504. The breaker is asked for each attempt, so that an open circuit ends them.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Final, cast

import httpx
from qicore.base import Failure, QiError, Result, Success
from qicore.http.methods import IDEMPOTENT
from qicore.http.request import Call
from qicore.http.response import Answer, judge
from qicore.resilience import RetryConfig

__all__ = ["Attempts", "may_repeat"]

# "Too Early": the server did not want to risk carrying it out (RFC 8470, section 5.2). "Too Many Requests":
# it was turned away for those before it (RFC 6585, section 4).
_NOT_CARRIED_OUT: Final = frozenset((425, 429))


def may_repeat(request: httpx.Request, error: QiError) -> bool:
    """Return whether making this request again does no harm, after this error.

    >>> post = httpx.Request("POST", "https://example.org/orders", json={"tea": 1})
    >>> refused = QiError.network("NETWORK_ERROR", "the connection was refused", sent=False)
    >>> reset = QiError.network("NETWORK_ERROR", "the connection broke", sent=True)
    >>> may_repeat(post, refused), may_repeat(post, reset)
    (True, False)
    """
    stream = request.stream
    if not (isinstance(stream, httpx.ByteStream) or getattr(stream, "repeatable", False)):
        return False
    if getattr(stream, "failure", None) is not None or error.code == "SSL_ERROR":
        return False
    return (
        request.method in IDEMPOTENT
        or "idempotency-key" in request.headers
        or error.context.get("sent") is False
        or error.context.get("status") in _NOT_CARRIED_OUT
    )


class Attempts:
    """The attempts of one request after its first, which failed; made by `begin` when there may be any.

    `Retry` makes them by `config`. What it is given for each is what `sort` says: a Failure to be followed by
    another attempt, or a Success of the final outcome, whatever that is. `outcome` undoes this at the end.
    """

    def __init__(
        self, config: RetryConfig, call: Call, request: httpx.Request, first: Result[Answer]
    ) -> None:
        self.config = config
        self._call = call
        self._request = request
        self._waiting: Result[Answer] | None = first
        self._last = first
        self._count = 1
        self._sent = False

    @classmethod
    def begin(
        cls, call: Call, request: httpx.Request, first: Result[Answer], begun: float
    ) -> Attempts | None:
        """Return the attempts that may follow the first, which began at `begun`; None if none may."""
        options = cast("RetryConfig", call.retry)
        answer = first.data
        well = answer is not None and answer.status_code < 400
        left = 0.0 if well else _left(call, options, begun)
        if options.attempts > 1 and left > 0 and _worth(call, request, first, options):
            # What is worth it was asked already, and is not asked again.
            deadline = None if left == math.inf else left
            return cls(replace(options, deadline=deadline, retry_on=_always), call, request, first)
        if options.budget is not None:
            options.budget.deposit()  # as `Retry` does for the calls it sees
        return None

    def held(self) -> Result[Answer] | None:
        """Return the outcome of the first attempt, once; then None: another is to be made."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            self._count += 1
            self._sent = self._sent or bool(self._request.extensions.pop("sent", False))
        return waiting

    def sort(self, result: Result[Answer]) -> Result[Result[Answer]]:
        """Return what `Retry` is to make of the outcome of one attempt."""
        self._last = result
        error = _worth(self._call, self._request, result, cast("RetryConfig", self._call.retry))
        return Success(result) if error is None else Failure(error)

    def outcome(self, result: Result[Result[Answer]]) -> Result[Answer]:
        """Return the outcome of the last attempt, with how many there were."""
        last = self._last
        notes: dict[str, object] = {"attempts": self._count} if self._count > 1 else {}
        if result.error is not None and "retry_budget" in result.error.context:
            notes["retry_budget"] = result.error.context["retry_budget"]
        answer = last.data
        if answer is not None:
            answer.notes = notes
            answer.extensions.update(notes)
            return last
        error = cast("QiError", last.error)
        if self._sent and error.context.get("sent") is False:
            notes["sent"] = True  # an earlier attempt was
        return Failure(error.with_context(notes))


def _worth(
    call: Call, request: httpx.Request, result: Result[Answer], options: RetryConfig
) -> QiError | None:
    """Return the error of an attempt that is worth another, or None."""
    answer = result.data
    if answer is not None and answer.status_code < 400:
        return None
    error = result.error if answer is None else judge(call, answer).error
    if error is None or not may_repeat(request, error):
        return None
    return error if options.retry_on(error) else None


def _left(call: Call, options: RetryConfig, begun: float) -> float:
    """Return the seconds in which another attempt may begin."""
    if call.deadline is None and options.deadline is None:
        return math.inf
    ends = (call.deadline, None if options.deadline is None else begun + options.deadline)
    return min(end for end in ends if end is not None) - time.monotonic()


def _always(_error: QiError) -> bool:
    return True
