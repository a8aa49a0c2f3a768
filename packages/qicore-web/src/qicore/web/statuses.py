"""Which HTTP status an error code stands for, and which error a status stands for."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from qicore.base import ErrorCategory, QiError

__all__ = ["CODES", "STATUSES", "code_of", "error_of_status", "phrase_of", "status_of"]

CODES: Final[Mapping[int, str]] = MappingProxyType(
    {
        400: "BAD_REQUEST",
        401: "UNAUTHORIZED",
        402: "PAYMENT_REQUIRED",
        403: "FORBIDDEN",
        404: "NOT_FOUND",
        405: "METHOD_NOT_ALLOWED",
        406: "NOT_ACCEPTABLE",
        407: "PROXY_AUTHENTICATION_REQUIRED",
        408: "REQUEST_TIMEOUT",
        409: "CONFLICT",
        410: "GONE",
        411: "LENGTH_REQUIRED",
        412: "PRECONDITION_FAILED",
        413: "CONTENT_TOO_LARGE",
        414: "URI_TOO_LONG",
        415: "UNSUPPORTED_MEDIA_TYPE",
        416: "RANGE_NOT_SATISFIABLE",
        417: "EXPECTATION_FAILED",
        418: "IM_A_TEAPOT",
        421: "MISDIRECTED_REQUEST",
        422: "UNPROCESSABLE_CONTENT",
        423: "LOCKED",
        424: "FAILED_DEPENDENCY",
        425: "TOO_EARLY",
        426: "UPGRADE_REQUIRED",
        428: "PRECONDITION_REQUIRED",
        429: "TOO_MANY_REQUESTS",
        431: "REQUEST_HEADER_FIELDS_TOO_LARGE",
        451: "UNAVAILABLE_FOR_LEGAL_REASONS",
        499: "CLIENT_DISCONNECTED",
        500: "INTERNAL_ERROR",
        501: "NOT_IMPLEMENTED",
        502: "BAD_GATEWAY",
        503: "SERVICE_UNAVAILABLE",
        504: "GATEWAY_TIMEOUT",
        505: "HTTP_VERSION_NOT_SUPPORTED",
        507: "INSUFFICIENT_STORAGE",
        511: "NETWORK_AUTHENTICATION_REQUIRED",
    }
)
"""The code that each status of an error has; the names are those of RFC 9110 and IANA's registry."""

STATUSES: Final[Mapping[str, int]] = MappingProxyType(
    {
        **{code: status for status, code in CODES.items()},
        "INVALID_REQUEST": 422,
        "TIMEOUT_ERROR": 504,
        "RATE_LIMITED": 429,
        "CIRCUIT_OPEN": 503,
        "BULKHEAD_FULL": 503,
        "KEY_NOT_FOUND": 404,
        "DB_ROW_NOT_FOUND": 404,
        "DB_CONSTRAINT": 409,
        "DB_BUSY": 503,
        "DB_POOL_EXHAUSTED": 503,
        "TEMPLATE_NOT_FOUND": 500,
    }
)
"""The statuses of codes that say more than their category does. `WebConfig.statuses` adds to them."""


def status_of(error: QiError, statuses: Mapping[str, int] = STATUSES) -> int:
    """Return the status of an error: its code's, else its category's.

    >>> status_of(QiError.validation("BAD_AGE", "it is negative"))
    422
    >>> status_of(QiError.cache("KEY_NOT_FOUND", "no such key"))
    404
    """
    found = statuses.get(error.code)
    return error.category.policy.http_status if found is None else found


def code_of(status: int) -> str:
    """Return the code of an HTTP status; `HTTP_` and the number where it has no name.

    >>> code_of(404), code_of(499), code_of(460)
    ('NOT_FOUND', 'CLIENT_DISCONNECTED', 'HTTP_460')
    """
    return CODES.get(status, f"HTTP_{status}")


def phrase_of(status: int) -> str:
    """Return the words for a status, as in its code.

    >>> phrase_of(404), phrase_of(413)
    ('Not Found', 'Content Too Large')
    """
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return "Internal Server Error"
    return code_of(status).replace("_", " ").title().replace("Im A", "I'm a").replace("Http", "HTTP")


def category_of(status: int) -> ErrorCategory:
    """Return the category of an error that is known by its status alone."""
    if status in (401, 403, 407, 451, 511):
        return ErrorCategory.PERMISSION
    if status in (408, 504):
        return ErrorCategory.TIMEOUT
    if status in (502, 503):
        return ErrorCategory.NETWORK
    return ErrorCategory.VALIDATION if status < 500 else ErrorCategory.UNKNOWN


def error_of_status(status: int, message: str) -> QiError:
    """Return the error that stands for a status.

    >>> error_of_status(404, "no such page")
    <QiError VALIDATION/NOT_FOUND: no such page>
    """
    return QiError.create(code_of(status), message, category_of(status))
