"""Problem details for HTTP APIs (RFC 9457): how an error looks to a client."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import to_json
from qicore.base import QiError
from qicore.base.jsonable import thaw
from qicore.web.codings import weights_of
from qicore.web.config import WebConfig
from qicore.web.correlation import REQUEST_ID_HEADER, correlation_id, instance_of
from qicore.web.statuses import STATUSES, phrase_of, status_of
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

__all__ = ["PROBLEM_SCHEMA", "ProblemResponse", "Problems", "problem_response"]

MEDIA_TYPE: Final = "application/problem+json"
_HIDDEN: Final = "The service could not answer. Tell its operators the instance of this problem."

PROBLEM_SCHEMA: Final[Mapping[str, Any]] = {
    "title": "Problem",
    "description": "Problem details, RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "What kind of problem it is."},
        "title": {"type": "string", "description": "The kind of problem, for people."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What went wrong this time, for people."},
        "instance": {
            "type": "string",
            "format": "uri-reference",
            "description": "This very problem, as the service's log knows it.",
        },
        "code": {"type": "string", "description": "What went wrong, for programs."},
        "context": {
            "type": "object",
            "description": "Facts about this problem.",
            "additionalProperties": True,
        },
    },
}
"""The JSON Schema of a problem, for OpenAPI documents."""


class ProblemResponse(Response):
    """A response that tells an error; `error` is the error itself, with all that the client does not see."""

    def __init__(self, error: QiError, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.error = error
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = headers


class Problems:
    """Makes problems of errors, as a `WebConfig` says."""

    __slots__ = ("_base", "_public", "_statuses")

    def __init__(self, config: WebConfig | None = None) -> None:
        config = config or WebConfig()
        self._statuses = {**STATUSES, **config.statuses}
        self._base = config.problem_base
        self._public = frozenset(config.public_context)

    def status_of(self, error: QiError) -> int:
        """Return the HTTP status of an error."""
        return status_of(error, self._statuses)

    def response(self, scope: Scope, error: QiError) -> ProblemResponse:
        """Return the response that tells `error` to the client of the request `scope`.

        A status of 500 and above shows neither message nor context: they are about the service, not about the
        request. JSON, or HTML for a client that prefers it.
        """
        status = self.status_of(error)
        # For whoever logs the request: the answer alone does not say all.
        scope["qicore.error"] = error
        request_id = correlation_id(scope)
        problem: dict[str, object] = {
            "type": self._type_of(error),
            "title": _title(error) if self._base else phrase_of(status),
            "status": status,
            "detail": error.message if status < 500 else _HIDDEN,
            "instance": instance_of(request_id),
            "code": error.code,
        }
        if error.context and not self._public.isdisjoint(error.context):
            problem["context"] = {
                key: thaw(value) for key, value in error.context.items() if key in self._public
            }
        if _prefers_html(scope):
            body, kind = _page(problem).encode(), b"text/html; charset=utf-8"
        else:
            body, kind = to_json(problem), MEDIA_TYPE.encode()
        headers = [
            (b"content-length", str(len(body)).encode()),
            (b"content-type", kind),
            (b"cache-control", b"no-store"),
            (b"vary", b"Accept"),
        ]
        if status >= 500:
            headers.append((REQUEST_ID_HEADER, request_id.encode("latin-1", "replace")))
        headers += _headers_of(error)
        return ProblemResponse(error, status, body, headers)

    def _type_of(self, error: QiError) -> str:
        if self._base is None:
            return "about:blank"
        return self._base + error.code.lower().replace("_", "-")


_DEFAULT: Final = Problems()


def problem_response(scope: Scope, error: QiError) -> ProblemResponse:
    """Return the problem for `error`, as the application of this request makes them.

    For pure ASGI middleware and mounted applications that have to answer an error themselves.

    >>> response = problem_response({"type": "http", "headers": []}, QiError.validation("GONE", "sold"))
    >>> response.status_code, response.media_type
    (410, 'application/problem+json')
    """
    problems = scope.get("qicore.problems")
    return (problems if isinstance(problems, Problems) else _DEFAULT).response(scope, error)


ProblemResponse.media_type = MEDIA_TYPE


def _title(error: QiError) -> str:
    return error.code.replace("_", " ").capitalize()


def _headers_of(error: QiError) -> list[tuple[bytes, bytes]]:
    headers: list[tuple[bytes, bytes]] = []
    wait = error.context.get("retry_after")
    if isinstance(wait, int | float) and 0 <= wait < math.inf:
        headers.append((b"retry-after", str(math.ceil(wait)).encode()))
    cause = error.__cause__
    if isinstance(cause, HTTPException) and cause.headers:
        headers += [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in cause.headers.items()
        ]
    return headers


def _prefers_html(scope: Scope) -> bool:
    """Return whether `Accept` puts HTML before JSON, as browsers do (RFC 9110, section 12.5.1)."""
    lines = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"accept"]
    if not lines:
        return False
    weights = weights_of(lines)
    json = max(weights.get(MEDIA_TYPE, 0.0), weights.get("application/json", 0.0))
    return weights.get("text/html", 0.0) > json


_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{status} {title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 15vh auto 0; padding: 0 1.5rem; }}
h1 {{ font-size: 1.6rem; font-weight: 600; margin: 0 0 1rem; }}
code {{ font-size: .9em; overflow-wrap: anywhere; opacity: .75; }}
</style>
</head>
<body>
<main>
<h1>{status} {title}</h1>
<p>{detail}</p>
<p><code>{code} {instance}</code></p>
</main>
</body>
</html>
"""


def _page(problem: Mapping[str, object]) -> str:
    return _PAGE.format_map({key: html.escape(str(value)) for key, value in problem.items()})
