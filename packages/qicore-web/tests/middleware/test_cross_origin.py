from typing import Any

import pytest
from qicore.base import Failure, QiError, Result
from qicore.web import WebApp
from qicore.web.middleware import cors
from starlette.responses import PlainTextResponse

ORIGIN = "https://app.example.org"


def made(**options: Any) -> Any:
    factory, _, kwargs = cors(**options)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("in")(scope, receive, send)

    return factory(app, **kwargs)


def preflight(origin: str = ORIGIN, method: str = "POST", *more: tuple[str, str]) -> Any:
    return [("origin", origin), ("access-control-request-method", method), *more]


async def test_a_page_of_an_allowed_origin_may_read(ask: Any) -> None:
    app = made(origins=[ORIGIN], credentials=True, expose=["X-Total"])
    answer = await ask(app, headers=[("origin", ORIGIN)])
    assert answer.get("access-control-allow-origin") == ORIGIN
    assert answer.get("access-control-allow-credentials") == "true"
    assert answer.get("access-control-expose-headers") == "X-Total"
    assert answer.get("vary") == "Origin"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "https://app.example.org.evil.example", "http://app.example.org",
     "https://app.example.org:8443", "https://APP.example.org", "https://app.example.org/", ""],
)  # fmt: skip
async def test_others_may_not(ask: Any, origin: str) -> None:
    app = made(origins=[ORIGIN], origin_regex=r"https://[a-z]+\.preview\.example\.org")
    answer = await ask(app, headers=[("origin", origin)])
    assert answer.body == b"in", "the browser keeps it from the page"
    assert answer.get("access-control-allow-origin") is None
    refused = await ask(app, "OPTIONS", headers=preflight(origin))
    assert refused.status == 400
    assert refused.get("access-control-allow-origin") is None


async def test_a_pattern_must_match_the_whole_origin(ask: Any) -> None:
    app = made(origin_regex=r"https://[a-z]+\.example\.org", credentials=True)
    good = await ask(app, headers=[("origin", "https://a.example.org")])
    bad = await ask(app, headers=[("origin", "https://a.example.org.evil.example")])
    assert good.get("access-control-allow-origin") == "https://a.example.org"
    assert bad.get("access-control-allow-origin") is None


async def test_preflights(ask: Any) -> None:
    app = made(origins=[ORIGIN], methods=["get", "PUT"], headers=["X-Token"], max_age=60)
    fine = await ask(
        app, "OPTIONS", headers=preflight(ORIGIN, "PUT", ("access-control-request-headers", "x-token"))
    )
    assert fine.status == 200
    assert fine.get("access-control-allow-methods") == "GET, PUT"
    assert fine.get("access-control-max-age") == "60"
    for wrong in (
        preflight(ORIGIN, "DELETE"),
        preflight(ORIGIN, "PUT", ("access-control-request-headers", "x-other")),
        preflight(ORIGIN, "PUT\r\nX: y"),
    ):
        assert (await ask(app, "OPTIONS", headers=wrong)).status == 400


async def test_problems_may_be_read_too(ask: Any) -> None:
    app = WebApp()
    app.use(cors(origins=[ORIGIN]))

    @app.get("/failing")
    async def failing() -> Result[int]:
        return Failure(QiError.validation("WRONG", "no"))

    @app.get("/breaking")
    async def breaking() -> Result[int]:
        raise RuntimeError("no")

    for path, status in (("/failing", 422), ("/breaking", 500), ("/nothing", 404)):
        answer = await ask(app, path=path, headers=[("origin", ORIGIN)])
        assert answer.status == status
        assert answer.get("access-control-allow-origin") == ORIGIN


@pytest.mark.parametrize(
    "options",
    [
        {"origins": ["*"], "credentials": True},
        {"origin_regex": ".*", "credentials": True},
        {"origin_regex": r"https?://.+", "credentials": True},
        {"origin_regex": r"https://app\.example\.org|null", "credentials": True},
        {"origins": "https://app.example.org"},
        {"origins": ["https://app.example.org/"]},
        {"origins": ["https://App.example.org"]},
        {"origins": ["app.example.org"]},
        {"origins": ["null"]},
        {"origins": ["https://*.example.org"]},
        {"origins": ["https://a.example\r\nx: y"]},
        {"methods": ["FETCH"]},
        {"headers": ["a b"]},
        {"headers": ["x\r\ny: z"]},
        {"expose": ["é"]},
        {"max_age": -1},
    ],
)
def test_what_is_dangerous_or_never_matches_is_wrong_at_once(options: Any) -> None:
    with pytest.raises(ValueError):
        cors(**options)


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_what_is_not_http_goes_through_untouched(kind: str) -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.extend((scope, receive, send))

    async def receive() -> Any: ...
    async def send(message: Any) -> None: ...

    factory, _, options = cors(origins=["*"])
    await factory(app, **options)({"type": kind}, receive, send)
    assert got == [{"type": kind}, receive, send]
