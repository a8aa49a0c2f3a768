import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import Body, Depends, File, Form, Header, Query, UploadFile
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from qicore.base import Result, Success
from qicore.web import WebApp, WebConfig
from qicore_testkit.asgi_client import connect
from starlette.requests import Request


class Colour(Enum):
    RED = "red"


class Thing(BaseModel):
    number: float
    count: int = 1
    flag: bool = False
    at: datetime | None = None
    id: UUID | None = None
    colour: Colour = Colour.RED
    pairs: list[tuple[int, str]] = Field(default_factory=list[tuple[int, str]])


def app_with(config: WebConfig | None = None) -> WebApp:
    app = WebApp(config)

    @app.post("/plain")
    async def plain(thing: Thing) -> Result[Thing]:
        return Success(thing)

    @app.post("/depending", dependencies=[Depends(lambda: None)])
    async def depending(thing: Thing) -> Result[Thing]:
        return Success(thing)

    @app.post("/optional")
    async def optional(thing: Thing | None = None) -> Result[bool]:
        return Success(thing is None)

    @app.post("/several")
    async def several(first: Thing, second: Annotated[int, Body()]) -> Result[int]:
        return Success(second)

    @app.post("/list")
    async def of_list(numbers: Annotated[list[int], Body(max_length=3)]) -> Result[int]:
        return Success(sum(numbers))

    return app


async def post(path: str, body: object, config: WebConfig | None = None) -> httpx.Response:
    return await connect(app_with(config)).post(path, json=body)


BOTH = pytest.mark.parametrize("path", ["/plain", "/depending"])


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        {"number": True},
        {"number": "1"},
        {"number": 1, "count": "1"},
        {"number": 1, "count": True},
        {"number": 1, "count": 1.5},
        {"number": 1, "flag": "yes"},
        {"number": 1, "flag": 1},
        {"number": 1, "at": 1},
        {"number": 1, "colour": 1},
        {"number": 1, "pairs": [["1", "a"]]},
        {"number": None},
        {},
        [],
        None,
        "text",
        5,
    ],
)
async def test_what_the_document_does_not_say_is_refused(path: str, body: object) -> None:
    response = await post(path, body)
    assert (response.status_code, response.json()["code"]) == (422, "INVALID_REQUEST")


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        {"number": 1},
        {"number": 1.5, "at": "2026-11-23T15:00:00Z", "id": "5c1f4b6e-90c7-4d6e-8a51-3f3d2a8f2d11"},
        {"number": 1, "count": 2.0, "pairs": [[1.0, "a"]]},
        {"number": 1, "colour": "red", "pairs": [[1, "a"]], "flag": True, "unknown": 1},
    ],
)
async def test_what_the_document_says_is_taken(path: str, body: dict[str, object]) -> None:
    response = await post(path, body)
    assert response.status_code == 200
    assert response.json()["number"] == body["number"]


@BOTH
async def test_pydantic_converts_where_that_is_wanted(path: str) -> None:
    response = await post(path, {"number": "1", "count": True}, WebConfig(strict_bodies=False))
    assert response.json()["number"] == 1


async def test_bodies_that_are_not_there() -> None:
    client = connect(app_with())
    assert (await client.post("/optional")).json() is True
    missing = await client.post("/plain")
    assert missing.json()["context"]["errors"] == [
        {"loc": ["body"], "msg": "Field required", "type": "missing"}
    ]


async def test_several_parameters_of_one_body() -> None:
    assert (await post("/several", {"first": {"number": 1}, "second": 5})).json() == 5
    wrong = await post("/several", {"first": {"number": "hunter2"}, "second": "5"})
    assert wrong.status_code == 422
    assert [error["loc"] for error in wrong.json()["context"]["errors"]] == [
        ["body", "first", "number"],
        ["body", "second"],
    ]
    assert "hunter2" not in wrong.text
    assert (await post("/several", [1])).status_code == 422
    assert (await post("/list", [1, 2])).json() == 3
    assert (await post("/list", [1, 2, 3, 4])).status_code == 422
    assert (await post("/list", [1, True])).status_code == 422


@BOTH
@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ('APPLICATION/JSON; Charset="UTF-8"', 200),
        ("application/vnd.thing+json", 200),
        ("application/json; charset=latin-1", 415),
        ("application/json; charset=utf-16", 415),
        ("text/plain", 415),
        ("text/json", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/x-www-form-urlencoded", 415),
        (";", 415),
        (None, 415),
    ],
)
async def test_content_types(path: str, content_type: str | None, status: int) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = await connect(app_with()).post(path, content=b'{"number": 1}', headers=headers)
    assert response.status_code == status


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        '{"number": "é"}'.encode("latin-1"),
        '{"number": 1}'.encode("utf-16"),
        b'{"number": 1',
        b"\x00",
        b"\xff" * 1000,
        b"[" * 100_000,
        b'{"number": ' + b"9" * 10_000 + b', "count": "x"}',
        b'{"number": NaN}',
        b'{"number": -Infinity}',
    ],
)
async def test_bodies_that_are_no_json(path: str, body: bytes) -> None:
    response = await connect(app_with()).post(
        path, content=body, headers={"content-type": "application/json"}
    )
    assert (response.status_code, response.json()["code"]) == (422, "INVALID_REQUEST")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(Thing.model_fields, JSON)))
