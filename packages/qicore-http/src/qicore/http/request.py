"""What the user asks for becomes a request: pure functions that both clients share."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, TypeAlias, TypedDict, Unpack, cast

import httpx
from qicore.base import QiError
from qicore.http.auth import AuthSpec, authorization, make_auth
from qicore.http.body import Content, Progress, Upload, make_body
from qicore.http.config import HTTPConfig, is_duration, wrong_retry
from qicore.http.cookies import CookieStore, cookie_header, own_cookies, spelled_cookies
from qicore.http.decoding import ACCEPTED
from qicore.http.errors import invalid_request, invalid_url
from qicore.http.headers import FRAMING, Headers, is_token, wrong_header
from qicore.http.params import Params, with_params
from qicore.http.redirects import SAFE_HEADERS, same_origin
from qicore.resilience import RetryBudget, RetryConfig

__all__ = ["UNSET", "Call", "Defaults", "RequestOptions", "Unset", "prepare"]

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]


class Unset:
    """Stands for an option that was not given, where None means something."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()


class RequestOptions(TypedDict, total=False):
    """What every method of a client takes besides the URL.

    Attributes:
        params: query parameters, added to those of the URL, which stay as they are.
        headers: over those of the config; names compare without case.
        cookies: sent with this request only.
        content: the body: text, bytes, a `Path`, a binary file, an iterable (asynchronous too) of bytes.
        data: the body: a form.
        files: the body: a form with files, as httpx takes them.
        json: the body: a value that JSON can spell.
        auth: instead of that of the config; None for none.
        timeout: seconds for the whole call instead of those of the config; None for no limit. For a stream
            it covers the body too when it is given here.
        follow_redirects: instead of that of the config.
        max_response_size: instead of that of the config.
        accept_status: statuses from 400 on that are answers here, not errors.
        retry: instead of that of the config; None for one attempt.
        on_upload: called with the bytes sent so far, and with those there are in all or None.
        on_download: the same for the bytes received, as they come from the wire.
    """

    params: Params | None
    headers: Mapping[str, str] | Sequence[tuple[str, str]] | None
    cookies: Mapping[str, str] | None
    content: Content | None
    data: Mapping[str, Any] | None
    files: Any
    json: Any
    auth: AuthSpec | None
    timeout: float | None
    follow_redirects: bool
    max_response_size: int | None
    accept_status: Container[int]
    retry: RetryConfig | None
    on_upload: Progress | None
    on_download: Progress | None


_USER_AGENT: Final = "qicore-http"


class Defaults:
    """What all requests of a client have in common, worked out once."""

    def __init__(self, config: HTTPConfig) -> None:
        self.config = config
        self.base = httpx.URL(config.base_url) if config.base_url else None
        self.auth = make_auth(config.auth)
        userinfo = None if self.base is None else _userinfo(self.base)
        if self.base is not None and userinfo is not None:
            self.base = self.base.copy_with(username=None, password=None)
            self.auth = self.auth or make_auth(userinfo)
        given = [(name.encode(), value.encode()) for name, value in config.headers.items()]
        known = {name.lower() for name, _ in given}
        usual = (
            (b"Accept", b"*/*"),
            (b"Accept-Encoding", ACCEPTED.encode()),
            (b"User-Agent", _USER_AGENT.encode()),
        )
        self.headers = [*given, *(pair for pair in usual if pair[0].lower() not in known)]
        self.safe_headers = [pair for pair in self.headers if pair[0].lower() in SAFE_HEADERS]
        self.names_host = b"host" in known
        self.names_cookie = b"cookie" in known
        self.cookies = dict(config.cookies)
        self.timeouts = {
            "connect": config.connect_timeout,
            "read": config.read_timeout,
            "write": config.read_timeout,
            "pool": config.pool_timeout,
        }
        # A read that takes longer than the whole call may is late already: it needs no timer of its own.
        self.short_timeouts = {**self.timeouts, "read": None, "write": None}
        # Retries without a bound are what turns a short outage into a long one.
        self.budget = RetryBudget()
        self.retry = None if config.retry is None else self._budgeted(config.retry)
        self.urls = lru_cache(maxsize=256)(self._parse)

    def _budgeted(self, retry: RetryConfig) -> RetryConfig:
        return retry if retry.budget is not None else replace(retry, budget=self.budget)

    def chosen_retry(self, retry: RetryConfig | None) -> RetryConfig | None:
        """Return what was given for one call; QiError INVALID_REQUEST when it can't be."""
        if retry is None:
            return None
        wrong = wrong_retry(retry)
        if wrong is not None:
            raise invalid_request(wrong)
        return self._budgeted(retry)

    def _parse(self, text: str) -> tuple[httpx.URL, bytes, tuple[str, str] | None, bool]:
        """Return the URL without its userinfo, what goes into Host, the userinfo, and whether it is at home.

        At home is what `HTTPConfig` says about credentials.
        """
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, TypeError, ValueError) as error:
            # It quotes what it did not understand, which may be a part of a password.
            raise invalid_url(text, "this is no URL" if "@" in text else str(error)) from None
        base = self.base
        if base is not None and url.is_relative_url:
            if url.scheme or url.host:
                # RFC 3986, section 4.2: "a:b" has a scheme, "//a" a host.
                raise invalid_url(text, "a path that begins so needs a / or ./ before it")
            url = base.copy_with(raw_path=base.raw_path.rstrip(b"/") + b"/" + url.raw_path.lstrip(b"/"))
            return url, url.netloc, None, True
        if url.scheme not in ("http", "https"):
            raise invalid_url(text, "a URL starts with http:// or https://")
        if not url.host:
            raise invalid_url(text, "it names no host")
        if url.port is not None and not 0 < url.port < 65_536:
            raise invalid_url(text, "its port is none of 1 to 65535")
        userinfo = _userinfo(url)
        if userinfo is not None:
            url = url.copy_with(username=None, password=None)
        return url, url.netloc, userinfo, base is None or same_origin(base, url)


