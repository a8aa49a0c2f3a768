"""Files, health and the documentation page as parts of a `WebApp`."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.web import Handler, WebApp, WebConfig
from starlette.requests import Request
from starlette.responses import Response


def stamped(handler: Handler) -> Handler:
    async def handle(request: Request) -> Result[Response]:
        return (await handler(request)).tap(lambda response: response.headers.append("x-stamp", "here"))

    return handle


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    site = tmp_path / "site"
    (site / "guide").mkdir(parents=True)
    (site / "index.html").write_text("<h1>Home</h1>")
    (site / "guide" / "index.html").write_text("<h1>Guide</h1>")
    (site / "app.css").write_text("body {}")
    (tmp_path / "secret").write_text("secret")
    app = WebApp(WebConfig(problem_base="https://api.example/problems/"))
    app.use(stamped)

    async def hello() -> Result[str]:
        return Success("hello")

    async def database() -> Result[object]:
        return Failure(QiError.network("DB_CONNECT_FAILED", "10.0.0.7 is not there"))

    app.route("GET", "/api/hello", hello)
    app.static("/files", site, cache_control="public, max-age=60")
    app.static("/", site)
    app.health({"database": database})
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x", follow_redirects=True) as client:
        yield client


async def test_files_stand_beside_routes(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/hello")).json() == "hello"
    assert (await client.get("/")).text == "<h1>Home</h1>"
    assert (await client.get("/files/app.css")).headers["cache-control"] == "public, max-age=60"
    assert (await client.get("/app.css")).headers["cache-control"] == "no-cache"
    assert (await client.head("/files/app.css")).headers["content-length"] == "7"
    assert (await client.get("/files/app.css", headers={"range": "bytes=0-3"})).text == "body"


async def test_directories_are_found_without_their_slash(client: httpx.AsyncClient) -> None:
    for path in ("/guide", "/files/guide"):
        answer = await client.get(path)
        assert (answer.text, answer.url.path) == ("<h1>Guide</h1>", path + "/")


async def test_middleware_is_around_files(client: httpx.AsyncClient) -> None:
    assert (await client.get("/files/app.css")).headers.get_list("x-stamp") == ["here"]


@pytest.mark.parametrize(
    "path", ["/files/nothing", "/files/%2e%2e/secret", "/%2e%2e/secret", "/files/..%2fsecret"]
)
async def test_what_is_not_there_is_a_problem_like_all_others(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["type"] == "https://api.example/problems/not-found"
    posted = await client.post(path)
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD")


async def test_health_is_answered_and_kept_out_of_the_document(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await client.get("/health/live")).json() == {"status": "pass"}
    with caplog.at_level(logging.WARNING, "qicore.web"):
        ready = await client.get("/health/ready")
    assert (ready.status_code, ready.headers["cache-control"]) == (503, "no-store")
    assert ready.json() == {
        "status": "fail",
        "checks": {"database": {"status": "fail", "code": "DB_CONNECT_FAILED"}},
    }
    assert "10.0.0.7" in caplog.text
    assert (await client.head("/health/live")).status_code == 200
    assert list((await client.get("/openapi.json")).json()["paths"]) == ["/api/hello"]


async def test_the_documentation_is_there(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    script = await client.get("/docs/swagger-ui-bundle.js")
    assert (script.status_code, script.headers["content-encoding"]) == (200, "gzip")
    assert (await client.get("/docs/nothing.js")).status_code == 404
    assert (await client.post("/docs")).status_code == 405
