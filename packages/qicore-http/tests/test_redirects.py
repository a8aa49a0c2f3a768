"""Where redirects lead, and what never travels there."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import QiError
from qicore.http import BearerAuth, HTTPConfig, SyncHTTPClient
from qicore.http.redirects import redirect_request, redirect_url, same_origin
from qicore_testkit.fault_server import FaultServer
from qicore_testkit.faults import answer, redirect

SECRETS = {
    "Authorization": "Bearer marker-1",
    "Proxy-Authorization": "Basic marker-2",
    "X-Api-Key": "marker-3",
    "Api_Token": "marker-4",
    "X-Whatever-They-Call-It": "marker-5",
    "Cookie": "session=marker-6",
}
HARMLESS = {"Accept": "text/tea", "Accept-Language": "en", "If-None-Match": '"v"', "User-Agent": "kettle"}


@pytest.fixture
def elsewhere() -> Iterator[FaultServer]:
    """A server at another origin: the port differs."""
    with FaultServer() as server:
        yield server


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_credentials_stay_where_they_were_meant_for(
    ask: Any, status: int, fault_server: FaultServer, elsewhere: FaultServer
) -> None:
    there = elsewhere.on("/there", answer(200, b"tea"))
    url = fault_server.on("/here", redirect(there, status, [("Set-Cookie", "theirs=marker-7")]))
    options = {"headers": {**SECRETS, **HARMLESS}}
    response = (await ask("GET", url, **options)).unwrap()
    assert (response.content, len(response.history)) == (b"tea", 1)
    (arrived,) = elsewhere.requests
    assert b"marker" not in arrived.raw
    for name, value in HARMLESS.items():
        assert arrived.header(name) == value
    assert fault_server.requests[0].header("x-api-key") == "marker-3"


async def test_what_the_config_holds_stays_too(
    ask: Any, fault_server: FaultServer, elsewhere: FaultServer
) -> None:
    ask.configure(
        HTTPConfig(
            base_url=fault_server.url,
            headers={"X-Api-Key": "marker-1", **HARMLESS},
            params={"page": "marker-4"},
            cookies={"session": "marker-2"},
            auth=("ann", "marker-3"),
        )
    )
    there = elsewhere.on("/", answer(200, b"tea"))
    fault_server.on("/here", redirect(there))
    (await ask("GET", "/here")).unwrap()
    # An absolute URL that somebody else may have chosen gets no more than a redirect.
    (await ask("GET", there)).unwrap()
    assert len(elsewhere.requests) == 2
    for arrived in elsewhere.requests:
        assert b"marker" not in arrived.raw
        assert (arrived.header("authorization"), arrived.header("cookie")) == (None, None)
        assert arrived.header("accept") == "text/tea"
    assert fault_server.requests[0].header("authorization") is not None


async def test_what_was_dropped_does_not_come_back(
    ask: Any, fault_server: FaultServer, elsewhere: FaultServer
) -> None:
    fault_server.on("/home", answer(200, b"tea"))
    there = elsewhere.on("/there", redirect(f"{fault_server.url}/home"))
    url = fault_server.on("/here", redirect(there))
    response = (await ask("GET", url, headers=SECRETS, auth=("ann", "marker-8"))).unwrap()
    assert len(response.history) == 2
    assert b"marker" not in fault_server.requests[-1].raw
    assert fault_server.requests[-1].header("authorization") is None


async def test_userinfo_is_for_one_origin(
    ask: Any, fault_server: FaultServer, elsewhere: FaultServer
) -> None:
    there = elsewhere.on("/", answer(200, b"tea"))
    fault_server.on("/here", redirect(there.replace("//", "//eve:marker-2@")))
    url = f"{fault_server.url}/here".replace("//", "//ann:marker-1@")
    response = (await ask("GET", url)).unwrap()
    assert fault_server.requests[0].header("authorization") == "Basic YW5uOm1hcmtlci0x"
    assert elsewhere.requests[0].header("authorization") is None
    assert "marker" not in str(response.url) + str(response.history[0].url)


async def test_the_same_origin_gets_everything(ask: Any, fault_server: FaultServer) -> None:
    fault_server.on("/b", answer(200, b"tea"))
    url = fault_server.on("/a", redirect("/b", 302, [("Set-Cookie", "seen=1")]))
    (await ask("GET", url, headers={"X-Api-Key": "k"}, auth=BearerAuth("t"), cookies={"own": "1"})).unwrap()
    arrived = fault_server.requests[1]
    assert (arrived.header("x-api-key"), arrived.header("authorization")) == ("k", "Bearer t")
    assert arrived.header("cookie") == "own=1; seen=1"


@pytest.mark.parametrize(
    "options",
    [{"cookies": {"own": "1"}}, {"headers": {"Cookie": "own=1"}}, {"headers": {"cookie": "own=1;"}}],
)
@pytest.mark.parametrize("configured", [True, False])
async def test_cookies_that_were_given_follow_at_home_only(
    ask: Any, options: dict[str, Any], configured: bool, fault_server: FaultServer, elsewhere: FaultServer
) -> None:
    ask.configure(HTTPConfig(base_url=fault_server.url, **(options if configured else {})))
    fault_server.on("/c", answer(200))
    there = elsewhere.on("/there", redirect(f"{fault_server.url}/c"))
    fault_server.on("/b", redirect(there))
    fault_server.on("/a", redirect("/b"))
    (await ask("GET", "/a", **({} if configured else options))).unwrap()
    arrived = [request.header("cookie") for request in fault_server.requests]
    assert [cookie and cookie.strip(" ;") for cookie in arrived] == ["own=1", "own=1", None]
    assert elsewhere.requests[0].header("cookie") is None


async def test_digest_is_not_answered_elsewhere(
    ask: Any, fault_server: FaultServer, elsewhere: FaultServer
) -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="tea", nonce="n", qop="auth"'}
    there = elsewhere.on("/", answer(401, b"", challenge))
    url = fault_server.on("/", redirect(there))
    error = (await ask("GET", url, auth=httpx.DigestAuth("ann", "marker-1"))).error
    assert error.context["status"] == 401
    assert [request.header("authorization") for request in elsewhere.requests] == [None]


async def test_a_cookie_of_the_jar_keeps_to_its_origin(
    ask: Any, fault_server: FaultServer, elsewhere: FaultServer
) -> None:
    there = elsewhere.on("/there", answer(200))
    home = fault_server.on("/home", answer(200, b"", {"Set-Cookie": "session=marker-1"}))
    url = fault_server.on("/here", redirect(there))
    await ask("GET", home)
    await ask("GET", url)
    assert fault_server.requests[-1].header("cookie") == "session=marker-1"
    assert elsewhere.requests[0].header("cookie") is None


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
        (301, "PUT", "PUT"),
        (302, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (303, "DELETE", "GET"),
        (302, "HEAD", "HEAD"),
        (303, "HEAD", "HEAD"),
    ],
)
async def test_methods_and_bodies(
    ask: Any, status: int, method: str, becomes: str, fault_server: FaultServer
) -> None:
    fault_server.on("/new", answer(200))
    url = fault_server.on("/old", redirect("/new", status))
    body = None if method == "HEAD" else {"tea": 1}
    (await ask(method, url, json=body)).unwrap()
    arrived = fault_server.requests[1]
    again = becomes == method != "HEAD"
    assert (arrived.method, arrived.body) == (becomes, b'{"tea":1}' if again else b"")
    assert (arrived.header("content-type") is not None) == again


async def test_a_body_that_is_gone_can_not_follow(ask: Any, fault_server: FaultServer) -> None:
    fault_server.on("/new", answer(200))
    url = fault_server.on("/old", redirect("/new", 307))
    error = (await ask("POST", url, content=iter([b"a"]))).error
    assert (error.code, error.context["status"]) == ("HTTP_ERROR", 307)
    assert "again" in error.message
    assert fault_server.count("/new") == 0


async def test_there_is_an_end_to_it(ask: Any, fault_server: FaultServer) -> None:
    ask.configure(HTTPConfig(max_redirects=3))
    error = (await ask("GET", fault_server.on("/", redirect("/")))).error
    assert (error.code, error.context["limit"], error.context["status"]) == ("TOO_MANY_REDIRECTS", 3, 302)
    assert fault_server.count("/") == 4


async def test_not_to_follow(ask: Any, fault_server: FaultServer) -> None:
    url = fault_server.on("/", redirect("/new"))
    response = (await ask("GET", url, follow_redirects=False)).unwrap()
    assert (response.status_code, response.headers["location"]) == (302, "/new")
    ask.configure(HTTPConfig(follow_redirects=False))
    assert (await ask("GET", url)).unwrap().status_code == 302


@pytest.mark.parametrize("location", ["ftp://tea/", "http://[::1", "javascript:alert(1)", "http://:0x/"])
async def test_nowhere_is_no_place_to_go(ask: Any, location: str, fault_server: FaultServer) -> None:
    error = (await ask("GET", fault_server.on("/", redirect(location)))).error
    assert (error.code, error.context["status"]) == ("INVALID_URL", 302)


async def test_the_body_of_a_redirect_is_not_waited_for(ask: Any, fault_server: FaultServer) -> None:
    # A million bytes come with it, slowly: of no use to anybody.
    fault_server.on("/new", answer(200, b"tea"))

    def behave(exchange: Any) -> None:
        exchange.send(b"HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(100):
            exchange.send(b"x" * 10_000)

    url = fault_server.on("/old", behave)
    assert (await ask("GET", url, timeout=5)).unwrap().content == b"tea"


@pytest.mark.parametrize("other", [b"", b"X-Latin: \xe9\r\n"])
async def test_utf8_in_a_location(ask: Any, other: bytes, fault_server: FaultServer) -> None:
    fault_server.on("/t%C3%A9", answer(200, b"tea"))

    def behave(exchange: Any) -> None:
        head = "HTTP/1.1 302 Found\r\nLocation: /té\r\nContent-Length: 0\r\n".encode()
        exchange.send(head + other + b"\r\n")

    assert (await ask("GET", fault_server.on("/", behave))).unwrap().content == b"tea"


def test_the_history_is_complete(fault_server: FaultServer) -> None:
    fault_server.on("/c", answer(200, b"tea"))
    fault_server.on("/b", redirect("c"))
    url = fault_server.on("/a", redirect("/b?x#frag"))
    with SyncHTTPClient.create().unwrap() as client:
        response = client.get(url).unwrap()
    assert [str(one.url).removeprefix(fault_server.url) for one in response.history] == ["/a", "/b?x#frag"]
    assert str(response.url).removeprefix(fault_server.url) == "/c#frag"
    assert [one.status_code for one in response.history] == [302, 302]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a/", "http://a:80/x", True),
        ("https://a/", "https://A:443/", True),
        ("http://a/", "https://a/", False),
        ("http://a/", "http://a:81/", False),
        ("http://a/", "http://a.b/", False),
        ("http://a/", "http://a./", False),
    ],
)
def test_origins(one: str, other: str, same: bool) -> None:
    assert same_origin(httpx.URL(one), httpx.URL(other)) is same
    assert same_origin(httpx.URL(other), httpx.URL(one)) is same


@given(st.text(max_size=40))
def test_any_location_is_a_url_or_an_error(location: str) -> None:
    base = httpx.URL("https://ann.example/a/b?c#d")
    codes: list[str] = []
    try:
        base = redirect_url(base, location, 302)
    except QiError as error:
        codes.append(error.code)
    assert codes in ([], ["INVALID_URL"])
    assert base.scheme in ("http", "https")
    assert base.host
    assert not base.userinfo


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,20}", fullmatch=True), st.just("marker"), max_size=8
    ),
    st.sampled_from([301, 302, 303, 307, 308]),
    st.sampled_from(["https://b.example/", "http://a.example/", "https://a.example:8443/"]),
)
def test_no_unknown_header_leaves(headers: dict[str, str], status: int, location: str) -> None:
    from qicore.http.redirects import SAFE_HEADERS

    request = httpx.Request("GET", "https://a.example/", headers={**SECRETS, **headers})
    following = redirect_request(request, status, location)
    names = {name.lower() for name, value in following.headers.raw if b"marker" in value}
    assert names <= SAFE_HEADERS
