import asyncio
from email.utils import formatdate
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.web import WebApp
from qicore.web.middleware import response_cache
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

HOUR = {"cache-control": "max-age=3600"}


class Clock:
    now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


class Handler:
    """Counts how often it is asked; each answer has another body."""

    def __init__(self, headers: Any = HOUR, status: int = 200, **options: Any) -> None:
        self.headers = headers
        self.status = status
        self.asked = 0
        self.gate: asyncio.Event | None = None
        self.options = options

    async def __call__(self, request: Request) -> Result[Response]:
        self.asked += 1
        number = self.asked
        if self.gate is not None:
            await self.gate.wait()
        return Success(PlainTextResponse(f"{number}", self.status, headers=self.headers, **self.options))


class Site:
    """A handler behind the cache."""

    def __init__(self, handler: Any = None, **options: Any) -> None:
        self.handler: Any = handler or Handler()
        self.clock = Clock()
        self.ask = response_cache(clock=self.clock, **options)(self.handler)

    def request(self, path: str = "/", method: str = "GET", **headers: str) -> Request:
        path, _, query = path.partition("?")
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return Request(
            {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": pairs}
        )

    async def get(self, path: str = "/", method: str = "GET", **headers: str) -> Any:
        return (await self.ask(self.request(path, method, **headers))).unwrap()

    async def text(self, path: str = "/", method: str = "GET", **headers: str) -> str:
        return bytes((await self.get(path, method, **headers)).body).decode()

    async def texts(self, *paths: str) -> list[str]:
        return [await self.text(path) for path in paths]


async def test_an_answer_is_given_again_while_it_is_fresh() -> None:
    site = Site()
    first = await site.get()
    site.clock.now += 3599.5
    again = await site.get()
    assert (bytes(again.body), again.headers["age"]) == (b"1", "3599")
    assert again.headers["etag"] == first.headers["etag"]
    assert "age" not in first.headers
    site.clock.now += 1
    assert await site.text() == "2"


@pytest.mark.parametrize(
    "headers",
    [
        {"cache-control": "s-maxage=60, max-age=0"},
        {"cache-control": "public, MAX-AGE=60"},
        {"cache-control": 'max-age="60"'},
        {"cache-control": "max-age=60, max-age=0"},
        {"cache-control": "max-age=99999999999999999999"},
        {"expires": formatdate(Clock.now + 60, usegmt=True)},
        {"cache-control": "max-age=60", "expires": "0"},
        {"cache-control": "must-revalidate, max-age=60"},
        {"cache-control": ",,max-age=60,"},
    ],
)
async def test_these_are_stored(headers: Any) -> None:
    assert await Site(Handler(headers)).texts("/", "/") == ["1", "1"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cache-control": "no-store, max-age=60"},
        {"cache-control": "private, max-age=60"},
        {"cache-control": 'private="x-user", max-age=60'},
        {"cache-control": "no-cache, max-age=60"},
        {"cache-control": 'max-age=60, no-cache="x"'},
        {"cache-control": "max-age=0"},
        {"cache-control": "max-age=-1"},
        {"cache-control": "max-age=x"},
        {"cache-control": "max-age"},
        {"cache-control": "max-age=60, s-maxage=0"},
        {"cache-control": "max-age=60", "set-cookie": "id=7"},
        {"cache-control": "max-age=60", "vary": "*"},
        {"cache-control": "max-age=60", "vary": ",".join(f"x-{n}" for n in range(20))},
        {"cache-control": "max-age=60", "www-authenticate": "Basic"},
        {"expires": "0"},
        {"expires": formatdate(Clock.now - 60, usegmt=True)},
        {"expires": "Thu, 99 Foo 9999"},
    ],
)
async def test_these_are_not(headers: Any) -> None:
    assert await Site(Handler(headers)).texts("/", "/") == ["1", "2"]


async def test_nor_are_these() -> None:
    async def noted() -> None: ...

    for status in (206, 302, 400, 500, 503, 201):
        assert await Site(Handler(status=status)).texts("/", "/") == ["1", "2"]
    assert await Site(Handler(background=BackgroundTask(noted))).texts("/", "/") == ["1", "2"]

    async def stream(request: Request) -> Result[Response]:
        return Success(StreamingResponse(iter([b"x"]), headers=HOUR))

    site = Site(stream)
    assert isinstance(await site.get(), StreamingResponse)
    assert isinstance(await site.get(), StreamingResponse)


