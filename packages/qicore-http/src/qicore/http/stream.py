"""A response whose body is read as it comes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import cast

import httpx
from qicore.base import Failure, QiError, Result, Success
from qicore.http.engines.reply import Reply
from qicore.http.errors import too_large
from qicore.http.request import Call
from qicore.http.response import Answer, Collector
from qicore.http.steps import deadline_error, translate

__all__ = ["HTTPStream", "StreamContext"]


class HTTPStream:
    """The chunks of a body, decoded, as an async iterator of Results; a Failure is its last item.

    Nothing is read ahead: when you take your time, the server has to wait. It belongs to an `async with`,
    which closes it however the block is left.

    Attributes:
        response: the head: status, headers, URL. Its body is read here, not there.
    """

    def __init__(self, call: Call, answer: Answer, read_limit: int | None) -> None:
        self.response: httpx.Response = answer
        self._call = call
        self._answer = answer
        self._read_limit = read_limit
        reply = cast("Reply", answer.reply)
        self._body = reply.body
        self._chunks = reply.body.__aiter__()
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

    def __aiter__(self) -> AsyncIterator[Result[bytes]]:
        return self

    async def __anext__(self) -> Result[bytes]:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            failed = await self._pull()
            if failed is not None:
                return failed
        return Success(self._ready.popleft())

    async def _pull(self) -> Failure | None:
        """Read one chunk from the wire."""
        call = self._call
        deadline = call.deadline if call.timed_body else None
        scope = asyncio.timeout(None if deadline is None else deadline - time.monotonic())
        try:
            async with scope:
                chunk = await anext(self._chunks, None)
            if chunk is None:
                self._collector.finish()
                self._over = True
                self._settle(None)
            else:
                self._ready.extend(self._collector.add(chunk))
        except OverflowError:
            request = self._answer.request
            error = too_large(cast("int", call.limit), self.status_code, request.method, request.url)
            return await self._fail(Failure(error))
        except TimeoutError as error:
            late = deadline is not None and scope.expired()
            request = self._answer.request
            return await self._fail(
                Failure(deadline_error(call, request)) if late else translate(call, request, error)
            )
        except Exception as error:  # noqa: BLE001 - the boundary: whatever an engine raises is answered
            return await self._fail(translate(call, self._answer.request, error))
        except BaseException:
            self._release()
            await self.close()
            raise
        return None

    async def _fail(self, failure: Failure) -> Failure:
        self._settle(failure.error)
        await self.close()
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

    async def lines(self) -> AsyncIterator[Result[str]]:
        r"""Yield the lines of a text, without their ends (\n, \r\n or \r); a Failure is the last item.

        The text is decoded as the Content-Type says, else as UTF-8. A line is at most as long as the client's
        `max_response_size`: RESPONSE_TOO_LARGE.
        """
        from qicore.http.lines import LineSplitter

        splitter = LineSplitter(self.response.charset_encoding, self._read_limit)
        async for result in self:
            chunk = result.data
            if chunk is None:
                yield Failure(cast("QiError", result.error))
                return
            for line in splitter.feed(chunk):
                yield Success(line)
            if splitter.too_long:
                await self.close()
                request = self._answer.request
                yield Failure(
                    too_large(cast("int", self._read_limit), self.status_code, request.method, request.url)
                )
                return
        for line in splitter.finish():
            yield Success(line)

    async def read(self) -> Result[bytes]:
        """Return what is left of the body, at most `max_response_size` of the client: RESPONSE_TOO_LARGE."""
        pieces: list[bytes] = []
        size = 0
        async for result in self:
            piece = result.data
            if piece is None:
                return result
            pieces.append(piece)
            size += len(piece)
            if self._read_limit is not None and size > self._read_limit:
                await self.close()
                request = self._answer.request
                return Failure(too_large(self._read_limit, self.status_code, request.method, request.url))
        return Success(b"".join(pieces))

    async def close(self) -> Result[None]:
        """End the stream; one that is not at its end takes its connection along. Idempotent."""
        self._over = True
        self._ready.clear()
        permit, self._answer.permit = self._answer.permit, None
        if permit is not None:
            # Left early by the caller: the service answered, and what else it would have done nobody knows.
            permit.success()
        await self._body.aclose()
        return Success(None)


class StreamContext:
    """What `stream` returns: `async with` it to get the Result of the stream."""

    def __init__(self, open_it: Callable[[], Awaitable[Result[HTTPStream]]]) -> None:
        self._open = open_it
        self._stream: HTTPStream | None = None

    async def __aenter__(self) -> Result[HTTPStream]:
        result = await self._open()
        self._stream = result.data
        return result

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            await self._stream.close()
