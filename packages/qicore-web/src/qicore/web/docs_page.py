"""The documentation page of an API: Swagger UI, all of it served from here: it needs no network."""

from __future__ import annotations

import gzip
import hashlib
import html
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, TypeAlias
from urllib.parse import quote

import anyio.to_thread
from qicore.web.codings import choose_coding
from qicore.web.conditional import Answer, Validators, judge
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["docs_routes"]

# Nothing from elsewhere and nothing inline. Swagger UI draws its icons from data: URLs, and shows images that
# an operation answers from blob: URLs.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_FOREVER: Final = "public, max-age=31536000, immutable"

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="{favicon}">
<link rel="stylesheet" href="{swagger_css}">
<link rel="stylesheet" href="{css}">
<script src="{swagger_js}" defer></script>
<script src="{js}" defer></script>
</head>
<body>
<noscript><p>This page needs JavaScript. See <a href="{openapi}">the OpenAPI document</a>.</p></noscript>
<main id="docs" data-openapi="{openapi}"></main>
</body>
</html>
"""

_JS: Final = """"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", dress);
dress();
const place = document.getElementById("docs");
SwaggerUIBundle({
  domNode: place,
  url: new URL(place.dataset.openapi, document.baseURI).href,
  deepLinking: true,
  displayRequestDuration: true,
  filter: true,
  tryItOutEnabled: true,
  // It would send the document to swagger.io.
  validatorUrl: null,
  // ?url=… must not show another API under this address.
  queryConfigEnabled: false,
});
"""

# Every GET answers HEAD too, which would double the list.
_CSS: Final = """html { background: #fff; }
body { margin: 0; }
noscript p { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem; }
.swagger-ui .opblock.opblock-head { display: none; }
@media (prefers-color-scheme: dark) {
  html { background: #1c2022; }
}
"""


_SCRIPT: Final = "text/javascript; charset=utf-8"
_STYLE: Final = "text/css; charset=utf-8"

# The files of the page: their types, and their text where it is ours.
_FILES: Final[Mapping[str, tuple[str, str | None]]] = {
    "swagger-ui-bundle.js": (_SCRIPT, None),
    "swagger-ui.css": (_STYLE, None),
    "favicon-32x32.png": ("image/png", None),
    "docs.js": (_SCRIPT, _JS),
    "docs.css": (_STYLE, _CSS),
}
# What the page calls them.
_NAMES: Final = {
    "favicon": "favicon-32x32.png",
    "swagger_css": "swagger-ui.css",
    "swagger_js": "swagger-ui-bundle.js",
    "css": "docs.css",
    "js": "docs.js",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    """A file of the page, as it is and compressed."""

    body: bytes
    packed: bytes
    media_type: str
    version: str


@cache
def _assets() -> dict[str, _Asset]:
    """Return the files of the page by name. Compressing the largest takes a tenth of a second, once."""
    shipped = resources.files("fastapi_swagger") / "resources"
    assets: dict[str, _Asset] = {}
    for name, (media_type, text) in _FILES.items():
        body = (shipped / name).read_bytes() if text is None else text.encode()
        version = hashlib.blake2b(body, digest_size=8).hexdigest()
        assets[name] = _Asset(body, gzip.compress(body, 6, mtime=0), media_type, version)
    return assets


_Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


def docs_routes(docs_path: str, openapi_path: str, title: str) -> tuple[tuple[str, _Handler], ...]:
    """Return the paths of the documentation page and its files, with the handlers that answer GET there.

    The page is Swagger UI: it lists the operations and tries them out, light or dark as the reader's system
    is. A Content-Security-Policy allows nothing from elsewhere and nothing inline. All addresses in the page
    are relative, so that it works behind any proxy, whatever prefix that adds.

    Args:
        docs_path: where the page is, from the root of the application: `/docs`.
        openapi_path: where the document is that the page shows, likewise.
        title: the name of the API, as text.

    >>> [path for path, _ in docs_routes("/docs", "/openapi.json", "Ships")][:3]
    ['/docs', '/docs/swagger-ui-bundle.js', '/docs/swagger-ui.css']
    """
    folder = docs_path.rstrip("/") + "/"

    async def page(request: Request) -> Response:
        assets = await anyio.to_thread.run_sync(_assets)
        body = _page(docs_path, openapi_path, title, {name: asset.version for name, asset in assets.items()})
        headers = {
            "cache-control": "no-cache",
            "content-security-policy": _POLICY,
            "etag": f'"{hashlib.blake2b(body, digest_size=8).hexdigest()}"',
            "referrer-policy": "same-origin",
        }
        return _cached(request, body, "text/html; charset=utf-8", headers)

    def file(name: str) -> _Handler:
        async def answer(request: Request) -> Response:
            return _file(request, (await anyio.to_thread.run_sync(_assets))[name])

        return answer

    return ((docs_path, page), *((folder + name, file(name)) for name in _FILES))


def _page(docs_path: str, openapi_path: str, title: str, versions: Mapping[str, str]) -> bytes:
    last = docs_path.rpartition("/")[2]
    here = f"./{quote(last)}/" if last else "./"
    # From the directory of the page up to the root of the application.
    up = "../" * (docs_path.count("/") - 1) or "./"
    values = {key: f"{here}{name}?v={versions[name]}" for key, name in _NAMES.items()}
    values |= {"title": title, "openapi": up + quote(openapi_path.removeprefix("/"))}
    return _PAGE.format_map({key: html.escape(value) for key, value in values.items()}).encode()


def _file(request: Request, asset: _Asset) -> Response:
    accepted = request.headers.getlist("accept-encoding")
    coding = choose_coding(accepted, ("gzip",)) if len(asset.packed) < len(asset.body) else None
    # The page names each file by its version, so that this address never means another one.
    named = request.url.query == f"v={asset.version}"
    headers = {
        "cache-control": _FOREVER if named else "no-cache",
        "etag": f'"{asset.version}{"-gzip" if coding else ""}"',
        "vary": "Accept-Encoding",
    }
    if coding:
        headers["content-encoding"] = coding
    return _cached(request, asset.packed if coding else asset.body, asset.media_type, headers)


def _cached(request: Request, body: bytes, media_type: str, headers: dict[str, str]) -> Response:
    """Return the response, or 304 to a client that has it already."""
    tags = request.headers.getlist("if-none-match")
    known = Headers(raw=[(b"if-none-match", tag.encode("latin-1")) for tag in tags])
    if judge(known, Validators(headers["etag"], 0)) is Answer.NOT_MODIFIED:
        kept = ("cache-control", "etag", "vary")
        return Response(status_code=304, headers={name: headers[name] for name in kept if name in headers})
    return Response(body, headers={**headers, "x-content-type-options": "nosniff"}, media_type=media_type)
