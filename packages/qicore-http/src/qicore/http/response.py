"""What came back is judged: pure functions that the asynchronous and the blocking client share."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
from qicore.base import Failure, Result, Success
from qicore.http.body import Progress
from qicore.http.decoding import make_decoder
from qicore.http.engines.reply import RawHeaders, Reply, SyncReply
from qicore.http.errors import http_error, too_large
from qicore.http.headers import Headers
from qicore.http.problem import MAX_BODY, describe_body
from qicore.http.redirects import is_redirect
from qicore.http.request import Call
from qicore.resilience import Permit

__all__ = ["Answer", "Collector", "collector_for", "judge", "retry_after", "wants_body"]

_MAX_RETRY_AFTER: Final = 86_400.0


class Answer(httpx.Response):
    """A response whose body was read and decoded already, or, for a stream, is still to come.

    The headers are as the server sent them, Content-Encoding included. `elapsed` is the time from the request
    to the end of the body, for a stream to the end of the head.

    Attributes:
        sets_cookies: whether there is a Set-Cookie among the headers.
        truncated: whether the body was cut off, as nobody sees all of it.
        reply: what the engine gave, while the body is still to come.
        permit: a circuit breaker's leave, to be settled when the stream ends.
        notes: what is to be told in the context if it is judged to be an error.
    """

    def __init__(
        self, reply: Reply | SyncReply, request: httpx.Request, body: bytes | None, wire: int
    ) -> None:
        extensions = {"http_version": reply.version}
        if reply.reason:
            extensions["reason_phrase"] = reply.reason
        headers = Headers(reply.headers)
        super().__init__(reply.status, headers=headers, stream=_SPENT, request=request, extensions=extensions)
        self._num_bytes_downloaded = wire
        self.is_stream_consumed = True
        self.sets_cookies = headers.has(b"set-cookie")
        self.truncated = False
        self.reply: Reply | SyncReply | None = reply if body is None else None
        self.permit: Permit | None = None
        self.notes: dict[str, object] = {}
        if body is not None:
            self._content = body
            self.stream = httpx.ByteStream(body)
            self.is_closed = True


class _Spent(httpx.AsyncByteStream, httpx.SyncByteStream):
    """Stands where the body of a stream would be: that is read through the stream itself."""

    def __iter__(self) -> Iterator[bytes]:
        raise httpx.StreamConsumed

    def __aiter__(self) -> AsyncIterator[bytes]:
        raise httpx.StreamConsumed


_SPENT: Final = _Spent()


class Collector:
    """Decodes a body as it arrives, bounded; used as `add` for each chunk, and `finish`.

    Attributes:
        received: bytes from the wire so far.
        complete: False when it was cut off at its bound.
    """

    def __init__(
        self, headers: RawHeaders, limit: int | None, progress: Progress | None, *, cut: bool = False
    ) -> None:
        self._decoder = make_decoder(headers)
        self._limit = limit
        self._progress = progress
        self._total = _content_length(headers)
        self._cut = cut
        self._size = 0
        self.received = 0
        self.complete = True

    @property
    def declared(self) -> int | None:
        """The length that the headers say, or None."""
        return self._total

    def add(self, chunk: bytes) -> list[bytes]:
        """Return what the chunk holds; raise `Overflow` beyond the bound."""
        self.received += len(chunk)
        if self._progress is not None:
            self._progress(self.received, self._total)
        limit = self._limit
        if self._decoder is None:
            self._size += len(chunk)
            if limit is not None and self._size > limit:
                return self._overflow([chunk], limit)
            return [chunk]
        pieces: list[bytes] = []
        for piece in self._decoder.decode(chunk):
            self._size += len(piece)
            pieces.append(piece)
            if limit is not None and self._size > limit:
                return self._overflow(pieces, limit)
        return pieces

    def _overflow(self, pieces: list[bytes], limit: int) -> list[bytes]:
        self.complete = False
        if not self._cut:
            raise OverflowError(limit)
        spare = self._size - limit
        last = pieces.pop()
        return [*pieces, last[: len(last) - spare]]

    def finish(self) -> None:
        """Check that the body ended where its encoding ends."""
        if self._decoder is not None and self.complete:
            self._decoder.finish()


def collector_for(call: Call, reply: Reply | SyncReply, method: str) -> Collector:
    """Return what reads this body; QiError RESPONSE_TOO_LARGE when its length says enough."""
    refused = reply.status >= 400 and reply.status not in call.accepted
    if refused or 300 <= reply.status < 400:
        # Nobody will see more of it than this.
        return Collector(reply.headers, MAX_BODY, None, cut=True)
    collector = Collector(reply.headers, call.limit, call.on_download)
    declared = collector.declared
    if call.limit is not None and declared is not None and declared > call.limit and method != "HEAD":
        raise too_large(call.limit, reply.status, method, call.request.url)
    return collector


def judge(call: Call, answer: Answer) -> Result[Answer]:
    """Return the answer, or HTTP_ERROR for a status from 400 on that the caller does not accept."""
    status = answer.status_code
    if status < 400 or status in call.accepted:
        return Success(answer)
    details: dict[str, object] = dict(answer.notes)
    wait = retry_after(answer.headers.get("retry-after"), dt.datetime.now(dt.UTC))
    if wait is not None:
        details["retry_after"] = wait
    body = answer.content
    details.update(describe_body(answer.headers.get("content-type"), body, complete=not answer.truncated))
    return Failure(
        http_error(status, answer.reason_phrase, answer.request.method, answer.request.url, details)
    )


def retry_after(value: str | None, now: dt.datetime) -> float | None:
    """Return the seconds of a Retry-After header, a number or a date (RFC 9110, section 10.2.3), or None.

    >>> retry_after("Wed, 21 Oct 2015 07:28:05 GMT", dt.datetime(2015, 10, 21, 7, 28, tzinfo=dt.UTC))
    5.0
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text[:12]), _MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return min(max(0.0, (moment - now).total_seconds()), _MAX_RETRY_AFTER)


def wants_body(call: Call, answer: Answer) -> bool:
    """Return whether an answer to a stream's request is read at once: errors and redirects are."""
    status = answer.status_code
    return (status >= 400 and status not in call.accepted) or (
        call.follow and is_redirect(status, answer.headers)
    )


def _content_length(headers: RawHeaders) -> int | None:
    for name, value in headers:
        if name.lower() == b"content-length":
            return int(value) if value.isdigit() and len(value) < 20 else None
    return None