def _userinfo(url: httpx.URL) -> tuple[str, str] | None:
    return (url.username, url.password) if url.userinfo else None


class Outgoing(httpx.Request):
    """A request of parts that have been checked: `httpx.Request` would look at each of them once more."""

    def __init__(
        self, method: str, url: httpx.URL, headers: RawHeaders, body: Any, timeouts: dict[str, float | None]
    ) -> None:
        self.method = method.upper()
        self.url = url
        self.headers = Headers(headers)
        self.extensions = {"timeout": timeouts}
        self.stream = body
        if isinstance(body, httpx.ByteStream):
            self._content = b"".join(body)


@dataclass(slots=True)
class Call:
    """One call of the user, over all its hops and attempts."""

    request: httpx.Request
    auth: httpx.Auth | None
    cookies: Mapping[str, str]
    """Those of the caller, not of the jar, for the origin of the request."""
    timeout: float | None
    follow: bool
    limit: int | None
    accepted: Container[int]
    on_download: Progress | None
    retry: RetryConfig | None
    stream: bool
    timed_body: bool
    """Whether the deadline covers the body of a stream too."""
    deadline: float | None = None
    """On the monotonic clock."""


def prepare(
    defaults: Defaults,
    store: CookieStore,
    method: str,
    url: str | httpx.URL,
    *,
    blocking: bool,
    stream: bool = False,
    **options: Unpack[RequestOptions],
) -> Call:
    """Return the call; QiError INVALID_URL or INVALID_REQUEST when there can't be one."""
    try:
        return _prepare(defaults, store, method, url, blocking=blocking, stream=stream, **options)
    except QiError:
        raise
    except Exception as error:
        # Callers without types may give anything.
        raise invalid_request(f"this makes no request: {type(error).__name__}: {error}") from error


def _prepare(
    defaults: Defaults,
    store: CookieStore,
    method: str,
    url: str | httpx.URL,
    *,
    blocking: bool,
    stream: bool,
    params: Params | None = None,
    headers: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
    cookies: Mapping[str, str] | None = None,
    content: Content | None = None,
    data: Mapping[str, Any] | None = None,
    files: Any = None,
    json: Any = None,
    auth: AuthSpec | Unset | None = UNSET,
    timeout: float | Unset | None = UNSET,
    follow_redirects: bool | Unset = UNSET,
    max_response_size: int | Unset | None = UNSET,
    accept_status: Container[int] = (),
    retry: RetryConfig | Unset | None = UNSET,
    on_upload: Progress | None = None,
    on_download: Progress | None = None,
) -> Call:
    config = defaults.config
    if not (timeout is None or isinstance(timeout, Unset) or is_duration(timeout)):
        raise invalid_request("timeout must be seconds above 0, or None")
    if not isinstance(url, str):
        if not isinstance(cast("object", url), httpx.URL):
            # Not shown: what is no text may hold a password where nobody can find it.
            raise invalid_url(type(url).__name__, "a URL is a text or an httpx.URL")
        url = str(url)
    target, netloc, userinfo, home = defaults.urls(url)
    usual: Mapping[str, Any] = config.params if home else {}
    if usual or params:
        target = with_params(target, usual, params)
    if not is_token(method):
        raise invalid_request(f"{method[:20]!r} is no method")
    raw = list(defaults.headers if home else defaults.safe_headers)
    announced = None
    if headers:
        raw, announced = _merge(raw, headers)
    if content is None and data is None and files is None and json is None:
        body: Any = make_body(None, None, blocking=blocking)
        if announced is not None or method in ("POST", "PUT", "PATCH"):
            raw.append(_framing(body, announced))
    else:
        body, kind = _encode(content, data, files, json, on_upload, blocking=blocking)
        if kind is not None and not any(name.lower() == b"content-type" for name, _ in raw):
            raw.append((b"Content-Type", kind))
        raw.append(_framing(body, announced))
    own = own_cookies(defaults.cookies if home else {}, cookies)
    spelled = spelled_cookies(raw) if headers or defaults.names_cookie else None
    if spelled is not None:
        own = spelled
    else:
        sent = cookie_header(own, store.header(target, foreign=False))
        if sent is not None:
            raw.append((b"Cookie", sent.encode("utf-8", "replace")))
    chosen = make_auth(auth) if not isinstance(auth, Unset) else None
    if isinstance(auth, Unset):
        chosen = make_auth(userinfo) if userinfo is not None else defaults.auth if home else None
    if chosen is not None:
        ready = authorization(chosen)
        if ready is not None:
            raw = [pair for pair in raw if pair[0].lower() != b"authorization"]
            raw.append((b"Authorization", ready.encode()))
            chosen = None
    if not (defaults.names_host or headers) or not any(name.lower() == b"host" for name, _ in raw):
        raw.insert(0, (b"Host", netloc))
    total = config.timeout if isinstance(timeout, Unset) else timeout
    longest = config.read_timeout
    short = not stream and longest is not None and total is not None and total <= longest
    timeouts = defaults.short_timeouts if short else defaults.timeouts
    return Call(
        request=Outgoing(method, target, raw, body, timeouts),
        auth=chosen,
        cookies=own,
        timeout=total,
        follow=config.follow_redirects if isinstance(follow_redirects, Unset) else follow_redirects,
        limit=config.max_response_size if isinstance(max_response_size, Unset) else max_response_size,
        accepted=accept_status,
        on_download=on_download,
        retry=defaults.retry if isinstance(retry, Unset) else defaults.chosen_retry(retry),
        stream=stream,
        timed_body=not isinstance(timeout, Unset),
    )


