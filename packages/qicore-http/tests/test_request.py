"""What is asked for is what arrives: URLs, parameters, headers, bodies, cookies and credentials."""

import json
import os
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import QiError
from qicore.http import BearerAuth, HTTPClient, HTTPConfig, SyncHTTPClient
from qicore.http.cookies import CookieStore
from qicore.http.request import Defaults, prepare
from qicore_testkit.fault_server import FaultServer
from qicore_testkit.faults import answer
from qicore_testkit.raw_http import Request


async def arrived(ask: Any, server: FaultServer, method: str, path: str, **options: Any) -> Request:
    server.default = answer(200)
    (await ask(method, path, **options)).unwrap()
    return server.requests[-1]


async def test_what_goes_out_by_itself(ask: Any, fault_server: FaultServer) -> None:
    request = await arrived(ask, fault_server, "GET", fault_server.url)
    assert sorted(name for name, _ in request.fields) == ["accept", "accept-encoding", "host", "user-agent"]
    assert request.header("host") == f"127.0.0.1:{fault_server.port}"
    assert (request.method, request.target, request.body) == ("GET", "/", b"")
    post = await arrived(ask, fault_server, "POST", fault_server.url)
    assert post.header("content-length") == "0"


@pytest.mark.parametrize(
    ("base", "path", "target"),
    [
        ("", "/a", "/a"),
        ("/v2", "tea", "/v2/tea"),
        ("/v2/", "/tea", "/v2/tea"),
        ("/v2", "", "/v2/"),
        ("/v2", "tea?x=1", "/v2/tea?x=1"),
        ("/v2", "t%20a/ä", "/v2/t%20a/%C3%A4"),
        ("/v2", "../tea", "/tea"),
    ],
)
async def test_a_base(ask: Any, base: str, path: str, target: str, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(base_url=fault_server.url + base))
    request = await arrived(ask, fault_server, "GET", path)
    assert request.target == target


async def test_parameters(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(base_url=fault_server.url, params={"key": "k", "lang": "de"}))
    request = await arrived(ask, fault_server, "GET", "/a?b=1", params={"c": "x y&z", "lang": "en"})
    assert dict(httpx.URL(request.target).params) == {"b": "1", "key": "k", "lang": "en", "c": "x y&z"}
    many = await arrived(ask, fault_server, "GET", "/", params=[("a", 1), ("a", None), ("b", True)])
    assert many.target == "/?key=k&lang=de&a=1&a=&b=true"


@pytest.mark.parametrize("query", ["flag&q=%20+%2B&page=2&sig=a%2Fb", "key=own", "lang=&key", "a=1&a=2;b"])
async def test_what_a_url_has_stays_as_it_is(ask: Any, query: str, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(base_url=fault_server.url, params={"key": "k"}))
    added = "" if "key" in query else "&key=k"
    request = await arrived(ask, fault_server, "GET", f"/a?{query}")
    assert request.target == f"/a?{query}{added}"
    request = await arrived(ask, fault_server, "GET", f"/a?{query}", params={"page": "1"})
    assert request.target == f"/a?{query}{added}&page=1"


@pytest.mark.parametrize("url", ["users:7", "localhost:8000/x", "//other.example/x", "mailto:a@b.example"])
async def test_nothing_of_a_relative_url_is_lost(ask: Any, url: str, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(base_url=fault_server.url))
    error = (await ask("GET", url)).error
    assert (error.code, fault_server.requests) == ("INVALID_URL", [])
    assert "./" in error.message
    assert (await arrived(ask, fault_server, "GET", "./users:7")).target == "/users:7"


@pytest.mark.parametrize(
    "url", ["http://ann:hunter2/x@host/", "http://ann:hunter2@[::", "http://ann:hunter2@h:x/"]
)
async def test_what_is_no_url_shows_no_password(ask: Any, url: str) -> None:
    error = (await ask("GET", url)).error
    assert error.code == "INVALID_URL"
    assert "hunter2" not in f"{error!r} {error} {error.context} {error.__cause__}"


async def test_headers(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(headers={"X-Key": "usual", "user-agent": "kettle"}))
    request = await arrived(
        ask, fault_server, "GET", fault_server.url, headers={"x-key": "own", "X-Empty": "", "X-Tea": "grün"}
    )
    assert [value for name, value in request.fields if name == "x-key"] == ["own"]
    assert (request.header("user-agent"), request.header("x-empty")) == ("kettle", "")
    assert "X-Tea: grün".encode() in request.raw
    twice = await arrived(
        ask, fault_server, "GET", fault_server.url, headers=[("X-Two", "1"), ("X-Two", "2")]
    )
    assert [value for name, value in twice.fields if name == "x-two"] == ["1", "2"]
    other = await arrived(ask, fault_server, "GET", fault_server.url, headers={"Host": "tea.example"})
    assert [value for name, value in other.fields if name == "host"] == ["tea.example"]


