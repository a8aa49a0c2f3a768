"""Trusted hosts: requests that are meant for somebody else are refused."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from qicore.web.middleware.checks import check_texts
from qicore.web.problems import problem_response
from qicore.web.statuses import error_of_status
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["host_of", "trusted_hosts"]

# RFC 3986, section 3.2.2, without what DNS and browsers never make: userinfo, percent-encoding, zones.
_HOST: Final = re.compile(rb"([A-Za-z0-9_.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?")
_PATTERN: Final = re.compile(r"(?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")
_HIGHEST_PORT: Final = 65535


def trusted_hosts(*hosts: str) -> ASGIMiddleware:
    """Answer requests for these hosts alone; others get a 400 problem, and WebSockets are not accepted.

    It keeps names that the application is not known by out of its links, its caches and its e-mails, and
    pages of strangers from reaching it under a name of their own (DNS rebinding). The field `Host` counts; it
    must be there once. `X-Forwarded-Host` does not count. Any port will do.

    Args:
        hosts: such as `example.org`, `*.example.org` (what is below it, not itself), `127.0.0.1`, `[::1]`. A
            name outside of ASCII as DNS has it, `xn--...`.

    Raises ValueError for no hosts, and for what is none.

    >>> trusted_hosts("example.org:443")
    Traceback (most recent call last):
    ValueError: hosts: 'example.org:443' is no host; it has neither scheme nor port: 'example.org'
    """
    names: set[str] = set()
    endings: list[str] = []
    for given in check_texts("hosts", hosts):
        pattern = given.lower()
        if not _PATTERN.fullmatch(pattern) or (pattern.startswith("[") and _address(pattern) is None):
            raise ValueError(f"hosts: {given!r} is no host; it has neither scheme nor port: 'example.org'")
        if pattern.startswith("*."):
            endings.append(pattern[1:])
        else:
            names.add(_address(pattern) or pattern)
    if not hosts:
        raise ValueError("hosts: name at least one")
    return ASGIMiddleware(_TrustedHosts, names=frozenset(names), endings=tuple(endings))


def host_of(scope: Scope) -> str | None:
    """Return the host that a request is for, in one spelling; None when it names none, two, or nonsense.

    >>> host_of({"headers": [(b"host", b"Example.ORG.:8000")]})
    'example.org'
    >>> host_of({"headers": [(b"host", b"[0:0::1]")]})
    '[::1]'
    >>> host_of({"headers": [(b"host", b"example.org@evil.example")]}) is None
    True
    """
    values = [value for name, value in scope["headers"] if name == b"host"]
    found = _HOST.fullmatch(values[0]) if len(values) == 1 else None
    if found is None or (found[2] is not None and int(found[2]) > _HIGHEST_PORT):
        return None
    host = found[1].decode("ascii").lower()
    if host.startswith("["):
        return _address(host)
    return host.removesuffix(".") or None  # the dot at the end is the root of DNS: the same host


def _address(host: str) -> str | None:
    """Return an IPv6 address in its shortest spelling, in brackets; None for what is none."""
    if not host.startswith("["):
        return None
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    except ValueError:
        return None


class _TrustedHosts:
    def __init__(self, app: ASGIApp, *, names: frozenset[str], endings: tuple[str, ...]) -> None:
        self._app = app
        self._names = names
        self._endings = endings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket") or self._is_trusted(host_of(scope)):
            await self._app(scope, receive, send)
        elif kind == "http":
            error = error_of_status(400, "this service does not answer for the host that was asked for")
            await problem_response(scope, error)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008, "reason": ""})

    def _is_trusted(self, host: str | None) -> bool:
        if host is None:
            return False
        return host in self._names or (bool(self._endings) and host.endswith(self._endings))