def _merge(
    raw: RawHeaders, headers: Mapping[str, str] | Sequence[tuple[str, str]]
) -> tuple[RawHeaders, int | None]:
    """Return all headers but those that say where the body ends, and what they say about that."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    given: RawHeaders = []
    announced: int | None = None
    for name, value in pairs:
        problem = wrong_header(name, value)
        if problem is not None:
            raise invalid_request(problem)
        if name.lower() in FRAMING:
            announced = _announced(name, value, announced)
            continue
        # Field values beyond ASCII are opaque (RFC 9110, section 5.5); most servers take them for UTF-8.
        given.append((name.encode(), value.encode("utf-8", "surrogateescape")))
    names = {name.lower() for name, _ in given}
    return [*(pair for pair in raw if pair[0].lower() not in names), *given], announced


def _announced(name: str, value: str, before: int | None) -> int | None:
    text = value.strip()
    if name.lower() == "transfer-encoding":
        if text.lower() != "chunked":
            raise invalid_request("Transfer-Encoding can be nothing but chunked")
        return before
    if not (text.isascii() and text.isdecimal() and len(text) < 19) or before not in (None, int(text)):
        raise invalid_request("Content-Length must be one number")
    return int(text)


def _framing(body: httpx.ByteStream | Upload, announced: int | None) -> tuple[bytes, bytes]:
    """Return the one header that says where the body ends.

    Two that contradict each other, or one that is not true, let a server see a second request in the body
    (RFC 9112, section 11.2).
    """
    if isinstance(body, Upload):
        if body.length is None:
            body.length = announced
        size = body.length
    else:
        size = len(b"".join(body))
    if announced is not None and announced != size:
        raise invalid_request(f"Content-Length says {announced}, and the body has {size} bytes")
    if size is None:
        return b"Transfer-Encoding", b"chunked"
    return b"Content-Length", str(size).encode()


def _encode(
    content: Content | None, data: Any, files: Any, json: Any, progress: Progress | None, *, blocking: bool
) -> tuple[httpx.ByteStream | Upload, bytes | None]:
    """Return the body and its type, if that is known."""
    if sum((content is not None, json is not None, data is not None or files is not None)) > 1:
        raise invalid_request("content, json, and data with files exclude each other")
    kind: bytes | None = None
    if json is not None:
        try:
            content = jsonlib.dumps(json, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise invalid_request(f"JSON can't spell this: {error}") from None
        kind = b"application/json"
    elif content is None:
        try:
            form = httpx.Request("POST", "http://form", data=data, files=files)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise invalid_request(f"this is no form: {error}") from None
        kind = form.headers.get("content-type", "").encode() or None
        if not isinstance(form.stream, httpx.ByteStream):
            length = form.headers.get("content-length")
            # httpx rewinds the files by itself whenever the form is sent.
            again = _rewinds(files)
            return Upload(
                form.stream, int(length) if length else None, repeatable=again, progress=progress
            ), kind
        content = form.content
    return make_body(content, progress, blocking=blocking), kind


def _rewinds(files: Any) -> bool:
    named: Any = cast("Any", files).items() if isinstance(files, Mapping) else files or ()
    contents: list[Any] = [part[1] if type(part) is tuple else part for _, part in named]
    return all(isinstance(one, str | bytes) or hasattr(one, "seek") for one in contents)