@pytest.mark.parametrize(
    ("content", "body"),
    [
        ("grün", "grün".encode()),
        (b"tea", b"tea"),
        (bytearray(b"tea"), b"tea"),
        (memoryview(b"tea"), b"tea"),
        (b"", b""),
        ([], b""),
        ([b"t", bytearray(b"e"), b"", b"a"], b"tea"),
        ((b"t", b"ea"), b"tea"),
    ],
)
async def test_contents(ask: Any, content: Any, body: bytes, fault_server: FaultServer) -> None:
    request = await arrived(ask, fault_server, "POST", fault_server.url, content=content)
    assert request.body == body
    framing = (request.header("content-length"), request.header("transfer-encoding"))
    assert framing == ((None, "chunked") if isinstance(content, list | tuple) else (str(len(body)), None))


async def test_files(ask: Any, fault_server: FaultServer, tmp_path: Path) -> None:
    file = tmp_path / "leaves.bin"
    file.write_bytes(b"0123456789")
    request = await arrived(ask, fault_server, "PUT", fault_server.url, content=file)
    assert (request.body, request.header("content-length")) == (b"0123456789", "10")
    with file.open("rb") as opened:
        opened.seek(4)
        request = await arrived(ask, fault_server, "PUT", fault_server.url, content=opened)
    assert (request.body, request.header("content-length")) == (b"456789", "6")
    with file.open(encoding="utf-8") as text:
        error = (await ask("PUT", fault_server.url, content=text)).error
    assert error.code == "INVALID_REQUEST"
    error = (await ask("PUT", fault_server.url, content=tmp_path / "none")).error
    assert error.code == "INVALID_REQUEST"


async def test_what_can_be_read_only_once(ask: Any, fault_server: FaultServer) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"leaves")
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        request = await arrived(ask, fault_server, "PUT", fault_server.url, content=pipe)
    assert (request.body, request.header("transfer-encoding")) == (b"leaves", "chunked")


def test_a_blocking_client_sends_nothing_asynchronous() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"tea"

    with SyncHTTPClient.create().unwrap() as client:
        error = client.post("http://127.0.0.1:1/", content=pieces()).error
    assert error is not None
    assert error.code == "INVALID_REQUEST"


class Changing:
    """A file that says it has 3 bytes."""

    def __init__(self, *pieces: bytes) -> None:
        self.left = [*pieces, b""]

    def read(self, size: int = -1) -> bytes:
        return self.left.pop(0)

    def tell(self) -> int:
        return 0

    def seek(self, place: int, whence: int = 0) -> int:
        return 3 if whence else 0


async def test_a_file_that_shrinks_meanwhile_is_an_error(ask: Any, fault_server: FaultServer) -> None:
    fault_server.default = answer(200)
    error = (await ask("PUT", fault_server.url, content=Changing(b"te"), retry=None)).error
    assert error.code == "INVALID_REQUEST"
    (await ask("GET", fault_server.url)).unwrap()


async def test_a_file_that_grows_meanwhile_is_no_second_request(ask: Any, fault_server: FaultServer) -> None:
    fault_server.default = answer(200)
    evil = b"DELETE /all HTTP/1.1\r\nHost: a\r\n\r\n"
    error = (await ask("PUT", fault_server.url, content=Changing(b"tea", evil), retry=None)).error
    # A server that answers as soon as it has the 3 bytes may be first.
    assert error is None or error.code == "INVALID_REQUEST"
    (await ask("GET", fault_server.url)).unwrap()
    assert sorted(request.method for request in fault_server.requests) in (["GET", "PUT"], ["GET"])