async def test_failures_are_not_stored_and_raise_nothing() -> None:
    asked = 0

    async def failing(request: Request) -> Result[Response]:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise RuntimeError("no")
        return Failure(QiError.network("NETWORK_ERROR", "no"))

    site = Site(failing, ttl=60)
    for code in ("NETWORK_ERROR", "INTERNAL_ERROR", "NETWORK_ERROR"):
        error = (await site.ask(site.request())).error
        assert error is not None
        assert error.code == code


async def test_ttl_stands_in_where_the_answer_says_nothing() -> None:
    site = Site(Handler({}), ttl=60)
    assert await site.texts("/", "/") == ["1", "1"]
    assert await Site(Handler({"cache-control": "no-store"}), ttl=60).texts("/", "/") == ["1", "2"]
    assert await Site(Handler({"cache-control": "max-age=0"}), ttl=60).texts("/", "/") == ["1", "2"]


async def test_the_url_with_its_host_and_query_is_the_key() -> None:
    site = Site()
    assert await site.texts("/a", "/b", "/a?q=1", "/a?q=2", "/a") == ["1", "2", "3", "4", "1"]
    assert await site.text("/a", host="evil.example") == "5", "a stranger's Host fills a place of its own"
    assert await site.text("/a") == "1"


async def test_vary_is_heeded() -> None:
    site = Site(Handler({**HOUR, "vary": "Accept, accept-language"}))
    assert await site.text(accept="text/html", accept_language="en") == "1"
    assert await site.text(accept="text/html", accept_language="de") == "2"
    assert await site.text(accept="text/html", accept_language="en") == "1"
    assert await site.text() == "3"
    assert await site.text(accept="text/html,", accept_language="en") == "4"
    assert await site.text(accept="text/html", accept_language="de", user_agent="other") == "2"


@pytest.mark.parametrize(
    "who",
    [{"authorization": "Bearer x"}, {"cookie": "id=7"}, {"x_api_key": "7"}, {"x_forwarded_user": "ann"},
     {"x_auth_request_email": "a@b"}, {"x_csrf_token": "7"}, {"x_client_cert": "7"}],
)  # fmt: skip
async def test_who_says_who_asks_gets_only_what_is_for_everybody(who: Any) -> None:
    site = Site()
    assert [await site.text(**who), await site.text(**who)] == ["1", "2"]
    assert [await site.text(), await site.text(), await site.text(**who)] == ["3", "3", "4"]
    public = Site(Handler({"cache-control": "public, max-age=60"}))
    assert [await public.text(**who), await public.text(**who), await public.text()] == ["1", "1", "1"]


async def test_what_the_request_says_is_heeded() -> None:
    site = Site()
    assert await site.text() == "1"
    site.clock.now += 100
    assert await site.text(cache_control="max-age=50") == "2", "and the new one is stored"
    assert await site.text() == "2"
    assert await site.text(cache_control="no-cache") == "3"
    assert await site.text(cache_control="no-store") == "4"
    assert await site.text() == "3"
    assert await site.text(cache_control="min-fresh=3601") == "5"
    assert await site.text(cache_control="max-stale=9999") == "5"
    assert await site.text(cache_control="only-if-cached") == "5"
    error = (await site.ask(site.request("/other", cache_control="only-if-cached"))).error
    assert error is not None
    assert error.code == "GATEWAY_TIMEOUT"
    assert await site.text(range="bytes=0-1") == "6"


async def test_head_is_answered_from_a_get_but_not_the_other_way() -> None:
    site = Site()
    assert await site.text(method="HEAD") == "1"
    assert await site.text() == "2"
    head = await site.get(method="HEAD")
    assert (head.headers["content-length"], head.headers["age"]) == ("1", "0")


async def test_a_write_makes_forget() -> None:
    site = Site()
    assert await site.texts("/a", "/b") == ["1", "2"]
    await site.get("/a", "POST")
    assert await site.texts("/a", "/b") == ["4", "2"]
    await site.get("/a", "OPTIONS")
    assert await site.text("/a") == "4"
    site.handler.status = 409
    await site.get("/a", "DELETE")
    assert await site.text("/a") == "4", "nothing was written"


