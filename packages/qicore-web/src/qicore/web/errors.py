"""What goes wrong in a request, as QiErrors: the one place where exceptions are translated."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from fastapi.exceptions import RequestValidationError, ResponseValidationError
from qicore.base import ErrorCategory, QiError
from qicore.web.statuses import error_of_status, phrase_of
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

__all__ = ["http_error", "invalid_request", "invalid_response", "public_errors", "translate"]

MAX_ERRORS: Final = 100
"""How many mistakes of one request are told: a long list of wrong items must not make a long answer."""

# The names of types, by which pydantic tells the branches of a union apart in an error's place.
_BRANCHES: Final = frozenset(
    [
        "bool",
        "bytes",
        "date",
        "datetime",
        "decimal",
        "dict",
        "float",
        "frozenset",
        "int",
        "list",
        "none",
        "set",
        "str",
        "time",
        "timedelta",
        "tuple",
        "url",
        "uuid",
    ]
)
# Messages of pydantic that would show a part of the input; the others are fixed, or made of the schema.
_FIXED: Final = {
    "json_invalid": "Invalid JSON",
    "json_type": "JSON input should be text or bytes",
    "uuid_parsing": "Input should be a valid UUID",
    "url_parsing": "Input should be a valid URL",
    "url_syntax_violation": "Input should be a valid URL",
    "union_tag_invalid": "The tag is none of those expected",
    "extra_forbidden": "Extra inputs are not permitted",
    "get_attribute_error": "Input can't be read",
}
_OWN_WORDS: Final = frozenset(("value_error", "assertion_error"))
_MAX_LEAVES: Final = 1000


def translate(exception: Exception) -> QiError | None:
    """Return the error that an exception of a request stands for, or None for one that nobody foresaw.

    A QiError stands for itself, an HTTPException for its status, a RequestValidationError for
    INVALID_REQUEST, a client that left for CLIENT_DISCONNECTED.
    """
    if isinstance(exception, QiError):
        return exception
    if isinstance(exception, HTTPException):
        return http_error(exception)
    if isinstance(exception, RequestValidationError):
        return invalid_request(cast("Sequence[Mapping[str, Any]]", exception.errors()))
    if isinstance(exception, ClientDisconnect):
        return error_of_status(499, "the client left before its request was read")
    if isinstance(exception, ResponseValidationError):
        return invalid_response(cast("Sequence[Mapping[str, Any]]", exception.errors()))
    return None


def http_error(exception: HTTPException) -> QiError:
    """Return the error for an HTTPException, which is kept as its cause, for its headers.

    >>> http_error(HTTPException(404, "no such user"))
    <QiError VALIDATION/NOT_FOUND: no such user>
    """
    detail = cast("object", exception.detail)  # FastAPI's may be any JSON
    told = detail if isinstance(detail, str) and detail else phrase_of(exception.status_code)
    error = error_of_status(exception.status_code, told)
    error.__cause__ = exception
    return error


def invalid_request(errors: Sequence[Mapping[str, Any]], known: Collection[str] = ()) -> QiError:
    """Return INVALID_REQUEST [VALIDATION] for what pydantic found; nothing that was sent is in it.

    Args:
        errors: pydantic's or FastAPI's: mappings with `type`, `loc` and `msg`, and perhaps `input`.
        known: the names in the schema. A place is told by these names alone.
    """
    shown = public_errors(errors, known)
    first = shown[0] if shown else None
    where = (
        "" if first is None else " at " + ".".join(str(part) for part in cast("list[object]", first["loc"]))
    )
    more = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
    return QiError.validation(
        "INVALID_REQUEST",
        f"the request is not as the API describes it: {'' if first is None else first['msg']}{where}{more}",
        errors=shown,
    )


def invalid_response(errors: Sequence[Mapping[str, Any]]) -> QiError:
    """Return INVALID_RESPONSE [UNKNOWN]: a handler's value is not what its annotation says."""
    places = sorted({".".join(str(part) for part in error["loc"]) for error in errors[:MAX_ERRORS]})
    return QiError.create(
        "INVALID_RESPONSE",
        f"a handler's value is not of its annotated type, at {', '.join(places) or 'the top'}",
        ErrorCategory.UNKNOWN,
    )


def public_errors(
    errors: Iterable[Mapping[str, Any]], known: Collection[str] = ()
) -> list[dict[str, object]]:
    """Return the errors as `loc`, `msg` and `type`, without anything that the client sent.

    >>> public_errors([{"type": "extra_forbidden", "loc": ("body", "<script>"), "msg": "no", "input": 1}])
    [{'loc': ['body', '*'], 'msg': 'Extra inputs are not permitted', 'type': 'extra_forbidden'}]
    """
    shown: list[dict[str, object]] = []
    for error in errors:
        if len(shown) == MAX_ERRORS:
            break
        place = error["loc"]
        loc = [place[0], *(part if _is_known(part, known) else "*" for part in place[1:])] if place else []
        shown.append({"loc": loc, "msg": _message(error), "type": error["type"]})
    return shown


def _is_known(part: object, known: Collection[str]) -> bool:
    return isinstance(part, int) or part in known or part in _BRANCHES


def _message(error: Mapping[str, Any]) -> str:
    kind: str = error["type"]
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed
    message: str = error["msg"]
    if "ctx" in error and "tag" in error["ctx"]:
        return "The tag is none of those expected"
    if kind in _OWN_WORDS or "input" in error:
        # A validator of the application wrote it, who may have quoted the value.
        for leaf in _leaves(error.get("input")):
            if re.search(rf"(?<!\w){re.escape(leaf)}(?!\w)", message):
                return "Input is not valid"
    return message


def _leaves(value: object) -> list[str]:
    """Return the texts and numbers in a value of JSON, the first thousand."""
    found: list[str] = []
    waiting: list[object] = [value]
    while waiting and len(found) < _MAX_LEAVES:
        item = waiting.pop()
        if isinstance(item, str):
            if item:
                found.append(item)
        elif isinstance(item, bytes):
            waiting.append(item.decode("utf-8", "replace"))
        elif isinstance(item, Mapping):
            pairs = cast("Mapping[object, object]", item)
            waiting += list(pairs)[:_MAX_LEAVES]
            waiting += list(pairs.values())[:_MAX_LEAVES]
        elif isinstance(item, Sequence):
            waiting += list(cast("Sequence[object]", item))[:_MAX_LEAVES]
        elif item is not None and not isinstance(item, bool):
            found.append(str(item)[:_MAX_LEAVES])
    return found