@pytest.mark.parametrize(
    ("headers", "content", "framing"),
    [
        ({"Content-Length": "3"}, [b"t", b"ea"], ("3", None)),
        ({"content-length": " 3 "}, b"tea", ("3", None)),
        ([("Content-Length", "3"), ("Content-Length", "3")], b"tea", ("3", None)),
        ({"Transfer-Encoding": "Chunked"}, [b"tea"], (None, "chunked")),
        ({"Transfer-Encoding": "chunked"}, b"tea", ("3", None)),
        ({"Transfer-Encoding": "chunked", "Content-Length": "3"}, [b"tea"], ("3", None)),
    ],
)
async def test_one_header_says_where_a_body_ends(
    engine: Any, headers: Any, content: Any, framing: Any, fault_server: FaultServer
) -> None:
    url = fault_server.on("/", answer(200))
    async with HTTPClient.create(HTTPConfig(engine=engine)).unwrap() as client:
        (await client.post(url, content=content, headers=headers)).unwrap()
    (request,) = fault_server.requests
    assert request.body == b"tea"
    found = [
        (name, value) for name, value in request.fields if name in ("content-length", "transfer-encoding")
    ]
    length, coding = framing
    assert found == [("content-length", length) if coding is None else ("transfer-encoding", coding)]


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"Content-Length": "4"}, b"tea"),
        ({"Content-Length": "2"}, b"tea"),
        ({"Content-Length": "4"}, None),
        ({"Content-Length": "-3"}, b"tea"),
        ({"Content-Length": "3, 3"}, b"tea"),
        ({"Content-Length": "\u0663"}, b"tea"),
        ([("Content-Length", "3"), ("Content-Length", "4")], b"tea"),
        ({"Transfer-Encoding": "gzip, chunked"}, [b"tea"]),
        ({"Transfer-Encoding": "identity"}, b"tea"),
    ],
)
async def test_headers_that_contradict_the_body(
    ask: Any, headers: Any, content: Any, fault_server: FaultServer
) -> None:
    error = (await ask("POST", fault_server.url, content=content, headers=headers)).error
    assert error.code == "INVALID_REQUEST"
    assert fault_server.connections == 0


@pytest.mark.parametrize("announced", ["2", "4"])
async def test_a_length_that_does_not_come_true(ask: Any, announced: str, fault_server: FaultServer) -> None:
    fault_server.default = answer(200)
    options = {"content": [b"t", b"ea"], "headers": {"Content-Length": announced}, "retry": None}
    error = (await ask("POST", fault_server.url, **options)).error
    assert error.code == "INVALID_REQUEST"
    (await ask("GET", fault_server.url)).unwrap()


async def test_asynchronous_pieces(engine: Any, fault_server: FaultServer) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"t"
        yield b"ea"

    url = fault_server.on("/", answer(200))
    async with HTTPClient.create(HTTPConfig(engine=engine)).unwrap() as client:
        (await client.post(url, content=pieces())).unwrap()
    assert fault_server.requests[0].body == b"tea"


async def test_json(ask: Any, fault_server: FaultServer) -> None:
    value = {"tea": ["grün", 1, 2.5, None, True]}
    request = await arrived(ask, fault_server, "POST", fault_server.url, json=value)
    assert (json.loads(request.body), request.header("content-type")) == (value, "application/json")
    zero = await arrived(ask, fault_server, "POST", fault_server.url, json=0)
    assert zero.body == b"0"
    own = {"Content-Type": "application/vnd.tea+json"}
    patch = await arrived(ask, fault_server, "PATCH", fault_server.url, json=value, headers=own)
    assert [v for n, v in patch.fields if n == "content-type"] == ["application/vnd.tea+json"]


async def test_forms(ask: Any, fault_server: FaultServer, tmp_path: Path) -> None:
    request = await arrived(ask, fault_server, "POST", fault_server.url, data={"a": "x y", "b": ["1", "2"]})
    assert request.body == b"a=x+y&b=1&b=2"
    assert request.header("content-type") == "application/x-www-form-urlencoded"
    file = tmp_path / "leaves.bin"
    file.write_bytes(b"leaves" * 20_000)
    with file.open("rb") as opened:
        request = await arrived(
            ask, fault_server, "POST", fault_server.url, data={"kind": "green"}, files={"file": opened}
        )
    assert (request.header("content-type") or "").startswith("multipart/form-data; boundary=")
    assert b'name="kind"\r\n\r\ngreen' in request.body
    assert b'filename="leaves.bin"' in request.body
    assert b"leaves" * 20_000 in request.body


async def test_cookies(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(cookies={"a": "usual", "b": "usual"}))
    url = fault_server.on("/set", answer(200, b"", [("Set-Cookie", "a=server"), ("Set-Cookie", "c=server")]))
    (await ask("GET", url)).unwrap()
    request = await arrived(ask, fault_server, "GET", fault_server.url, cookies={"b": "own", "d": "own"})
    assert sorted((request.header("cookie") or "").split("; ")) == [
        "a=usual",
        "b=own",
        "c=server",
        "d=own",
    ]
    ask.configure(HTTPConfig(store_cookies=False))
    (await ask("GET", url)).unwrap()
    request = await arrived(ask, fault_server, "GET", fault_server.url)
    assert request.header("cookie") is None


