"""The cookies of a client: the standard library's jar, the same for every engine, with bounds of our own."""

from __future__ import annotations

import email.message
import re
import threading
from collections.abc import Iterable, Mapping
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import Any, Final
from urllib.request import Request

import httpx
from qicore.http.errors import invalid_request
from qicore.http.headers import is_token

__all__ = ["CookieStore", "cookie_header", "origin_of", "own_cookies", "spelled_cookies"]

# RFC 6265, section 6.1, asks for at least these.
_MAX_PER_DOMAIN: Final = 50
_MAX_COOKIES: Final = 3000
_ORIGIN: Final = "qicore-origin"
_BAD_COOKIE: Final = re.compile(r"[\x00-\x1f\x7f;,\s\"\\]")


class _Request(Request):
    """What the jar wants to know about a request, and whether a redirect from another origin led to it."""

    def __init__(self, url: httpx.URL, *, foreign: bool) -> None:
        super().__init__(str(url.copy_with(fragment=None, username=None, password=None)))
        self.foreign = foreign
        self.spelled = origin_of(url)


class _Response:
    def __init__(self, headers: httpx.Headers) -> None:
        self._message = email.message.Message()
        for value in headers.get_list("set-cookie"):
            self._message["Set-Cookie"] = value

    def info(self) -> email.message.Message:
        return self._message


class _Policy(DefaultCookiePolicy):
    """The usual rules and two more: a bound on the number, and care after a redirect to another origin.

    Such a redirect takes along only what its target set itself, or what was set for the whole domain on
    purpose (RFC 6265, section 5.1.3). Cookies have no port by themselves (section 8.5), an origin has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jar: CookieJar | None = None

    def set_ok(self, cookie: Cookie, request: Request) -> bool:
        if not super().set_ok(cookie, request):
            return False
        if isinstance(request, _Request):
            cookie.set_nonstandard_attr(_ORIGIN, request.spelled)
        self._make_room(cookie)
        return True

    def _make_room(self, cookie: Cookie) -> None:
        """Let the oldest go: of the same domain first, as RFC 6265 (section 5.3) has it."""
        if self.jar is None:
            return
        known = list(self.jar)
        same = [other for other in known if other.domain == cookie.domain]
        if any(other.name == cookie.name and other.path == cookie.path for other in same):
            return
        if len(same) >= _MAX_PER_DOMAIN:
            self._drop(same[0])
        elif len(known) >= _MAX_COOKIES:
            self._drop(known[0])

    def _drop(self, cookie: Cookie) -> None:
        if self.jar is not None:
            self.jar.clear(cookie.domain, cookie.path, cookie.name)

    def return_ok(self, cookie: Cookie, request: Request) -> bool:
        if not super().return_ok(cookie, request):
            return False
        if not isinstance(request, _Request) or not request.foreign or cookie.domain_specified:
            return True
        return cookie.get_nonstandard_attr(_ORIGIN) == request.spelled


class CookieStore:
    """Keeps what servers set, and says what to send. Thread-safe."""

    def __init__(self) -> None:
        policy = _Policy()
        self._jar = policy.jar = CookieJar(policy)
        self._lock = threading.Lock()
        self.cookies: Final = httpx.Cookies(self._jar)

    def remember(self, url: httpx.URL, headers: httpx.Headers) -> None:
        """Keep the cookies of a response."""
        with self._lock:
            self._jar.extract_cookies(_Response(headers), _Request(url, foreign=False))  # type: ignore[arg-type]  # all that it uses

    def header(self, url: httpx.URL, *, foreign: bool) -> str | None:
        """Return the Cookie header for a request, or None for none."""
        if next(iter(self._jar), None) is None:  # as is the case for most clients
            return None
        request = _Request(url, foreign=foreign)
        with self._lock:
            self._jar.add_cookie_header(request)
        value: Any = request.get_header("Cookie")
        return value if isinstance(value, str) else None


def cookie_header(own: Mapping[str, str], kept: str | None) -> str | None:
    """Return the Cookie header for what the caller gave and what the jar has kept, or None for none.

    A cookie that the caller gives stands for the one of that name in the jar.

    >>> cookie_header({"lang": "de"}, "lang=en; session=7")
    'lang=de; session=7'
    """
    if not own:
        return kept
    others = [pair for pair in (kept or "").split("; ") if pair and pair.partition("=")[0] not in own]
    return "; ".join([*(f"{name}={value}" for name, value in own.items()), *others])


def origin_of(url: httpx.URL) -> str:
    """Return scheme, host and port as one text."""
    return f"{url.scheme}://{url.host}:{url.port or ''}"


def own_cookies(usual: Mapping[str, str], given: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the cookies of the config under those of the call; INVALID_REQUEST for what can't be one."""
    if not usual and not given:
        return {}
    pairs = {**usual, **(given or {})}
    for name, value in pairs.items():
        if not is_token(name) or _BAD_COOKIE.search(value):
            raise invalid_request(f"the cookie {name[:40]!r} has characters that no cookie may have")
    return pairs


def spelled_cookies(raw: Iterable[tuple[bytes, bytes]]) -> Mapping[str, str] | None:
    """Return the cookies of the caller's own Cookie header, if there is one."""
    for field, cookies in raw:
        if field.lower() == b"cookie":
            pairs = [pair.strip().partition("=") for pair in cookies.decode("utf-8", "replace").split(";")]
            return {name: value for name, _, value in pairs if name}
    return None
