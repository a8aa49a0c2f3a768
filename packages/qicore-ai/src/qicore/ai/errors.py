"""Every way a call of a model can fail, as a QiError: one table for all providers.

MODEL_NOT_FOUND, INVALID_PROMPT, INVALID_LLM_CONFIG, INVALID_OUTPUT, TOO_MANY_TURNS, UNSUPPORTED
[VALIDATION]: what was asked for can't be had. LLM_UNAVAILABLE (no connection, overload, too many requests),
LLM_ERROR (an answer that is none), CIRCUIT_OPEN [NETWORK]. LLM_TIMEOUT [TIMEOUT]. LLM_UNAUTHORIZED
[PERMISSION].
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from qicore.base import ErrorCategory, QiError

__all__ = [
    "RefusedError",
    "broken_off",
    "invalid_config",
    "invalid_output",
    "invalid_prompt",
    "no_json",
    "status_error",
    "timed_out",
    "to_error",
    "unreadable",
    "unsupported",
    "without",
]


class RefusedError(Exception):
    """The server said no, by an HTTP status or within a stream that had begun well; `to_error` reads it.

    Attributes:
        error: the server's words, as they came.
        status_code: the HTTP status, or None for a stream's.
        response: what has the headers, or None.
    """

    def __init__(self, error: object, status_code: int | None = None, response: object = None) -> None:
        super().__init__(status_code)
        self.error = error
        self.status_code = status_code
        self.response = response


class _Row(NamedTuple):
    code: str
    category: ErrorCategory
    reason: str
    message: str


_NETWORK: Final = ErrorCategory.NETWORK
_TIMEOUT: Final = ErrorCategory.TIMEOUT
_VALIDATION: Final = ErrorCategory.VALIDATION
_PERMISSION: Final = ErrorCategory.PERMISSION

_NO_CONNECTION: Final = _Row("LLM_UNAVAILABLE", _NETWORK, "connect", "no connection could be made")
_BROKE: Final = _Row("LLM_ERROR", _NETWORK, "reset", "the connection broke")
_NO_JSON: Final = _Row("LLM_ERROR", _NETWORK, "json", "the server sent something that is no JSON")
_NO_REQUEST: Final = _Row("LLM_ERROR", _NETWORK, "request", "the request can't be sent as it is")
_SHAPE: Final = _Row("LLM_ERROR", _NETWORK, "shape", "the server sent JSON that is no answer")

# By the name of the class: httpx (ollama) and httpx2 (openai) share theirs, and none of them needs to be
# imported for this. The first class in the exception's method resolution order that is named here decides.
_ROWS: Final[Mapping[str, _Row]] = {
    "ConnectTimeout": _Row("LLM_TIMEOUT", _TIMEOUT, "connect", "connecting took too long"),
    "PoolTimeout": _Row("LLM_TIMEOUT", _TIMEOUT, "pool", "no connection became free in time"),
    "TimeoutException": _Row("LLM_TIMEOUT", _TIMEOUT, "read", "the server sent nothing for too long"),
    "APITimeoutError": _Row("LLM_TIMEOUT", _TIMEOUT, "read", "the server sent nothing for too long"),
    "ConnectError": _NO_CONNECTION,
    "ConnectionError": _NO_CONNECTION,  # what ollama makes of httpx's
    "ProxyError": _Row("LLM_UNAVAILABLE", _NETWORK, "proxy", "the proxy refused"),
    "SSLError": _Row("LLM_UNAVAILABLE", _NETWORK, "tls", "no TLS could be agreed on"),
    "NetworkError": _BROKE,
    "RemoteProtocolError": _Row("LLM_ERROR", _NETWORK, "incomplete", "the answer broke off"),
    "DecodingError": _Row("LLM_ERROR", _NETWORK, "encoding", "the body is not encoded as it says"),
    "LocalProtocolError": _NO_REQUEST,
    "UnsupportedProtocol": _NO_REQUEST,
    "APIConnectionError": _NO_CONNECTION,
    "UnicodeEncodeError": _Row(
        "INVALID_PROMPT", _VALIDATION, "request", "a text has lone surrogates, which UTF-8 can't hold"
    ),
    "JSONDecodeError": _NO_JSON,
    "UnicodeDecodeError": _NO_JSON,
    "ValidationError": _SHAPE,
    "APIResponseValidationError": _SHAPE,
    "TimeoutError": _Row("LLM_TIMEOUT", _TIMEOUT, "deadline", "it took too long"),
}
# The statuses of RFC 9110 that say more than their class does; others are LLM_ERROR.
_STATUSES: Final[Mapping[int, tuple[str, ErrorCategory]]] = {
    400: ("INVALID_PROMPT", _VALIDATION),
    401: ("LLM_UNAUTHORIZED", _PERMISSION),
    403: ("LLM_UNAUTHORIZED", _PERMISSION),
    408: ("LLM_TIMEOUT", _TIMEOUT),
    413: ("INVALID_PROMPT", _VALIDATION),
    422: ("INVALID_PROMPT", _VALIDATION),
    429: ("LLM_UNAVAILABLE", _NETWORK),
    502: ("LLM_UNAVAILABLE", _NETWORK),
    503: ("LLM_UNAVAILABLE", _NETWORK),
    504: ("LLM_TIMEOUT", _TIMEOUT),
}
_SHOWN: Final = 300


def to_error(exception: BaseException, **context: object) -> QiError:
    """Return the error for what a client library raised; an unforeseen exception is UNKNOWN and is kept.

    >>> import httpx
    >>> str(to_error(httpx.ConnectError("refused"), provider="ollama", model="llama3"))
    'NETWORK/LLM_UNAVAILABLE: ollama, llama3: no connection could be made'
    """
    for link in _chain(exception):
        if isinstance(link, QiError):  # one of ours, maybe wrapped by a client on its way
            return link.with_context(_facts(context))
    status = getattr(exception, "status_code", None)
    if isinstance(status, int) and 300 <= status < 600:
        return status_error(status, _told(exception), _retry_after(exception), **context)
    if _is(exception, "RefusedError", "ResponseError", "APIError") and not _is(
        exception, "APIConnectionError"
    ):
        # An error line within a stream that had begun well.
        return _error(_Row("LLM_ERROR", _NETWORK, "told", _told(exception) or "it failed"), context)
    rows = [row for row in map(_row, _chain(exception)) if row is not None]
    if rows:
        # What openai wraps says more than its wrapper.
        return _error(rows[1] if len(rows) > 1 and _is(exception, "APIConnectionError") else rows[0], context)
    if isinstance(exception, Exception):
        return QiError.from_exception(exception, **_facts(context))
    raise exception


def status_error(status: int, told: str, retry_after: float | None = None, **context: object) -> QiError:
    """Return the error for an answer with this HTTP status and these words of the server."""
    code, category = _STATUSES.get(status, ("LLM_ERROR", _NETWORK))
    if status == 404:
        # A model that is not there; or a URL that is no such server's, which has no word for it.
        code, category = ("MODEL_NOT_FOUND", _VALIDATION) if "model" in told else ("LLM_ERROR", _NETWORK)
    if status < 400:
        told = "the server is elsewhere, and base_url should say where"
    if category is _PERMISSION:
        told = ""  # some servers repeat the key
    facts = {**context, "status": status}
    if retry_after is not None:
        facts["retry_after"] = retry_after
    return _error(_Row(code, category, "status", f"{status}: {told}" if told else f"status {status}"), facts)


def timed_out(seconds: float, what: str, **context: object) -> QiError:
    """LLM_TIMEOUT [TIMEOUT]: `what` took longer than its limit."""
    message = {
        "total": f"no complete answer within {seconds:g} s",
        "first_token": f"no first token within {seconds:g} s",
        "between_tokens": f"no further token within {seconds:g} s",
        "progress": f"no further progress within {seconds:g} s",
        "queue": f"no turn among the concurrent calls within {seconds:g} s",
    }[what]
    return _error(_Row("LLM_TIMEOUT", _TIMEOUT, what, message), {**context, "timeout": seconds})


def broken_off(**context: object) -> QiError:
    """LLM_ERROR [NETWORK]: the stream ended, and the model had not."""
    return _error(
        _Row("LLM_ERROR", _NETWORK, "incomplete", "the stream ended before the answer did"), context
    )


def unreadable(what: str, **context: object) -> QiError:
    """LLM_ERROR [NETWORK]: JSON that is no answer."""
    return _error(_SHAPE._replace(message=f"the server's answer has {what}"), context)


def no_json() -> QiError:
    """LLM_ERROR [NETWORK]: bytes that are no JSON, or none that can be read (too deep, too long a number)."""
    return _error(_NO_JSON, {})


def invalid_config(message: str, **context: object) -> QiError:
    """INVALID_LLM_CONFIG [VALIDATION]: options, or variables of the environment, that are wrong."""
    return QiError.validation("INVALID_LLM_CONFIG", message, **context)


def invalid_prompt(message: str) -> QiError:
    """INVALID_PROMPT [VALIDATION]: nothing was sent."""
    return QiError.validation("INVALID_PROMPT", message)


def invalid_output(message: str, **context: object) -> QiError:
    """INVALID_OUTPUT [VALIDATION]: the model does not keep to the schema."""
    return QiError.validation("INVALID_OUTPUT", message, **context)


def unsupported(provider: str, what: str) -> QiError:
    """UNSUPPORTED [VALIDATION]: the provider has no such operation."""
    return QiError.validation("UNSUPPORTED", f"{provider} can't {what}", provider=provider)


def without(error: QiError, secrets: Collection[str]) -> QiError:
    """Return the error, or one like it without these: a server may repeat what it was sent."""
    message = error.message
    for secret in secrets:
        message = message.replace(secret, "…")
    if message == error.message:
        return error
    return QiError.create(error.code, message, error.category, error.context, error.cause)


def _error(row: _Row, context: Mapping[str, object]) -> QiError:
    facts = _facts(context)
    where = ", ".join(str(facts[key]) for key in ("provider", "model") if facts.get(key))
    message = f"{where}: {row.message}" if where else row.message
    return QiError.create(row.code, message, row.category, {**facts, "reason": row.reason})


def _facts(context: Mapping[str, object]) -> dict[str, Any]:
    return {key: value for key, value in context.items() if value is not None}


def _is(exception: BaseException, *names: str) -> bool:
    return any(base.__name__ in names for base in type(exception).__mro__)


def _told(exception: BaseException) -> str:
    """What the server said, cut short: `{"error": "…"}` and `{"error": {"message": "…"}}` are known."""
    body = getattr(exception, "body", None)
    text: object = body if body is not None else getattr(exception, "error", None)
    if isinstance(text, str) and text.lstrip().startswith("{"):
        try:
            text = json.loads(text)
        except (ValueError, RecursionError):
            text = str(text)
    for key in ("error", "message"):
        if isinstance(text, Mapping):
            text = cast("Mapping[str, object]", text).get(key) or cast("object", text)
    if not isinstance(text, str) or "<" in text[:100]:
        return ""  # a page of some proxy, say
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _retry_after(exception: BaseException) -> float | None:
    headers = getattr(getattr(exception, "response", None), "headers", None)
    value = headers.get("retry-after") if headers is not None else None
    return float(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def _chain(exception: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if exception is None:
            return
        yield exception
        exception = exception.__cause__


def _row(exception: BaseException) -> _Row | None:
    names = (base.__name__ for base in type(exception).__mro__)
    return next((_ROWS[name] for name in names if name in _ROWS), None)
