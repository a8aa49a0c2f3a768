"""What the body of an error response tells, as part of a QiError's context: bounded, and without secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from qicore.http.urls import MASK, is_secret_name

__all__ = ["MAX_BODY", "describe_body"]

MAX_BODY: Final = 65_536
"""Bytes of an error's body that are looked at; a longer one is only quoted."""
_MAX_TEXT: Final = 1000
_MAX_ITEMS: Final = 32
_MAX_DEPTH: Final = 4
_TEXTUAL: Final = ("text/", "application/json", "application/xml", "application/x-www-form-urlencoded")
# RFC 9457, section 3.1: the members with a meaning, and the type that each must have to be one of them.
_MEMBERS: Final[Mapping[str, type]] = {
    "type": str,
    "title": str,
    "status": int,
    "detail": str,
    "instance": str,
}


def describe_body(content_type: str | None, body: bytes, *, complete: bool = True) -> dict[str, object]:
    """Return what to add to the error's context.

    A problem (application/problem+json, RFC 9457) becomes `problem`, other JSON and text become `body`, cut
    to a bounded size; of a binary body only size and type are told. `body_truncated` is there when
    something was cut away. `complete` is False for the beginning of a body that was too long to read.

    >>> describe_body("application/problem+json", b'{"title": "Out of tea", "status": 503, "left": 0}')
    {'problem': {'title': 'Out of tea', 'status': 503, 'left': 0}}
    """
    if not body:
        return {}
    kind, charset = _media_type(content_type)
    if kind.endswith("json") and complete and len(body) <= MAX_BODY:
        parsed = _parse(body)
        if parsed is not None:
            return _describe_json(kind, parsed[0])
    if kind and not kind.startswith(_TEXTUAL) and not kind.endswith(("+json", "+xml")):
        return {"body": f"<{len(body)} bytes of {_cut(kind)}>"}
    text = _decode(body[: 4 * _MAX_TEXT], charset)
    truncated = not complete or len(body) > 4 * _MAX_TEXT or len(text) > _MAX_TEXT
    return {"body": text[:_MAX_TEXT], **({"body_truncated": True} if truncated else {})}


def _media_type(content_type: str | None) -> tuple[str, str]:
    kind, _, parameters = (content_type or "").partition(";")
    charset = ""
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"')
    return kind.strip().lower(), charset


def _decode(data: bytes, charset: str) -> str:
    try:
        return data.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):  # a charset nobody knows, or one that is no text encoding
        return data.decode("utf-8", "replace")


def _parse(body: bytes) -> tuple[Any] | None:
    """Return the JSON value in a tuple, or None when the body is none."""
    try:
        return (json.loads(body),)
    except (ValueError, RecursionError):  # includes bad UTF-8, and integers of thousands of digits
        return None


def _describe_json(kind: str, value: object) -> dict[str, object]:
    cutter = _Cutter()
    if kind == "application/problem+json" and isinstance(value, dict):
        members = {
            name: item
            for name, item in cast("dict[str, object]", value).items()
            if name not in _MEMBERS or type(item) is _MEMBERS[name]
        }
        described: dict[str, object] = {"problem": cutter.cut(members, 0)}
    else:
        described = {"body": cutter.cut(value, 0)}
    return {**described, "body_truncated": True} if cutter.lost else described


class _Cutter:
    """Copies JSON, cuts it to a bounded size and masks the members that look secret."""

    def __init__(self) -> None:
        self.lost = False
        self._left = 4 * _MAX_ITEMS

    def cut(self, value: object, depth: int) -> object:
        self._left -= 1
        if isinstance(value, str):
            self.lost |= len(value) > _MAX_TEXT
            return _cut(value)
        if isinstance(value, dict | list):
            items = cast("Any", value)
            if depth == _MAX_DEPTH or self._left <= 0:
                self.lost |= bool(items)
                return "…" if items else items
            self.lost |= len(items) > _MAX_ITEMS
            if isinstance(value, list):
                return [self.cut(item, depth + 1) for item in items[:_MAX_ITEMS]]
            return {
                _cut(name): MASK if is_secret_name(name) and item else self.cut(item, depth + 1)
                for name, item in list(items.items())[:_MAX_ITEMS]
            }
        return value


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
