"""A response whose body is read as it comes, blocking."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import cast

import httpx
from qicore.base import Failure, QiError, Result, Success
from qicore.http.engines.reply import SyncReply
from qicore.http.errors import too_large
from qicore.http.request import Call
from qicore.http.response import Answer, Collector
from qicore.http.steps import translate

__all__ = ["SyncHTTPStream", "SyncStreamContext"]


class SyncHTTPStream:
    """The chunks of a body, decoded, as an iterator of Results; a Failure is its last item.

    Nothing is read ahead: when you take your time, the server has to wait. It belongs to an `with`, which
    closes it however the block is left.

    Attributes:
        response: the head: status, headers, URL. Its body is read here, not there.
    """

    def __init__(self, call: Call, answer: Answer, read_limit: int | None) -> None:
        self.response: httpx.Response = answer
        self._call = call
        self._answer = answer
        self._read_limit = read_limit
        reply = cast("SyncReply", answer.reply)
        self._body = reply.body
        self._chunks = reply.body.__iter__()
        self._collector = Collector(reply.headers, call.limit, call.on_download)
        self._ready: deque[bytes] = deque()
        self._over = False

    @property
    def status_code(self) -> int:
        """The status of the response."""
        return self.response.status_code

    @property
    def headers(self) -> httpx.Headers:
        """The headers of the response."""
        return self.response.headers

    def __iter__(self) -> Iterator[Result[bytes]]:
        return self

    def __next__(self) -> Result[bytes]:
        while not self._ready:
            if self._over:
                raise StopIteration
            failed = self._pull()
            if failed is not None:
                return failed
        return Success(self._ready.popleft())

    def _pull(self) -> Failure | None:
        """Read one chunk from the wire."""
        call = self._call
        try:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._collector.finish()
                self._over = True
                self._settle(None)
            else:
                self._ready.extend(self._collector.add(chunk))
        except OverflowError:
            request = self._answer.request
            error = too_large(cast("int", call.limit), self.status_code, request.method, request.url)
            return self._fail(Failure(error))
        except Exception as error:  # noqa: BLE001 - the boundary: whatever an engine raises is answered
            return self._fail(translate(call, self._answer.request, error))
        except BaseException:
            self._release()
            self.close()
            raise
        return None

    def _fail(self, failure: Failure) -> Failure:
        self._settle(failure.error)
        self.close()
        return failure

    def _settle(self, error: QiError | None) -> None:
        permit, self._answer.permit = self._answer.permit, None
        if permit is None:
            return
        if error is None:
            permit.success()
        else:
            permit.failure(error)

    def _release(self) -> None:
        permit, self._answer.permit = self._answer.permit, None
        if permit is not None:
            permit.release()

    def lines(self) -> Iterator[Result[str]]:
        r"""Yield the lines of a text, without their ends (\n, \r\n or \r); a Failure is the last item.

        The text is decoded as the Content-Type says, else as UTF-8. A line is at most as long as the client's
        `max_response_size`: RESPONSE_TOO_LARGE.
        """
        from qicore.http.lines import LineSplitter

        splitter = LineSplitter(self.response.charset_encoding, self._read_limit)
        for result in self:
            chunk = result.data
            if chunk is None:
                yield Failure(cast("QiError", result.error))
                return
            for line in splitter.feed(chunk):
                yield Success(line)
            if splitter.too_long:
                self.close()
                request = self._answer.request
                yield Failure(
                    too_large(cast("int", self._read_limit), self.status_code, request.method, request.url)
                )
                return
        for line in splitter.finish():
            yield Success(line)

    def read(self) -> Result[bytes]:
        """Return what is left of the body, at most `max_response_size` of the client: RESPONSE_TOO_LARGE."""
        pieces: list[bytes] = []
        size = 0
        for result in self:
            piece = result.data
            if piece is None:
                return result
            pieces.append(piece)
            size += len(piece)
            if self._read_limit is not None and size > self._read_limit:
                self.close()
                request = self._answer.request
                return Failure(too_large(self._read_limit, self.status_code, request.method, request.url))
        return Success(b"".join(pieces))

    def close(self) -> Result[None]:
        """End the stream; one that is not at its end takes its connection along. Idempotent."""
        self._over = True
        self._ready.clear()
        permit, self._answer.permit = self._answer.permit, None
        if permit is not None:
            # Left early by the caller: the service answered, and what else it would have done nobody knows.
            permit.success()
        self._body.close()
        return Success(None)


class SyncStreamContext:
    """What `stream` returns: `with` it to get the Result of the stream."""

    def __init__(self, open_it: Callable[[], Result[SyncHTTPStream]]) -> None:
        self._open = open_it
        self._stream: SyncHTTPStream | None = None

    def __enter__(self) -> Result[SyncHTTPStream]:
        result = self._open()
        self._stream = result.data
        return result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
