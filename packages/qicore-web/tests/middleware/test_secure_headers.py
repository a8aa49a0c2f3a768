from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Result, Success
from qicore.web import WebApp
from qicore.web.middleware import security_headers
from starlette.responses import PlainTextResponse, Response

DEFAULTS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def made(response: Response, **options: Any) -> Any:
    factory, _, kwargs = security_headers(**options)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await response(scope, receive, send)

    return factory(app, **kwargs)


async def test_the_defaults(ask: Any) -> None:
    answer = await ask(made(PlainTextResponse("hi")))
    for name, value in DEFAULTS.items():
        assert answer.get(name) == value
    assert "camera=()" in answer.get("permissions-policy")
    assert answer.get("content-security-policy") is None
    assert answer.get("strict-transport-security") is None, "plain http must not promise https"


async def test_https_is_promised_over_https_alone(ask: Any) -> None:
    answer = await ask(made(PlainTextResponse("hi")), scheme="https")
    assert answer.get("strict-transport-security") == "max-age=31536000; includeSubDomains"
    assert (await ask(made(Response(), hsts=None), scheme="https")).get("strict-transport-security") is None


async def test_what_the_handler_says_stays(ask: Any) -> None:
    own = PlainTextResponse("hi", headers={"X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "origin"})
    answer = await ask(made(own))
    assert (answer.get("x-frame-options"), answer.get("referrer-policy")) == ("SAMEORIGIN", "origin")

    async def loud(scope: Any, receive: Any, send: Any) -> None:
        headers = ((b"X-Frame-Options", b"SAMEORIGIN"),)
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    factory, _, options = security_headers()
    sent = await ask(factory(loud, **options))
    assert [value for name, value in sent.headers if name.lower() == "x-frame-options"] == ["SAMEORIGIN"]


async def test_options_leave_out_and_add(ask: Any) -> None:
    csp = "default-src 'none'; frame-ancestors 'none'"
    app = made(Response(), frame_options=None, content_security_policy=csp, extra={"X-Robots-Tag": "noindex"})
    answer = await ask(app)
    assert answer.get("x-frame-options") is None
    assert answer.get("content-security-policy") == csp
    assert answer.get("x-robots-tag") == "noindex"


async def test_a_response_that_is_sent_again_does_not_grow(ask: Any) -> None:
    response = PlainTextResponse("hi")
    app = made(response)
    first, second = await ask(app), await ask(app)
    assert first.headers == second.headers
    assert len(response.raw_headers) == 2


async def test_problems_have_them_too(ask: Any) -> None:
    app = WebApp()
    app.use(security_headers())
    assert (await ask(app, path="/nothing")).get("x-content-type-options") == "nosniff"

    @app.get("/")
    async def index() -> Result[int]:
        return Success(1)

    assert (await ask(app)).get("x-frame-options") == "DENY"


@pytest.mark.parametrize("bad", ["", " ", "a\r\nSet-Cookie: x=1", "a\nb", "é", "a\x00", "\x1b[31m", 7])
def test_a_value_that_is_no_line_is_wrong_at_once(bad: Any) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        security_headers(content_security_policy=bad)
    with pytest.raises(ValueError):
        security_headers(extra={"X-Robots-Tag": bad})
    with pytest.raises(ValueError):
        security_headers(extra={bad: "noindex"})


@given(st.text(), st.text())
def test_no_option_makes_two_lines(name: str, value: str) -> None:
    try:
        options = security_headers(extra={name: value}).kwargs
    except ValueError:
        return
    fields: Any = options["plain"]
    assert all(not set(part) & set(b"\r\n\0") for pair in fields for part in pair)


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_what_is_not_http_goes_through_untouched(kind: str) -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.extend((scope, receive, send))

    async def receive() -> Any: ...
    async def send(message: Any) -> None: ...

    factory, _, options = security_headers()
    await factory(app, **options)({"type": kind}, receive, send)
    assert got == [{"type": kind}, receive, send]