def test_plain_and_depending_handlers_agree_on_every_body(body: object) -> None:
    async def both() -> list[httpx.Response]:
        client = connect(app_with())
        return [await client.post(path, json=body) for path in ("/plain", "/depending")]

    plain, depending = asyncio.run(both())
    assert plain.status_code == depending.status_code
    assert plain.status_code in (200, 422)
    told = [response.json().get("context") for response in (plain, depending)]
    assert told[0] == told[1]


async def test_bodies_have_a_limit() -> None:
    app = app_with(WebConfig(max_body_size=100))

    @app.post("/form")
    async def form(text: Annotated[str, Form()]) -> Result[int]:
        return Success(len(text))

    @app.post("/stream")
    async def stream(request: Request) -> Result[int]:
        return Success(len(await request.body()))

    client = connect(app)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b'{"number":'.ljust(10)

    def announced() -> dict[str, Any]:
        return {"content": b"x" * 200, "headers": {"content-type": "application/json"}}

    for path in ("/plain", "/depending", "/stream"):
        large = await client.post(path, **announced())
        assert (large.status_code, large.json()["code"]) == (413, "CONTENT_TOO_LARGE")
        chunked = await client.post(path, content=chunks(), headers={"content-type": "application/json"})
        assert chunked.status_code == 413
    assert (await client.post("/form", data={"text": "x" * 200})).status_code == 413
    assert (await client.post("/form", data={"text": "x" * 20})).json() == 20
    assert (await client.post("/plain", json={"number": 1})).status_code == 200


async def test_forms_and_files() -> None:
    app = WebApp()

    @app.post("/form")
    async def form(name: Annotated[str, Form()], age: Annotated[int, Form()]) -> Result[str]:
        return Success(f"{name} {age}")

    @app.post("/file")
    async def file(upload: UploadFile, raw: Annotated[bytes, File()]) -> Result[int]:
        return Success(len(await upload.read()) + len(raw))

    client = connect(app)
    assert (await client.post("/form", data={"name": "Ann", "age": "37"})).json() == "Ann 37"
    wrong = await client.post("/form", data={"name": "Ann", "age": "hunter2"})
    assert (wrong.status_code, "hunter2" in wrong.text) == (422, False)
    assert wrong.json()["context"]["errors"][0]["loc"] == ["body", "age"]
    assert (await client.post("/file", files={"upload": b"abc", "raw": b"de"})).json() == 5
    broken = await client.post(
        "/file", content=b"--x\r\nnonsense", headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert 400 <= broken.status_code < 500


async def test_parameters_of_every_kind() -> None:
    app = WebApp()

    class Filter(BaseModel):
        limit: int = 10
        tags: list[str] = Field(default_factory=list[str])

    @app.get("/all/{number}")
    async def everything(
        number: int,
        wanted: Annotated[Filter, Query()],
        x_token: Annotated[str, Header()],
        ids: Annotated[list[int] | None, Header()] = None,
    ) -> Result[dict[str, Any]]:
        return Success({"number": number, "filter": wanted, "token": x_token, "ids": ids})

    @app.get("/single")
    async def single(
        when: datetime,
        q: Annotated[str, Query(min_length=2)] = "xx",
        flag: bool = False,
        opt: int | None = None,
    ) -> Result[list[Any]]:
        return Success([when.year, q, flag, opt])

    client = connect(app)
    fine = await client.get(
        "/all/3?limit=5&tags=a&tags=b", headers=[("x-token", "t"), ("ids", "1"), ("ids", "2")]
    )
    assert fine.json() == {
        "number": 3,
        "filter": {"limit": 5, "tags": ["a", "b"]},
        "token": "t",
        "ids": [1, 2],
    }
    wrong = await client.get("/all/x?limit=many")
    places = [error["loc"] for error in wrong.json()["context"]["errors"]]
    assert places == [["path", "number"], ["query", "limit"], ["header", "x-token"]]
    assert (await client.get("/single?when=2026-11-23T00:00:00&flag=true&opt=3")).json() == [
        2026,
        "xx",
        True,
        3,
    ]
    short = await client.get("/single?q=a")
    assert [error["loc"] for error in short.json()["context"]["errors"]] == [
        ["query", "when"],
        ["query", "q"],
    ]


async def test_a_client_that_leaves_in_the_middle_of_a_body() -> None:
    app = app_with()
    messages: list[Any] = [
        {"type": "http.request", "body": b'{"num', "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent = list[Any]()

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    for path in ("/plain", "/depending"):
        messages[:] = [
            {"type": "http.request", "body": b'{"num', "more_body": True},
            {"type": "http.disconnect"},
        ]
        scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [],
            "query_string": b"",
        }
        await app(scope, receive, send)
    assert [message["status"] for message in sent if "status" in message] == [499, 499]
    assert json.loads(sent[1]["body"])["code"] == "CLIENT_DISCONNECTED"
