"""Header fields that make browsers careful, as the OWASP Secure Headers Project recommends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from qicore.web.middleware.checks import header_name, header_value
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["security_headers"]

_HSTS: Final = "max-age=31536000; includeSubDomains"
_PERMISSIONS: Final = (
    "accelerometer=(), autoplay=(), camera=(), display-capture=(), encrypted-media=(), fullscreen=(),"
    " geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), usb=()"
)


def security_headers(
    *,
    content_type_options: str | None = "nosniff",
    frame_options: str | None = "DENY",
    referrer_policy: str | None = "no-referrer",
    hsts: str | None = _HSTS,
    permissions_policy: str | None = _PERMISSIONS,
    opener_policy: str | None = "same-origin",
    resource_policy: str | None = "same-origin",
    content_security_policy: str | None = None,
    extra: Mapping[str, str] | None = None,
) -> ASGIMiddleware:
    """Add the header fields that make browsers careful. What a handler sets itself stays as it is.

    Each option is the value of its field, or None to leave it out.

    Args:
        content_type_options: X-Content-Type-Options: scripts and styles only with their own media type.
        frame_options: X-Frame-Options: who may show the page in a frame.
        referrer_policy: Referrer-Policy: what other sites learn of where a visitor comes from.
        hsts: Strict-Transport-Security, sent over https alone: browsers come back by https only, for a year,
            to subdomains too. Behind a proxy that ends TLS the server must know the scheme from it.
        permissions_policy: Permissions-Policy: features of the device that pages may not use.
        opener_policy: Cross-Origin-Opener-Policy: whether windows that opened this one keep a hold of it.
        resource_policy: Cross-Origin-Resource-Policy: who may embed answers without asking (CORS is asking).
        content_security_policy: Content-Security-Policy: only the application knows what its pages load. For
            an API that serves no pages, `default-src 'none'; frame-ancestors 'none'`.
        extra: further fields.

    >>> app = security_headers(frame_options="SAMEORIGIN", extra={"X-Robots-Tag": "noindex"})
    >>> dict(app.kwargs["plain"])[b"x-frame-options"]
    b'SAMEORIGIN'
    """
    options = {
        "X-Content-Type-Options": ("content_type_options", content_type_options),
        "X-Frame-Options": ("frame_options", frame_options),
        "Referrer-Policy": ("referrer_policy", referrer_policy),
        "Permissions-Policy": ("permissions_policy", permissions_policy),
        "Cross-Origin-Opener-Policy": ("opener_policy", opener_policy),
        "Cross-Origin-Resource-Policy": ("resource_policy", resource_policy),
        "Content-Security-Policy": ("content_security_policy", content_security_policy),
        **{name: ("extra", value) for name, value in (extra or {}).items()},
    }
    plain = {
        header_name("extra", name): header_value(option, value)
        for name, (option, value) in options.items()
        if value is not None
    }
    secure = dict(plain)
    if hsts is not None:
        secure[b"strict-transport-security"] = header_value("hsts", hsts)
    return ASGIMiddleware(_SecurityHeaders, plain=tuple(plain.items()), secure=tuple(secure.items()))


class _SecurityHeaders:
    def __init__(
        self, app: ASGIApp, *, plain: tuple[tuple[bytes, bytes], ...], secure: tuple[tuple[bytes, bytes], ...]
    ) -> None:
        self._app = app
        self._plain = plain
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fields = self._secure if scope.get("scheme") == "https" else self._plain

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                # A new list: the application may send the same one again.
                headers = list(message.get("headers", ()))
                there = {pair[0].lower() for pair in headers}
                headers += [field for field in fields if field[0] not in there]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, add)
