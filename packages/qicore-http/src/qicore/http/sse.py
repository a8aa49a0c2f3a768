"""Server-sent events, read incrementally from bytes as the HTML standard says.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from qicore.base import QiError, Result

__all__ = ["EventParser", "ServerSentEvent", "TooLongError"]

_BOM: Final = b"\xef\xbb\xbf"
_MAX_RETRY: Final = 86_400.0


class TooLongError(ValueError):
    """A line or an event is longer than the reader allows."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event of a stream.

    Attributes:
        data: the text of the event, its lines joined with a line feed.
        event: the type of the event.
        id: the last id that the stream has sent so far, or an empty text.
        retry: seconds to wait before a reconnection, when the stream has just said so.
    """

    data: str
    event: str = "message"
    id: str = ""
    retry: float | None = None

    def json(self) -> Result[Any]:
        """Return the data read as JSON: PARSE_ERROR [VALIDATION] when it is none.

        >>> ServerSentEvent('{"n": 1}').json()
        Success({'n': 1})
        """
        return Result.from_try_catch(
            json.loads,
            self.data,
            catch=(ValueError, RecursionError),
            to_error=lambda error: QiError.validation(
                "PARSE_ERROR", "the event's data is no JSON", event=self.event, reason=type(error).__name__
            ),
        )


class EventParser:
    r"""Turns the bytes of a stream into events, whatever pieces they come in.

    `last_id` and `retry` (seconds, None until the stream has said it) are what a reconnection needs.

    >>> parser = EventParser()
    >>> parser.feed(b"id: 7\ndata: to")
    []
    >>> parser.feed(b"day\r\n\r\n")
    [ServerSentEvent(data='today', event='message', id='7', retry=None)]
    """

    def __init__(self, *, max_size: int = 1_048_576, last_id: str = "") -> None:
        """Start at the beginning of a stream; `max_size` bounds a line and an event's data, in bytes."""
        self.last_id = last_id
        self.retry: float | None = None
        self._max_size = max_size
        self._parts: list[bytes] = []  # of a line whose end has not come yet
        self._held = 0  # their bytes
        self._begun = False
        self._skip_line_feed = False
        self._data: list[str] = []
        self._size = 0
        self._event = ""
        self._id = last_id
        self._new_retry: float | None = None

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Return the events that this piece completes; raise TooLongError for one beyond the bound."""
        if self._skip_line_feed and chunk:
            # The line ended with the CR that closed the last piece: its LF belongs to it.
            self._skip_line_feed = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        self._skip_line_feed = chunk.endswith(b"\r")
        if b"\n" not in chunk and b"\r" not in chunk:
            self._hold(chunk)
            return []
        lines = (b"".join(self._parts) + chunk).splitlines()
        self._parts.clear()
        self._held = 0
        if not chunk.endswith((b"\n", b"\r")):
            self._hold(lines.pop())
        return [event for line in lines if (event := self._line(line)) is not None]

    def _hold(self, part: bytes) -> None:
        self._held += len(part)
        if self._held > self._max_size:
            raise TooLongError(f"a line of the event stream is longer than {self._max_size} bytes")
        self._parts.append(part)

    def _line(self, raw: bytes) -> ServerSentEvent | None:
        if not self._begun:
            self._begun = True
            raw = raw.removeprefix(_BOM)
        if not raw:
            return self._dispatch()
        name, _, value = raw.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._size += len(raw)
            if self._size > self._max_size:
                raise TooLongError(f"an event of the stream is longer than {self._max_size} bytes")
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            # Bounded: a server must not put the client to sleep for ever, nor overflow its clock.
            self.retry = self._new_retry = min(float(value[:12]) / 1000, _MAX_RETRY)
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        self.last_id = self._id
        event = None
        if self._data:
            event = ServerSentEvent(
                "\n".join(self._data), self._event or "message", self.last_id, self._new_retry
            )
            self._new_retry = None
        self._data = []
        self._size = 0
        self._event = ""
        return event
