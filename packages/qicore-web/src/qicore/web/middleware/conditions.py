"""Entity tags for answers, and 304 for clients that have them already (RFC 9110, section 13)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final
from uuid import uuid4

from qicore.base import Failure, Result, Success
from qicore.web.conditional import Answer, Validators, judge
from qicore.web.middleware.cache_entries import entity_tag
from qicore.web.middleware.cache_rules import Fields, field_of
from qicore.web.statuses import error_of_status
from starlette.background import BackgroundTask
from starlette.datastructures import Headers
from starlette.responses import Response

__all__ = ["Ready", "conditioned", "is_whole", "tag"]

_OK: Final = 200
# Of the representation, which a 304 does not bring (RFC 9110, section 15.4.5).
_OF_THE_BODY: Final = frozenset(
    (b"content-encoding", b"content-language", b"content-length", b"content-range", b"content-type")
)
_DATED: Final = frozenset((b"if-modified-since", b"if-unmodified-since"))
_UNTAGGED: Final = f'"{uuid4().hex}"'
"""Stands for no tag: a tag that nobody can name."""


class Ready(Response):
    """A response of a status, header fields and bytes as they are."""

    def __init__(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        background: BackgroundTask | None = None,
    ) -> None:
        self.status_code = status
        self.raw_headers = headers
        self.body = body
        self.background = background


def is_whole(response: Response) -> bool:
    """Return whether the response sends exactly the bytes that it holds: no stream, no file, no mount.

    >>> from starlette.responses import StreamingResponse
    >>> is_whole(Response("hello")), is_whole(StreamingResponse(iter(["hello"])))
    (True, False)
    """
    return type(response).__call__ is Response.__call__


def tag(response: Response, max_size: int) -> None:
    """Give the response an ETag, where it has none and is no larger than `max_size` bytes."""
    if response.status_code == _OK and len(response.body) <= max_size:
        headers = response.raw_headers
        for name, value in headers:
            if name == b"etag" or (name == b"cache-control" and b"no-store" in value.lower()):
                return
        headers.append((b"etag", entity_tag(bytes(response.body))))


def conditioned(request: Fields, response: Response) -> Result[Response]:
    """Return what the request's conditions make of the response: itself, a 304, or PRECONDITION_FAILED."""
    if response.status_code != _OK:
        return Success(response)
    current = field_of(response.raw_headers, b"etag")
    modified = _date(field_of(response.raw_headers, b"last-modified"))
    # A date counts only where the answer has one (section 13.1.3).
    asked = [pair for pair in request if modified is not None or pair[0] not in _DATED]
    validators = Validators(_UNTAGGED if current is None else current.decode("latin-1"), modified or 0)
    match judge(Headers(raw=asked), validators):
        case Answer.PERFORM:
            return Success(response)
        case Answer.NOT_MODIFIED:
            kept = [pair for pair in response.raw_headers if pair[0] not in _OF_THE_BODY]
            return Success(Ready(304, kept, b"", response.background))
        case Answer.FAILED:
            return Failure(error_of_status(412, "the resource is another one than the request is meant for"))


def _date(value: bytes | None) -> int | None:
    try:
        return None if value is None else int(parsedate_to_datetime(value.decode("latin-1")).timestamp())
    except (ValueError, OverflowError):
        return None
