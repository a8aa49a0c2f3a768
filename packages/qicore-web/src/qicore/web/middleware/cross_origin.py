"""Cross-origin resource sharing: which pages of other origins may read answers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from qicore.web.middleware.checks import check_count, check_texts, header_name
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.middleware.cors import CORSMiddleware

__all__ = ["cors"]

# As browsers send it: in lower case, and without the default port, a path or a slash at the end.
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_METHODS: Final = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "*"))
# Who knows no origin of the application, and passes nevertheless, shows that the pattern lets anyone in.
_STRANGERS: Final = ("https://stranger.invalid", "http://stranger.invalid:8080", "null")


def cors(
    *,
    origins: Iterable[str] = (),
    origin_regex: str | None = None,
    methods: Iterable[str] = ("GET", "HEAD", "POST"),
    headers: Iterable[str] = (),
    credentials: bool = False,
    expose: Iterable[str] = (),
    max_age: int = 600,
) -> ASGIMiddleware:
    """Let pages of these origins read answers (Starlette's CORSMiddleware, with its options checked).

    It does not keep anyone from sending requests: against those there are tokens and SameSite cookies.

    Args:
        origins: such as `https://app.example.org`, or `*` for all.
        origin_regex: a pattern that a whole origin must match, besides.
        methods: which methods requests may have, or `*`.
        headers: header fields that requests may have beyond the simple ones, or `*`.
        credentials: whether requests may bring cookies and authorization. With `*`, and with a pattern that
            any origin matches, that is refused: every page in the world could act as the user.
        expose: header fields of answers that scripts may read beyond the simple ones.
        max_age: seconds for which a browser may remember what a preflight answered.

    >>> cors(origins=["*"], credentials=True)
    Traceback (most recent call last):
    ValueError: credentials for all origins would let every page act as the user: name the origins
    """
    allowed = check_texts("origins", origins)
    for origin in allowed:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"origins: {origin!r} is no origin as browsers send it: 'https://example.org'")
    verbs = tuple(verb.upper() for verb in check_texts("methods", methods))
    if unknown := [verb for verb in verbs if verb not in _METHODS]:
        raise ValueError(f"methods: {unknown[0]!r} is none that pages send")
    if credentials and ("*" in allowed or _lets_anyone_in(origin_regex)):
        raise ValueError("credentials for all origins would let every page act as the user: name the origins")
    return ASGIMiddleware(
        CORSMiddleware,
        allow_origins=allowed,
        allow_origin_regex=origin_regex,
        allow_methods=verbs,
        allow_headers=_names("headers", headers),
        allow_credentials=credentials,
        expose_headers=_names("expose", expose),
        max_age=check_count("max_age", max_age, least=0),
    )


def _lets_anyone_in(pattern: str | None) -> bool:
    if pattern is None:
        return False
    compiled = re.compile(pattern)
    return any(compiled.fullmatch(stranger) for stranger in _STRANGERS)


def _names(option: str, names: Iterable[str]) -> tuple[str, ...]:
    found = check_texts(option, names)
    for name in found:
        header_name(option, name)
    return found
