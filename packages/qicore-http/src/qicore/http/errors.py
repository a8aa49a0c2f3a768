"""Every way a request can fail, as a QiError: one table from the exceptions of all engines.

INVALID_URL, INVALID_REQUEST, INVALID_HTTP_CONFIG, PARSE_ERROR [VALIDATION]: what was given, or what came
back, can't be used. NETWORK_ERROR, SSL_ERROR, HTTP_ERROR, TOO_MANY_REDIRECTS, RESPONSE_TOO_LARGE,
CIRCUIT_OPEN [NETWORK]: no answer, or not the one that was asked for. TIMEOUT_ERROR [TIMEOUT]. HTTP_ERROR with
401 or 403, and PRIVATE_NETWORK [PERMISSION].
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from qicore.base import ErrorCategory, QiError
from qicore.http.guard import PrivateNetworkError, private_network
from qicore.http.urls import show_url

__all__ = [
    "file_error",
    "http_error",
    "invalid_request",
    "invalid_url",
    "parse_error",
    "timed_out",
    "to_error",
    "too_large",
    "too_many_redirects",
]


class _Row(NamedTuple):
    code: str
    category: ErrorCategory
    reason: str
    message: str
    sent: bool | None = None
    """Whether the server may have seen the request, where the exception alone tells."""


_NETWORK: Final = ErrorCategory.NETWORK
_TIMEOUT: Final = ErrorCategory.TIMEOUT
_VALIDATION: Final = ErrorCategory.VALIDATION

# By the name of the class, as httpx, httpx2, httpcore and httpcore2 share theirs and none of them needs to be
# imported for this. The first class in the exception's method resolution order that is named here decides.
_ROWS: Final[Mapping[str, _Row]] = {
    # httpx, httpx2, httpcore, httpcore2
    "ConnectTimeout": _Row("TIMEOUT_ERROR", _TIMEOUT, "connect", "connecting took too long", sent=False),
    "PoolTimeout": _Row("TIMEOUT_ERROR", _TIMEOUT, "pool", "no connection became free in time", sent=False),
    "ReadTimeout": _Row("TIMEOUT_ERROR", _TIMEOUT, "read", "the server sent nothing for too long", sent=True),
    "WriteTimeout": _Row(
        "TIMEOUT_ERROR", _TIMEOUT, "write", "the server took nothing for too long", sent=True
    ),
    "TimeoutException": _Row("TIMEOUT_ERROR", _TIMEOUT, "timeout", "it took too long"),
    "ConnectError": _Row("NETWORK_ERROR", _NETWORK, "connect", "no connection could be made", sent=False),
    "ReadError": _Row("NETWORK_ERROR", _NETWORK, "reset", "the connection broke while reading"),
    "WriteError": _Row("NETWORK_ERROR", _NETWORK, "reset", "the connection broke while writing"),
    "CloseError": _Row("NETWORK_ERROR", _NETWORK, "reset", "the connection broke while closing"),
    "NetworkError": _Row("NETWORK_ERROR", _NETWORK, "network", "the connection broke"),
    "ProxyError": _Row("NETWORK_ERROR", _NETWORK, "proxy", "the proxy refused", sent=False),
    "RemoteProtocolError": _Row("NETWORK_ERROR", _NETWORK, "protocol", "the server did not speak HTTP"),
    "LocalProtocolError": _Row("INVALID_REQUEST", _VALIDATION, "protocol", "HTTP has no such request"),
    "UnsupportedProtocol": _Row(
        "INVALID_URL", _VALIDATION, "scheme", "a URL starts with http or https", sent=False
    ),
    "InvalidURL": _Row("INVALID_URL", _VALIDATION, "url", "this is no URL", sent=False),
    "DecodingError": _Row("PARSE_ERROR", _VALIDATION, "encoding", "the body is not encoded as it says"),
    # aiohttp
    "SocketTimeoutError": _Row(
        "TIMEOUT_ERROR", _TIMEOUT, "read", "the server sent nothing for too long", sent=True
    ),
    "ServerTimeoutError": _Row("TIMEOUT_ERROR", _TIMEOUT, "read", "the server sent nothing for too long"),
    "ServerDisconnectedError": _Row(
        "NETWORK_ERROR", _NETWORK, "disconnected", "the server closed the connection without an answer"
    ),
    "ClientConnectionResetError": _Row(
        "NETWORK_ERROR", _NETWORK, "reset", "the connection broke while writing"
    ),
    "ClientOSError": _Row("NETWORK_ERROR", _NETWORK, "reset", "the connection broke"),
    "ClientPayloadError": _Row(
        "NETWORK_ERROR", _NETWORK, "incomplete", "the connection ended before the body did"
    ),
    "ClientConnectionError": _Row("NETWORK_ERROR", _NETWORK, "network", "the connection broke"),
}
_LIBRARIES: Final = frozenset(("httpx", "httpx2", "httpcore", "httpcore2", "aiohttp"))
_ENDED_EARLY: Final = "Server disconnected without sending a response."


def to_error(
    exception: Exception, *, method: str | None = None, url: object = None, sent: bool | None = None
) -> QiError:
    """Return the error for what an engine raised; an unforeseen exception is UNKNOWN and is kept.

    `sent` is False when it is certain that the server never saw the request, so that repeating it is safe,
    and True when it may have acted on it.

    >>> import httpx
    >>> str(to_error(httpx.ConnectTimeout(""), method="GET", url="http://ann:pw@example.org/"))
    'TIMEOUT/TIMEOUT_ERROR: GET http://example.org/: connecting took too long'
    """
    if isinstance(exception, QiError):
        return exception.with_traceback(None)
    context: dict[str, Any] = {} if url is None else {"url": show_url(url), "method": method}
    where = f"{method} {context['url']}: " if context else ""
    links = list(_chain(exception))
    row = next((found for found in map(_row, links) if found is not None), None)
    for link in links:
        if isinstance(link, PrivateNetworkError):
            return private_network(link.host).with_context(context)
    if row is None:
        if sent is not None:
            context["sent"] = sent
        return QiError.from_exception(exception, **context)
    reason, message, known = row.reason, row.message, row.sent
    code, category = row.code, row.category
    broken_tls = next((link for link in links if isinstance(link, ssl.SSLError | ssl.CertificateError)), None)
    if broken_tls is not None:
        code, reason = "SSL_ERROR", "tls"
        message = str(getattr(broken_tls, "verify_message", "") or broken_tls)
    elif any(isinstance(link, socket.gaierror) for link in links):
        reason, message = "dns", "the host's name can't be resolved"
    elif reason == "connect" and any(isinstance(link, ConnectionRefusedError) for link in links):
        reason, message = "refused", "the connection was refused"
    elif reason == "protocol" and str(exception) == _ENDED_EARLY:
        reason, message = "disconnected", "the server closed the connection without an answer"
    elif reason == "protocol" and "without sending complete message body" in str(exception):
        reason, message = "incomplete", "the connection ended before the body did"
    elif code == "INVALID_REQUEST":
        message = f"{message}: {exception}"
    context["reason"] = reason
    if category is not _VALIDATION:
        context["sent"] = known if known is not None else sent if sent is not None else True
    error = QiError.create(code, where + message, category, context)
    # Without its traceback, whose frames would keep headers and bodies alive.
    error.__cause__ = exception.with_traceback(None)
    return error


def _row(exception: BaseException) -> _Row | None:
    for kind in type(exception).__mro__:
        row = _ROWS.get(kind.__name__)
        if row is not None and kind.__module__.partition(".")[0] in _LIBRARIES:
            return row
    return None


def _chain(exception: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while exception is not None and id(exception) not in seen:
        seen.add(id(exception))
        yield exception
        wrapped: object = exception.args[0] if exception.args else None
        # httpcore wraps by `to_exc(exc)`, and its `raise … from None` may cut the chain.
        inner = wrapped if isinstance(wrapped, BaseException) else None
        exception = exception.__cause__ or inner or getattr(exception, "os_error", None)


def invalid_url(url: object, why: str) -> QiError:
    """INVALID_URL [VALIDATION]: nothing can be asked there."""
    shown = show_url(url)
    return QiError.validation("INVALID_URL", f"{shown!r}: {why}", url=shown)


def invalid_request(message: str) -> QiError:
    """INVALID_REQUEST [VALIDATION]: what was given can't be sent."""
    return QiError.validation("INVALID_REQUEST", message)