async def test_the_jar_is_bounded(engine: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", answer(200, b"", [("Set-Cookie", f"c{n}=1") for n in range(90)]))
    async with HTTPClient.create(HTTPConfig(engine=engine)).unwrap() as client:
        (await client.get(url)).unwrap()
        assert sorted(client.cookies) == sorted(f"c{n}" for n in range(40, 90)), "the newest are kept"
        client.cookies.clear()
        client.cookies.set("own", "1", domain="127.0.0.1")
        (await client.get(url)).unwrap()
    assert fault_server.requests[-1].header("cookie") == "own=1"


async def test_credentials(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(auth=("ann", "pä:ss")))
    basic = "Basic YW5uOnDDpDpzcw=="
    assert (await arrived(ask, fault_server, "GET", fault_server.url)).header("authorization") == basic
    bearer = await arrived(ask, fault_server, "GET", fault_server.url, auth=BearerAuth("token"))
    assert bearer.header("authorization") == "Bearer token"
    none = await arrived(ask, fault_server, "GET", fault_server.url, auth=None)
    assert none.header("authorization") is None
    named = fault_server.url.replace("//", "//bob:secret@")
    assert (await arrived(ask, fault_server, "GET", named)).header(
        "authorization"
    ) == "Basic Ym9iOnNlY3JldA=="


async def test_credentials_of_the_base(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(base_url=fault_server.url.replace("//", "//ann:secret@") + "/v2"))
    request = await arrived(ask, fault_server, "GET", "tea")
    assert (request.target, request.header("authorization")) == ("/v2/tea", "Basic YW5uOnNlY3JldA==")


class Fresh(BearerAuth):
    """A token that is looked at for each request."""


async def test_a_bearer_of_ones_own(ask: Any, fault_server: FaultServer) -> None:
    request = await arrived(ask, fault_server, "GET", fault_server.url, auth=Fresh("token"))
    assert request.header("authorization") == "Bearer token"
    assert repr(Fresh("token")) == "BearerAuth(***)"


async def test_credentials_of_ones_own(ask: Any, fault_server: FaultServer) -> None:
    class Signed(httpx.Auth):
        requires_request_body = True

        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
            request.headers["X-Signature"] = str(len(request.content))
            response = yield request
            if response.status_code == 401:
                request.headers["X-Signature"] = "again"
                yield request

    url = fault_server.on("/", answer(401), answer(200, b"tea"))
    response = (await ask("POST", url, content=b"leaves", auth=Signed())).unwrap()
    assert response.content == b"tea"
    assert [request.header("x-signature") for request in fault_server.requests] == ["6", "again"]
    assert [request.body for request in fault_server.requests] == [b"leaves"] * 2


async def test_credentials_that_fail_are_told(ask: Any, fault_server: FaultServer) -> None:
    class Broken(httpx.Auth):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response]:
            if "X-Key" not in request.headers:
                raise LookupError("no key")
            yield request

    error = (await ask("GET", fault_server.url, auth=Broken())).error
    assert (error.get_category().value, "no key" in str(error)) == ("UNKNOWN", True)
    assert fault_server.requests == []


@given(
    st.text(max_size=30),
    st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
    st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
    st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3),
    st.sampled_from(["GET", "POST", "get", "", "A B", "X\r\n"]),
)
def test_anything_is_a_request_or_an_error(
    url: str, headers: dict[str, str], params: dict[str, str], cookies: dict[str, str], method: str
) -> None:
    defaults = Defaults(HTTPConfig(base_url="https://tea.example/v1"))
    try:
        call = prepare(
            defaults,
            CookieStore(),
            method,
            url,
            blocking=False,
            headers=headers,
            params=params,
            cookies=cookies,
        )
    except QiError as error:
        code = error.code
    else:
        code = ""
        # One line each, whatever was in them.
        head = (
            b"".join(b"%b: %b\r\n" % field for field in call.request.headers.raw) + call.request.url.raw_path
        )
        assert head.count(b"\n") == head.count(b"\r") == len(call.request.headers.raw)
        assert b"\0" not in head
    assert code in ("", "INVALID_URL", "INVALID_REQUEST")
