"""What httpbin, a server that nobody here wrote, sees and says, with every engine."""

import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from qicore.base import ErrorCategory
from qicore.http import BearerAuth, HTTPClient, HTTPConfig, SyncHTTPClient


@pytest.fixture
async def client(engine: Any, httpbin_url: str) -> AsyncIterator[HTTPClient]:
    async with HTTPClient.create(HTTPConfig(engine=engine, base_url=httpbin_url)).unwrap() as made:
        yield made


@pytest.mark.parametrize("method", ["get", "post", "put", "delete", "patch"])
async def test_each_method_is_itself(client: HTTPClient, method: str) -> None:
    response = (
        await getattr(client, method)("/anything", headers={"X-One": "1"}, params={"a": ["1", "ü"]})
    ).unwrap()
    seen = response.json()
    assert seen["method"] == method.upper()
    assert seen["headers"]["X-One"] == "1"
    assert seen["args"] == {"a": ["1", "ü"]}
    assert isinstance(response, httpx.Response)
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
async def test_each_method_takes_a_body(client: HTTPClient, method: str) -> None:
    call = getattr(client, method)
    seen = (await call("/anything", json={"ü": [1, None]})).unwrap().json()
    assert (seen["method"], seen["json"]) == (method.upper(), {"ü": [1, None]})
    seen = (await call("/anything", data={"a": "1 &"})).unwrap().json()
    assert (seen["method"], seen["form"]) == (method.upper(), {"a": "1 &"})
    seen = (await call("/anything", content=b"text")).unwrap().json()
    assert (seen["method"], seen["data"]) == (method.upper(), "text")


async def test_head_and_options(client: HTTPClient) -> None:
    head = (await client.head("/get")).unwrap()
    assert (head.status_code, head.content) == (200, b"")
    options = (await client.options("/get")).unwrap()
    assert "GET" in options.headers["allow"]
    trace = (await client.request("TRACE", "/anything")).unwrap()
    assert trace.json()["method"] == "TRACE"


async def test_bodies(client: HTTPClient, tmp_path: Path) -> None:
    (tmp_path / "tea.txt").write_bytes(b"leaves")
    sent = (await client.post("/anything", json={"ü": [1, None]})).unwrap().json()
    assert (sent["json"], sent["headers"]["Content-Type"]) == ({"ü": [1, None]}, "application/json")
    sent = (await client.post("/anything", data={"a": "1 &", "b": ["x", "y"]})).unwrap().json()
    assert sent["form"] == {"a": "1 &", "b": ["x", "y"]}
    sent = (await client.post("/anything", content="text ü")).unwrap().json()
    assert sent["data"] == "text ü"
    sent = (await client.put("/anything", content=tmp_path / "tea.txt")).unwrap().json()
    assert sent["data"] == "leaves"
    with (tmp_path / "tea.txt").open("rb") as file:
        files = {"file": ("tea.txt", file, "text/plain"), "other": io.BytesIO(b"more")}
        sent = (await client.post("/anything", data={"a": "1"}, files=files)).unwrap().json()
    assert (sent["form"], sent["files"]) == ({"a": "1"}, {"file": "leaves", "other": "more"})


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compressed_answers_are_unpacked(client: HTTPClient, encoding: str) -> None:
    response = (await client.get(f"/{encoding}")).unwrap()
    assert response.json()["gzipped" if encoding == "gzip" else "deflated"] is True
    (await client.get("/get")).unwrap()


async def test_what_nobody_asked_for_is_handed_on_as_it_came(client: HTTPClient) -> None:
    asked = (await client.get("/headers")).unwrap().json()["headers"]["Accept-Encoding"]
    response = (await client.get("/brotli")).unwrap()
    assert "br" in asked.split(", ") or response.headers["content-encoding"] == "br"


@pytest.mark.parametrize("status", [400, 404, 409, 418, 429, 500, 503])
async def test_a_bad_status_is_an_http_error(client: HTTPClient, status: int) -> None:
    error = (await client.get(f"/status/{status}")).error
    assert error is not None
    assert (error.code, error.get_category()) == ("HTTP_ERROR", ErrorCategory.NETWORK)
    assert error.context["status"] == status


