import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result
from qicore.web import WebApp
from qicore.web.middleware import RequestIdFilter, current_request_id, request_id
from starlette.responses import PlainTextResponse

HEADER = "x-request-id"


def made(mw: Any, app: Any) -> Any:
    factory, args, options = mw
    return factory(app, *args, **options)


async def plain(scope: Any, receive: Any, send: Any) -> None:
    await PlainTextResponse(current_request_id() or "")(scope, receive, send)


async def test_an_answer_carries_the_id_that_the_request_had(ask: Any) -> None:
    answer = await ask(made(request_id(), plain))
    assert answer.get(HEADER) == answer.body.decode() == answer.scope["qicore.request_id"]
    assert len(answer.body) == 32
    assert current_request_id() is None


async def test_a_stranger_can_not_choose_the_id(ask: Any) -> None:
    answer = await ask(made(request_id(), plain), headers=[(HEADER, "mine")])
    assert answer.get(HEADER) != "mine"


@pytest.mark.parametrize("good", ["a", "A" * 128, "0b8f-11", "Root=1-67891233-abcdef", "a.b_c~d+e/f"])
async def test_a_trusted_one_is_kept(ask: Any, good: str) -> None:
    assert (await ask(made(request_id(trust=True), plain), headers=[(HEADER, good)])).get(HEADER) == good


@pytest.mark.parametrize(
    "bad", ["", " ", "A" * 129, "a\r\nSet-Cookie: x=1", "a\nb", "a b", "é", "<b>", '"', "-x", "a\x00", "{}"]
)
async def test_one_that_is_not_valid_is_replaced_even_if_trusted(ask: Any, bad: str) -> None:
    found = (await ask(made(request_id(trust=True), plain), headers=[(HEADER, bad)])).get(HEADER)
    assert found != bad
    assert len(found) == 32


async def test_two_ids_are_none(ask: Any) -> None:
    app = made(request_id(trust=True), plain)
    assert (await ask(app, headers=[(HEADER, "one"), (HEADER, "two")])).get(HEADER) not in ("one", "two")


@given(st.text(max_size=200))
def test_whatever_comes_what_goes_out_is_one_clean_line(text: str) -> None:
    sent: list[Any] = []

    async def run() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(HEADER.encode(), text.encode("utf-8", "replace"))]
        scope: Any = {"type": "http", "headers": headers, "path": "/"}
        await made(request_id(trust=True), plain)(scope, None, send)

    asyncio.run(run())
    [value] = [value for name, value in sent[0]["headers"] if name == HEADER.encode()]
    assert value.isascii()
    assert value.decode().isprintable()
    assert 1 <= len(value) <= 128


async def test_what_the_application_says_gives_way(ask: Any) -> None:
    async def own(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("", headers={HEADER: "own"})(scope, receive, send)

    assert (await ask(made(request_id(), own))).get(HEADER) != "own"


async def test_one_within_another_keeps_the_id(ask: Any) -> None:
    answer = await ask(made(request_id(), made(request_id(trust=True, header="x-inner"), plain)))
    assert answer.get(HEADER) == answer.get("x-inner") == answer.body.decode()


async def test_another_header_and_maker(ask: Any) -> None:
    app = made(request_id(header="X-Correlation-Id", generate=lambda: "r-1"), plain)
    assert (await ask(app)).get("x-correlation-id") == "r-1"


@pytest.mark.parametrize("bad", ["", "a\r\nb: c", "a" * 129, "é"])
async def test_a_maker_can_not_break_the_answer(ask: Any, bad: str) -> None:
    with pytest.raises(ValueError, match="generate must make"):
        await ask(made(request_id(generate=lambda: bad), plain))


@pytest.mark.parametrize(
    "options", [{"header": "a b"}, {"header": ""}, {"header": "a\r\n"}, {"generate": "id"}, {"bind": "x"}]
)
def test_wrong_options_are_wrong_at_once(options: Any) -> None:
    with pytest.raises(ValueError):
        request_id(**options)


async def test_problems_and_unforeseen_exceptions_carry_it(ask: Any) -> None:
    app = WebApp()
    app.use(request_id())

    @app.get("/failing")
    async def failing() -> Result[int]:
        return Failure(QiError.validation("WRONG", "no"))

    @app.get("/breaking")
    async def breaking() -> Result[int]:
        raise RuntimeError("secret")

    for path, status in (("/failing", 422), ("/breaking", 500), ("/nothing", 404)):
        answer = await ask(app, path=path)
        found = answer.get(HEADER)
        assert answer.status == status
        assert found.encode() in answer.body.replace(b"-", b""), "the problem names the same id"


async def test_what_breaks_in_other_middleware_carries_it(ask: Any) -> None:
    def broken(inner: Any) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise RuntimeError("no")

        return app

    from starlette.middleware import Middleware

    app = WebApp()
    app.use(request_id(), Middleware(broken))
    answer = await ask(app)
    assert answer.status == 500
    assert answer.get(HEADER) == answer.scope["qicore.request_id"]


async def test_log_records_show_it_in_tasks_and_threads(ask: Any) -> None:
    seen: list[Any] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(getattr(record, "request_id", None))

    handler, log = Keep(), logging.getLogger("qicore.test.ids")
    handler.addFilter(RequestIdFilter())
    log.addHandler(handler)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        log.warning("here")
        await asyncio.create_task(note())
        await asyncio.to_thread(log.warning, "there")
        log.warning("own", extra={"request_id": "own"})
        await plain(scope, receive, send)

    async def note() -> None:
        log.warning("in a task")

    try:
        answers = await asyncio.gather(*(ask(made(request_id(), app)) for _ in range(3)))
        log.warning("outside")
    finally:
        log.removeHandler(handler)
    ids = [answer.get(HEADER) for answer in answers]
    assert len(set(ids)) == 3
    assert sorted(seen) == sorted([*ids * 3, "own", "own", "own", "-"])


async def test_what_puts_fields_on_log_lines_is_entered_and_left(ask: Any) -> None:
    events: list[Any] = []

    @contextlib.contextmanager
    def bound(**fields: Any) -> Generator[None]:
        events.append(fields)
        try:
            yield
        finally:
            events.append("left")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        events.append("asked")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await ask(made(request_id(bind=bound, generate=lambda: "r-1"), app))
    assert events == [{"request_id": "r-1"}, "asked", "left"]


async def test_the_variable_has_the_name_that_structlog_looks_for(ask: Any) -> None:
    names: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        names.extend(variable.name for variable in contextvars.copy_context())
        await plain(scope, receive, send)

    await ask(made(request_id(), app))
    assert "structlog_request_id" in names


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_what_is_not_http_goes_through_untouched(kind: str) -> None:
    got: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        got.extend((receive, send))

    async def receive() -> Any: ...
    async def send(message: Any) -> None: ...

    scope: Any = {"type": kind, "headers": []}
    await made(request_id(), app)(scope, receive, send)
    assert got == [receive, send]
    assert ("qicore.request_id" in scope) == (kind == "websocket"), "logs of a WebSocket have an id, too"


async def test_a_cancelled_request_leaves_nothing_behind(ask: Any) -> None:
    started = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        started.set()
        await asyncio.sleep(60)

    task = asyncio.create_task(ask(made(request_id(), slow)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert current_request_id() is None


def test_handlers_that_are_not_async_see_it(ask: Any) -> None:
    app = WebApp()
    app.use(request_id())

    @app.get("/")
    def where() -> dict[str, Any]:
        return {"id": current_request_id()}

    run: Callable[..., Any] = asyncio.run
    answer = run(ask(app))
    assert answer.get(HEADER).encode() in answer.body