async def test_a_write_makes_forget_what_was_chosen_by_vary_too() -> None:
    site = Site(Handler({**HOUR, "vary": "accept"}))
    assert [await site.text(accept=kind) for kind in ("a", "b", "a", "b")] == ["1", "2", "1", "2"]
    await site.get(method="PUT")
    assert [await site.text(accept=kind) for kind in ("a", "b", "a", "b")] == ["4", "5", "4", "5"]


async def test_what_was_read_before_a_write_is_not_stored_after_it() -> None:
    site = Site()
    site.handler.gate = asyncio.Event()
    reading = asyncio.create_task(site.text())
    await asyncio.sleep(0)
    gate, site.handler.gate = site.handler.gate, None
    await site.get(method="PUT")
    gate.set()
    assert await reading == "1"
    assert await site.text() == "3"
    assert await site.text() == "3"


async def test_of_many_at_once_one_asks() -> None:
    site = Site()
    site.handler.gate = asyncio.Event()
    tasks = [asyncio.create_task(site.text()) for _ in range(50)]
    await asyncio.sleep(0.01)
    site.handler.gate.set()
    assert await asyncio.gather(*tasks) == ["1"] * 50


async def test_what_is_not_stored_is_waited_for_once_and_then_never() -> None:
    site = Site(Handler({}))
    assert sorted(await asyncio.gather(*(site.text() for _ in range(5)))) == list("12345")
    site.handler.gate = asyncio.Event()
    tasks = [asyncio.create_task(site.text()) for _ in range(5)]
    await asyncio.sleep(0.01)
    assert site.handler.asked == 10, "all at once: it is known that nothing comes of waiting"
    site.handler.gate.set()
    await asyncio.gather(*tasks)
    site.handler.headers = HOUR
    assert await site.texts("/", "/") == ["11", "11"]


async def test_when_the_one_that_asks_is_cancelled_another_asks() -> None:
    site = Site()
    site.handler.gate = asyncio.Event()
    leader = asyncio.create_task(site.text())
    await asyncio.sleep(0)
    others = [asyncio.create_task(site.text()) for _ in range(5)]
    await asyncio.sleep(0)
    others[0].cancel()
    leader.cancel()
    await asyncio.sleep(0.01)
    assert site.handler.asked == 2
    site.handler.gate.set()
    assert await asyncio.gather(*others[1:]) == ["2"] * 4
    for task in (leader, others[0]):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_when_the_one_that_asks_fails_the_others_ask() -> None:
    async def failing(request: Request) -> Result[Response]:
        await asyncio.sleep(0)
        return Failure(QiError.network("NETWORK_ERROR", "no"))

    site = Site(failing, ttl=60)
    results = await asyncio.gather(*(site.ask(site.request()) for _ in range(5)))
    assert all(result.is_failure for result in results)


async def test_who_is_known_does_not_wait_for_a_stranger() -> None:
    site = Site()
    site.handler.gate = asyncio.Event()
    stranger = asyncio.create_task(site.text())
    known = asyncio.create_task(site.text(cookie="id=7"))
    await asyncio.sleep(0.01)
    assert site.handler.asked == 2
    site.handler.gate.set()
    assert sorted(await asyncio.gather(stranger, known)) == ["1", "2"]


async def test_the_store_is_bounded() -> None:
    site = Site(max_entries=2)
    assert await site.texts("/a", "/b", "/a", "/c", "/a", "/b") == ["1", "2", "1", "3", "1", "4"]
    large = "x" * 2000

    async def big(request: Request) -> Result[Response]:
        return Success(PlainTextResponse(large, headers=HOUR))

    sized = Site(big, max_size=1000)
    assert "age" not in (await sized.get()).headers
    assert "age" not in (await sized.get()).headers
    assert "etag" not in (await sized.get()).headers
    tight = Site(max_bytes=1500)
    for number in range(100):
        await tight.get(f"/{number}")
    assert await tight.text("/0") == "101"


async def test_a_stored_answer_is_not_changed_by_what_lies_around() -> None:
    site = Site()
    for _ in range(3):
        response = await site.get()
        assert response.headers.getlist("x-outer") == []
        response.headers.append("x-outer", "1")