@pytest.mark.parametrize("status", [401, 403])
async def test_who_may_not_is_told_so(client: HTTPClient, status: int) -> None:
    error = (await client.get(f"/status/{status}")).error
    assert error is not None
    assert error.get_category() is ErrorCategory.PERMISSION
    assert error.context["status"] == status


@pytest.mark.parametrize("kind", ["redirect", "relative-redirect", "absolute-redirect"])
async def test_redirects_are_followed(client: HTTPClient, kind: str) -> None:
    response = (await client.get(f"/{kind}/5")).unwrap()
    assert response.json()["url"].endswith("/get")
    assert len(response.history) == 5
    error = (await client.get(f"/{kind}/11")).error
    assert error is not None
    assert error.code == "TOO_MANY_REDIRECTS"


@pytest.mark.parametrize(("status", "method"), [(302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
async def test_a_redirect_keeps_or_changes_the_method(client: HTTPClient, status: int, method: str) -> None:
    place = {"url": "/anything", "status_code": str(status)}
    seen = (await client.post("/redirect-to", params=place, content="body")).unwrap().json()
    assert (seen["method"], seen["data"]) == (method, "body" if method == "POST" else "")


async def test_cookies_come_back(client: HTTPClient) -> None:
    (await client.get("/cookies/set", params={"tea": "green"})).unwrap()
    assert (await client.get("/cookies")).unwrap().json()["cookies"] == {"tea": "green"}
    both = (await client.get("/cookies", cookies={"cup": "1"})).unwrap().json()["cookies"]
    assert both == {"tea": "green", "cup": "1"}
    (await client.get("/cookies/delete", params={"tea": ""})).unwrap()
    assert (await client.get("/cookies")).unwrap().json()["cookies"] == {}


async def test_authentication(client: HTTPClient) -> None:
    assert (await client.get("/basic-auth/ann/pw", auth=("ann", "pw"))).unwrap().json()["authenticated"]
    assert (await client.get("/bearer", auth=BearerAuth("t"))).unwrap().json()["token"] == "t"
    digest = httpx.DigestAuth("ann", "pw")
    for algorithm in ("MD5", "SHA-256"):
        path = f"/digest-auth/auth/ann/pw/{algorithm}"
        assert (await client.get(path, auth=digest)).unwrap().json()["authenticated"]
    error = (await client.get("/basic-auth/ann/pw", auth=("ann", "wrong"))).error
    assert error is not None
    assert error.get_category() is ErrorCategory.PERMISSION
    assert "wrong" not in repr(error.to_structured_data())


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512"])
async def test_digests_of_every_kind(client: HTTPClient, algorithm: str) -> None:
    digest = httpx.DigestAuth("ann", "pw")
    for _ in range(2):  # the second time with the nonce of the first
        assert (await client.get(f"/digest-auth/auth/ann/pw/{algorithm}", auth=digest)).is_success
    error = (await client.get("/digest-auth/auth/ann/pw", auth=httpx.DigestAuth("ann", "no"))).error
    assert error is not None
    assert (error.code, error.context["status"]) == ("HTTP_ERROR", 401)


async def test_a_digest_that_httpx_has_not_is_an_error(client: HTTPClient) -> None:
    error = (await client.get("/digest-auth/auth-int/ann/pw", auth=httpx.DigestAuth("ann", "pw"))).error
    assert error is not None
    assert (error.get_category(), "auth-int" in error.message) == (ErrorCategory.UNKNOWN, True)


async def test_an_authorization_belongs_to_its_request(client: HTTPClient) -> None:
    assert (await client.get("/hidden-basic-auth/ann/pw", auth=("ann", "pw"))).is_success
    error = (await client.get("/hidden-basic-auth/ann/pw")).error
    assert error is not None
    assert error.context["status"] == 404


async def test_conditions(client: HTTPClient) -> None:
    fresh = (await client.get("/etag/one", headers={"If-None-Match": '"one"'})).unwrap()
    assert (fresh.status_code, fresh.content, fresh.headers["etag"]) == (304, b"", "one")
    error = (await client.get("/etag/one", headers={"If-Match": '"two"'})).error
    assert error is not None
    assert error.context["status"] == 412
    accepted = (await client.get("/etag/one", headers={"If-Match": '"two"'}, accept_status={412})).unwrap()
    assert accepted.status_code == 412


async def test_ranges(client: HTTPClient) -> None:
    part = (await client.get("/range/100", headers={"Range": "bytes=10-19"})).unwrap()
    assert (part.status_code, part.text) == (206, "klmnopqrst")


async def test_streams(client: HTTPClient) -> None:
    async with client.stream("GET", "/stream-bytes/50000", params={"chunk_size": "700"}) as opened:
        stream = opened.unwrap()
        sizes = [len(chunk.unwrap()) async for chunk in stream]
    assert (stream.status_code, sum(sizes)) == (200, 50_000)
    async with client.stream("GET", "/stream/30") as opened:
        lines = [json.loads(line.unwrap())["id"] async for line in opened.unwrap().lines()]
    assert lines == list(range(30))
    async with client.stream("GET", "/status/500") as opened:
        error = opened.error
    assert error is not None
    assert error.context["status"] == 500


async def test_a_slow_answer_is_a_timeout(client: HTTPClient) -> None:
    error = (await client.get("/delay/5", timeout=0.2)).error
    assert error is not None
    assert (error.code, error.get_category()) == ("TIMEOUT_ERROR", ErrorCategory.TIMEOUT)
    error = (await client.get("/drip", params={"duration": "5", "numbytes": "5"}, timeout=0.3)).error
    assert error is not None
    assert error.code == "TIMEOUT_ERROR"


async def test_many_bytes_arrive_whole(client: HTTPClient) -> None:
    response = (await client.get("/bytes/102400", params={"seed": "1"})).unwrap()
    again = (await client.get("/stream-bytes/102400", params={"seed": "1", "chunk_size": "1000"})).unwrap()
    assert hashlib.sha256(response.content).digest() == hashlib.sha256(again.content).digest()
    lines = (await client.get("/stream/20")).unwrap().text.splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(20))


async def test_text_is_read_in_its_charset(client: HTTPClient) -> None:
    assert "∮ E⋅da = Q" in (await client.get("/encoding/utf8")).unwrap().text
    assert (await client.get("/image/png")).unwrap().content.startswith(b"\x89PNG")


@pytest.mark.parametrize("blocking_engine", ["httpx", "httpx2"])
def test_the_blocking_client_is_its_twin(blocking_engine: Any, httpbin_url: str, tmp_path: Path) -> None:
    config = HTTPConfig(engine=blocking_engine, base_url=httpbin_url)
    with SyncHTTPClient.create(config).unwrap() as client:
        for method in ("get", "post", "put", "delete", "patch"):
            assert getattr(client, method)("/anything").unwrap().json()["method"] == method.upper()
        assert client.head("/get").unwrap().content == b""
        assert "GET" in client.options("/get").unwrap().headers["allow"]
        assert client.post("/anything", files={"f": b"1"}).unwrap().json()["files"] == {"f": "1"}
        assert client.get("/gzip").unwrap().json()["gzipped"] is True
        assert len(client.get("/redirect/3").unwrap().history) == 3
        assert client.get("/digest-auth/auth/ann/pw", auth=httpx.DigestAuth("ann", "pw")).is_success
        client.get("/cookies/set", params={"tea": "green"}).unwrap()
        assert client.get("/cookies").unwrap().json()["cookies"]["tea"] == "green"
        error = client.get("/status/503").error
        assert error is not None
        assert (error.code, error.context["status"]) == ("HTTP_ERROR", 503)
        error = client.get("/delay/5", timeout=0.2).error
        assert error is not None
        assert error.code == "TIMEOUT_ERROR"
