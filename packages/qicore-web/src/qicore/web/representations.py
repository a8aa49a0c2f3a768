"""What a request gets of a file that was found: all of it, ranges of it, or word that it has it already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPMethod

from qicore.base import QiError
from qicore.web.conditional import Answer, Validators, judge, range_applies
from qicore.web.ranges import Part, multipart, ranges_of
from qicore.web.statuses import error_of_status
from qicore.web.transfers import Transfer
from starlette.datastructures import Headers

__all__ = ["Refusal", "Representation", "raw"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error to answer, and the header fields that go with it."""

    error: QiError
    fields: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Representation:
    """The bytes that stand for a file: it may be its compressed sibling.

    Attributes:
        media_type: what the bytes are once they are decoded.
        size: the number of bytes as they are sent.
        validators: what tells them from other versions.
        fields: header fields of their own, such as `content-encoding`.
    """

    media_type: str
    size: int
    validators: Validators
    fields: Mapping[str, str]

    def answer(self, method: str, headers: Headers) -> Transfer | Refusal:
        """Return what a GET or HEAD with these header fields gets.

        >>> page = Representation("text/plain", 100, Validators('"7"', 0), {})
        >>> page.answer("GET", Headers({"range": "bytes=90-"})).parts
        (Part(head=b'', start=90, end=100),)
        """
        fields = {
            **self.fields,
            "etag": self.validators.etag,
            "last-modified": self.validators.last_modified,
            "x-content-type-options": "nosniff",
        }
        match judge(headers, self.validators):
            case Answer.FAILED:
                return Refusal(error_of_status(412, "the file is not the one that was meant"))
            case Answer.NOT_MODIFIED:
                # Section 15.4.5: what a 200 would have said about caching, and no more.
                kept = ("cache-control", "etag", "vary")
                return Transfer(304, raw({name: fields[name] for name in kept if name in fields}))
            case Answer.PERFORM:
                pass
        fields["accept-ranges"] = "bytes"
        ranges = self._ranges(method, headers)
        if ranges is None:
            return _made(method, 200, self.media_type, fields, (Part(b"", 0, self.size),))
        if not ranges:
            error = error_of_status(416, "none of the ranges is in the file")
            return Refusal(error, {"content-range": f"bytes */{self.size}"})
        if len(ranges) == 1:
            ((start, end),) = ranges
            fields["content-range"] = f"bytes {start}-{end - 1}/{self.size}"
            return _made(method, 206, self.media_type, fields, (Part(b"", start, end),))
        kind, parts, tail = multipart(ranges, self.size, self.media_type)
        return _made(method, 206, kind, fields, parts, tail)

    def _ranges(self, method: str, headers: Headers) -> list[tuple[int, int]] | None:
        """Return the ranges to send, none of them for a 416; None for all of the bytes."""
        lines = headers.getlist("range")
        # Ranges are defined for GET alone (section 14.2).
        if method != HTTPMethod.GET or len(lines) != 1 or not range_applies(headers, self.validators):
            return None
        return ranges_of(lines[0], self.size)


def raw(fields: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return header fields as ASGI takes them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]


def _made(
    method: str, status: int, kind: str, fields: Mapping[str, str], parts: tuple[Part, ...], tail: bytes = b""
) -> Transfer:
    size = sum(part.size for part in parts) + len(tail)
    headers = raw({"content-type": kind, "content-length": str(size), **fields})
    if method == HTTPMethod.HEAD:
        return Transfer(status, headers)
    return Transfer(status, headers, parts, tail)