def parse_error(message: str, **context: object) -> QiError:
    """PARSE_ERROR [VALIDATION]: the body is not what was expected."""
    return QiError.validation("PARSE_ERROR", message, **context)


def timed_out(seconds: float, method: str, url: object, *, sent: bool) -> QiError:
    """TIMEOUT_ERROR [TIMEOUT]: the call's total time is up."""
    shown = show_url(url)
    return QiError.timeout(
        "TIMEOUT_ERROR",
        f"{method} {shown}: no complete answer within {seconds:g} s",
        url=shown,
        method=method,
        reason="deadline",
        timeout=seconds,
        sent=sent,
    )


def too_large(limit: int, status: int, method: str, url: object) -> QiError:
    """RESPONSE_TOO_LARGE [NETWORK]: the body is longer than the caller is ready to take."""
    shown = show_url(url)
    return QiError.network(
        "RESPONSE_TOO_LARGE",
        f"{method} {shown}: the body has more than {limit} bytes",
        url=shown,
        method=method,
        status=status,
        limit=limit,
    )


def too_many_redirects(limit: int, status: int, method: str, url: object) -> QiError:
    """TOO_MANY_REDIRECTS [NETWORK]."""
    shown = show_url(url)
    return QiError.network(
        "TOO_MANY_REDIRECTS",
        f"{method} {shown}: more than {limit} redirects",
        url=shown,
        method=method,
        status=status,
        limit=limit,
    )


def http_error(
    status: int, phrase: str, method: str, url: object, details: Mapping[str, object] | None = None
) -> QiError:
    """HTTP_ERROR: the server answered with an error. 401 and 403 are PERMISSION, all others NETWORK."""
    shown = show_url(url)
    category = ErrorCategory.PERMISSION if status in (401, 403) else ErrorCategory.NETWORK
    return QiError.create(
        "HTTP_ERROR",
        f"{method} {shown}: {status} {phrase}".rstrip(),
        category,
        {"url": shown, "method": method, "status": status, **(details or {})},
    )


def file_error(path: object, error: OSError) -> QiError:
    """FILE_ERROR [FILESYSTEM]: a download can't be written."""
    return QiError.filesystem("FILE_ERROR", f"{path}: {error.strerror or error}", path=str(path))
