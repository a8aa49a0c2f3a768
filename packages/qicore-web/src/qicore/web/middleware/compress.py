"""Compression of answers, by Starlette's gzip responder.

Starlette 1.10 has gzip alone, and so has every client that asks for anything; brotli and zstd pay where
answers are compressed once, ahead of time: `app.static` serves those.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
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
_USUAL: Final = 100
"""Bytes of an Accept-Encoding that is remembered; browsers send about 30."""
_NEVER: Final = frozenset((204, 205, 206, 304))  # without a body, or a part of one


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
        exclude=frozenset(
            kind.strip().lower()
            for kind in (*DEFAULT_EXCLUDED_CONTENT_TYPES, *_COMPRESSED, *check_texts("exclude", exclude))
        ),
    )


class _Compression:
    def __init__(self, app: ASGIApp, *, minimum_size: int, level: int, exclude: frozenset[str]) -> None:
        self._app = app
        self._minimum_size = minimum_size
        self._level = level
        self._exclude = exclude

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        onward = send

        async def look(message: Message) -> None:
            nonlocal onward
            if message["type"] == "http.response.start":
                # A copy: the responder changes it, and the application may send the same list again.
                headers = list(message.get("headers", ()))
                message = {**message, "headers": headers}
                if not self._goes_as_it_is(message["status"], headers):
                    onward = self._responder(scope, send).send_with_compression
            await onward(message)

        await self._app(scope, receive, look)

    def _responder(self, scope: Scope, send: Send) -> IdentityResponder:
        asked = b",".join([value for name, value in scope["headers"] if name == b"accept-encoding"])
        made: IdentityResponder
        if _remembered(asked) if len(asked) <= _USUAL else _takes_gzip(asked):
            made = GZipResponder(self._app, self._minimum_size, self._level, exclude_content_types=())
            made.send = _weakening(send)
        else:  # it tells caches that the answer depends on Accept-Encoding
            made = IdentityResponder(self._app, self._minimum_size, exclude_content_types=())
            made.send = send
        return made

    def _goes_as_it_is(self, status: int, headers: list[tuple[bytes, bytes]]) -> bool:
        if status in _NEVER:
            return True
        for name, value in headers:
            if name == b"content-encoding":
                return True
            if name == b"content-length":
                if value.isdigit() and len(value) < 10 and int(value) < self._minimum_size:
                    return True
            elif name == b"content-type":
                kind = value.partition(b";")[0].strip().lower().decode("latin-1")
                main = kind.partition("/")[0] + "/*"
                if kind in self._exclude or main in self._exclude or kind.startswith("application/grpc"):
                    return True
            elif name == b"cache-control" and b"no-transform" in value.lower():
                return True
        return False


def _takes_gzip(accepted: bytes) -> bool:
    return choose_coding([accepted.decode("latin-1")], ("gzip",)) is not None


_remembered: Final = lru_cache(maxsize=256)(_takes_gzip)


def _weakening(send: Send) -> Send:
    """Return a `send` that weakens the ETag of an answer that the responder has put a coding on."""

    async def weaken(message: Message) -> None:
        if message["type"] == "http.response.start" and any(
            name == b"content-encoding" for name, _ in message["headers"]
        ):
            message["headers"] = [
                (name, b"W/" + value if name == b"etag" and value.startswith(b'"') else value)
                for name, value in message["headers"]
                # Ranges are of the bytes as they are sent; nobody would compress the rest the same way.
                if name != b"accept-ranges"
            ]
        await send(message)

    return weaken
