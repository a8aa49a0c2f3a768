"""aiohttp's protocol with its parser in C, speaking of failures in the exceptions of httpx."""

from __future__ import annotations

from typing import Any, Final

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpProcessingError
from aiohttp.streams import StreamReader

__all__ = ["ENDED_EARLY", "AioProtocol"]

ENDED_EARLY: Final = "Server disconnected without sending a response."
"""As httpcore says it."""
_MAX_FIELD: Final = 100 * 1024
"""Bytes of a header that are accepted: what h11 takes for a whole head."""
_MAX_FIELDS: Final = 256


class AioProtocol(ResponseHandler):
    """One connection's protocol. For each request: `expect`, write it, `answer`.

    Attributes:
        lost: the error that ended the connection, if there was one.
        received: more than before when anything of an answer came.
    """

    lost: BaseException | None = None
    received: int = 0

    def connection_lost(self, exc: BaseException | None) -> None:
        """Remember why."""
        self.lost = exc
        super().connection_lost(exc)

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Tell those who wait for the head, and those who wait for the body.

        aiohttp 3.14.5 does not tell the latter when what follows a part of the body is no HTTP.
        """
        cause = () if exc_cause is None else (exc_cause,)
        payload = self._payload
        super().set_exception(exc, *cause)
        if payload is not None and payload.exception() is None and not payload.is_eof():
            payload.set_exception(exc, *cause)

    def expect(self, seconds: float | None, *, bodiless: bool = False) -> None:
        """Get ready for an answer; `seconds` may pass without a byte of it."""
        self.set_response_params(
            skip_payload=bodiless,
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=seconds,
            max_line_size=_MAX_FIELD,
            max_field_size=_MAX_FIELD,
            max_headers=_MAX_FIELDS,
        )

    async def answer(self) -> tuple[Any, StreamReader]:
        """Return the head of the answer, past those that only say that it will come, and its body.

        Raises httpx's exceptions, and what a body that is being sent raised.
        """
        try:
            while True:
                message, payload = await self.read()
                self.received += 1
                if message.code == 101:
                    raise httpx.RemoteProtocolError("the server switched to a protocol that nobody asked for")
                if not 100 <= message.code < 200:
                    return message, payload
        except aiohttp.ServerDisconnectedError as error:
            if not isinstance(error.message, str):
                self.received += 1  # a part of the head
            raise httpx.RemoteProtocolError(ENDED_EARLY) from error
        except (aiohttp.ClientError, HttpProcessingError) as error:
            raise self.as_httpx(error) from error

    def as_httpx(self, error: Exception) -> Exception:
        """Return the exception of httpx for one of aiohttp: from there on, all engines share a table."""
        if isinstance(error, aiohttp.SocketTimeoutError):
            return httpx.ReadTimeout(str(error))
        if isinstance(self.lost, OSError) or isinstance(error, OSError):
            return httpx.ReadError(str(self.lost or error))
        if isinstance(error, aiohttp.ClientPayloadError):
            return httpx.RemoteProtocolError("peer closed connection without sending complete message body")
        if isinstance(error, aiohttp.ClientError | HttpProcessingError):
            return httpx.RemoteProtocolError(str(error))
        return error
