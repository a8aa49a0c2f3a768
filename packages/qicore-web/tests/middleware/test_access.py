import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.web import WebApp
from qicore.web.middleware import access_log, request_id
from qicore.web.middleware.access import _shown  # pyright: ignore[reportPrivateUsage]  # the law below is its own
from starlette.responses import PlainTextResponse, Response, StreamingResponse

LOGGER = "qicore.web.access"


def made(mw: Any, app: Any) -> Any:
    factory, args, options = mw
    return factory(app, *args, **options)


class Ticks:
    """A clock that goes on by a quarter of a second with each look."""

    now = 100.0

    def __call__(self) -> float:
        self.now += 0.25
        return self.now


class Keeping(logging.Handler):
    def __init__(self, kept: list[Any]) -> None:
        super().__init__()
        self.kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)


@pytest.fixture
def records() -> Iterator[list[Any]]:
    kept: list[Any] = []
    log, handler = logging.getLogger(LOGGER), Keeping(kept)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield kept
    log.removeHandler(handler)
    log.setLevel(logging.NOTSET)


def answering(response: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await response(scope, receive, send)

    return app


async def test_one_record_with_fields(ask: Any, records: list[Any]) -> None:
    app = made(access_log(clock=Ticks()), answering(PlainTextResponse("hello")))
    await ask(app, "POST", "/users/7?token=secret")
    [record] = records
    assert record.getMessage() == "POST /users/7 200 250.0 ms"
    assert (record.method, record.path, record.status, record.duration) == ("POST", "/users/7", 200, 0.25)
    assert (record.bytes, record.client, record.route) == (5, "192.0.2.7", None)
    assert len(record.request_id) == 32
    assert "secret" not in str(record.__dict__)


async def test_bytes_of_a_stream_are_added_up(ask: Any, records: list[Any]) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"1234"

    await ask(made(access_log(), answering(StreamingResponse(pieces()))))
    assert records[0].bytes == 12


@pytest.mark.parametrize(
    ("status", "level"), [(200, "INFO"), (302, "INFO"), (404, "WARNING"), (499, "WARNING"), (503, "ERROR")]
)
async def test_the_status_makes_the_level(ask: Any, records: list[Any], status: int, level: str) -> None:
    await ask(made(access_log(), answering(Response(status_code=status))))
    assert records[0].levelname == level


async def test_excluded_paths(ask: Any, records: list[Any]) -> None:
    app = made(access_log(exclude=["/live", "/health/"]), answering(Response()))
    for path in ("/live", "/health/", "/health/ready", "/health", "/lively"):
        await ask(app, path=path)
    assert [record.path for record in records] == ["/health", "/lively"]


@pytest.mark.parametrize("wrong", [["health"], "/health", [""], [7], 7])
def test_what_is_no_path_is_wrong_at_once(wrong: Any) -> None:
    with pytest.raises(ValueError, match="exclude"):
        access_log(exclude=wrong)


async def test_the_query_on_demand(ask: Any, records: list[Any]) -> None:
    await ask(made(access_log(query=True), answering(Response())), path="/a?q=1&r=%0a\n\x1b[31m")
    assert records[0].path == "/a?q=1&r=%0a%0A%1B%5B31m"


async def test_a_path_can_not_forge_a_line_or_fill_the_disk(ask: Any, records: list[Any]) -> None:
    app = made(access_log(), answering(Response()))
    await ask(app, path="/a\r\nGET /forged 200\x1b[2J\u2028é")
    await ask(app, path="/" + "x" * 100_000)
    assert records[0].path == "/a%0D%0AGET%20/forged%20200%1B%5B2J%E2%80%A8%C3%A9"
    assert len(records[1].path) < 1100


@given(st.text(max_size=3000))
def test_a_shown_path_is_one_bounded_line_of_ascii(path: str) -> None:
    shown = _shown(path)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 1027


async def test_exceptions_and_cancellations_pass_and_are_logged(ask: Any, records: list[Any]) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("no")

    async def silent(scope: Any, receive: Any, send: Any) -> None: ...

    async def left(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    async def broken_later(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("no")

    for app in (broken, broken_later):
        with pytest.raises(RuntimeError):
            await ask(made(access_log(), app))
    with pytest.raises(asyncio.CancelledError):
        await ask(made(access_log(), left))
    await ask(made(access_log(), silent))
    assert [record.status for record in records] == [500, 200, 499, 500]


async def test_route_id_and_code_in_an_application(ask: Any, records: list[Any]) -> None:
    app = WebApp()
    app.use(request_id(), access_log())

    @app.get("/users/{number}")
    async def user(number: int) -> Result[int]:
        return Success(number) if number == 1 else Failure(QiError.validation("USER_NOT_FOUND", "no"))

    fine = await ask(app, path="/users/1")
    wrong = await ask(app, path="/users/2")
    await ask(app, path="/nothing")
    assert [record.route for record in records] == ["/users/{number}", "/users/{number}", None]
    assert [record.status for record in records] == [200, 422, 404]
    assert [record.request_id for record in records[:2]] == [
        fine.get("x-request-id"),
        wrong.get("x-request-id"),
    ]


async def test_the_code_of_a_failure(ask: Any, records: list[Any]) -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        scope["qicore.error"] = QiError.validation("USER_NOT_FOUND", "no")
        await Response(status_code=404)(scope, receive, send)

    await ask(made(access_log(), failing))
    assert records[0].code == "USER_NOT_FOUND"


async def test_a_logger_that_is_off_costs_nothing(ask: Any) -> None:
    sends: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        sends.append(send)

    log = logging.getLogger(LOGGER)
    log.setLevel(logging.CRITICAL)

    async def send(message: Any) -> None: ...

    try:
        await made(access_log(), app)({"type": "http", "path": "/"}, None, send)
    finally:
        log.setLevel(logging.NOTSET)
    assert sends == [send]


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_what_is_not_http_goes_through_untouched(kind: str, records: list[Any]) -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.extend((scope, receive, send))

    async def receive() -> Any: ...
    async def send(message: Any) -> None: ...

    scope: Any = {"type": kind, "headers": []}
    await made(access_log(), app)(scope, receive, send)
    assert got == [{"type": kind, "headers": []}, receive, send]
    assert records == []
