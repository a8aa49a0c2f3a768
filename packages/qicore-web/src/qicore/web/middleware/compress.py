"""Compression of answers, by Starlette's gzip responder.

Starlette 1.10 has gzip alone, and so has every client that asks for anything; brotli and zstd pay where
answers are compressed once, ahead of time: `app.static` serves those.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from qicore.web.codings import choose_coding
from qicore.web.middleware.checks import check_count, check_texts
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipResponder, IdentityResponder
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["compression"]

# Beyond Starlette's: what is compressed already would only grow.
_COMPRESSED: Final = (
    "application/epub+zip", "application/vnd.rar", "application/x-7z-compressed", "application/x-bzip2",
    "application/x-xz", "application/zstd", "font/woff2", "image/heic", "image/jxl",
)  # fmt: skip
_BODILESS: Final = frozenset((204, 205, 304))


def compression(*, minimum_size: int = 1000, level: int = 6, exclude: Iterable[str] = ()) -> ASGIMiddleware:
    """Compress answers with gzip, for clients that take it.

    What has a Content-Encoding, what is compressed by nature (images, archives, fonts), parts of files (206)
    and server-sent events go as they are. A strong ETag becomes a weak one, for the bytes are others. Streams
    are flushed piece by piece; pieces of 128 KiB and more are compressed in a thread.

    An answer that mixes a secret (a token against forgery) with what the request brought can tell the secret
    by its length over many requests (the BREACH attack). Such a handler answers with `Cache-Control:
    no-transform`: that is never compressed.

    Args:
        minimum_size: bytes below which an answer that is not streamed goes as it is.
        level: of zlib, from 1 (fast) to 9 (small).
        exclude: further media types that go as they are, such as `application/pdf` or `model/*`.

    >>> compression(level=10)
    Traceback (most recent call last):
    ValueError: level must be from 1 to 9
    """
    if check_count("level", level) > 9:
        raise ValueError("level must be from 1 to 9")
    return ASGIMiddleware(
        _Compression,
        minimum_size=check_count("minimum_size", minimum_size, least=0),
        level=level,
        exclude=(*DEFAULT_EXCLUDED_CONTENT_TYPES, *_COMPRESSED, *check_texts("exclude", exclude)),
    )


class _Compression:
    def __init__(self, app: ASGIApp, *, minimum_size: int, level: int, exclude: tuple[str, ...]) -> None:
        self._app = app
        self._minimum_size = minimum_size
        self._level = level
        self._exclude = exclude

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = [value.decode("latin-1") for name, value in scope["headers"] if name == b"accept-encoding"]
        if asked and choose_coding(asked, ("gzip",)) is not None:
            zipped = _Gzip(self._app, self._minimum_size, self._level, exclude_content_types=self._exclude)
            await zipped(scope, receive, send)
        else:
            plain = IdentityResponder(self._app, self._minimum_size, exclude_content_types=self._exclude)
            await plain(scope, receive, send)


class _Gzip(GZipResponder):
    """Starlette's responder, with the cases that it leaves out."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def weaken(message: Message) -> None:
            if message["type"] == "http.response.start" and not self.content_encoding_set:
                message["headers"] = _weak(message["headers"])
            await send(message)

        self.send = weaken
        await self.app(scope, receive, self.send_with_compression)

    async def send_with_compression(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            # A copy: the responder changes header fields, and the application may send the same list again.
            headers = list(message.get("headers", ()))
            message = {**message, "headers": headers}
            if message["status"] in _BODILESS or _forbids(headers):
                self.content_encoding_set = True
                await self.send(message)
                return
        elif self.content_encoding_set:
            await self.send(message)
            return
        await super().send_with_compression(message)


def _forbids(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"cache-control" and b"no-transform" in value.lower() for name, value in headers)


def _weak(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the fields with a weak ETag where the responder has put a coding on the body."""
    if not any(name == b"content-encoding" for name, _ in headers):
        return headers
    return [
        (name, b"W/" + value if name == b"etag" and value.startswith(b'"') else value)
        for name, value in headers
        # Ranges are of the bytes as they are sent; nobody would compress the rest the same way.
        if name != b"accept-ranges"
    ]