async def test_fields_of_one_request_are_not_stored() -> None:
    site = Site(Handler({**HOUR, "x-request-id": "7", "ratelimit": "x", "connection": "close", "x-own": "1"}))
    await site.get()
    again = await site.get()
    assert sorted(again.headers) == [
        "age", "cache-control", "content-length", "content-type", "etag", "x-own",
    ]  # fmt: skip


# ---- conditions


async def test_every_answer_has_a_tag_and_304_for_who_has_it() -> None:
    for headers in ({}, HOUR):
        site = Site(Handler(headers))
        first = await site.get()
        tag = first.headers["etag"]
        assert tag.startswith('"')
        site.handler.asked = 0
        again = await site.get(if_none_match=tag)
        assert (again.status_code, bytes(again.body), again.headers["etag"]) == (304, b"", tag)
        assert "content-length" not in again.headers
        assert "content-type" not in again.headers


@pytest.mark.parametrize(
    ("condition", "status"),
    [('"own"', 304), ('W/"own"', 304), ('"x", "own"', 304), ("*", 304), ('"other"', 200), ("own", 200),
     ("", 200), ('"own', 200), ("," * 10_000, 200), ('"x,own"', 200)],
)  # fmt: skip
async def test_tags_of_the_handler_count(condition: str, status: int) -> None:
    for headers in ({"etag": '"own"'}, {"etag": '"own"', **HOUR}):
        site = Site(Handler(headers))
        for _ in range(2):
            assert (await site.get(if_none_match=condition)).status_code == status


async def test_dates() -> None:
    modified = "Sun, 06 Nov 1994 08:49:37 GMT"
    site = Site(Handler({**HOUR, "last-modified": modified}))
    assert (await site.get(if_modified_since=modified)).status_code == 304
    assert (await site.get(if_modified_since="Sun, 06 Nov 1994 08:49:36 GMT")).status_code == 200
    assert (await site.get(if_modified_since="yesterday")).status_code == 200
    assert (await site.get(if_none_match='"x"', if_modified_since=modified)).status_code == 200
    undated = Site(Handler({"last-modified": "yesterday"}))
    assert (await undated.get(if_modified_since=modified, if_unmodified_since=modified)).status_code == 200


async def test_a_precondition_that_fails() -> None:
    site = Site()
    error = (await site.ask(site.request(if_match='"other"'))).error
    assert error is not None
    assert error.code == "PRECONDITION_FAILED"
    tag = (await site.get()).headers["etag"]
    assert (await site.get(if_match=tag)).status_code == 200


async def test_no_tag_for_what_must_not_be_stored_anywhere_and_for_failures() -> None:
    assert "etag" not in (await Site(Handler({"cache-control": "no-store"})).get()).headers
    assert "etag" not in (await Site(Handler(status=404)).get()).headers
    assert (await Site(Handler(status=404)).get(if_none_match="*")).status_code == 404
    response = await Site(Handler({"cache-control": "no-store"})).get(
        if_none_match='""', if_modified_since="Sun, 06 Nov 1994 08:49:37 GMT"
    )
    assert response.status_code == 200


async def test_in_an_application(ask: Any) -> None:
    app, asked = WebApp(), 0
    group = app.group("/cached", response_cache(ttl=60))

    @group.get("/users/{number}")
    async def user(number: int) -> Result[dict[str, int]]:
        nonlocal asked
        asked += 1
        return Success({"number": number}) if number else Failure(QiError.validation("NO_USER", "no"))

    one = await ask(app, path="/cached/users/1")
    two = await ask(app, path="/cached/users/1")
    assert (one.body, two.body, asked) == (b'{"number":1}', b'{"number":1}', 1)
    assert (one.get("age"), two.get("age")) == (None, "0")
    assert (
        await ask(app, path="/cached/users/1", headers=[("if-none-match", two.get("etag"))])
    ).status == 304
    assert [(await ask(app, path="/cached/users/0")).status for _ in range(2)] == [422, 422]
    assert asked == 3


@pytest.mark.parametrize(
    "options",
    [{"ttl": 0}, {"ttl": "60"}, {"max_size": 0}, {"max_entries": 0}, {"max_bytes": 0},
     {"store": object(), "patience": 0}],
)  # fmt: skip
def test_wrong_options(options: Any) -> None:
    with pytest.raises(ValueError):
        response_cache(**options)
