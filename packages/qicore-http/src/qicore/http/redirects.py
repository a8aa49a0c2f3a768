"""Where a redirect leads, and what may travel there.

Credentials stay where they were meant for: at another origin (scheme, host or port differ; RFC 6454) arrive
only the headers that can't hold any, and neither `auth` nor a cookie that was given for the first origin.
Nothing that was dropped comes back when a later redirect returns. Userinfo in a Location is ignored.
"""

from __future__ import annotations

from typing import Final

import httpx
from qicore.http.errors import http_error, invalid_url

__all__ = [
    "SAFE_HEADERS",
    "is_redirect",
    "redirect_request",
    "redirect_url",
    "redirected_method",
    "same_origin",
]

SAFE_HEADERS: Final = frozenset(
    (
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-type",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"pragma",
        b"range",
        b"transfer-encoding",
        b"user-agent",
    )
)
"""Headers that follow to another origin. Any other may be a key: the names of keys are everybody's own."""

_BODY_HEADERS: Final = frozenset(
    (b"content-encoding", b"content-language", b"content-length", b"content-type", b"transfer-encoding")
)
_STATUSES: Final = frozenset((301, 302, 303, 307, 308))
_PORTS: Final = {"http": 80, "https": 443}


def is_redirect(status: int, headers: httpx.Headers) -> bool:
    """Return whether this answer sends the client elsewhere."""
    return status in _STATUSES and "location" in headers


def same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """Return whether scheme, host and port are the same.

    >>> same_origin(httpx.URL("https://a.org"), httpx.URL("https://a.org:443/x"))
    True
    """
    return (
        one.scheme == other.scheme
        and one.host == other.host
        and (one.port or _PORTS.get(one.scheme)) == (other.port or _PORTS.get(other.scheme))
    )


def redirected_method(status: int, method: str) -> str:
    """Return the method to go on with: as RFC 9110 (section 15.4) allows and browsers do.

    A DELETE that a 302 sends elsewhere stays one: as a GET it would seem to have been done.

    >>> redirected_method(302, "POST"), redirected_method(302, "DELETE"), redirected_method(303, "DELETE")
    ('GET', 'DELETE', 'GET')
    """
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        return "GET"
    return method


def redirect_url(url: httpx.URL, location: str, status: int) -> httpx.URL:
    """Return where to go; QiError INVALID_URL when that is nowhere for an HTTP client.

    >>> str(redirect_url(httpx.URL("https://a.org/x/y?q#top"), "../z", 302))
    'https://a.org/z#top'
    """
    try:
        target = url.join(_spelled(location))
    except (httpx.InvalidURL, ValueError) as error:
        raise invalid_url(location, f"the redirect leads to no URL: {error}").with_context(
            {"status": status}
        ) from None
    if target.scheme not in _PORTS or not target.host:
        raise invalid_url(target, "a redirect may only lead to http and https").with_context(
            {"status": status}
        )
    if target.userinfo:
        target = target.copy_with(username=None, password=None)
    if not target.fragment and url.fragment:
        # RFC 9110, section 10.2.2.
        target = target.copy_with(fragment=url.fragment)
    return target


def _spelled(location: str) -> str:
    """Return the reference as it was meant: servers send raw UTF-8, which httpx may take for Latin-1."""
    try:
        return location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return location


def redirect_request(request: httpx.Request, status: int, location: str) -> httpx.Request:
    """Return the request that follows; QiError when it can't be made.

    The body goes again with 307 and 308. One that can be sent only once is an HTTP_ERROR that says so.
    """
    url = redirect_url(request.url, location, status)
    method = redirected_method(status, request.method)
    home = same_origin(request.url, url)
    headers = [
        (name, value)
        for name, value in request.headers.raw
        if (home or name.lower() in SAFE_HEADERS) and name.lower() not in (b"host", b"cookie")
    ]
    stream = request.stream
    if method != request.method:
        headers = [(name, value) for name, value in headers if name.lower() not in _BODY_HEADERS]
        stream = httpx.ByteStream(b"")
    elif not (isinstance(stream, httpx.ByteStream) or getattr(stream, "repeatable", False)):
        raise http_error(
            status, "asks for the body again, which can be sent only once", request.method, request.url
        )
    return httpx.Request(
        method,
        url,
        headers=[(b"Host", url.netloc), *headers],
        stream=stream,
        extensions={"timeout": request.extensions.get("timeout", {})},
    )
