"""The documentation page, file by file. `tests-browser` looks at it in a browser."""

import gzip
import html
import re
from collections.abc import Mapping
from urllib.parse import unquote, urljoin

import pytest
from qicore.web.docs_page import docs_routes
from starlette.requests import Request
from starlette.responses import Response

TITLE = "Ships </title><script>alert(1)</script> & more"


async def ask(
    path: str = "/docs",
    headers: Mapping[str, str] = {},
    *,
    docs_path: str = "/docs",
    openapi_path: str = "/openapi.json",
) -> Response:
    path, _, query = path.partition("?")
    handler = dict(docs_routes(docs_path, openapi_path, TITLE))[path]
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode(), "headers": raw}
    return await handler(Request({**scope, "server": ("x", 80), "scheme": "http"}))


def addresses(body: bytes) -> list[str]:
    return [
        html.unescape(found) for found in re.findall(r'(?:href|src|data-openapi)="([^"]+)"', body.decode())
    ]


async def test_the_page_is_html_that_holds_nothing_inline() -> None:
    page = await ask()
    body = bytes(page.body)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["x-content-type-options"] == "nosniff"
    parts = (part.strip().partition(" ") for part in page.headers["content-security-policy"].split(";"))
    policy = {name: value for name, _, value in parts}
    assert policy["default-src"] == "'none'"
    assert (policy["script-src"], policy["style-src"], policy["connect-src"]) == (
        "'self'",
        "'self'",
        "'self'",
    )
    assert policy["frame-ancestors"] == "'none'"
    assert b"<script>" not in body
    assert b"<style" not in body
    assert re.search(rb"\son\w+=", body) is None
    assert b"<title>Ships &lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp; more</title>" in body


@pytest.mark.parametrize("prefix", ["", "/api", "/secret/prefix"])
@pytest.mark.parametrize("docs_path", ["/docs", "/docs/", "/api/v1/docs", "/a b/c", "/"])
@pytest.mark.parametrize("openapi_path", ["/openapi.json", "/api/openapi.json"])
async def test_its_addresses_are_right_behind_any_proxy(
    prefix: str, docs_path: str, openapi_path: str
) -> None:
    """The browser is below a prefix that the application may know nothing of."""
    page = await ask(docs_path, docs_path=docs_path, openapi_path=openapi_path)
    base = f"http://x{prefix}{docs_path}"
    found = {unquote(urljoin(base, address).partition("?")[0]) for address in addresses(bytes(page.body))}
    served = {path for path, _ in docs_routes(docs_path, openapi_path, TITLE)} - {docs_path}
    assert found == {f"http://x{prefix}{path}" for path in {*served, openapi_path}}


async def test_what_the_page_names_is_there_and_kept() -> None:
    page = await ask()
    files = [address for address in addresses(bytes(page.body)) if "?v=" in address]
    assert len(files) == 5
    for address in files:
        path = urljoin("http://x/docs", address).removeprefix("http://x")
        plain = await ask(path)
        assert (plain.status_code, plain.headers["content-length"]) == (200, str(len(plain.body)))
        assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert plain.headers["x-content-type-options"] == "nosniff"
        again = await ask(path, {"if-none-match": plain.headers["etag"]})
        assert (again.status_code, again.headers["etag"], again.body) == (304, plain.headers["etag"], b"")
        packed = await ask(path, {"accept-encoding": "br, gzip"})
        if "content-encoding" in packed.headers:
            assert gzip.decompress(packed.body) == plain.body
            assert packed.headers["etag"] != plain.headers["etag"]
        else:
            assert packed.body == plain.body


async def test_another_version_of_a_file_is_not_kept() -> None:
    for query in ("v=other", ""):
        assert (await ask(f"/docs/docs.js?{query}")).headers["cache-control"] == "no-cache"


async def test_the_page_is_asked_for_again_but_not_sent_again() -> None:
    page = await ask()
    assert page.headers["cache-control"] == "no-cache"
    again = await ask(headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.body) == (304, b"")
    dated = await ask(headers={"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"})
    assert dated.status_code == 200
