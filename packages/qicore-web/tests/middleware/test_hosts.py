from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.web.middleware import trusted_hosts
from qicore.web.middleware.hosts import host_of
from starlette.responses import PlainTextResponse

GOOD = [
    "example.org",
    "EXAMPLE.org",
    "example.org:8000",
    "example.org.",
    "example.org.:80",
    "b.example.net",
    "a.sub.example.net",
    "127.0.0.1",
    "127.0.0.1:65535",
    "[::1]",
    "[::1]:8000",
    "[0:0:0:0:0:0:0:1]",
    "[2001:DB8::7]",
    "xn--bcher-kva.example",
]
BAD = [
    "",
    " ",
    "evil.example",
    "example.org.evil.example",
    "notexample.org",
    "example.net",
    "evilexample.net",
    "example.org@evil.example",
    "evil.example@example.org",
    "example.org:80@evil.example",
    "user:pw@example.org",
    "example.org/path",
    "example.org?q",
    "example.org#x",
    "example.org\\evil.example",
    "example.org:port",
    "example.org:",
    "example.org:99999",
    "example.org:-1",
    "example.org:80:80",
    "example.org, evil.example",
    "example.org evil.example",
    "example.org\tevil",
    "example.org\r\nX: y",
    "example.org\x00",
    "::1",
    "[::1",
    "[::1]x",
    "[::2]",
    "[::1%25eth0]",
    "[v1.x]",
    "[not]",
    "ex\u0430mple.org",
    "%65xample.org",
    "example.org..",
    ".",
    "0177.0.0.1",
    "2130706433",
    "localhost",
    "x" * 300,
    "[" + ":" * 60 + "]",
]


async def plain(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse("in")(scope, receive, send)


def guarded(app: Any = plain) -> Any:
    factory, _, options = trusted_hosts(
        "example.org", "*.example.net", "127.0.0.1", "[::1]", "[2001:db8::7]", "XN--bcher-kva.example"
    )
    return factory(app, **options)


@pytest.mark.parametrize("host", GOOD)
async def test_these_come_in(ask: Any, host: str) -> None:
    assert (await ask(guarded(), headers=[("host", host)])).body == b"in"


@pytest.mark.parametrize("host", BAD)
async def test_these_do_not(ask: Any, host: str) -> None:
    answer = await ask(guarded(), headers=[("host", host.encode().decode("latin-1"))])
    assert answer.status == 400
    assert answer.get("content-type") == "application/problem+json"
    assert b'"code":"BAD_REQUEST"' in answer.body
    assert not host.strip(" .:") or host.encode() not in answer.body, "what was sent is not sent back"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("x-forwarded-host", "example.org")],
        [("host", "example.org"), ("host", "evil.example")],
        [("host", "evil.example"), ("x-forwarded-host", "example.org")],
        [("host", "example.org"), ("host", "example.org")],
    ],
)
async def test_one_host_must_be_there_and_it_alone_counts(ask: Any, headers: Any) -> None:
    assert (await ask(guarded(), headers=headers)).status == 400


async def test_a_websocket_from_elsewhere_is_not_accepted() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def accept(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    for host in (b"evil.example", b"example.org"):
        await guarded(accept)({"type": "websocket", "headers": [(b"host", host)]}, None, send)
    assert [message["type"] for message in sent] == ["websocket.close", "websocket.accept"]


async def test_lifespan_goes_through() -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.append(scope)

    await guarded(app)({"type": "lifespan"}, None, None)
    assert got == [{"type": "lifespan"}]


@pytest.mark.parametrize(
    "wrong",
    ["*", "", "https://example.org", "example.org:80", "a.*.example", "*example.org", "*.", "bücher.example",
     "[::1", "::1", "[:::]", "a b", 7],
)  # fmt: skip
def test_what_is_no_host_is_wrong_at_once(wrong: Any) -> None:
    with pytest.raises(ValueError, match="hosts"):
        trusted_hosts(wrong)
    with pytest.raises(ValueError, match="name at least one"):
        trusted_hosts()


@given(st.binary(max_size=300))
def test_whatever_is_sent_a_host_is_lower_case_and_has_no_port(value: bytes) -> None:
    found = host_of({"headers": [(b"host", value)]})
    assert found is None or (found == found.lower() and not set(found) & set("@/\\?# \r\n\0,"))
