# pyright: reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# Many handlers here are lambdas, whose parameters have no types.
import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Response
from pydantic import BaseModel
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.web import Handler, WebApp, WebConfig
from qicore_testkit.asgi_client import connect
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class User(BaseModel):
    id: int
    name: str


class Hidden(User):
    password: str = "hunter2"


ANN = User(id=1, name="Ann")
GONE: Failure = Failure(QiError.validation("NOT_FOUND", "there is no such user"))


def problem_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == response.status_code
    return problem


async def test_every_shape_of_an_answer() -> None:
    app = WebApp()

    @app.get("/result")
    async def result() -> Result[User]:
        return Success(ANN)

    @app.get("/value")
    async def value() -> User:
        return ANN

    @app.get("/sync")
    def sync() -> Result[User]:
        return Success(ANN)

    @app.get("/awaitable")
    def awaitable() -> Awaitable[Result[User]]:
        return result()

    @app.get("/union")
    async def union() -> Success[User] | Failure:
        return Success(ANN)

    @app.get("/subclass")
    async def subclass() -> Result[User]:
        return Success(Hidden(id=1, name="Ann"))

    @app.get("/dict")
    async def of_dict() -> Result[User]:
        return Success({"id": 1, "name": "Ann", "password": "hunter2"})  # type: ignore[arg-type]  # as FastAPI takes it

    client = connect(app)
    for path in ("result", "value", "sync", "awaitable", "union", "subclass", "dict"):
        response = await client.get(f"/{path}")
        assert (response.status_code, response.json()) == (200, {"id": 1, "name": "Ann"}), path
        assert response.headers["content-type"] == "application/json"


async def test_handlers_without_a_type() -> None:
    app = WebApp()

    @app.get("/nothing")
    async def nothing():  # type: ignore[no-untyped-def]  # that is what it is about
        return Success({"at": ANN, "number": float("nan")})

    @app.get("/response")
    async def response() -> Result[Response]:
        return Success(PlainTextResponse("text", 203))

    @app.get("/none")
    async def none() -> Result[None]:
        return Success(None)

    @app.delete("/none", status_code=204)
    async def delete() -> Result[None]:
        return Success(None)

    @app.post("/made", status_code=201)
    async def made() -> Result[User]:
        return Success(ANN)

    client = connect(app)
    assert (await client.get("/nothing")).json() == {"at": {"id": 1, "name": "Ann"}, "number": None}
    plain = await client.get("/response")
    assert (plain.status_code, plain.text) == (203, "text")
    assert (await client.get("/none")).text == "null"
    empty = await client.delete("/none")
    assert (empty.status_code, empty.content, "content-length" in empty.headers) == (204, b"", False)
    assert (await client.post("/made")).status_code == 201


async def test_a_value_that_is_not_what_the_annotation_says(caplog: pytest.LogCaptureFixture) -> None:
    app = WebApp()

    @app.get("/")
    async def wrong() -> Result[User]:
        return Success({"id": "hunter2"})  # type: ignore[arg-type]  # that is what it is about

    problem = problem_of(await connect(app).get("/"))
    assert (problem["status"], problem["code"]) == (500, "INVALID_RESPONSE")
    assert "hunter2" not in caplog.text + str(problem)


async def test_the_method_of_a_route_is_an_argument() -> None:
    app = WebApp()

    @app.route("POST", "/users")
    async def create(user: User) -> Result[User]:
        return Success(user)

    async def both(name: str) -> Result[str]:
        return Success(name)

    assert app.route(("put", "DELETE"), "/users/{name}", both) is both
    client = connect(app)
    assert (await client.post("/users", json={"id": 1, "name": "Ann"})).json() == {"id": 1, "name": "Ann"}
    for method in ("PUT", "DELETE"):
        assert (await client.request(method, "/users/ann")).json() == "ann"
    assert (await client.get("/users/ann")).status_code == 405
    assert {path: set(methods) for path, methods in app.openapi()["paths"].items()} == {
        "/users": {"post"},
        "/users/{name}": {"put", "delete"},
    }


async def test_a_mounted_application_sees_the_rest_of_the_path() -> None:
    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        answer = PlainTextResponse(f"{scope['method']} {scope['root_path']} {scope['path']}", 207)
        await answer(scope, receive, send)

    app = WebApp()
    app.get("/mounted-not")(lambda: Success("ours"))
    app.mount("/mounted", told)
    client = connect(app)
    for method in ("GET", "POST", "PROPFIND"):
        response = await client.request(method, "/mounted/a/b")
        assert response.status_code == 207
        assert response.text.split() == [method, "/mounted", "/mounted/a/b"]
    assert (await client.get("/mounted-not")).json() == "ours"
    assert problem_of(await client.get("/elsewhere"))["code"] == "NOT_FOUND"


async def test_failures_are_problems() -> None:
    app = WebApp(WebConfig(statuses={"TEAPOT": 418}))

    @app.get("/failing/{kind}")
    async def failing(kind: str) -> Result[User]:
        if kind == "raised":
            raise QiError.permission("NOT_YOURS", "it is somebody else's")
        if kind == "http":
            raise HTTPException(401, "who are you?", {"WWW-Authenticate": "Bearer"})
        if kind == "teapot":
            return Failure(QiError.validation("TEAPOT", "no coffee"))
        return GONE

    client = connect(app)
    assert problem_of(await client.get("/failing/x"))["code"] == "NOT_FOUND"
    assert problem_of(await client.get("/failing/raised"))["status"] == 403
    assert problem_of(await client.get("/failing/teapot"))["status"] == 418
    unknown = await client.get("/failing/http")
    assert (problem_of(unknown)["code"], unknown.headers["www-authenticate"]) == ("UNAUTHORIZED", "Bearer")


@pytest.mark.parametrize("plain", [True, False])
async def test_an_unforeseen_exception_shows_nothing_and_logs_all(
    plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = WebApp()
    dependencies = [] if plain else [Depends(lambda: None)]

    @app.get("/", dependencies=dependencies)
    async def broken() -> Result[int]:
        raise RuntimeError("the password is hunter2")

    response = await connect(app).get("/")
    problem = problem_of(response)
    assert (problem["status"], problem["code"]) == (500, "INTERNAL_ERROR")
    assert "hunter2" not in response.text
    (record,) = [record for record in caplog.records if record.name == "qicore.web"]
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])
    assert response.headers["x-request-id"] == record.__dict__["request_id"]
    assert response.headers["x-request-id"] in problem["instance"].replace("-", "")


async def test_a_failure_of_the_service_is_logged_with_its_context(caplog: pytest.LogCaptureFixture) -> None:
    app = WebApp()

    @app.get("/")
    async def down() -> Result[int]:
        return Failure(QiError.network("NETWORK_ERROR", "db refused", host="db"))

    problem = problem_of(await connect(app).get("/"))
    assert problem["status"] == 502
    assert "db" not in str(problem["detail"])
    (record,) = caplog.records
    assert record.__dict__["error"]["context"] == {"host": "db"}


async def test_paths_and_methods_that_are_not_there() -> None:
    app = WebApp()
    app.route(("GET", "PUT"), "/here", lambda: Success(1))
    app.get("/slash/")(lambda: Success(1))
    client = connect(app)
    assert problem_of(await client.get("/nowhere"))["code"] == "NOT_FOUND"
    refused = await client.post("/here")
    assert (problem_of(refused)["code"], refused.headers["allow"]) == ("METHOD_NOT_ALLOWED", "GET, HEAD, PUT")
    head = await client.head("/here")
    assert (head.status_code, head.headers["content-length"]) == (200, "1")
    options = await client.options("/here")
    assert (options.status_code, options.headers["allow"]) == (405, "GET, HEAD, PUT")
    assert (await client.get("/here/?q=1")).headers["location"] == "http://test/here?q=1"
    assert (await client.get("/slash")).headers["location"] == "http://test/slash/"
    assert (await connect(WebApp(WebConfig(redirect_slashes=False))).get("/docs/")).status_code == 404


async def test_groups_nest_with_their_middleware_and_handlers() -> None:
    app, passed = WebApp(), list[str]()

    def tag(name: str) -> Any:
        def around(inner: Handler) -> Handler:
            async def handle(request: Request) -> Result[Response]:
                passed.append(name)
                result = await inner(request)
                passed.append(f"{name}:{'ok' if result.is_success else result.error.code}")  # type: ignore[union-attr]  # a Failure
                return result

            return handle

        return around

    outer = app.group("/outer", tag("outer"), tags=["outer"])
    inner = outer.group("/inner", tags=["inner"])

    @inner.get("/{kind}")
    async def get(kind: str) -> Result[str]:
        if kind == "crash":
            raise RuntimeError("boom")
        return Success(kind) if kind == "fine" else Failure(QiError.validation(kind, "x"))

    # Declared after the route, and around it all the same.
    inner.use(tag("inner"))
    app.use(tag("app"), tag("app2"))

    @app.error_handler(ErrorCategory.VALIDATION)
    def of_app(request: Request, error: QiError) -> Response:
        return PlainTextResponse(f"app {error.code}", 400)

    @outer.error_handler("SPECIAL")
    async def of_outer(request: Request, error: QiError) -> Result[Response]:
        return Success(PlainTextResponse("special", 409))

    @inner.error_handler("TOLD")
    async def of_inner(request: Request, error: QiError) -> Result[Response]:
        return Failure(QiError.permission("REALLY", "no"))

    @outer.error_handler("VALIDATION")
    async def of_code(request: Request, error: QiError) -> Result[Response]:
        return Success(PlainTextResponse("a code that is called as a category"))

    client = connect(app)
    assert (await client.get("/outer/inner/fine")).json() == "fine"
    assert passed == ["app", "app2", "outer", "inner", "inner:ok", "outer:ok", "app2:ok", "app:ok"]
    passed.clear()
    assert problem_of(await client.get("/outer/inner/crash"))["status"] == 500
    assert passed[3:5] == ["inner", "inner:INTERNAL_ERROR"]
    assert (await client.get("/outer/inner/OTHER")).text == "app OTHER"
    assert (await client.get("/outer/inner/SPECIAL")).text == "special"
    assert problem_of(await client.get("/outer/inner/TOLD"))["code"] == "REALLY"
    assert (await client.get("/outer/inner/VALIDATION")).text == "a code that is called as a category"
    passed.clear()
    assert (await client.get("/nowhere")).status_code == 400
    assert passed == ["app", "app2", "app2:NOT_FOUND", "app:NOT_FOUND"]
    assert app.openapi()["paths"]["/outer/inner/{kind}"]["get"]["tags"] == ["outer", "inner"]


async def test_middleware_that_breaks() -> None:
    def raising(inner: Handler) -> Handler:
        async def handle(request: Request) -> Result[Response]:
            if request.url.path == "/raise":
                raise RuntimeError("boom")
            wrong: Any = "not a Result" if request.url.path == "/text" else Success("not a response")
            return wrong  # type: ignore[no-any-return]  # that is what it is about

        return handle

    app = WebApp()
    app.use(raising)
    for path in ("/raise", "/text", "/other"):
        app.get(path)(lambda: Success(1))
        assert problem_of(await connect(app).get(path))["code"] == "INTERNAL_ERROR"


async def test_an_error_handler_that_breaks() -> None:
    app = WebApp()
    app.get("/")(lambda: GONE)

    @app.error_handler("NOT_FOUND")
    def broken(request: Request, error: QiError) -> Response:
        raise RuntimeError("boom")

    assert problem_of(await connect(app).get("/"))["code"] == "INTERNAL_ERROR"
    app.error_handler("NOT_FOUND", lambda request, error: None)
    assert problem_of(await connect(app).get("/"))["code"] == "INTERNAL_ERROR"


class Stamp:
    """A pure ASGI middleware."""

    def __init__(self, app: ASGIApp, name: str) -> None:
        self.app, self.name = app, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/raise":
            raise RuntimeError("boom")

        async def stamping(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", self.name.encode())]
            await send(message)

        await self.app(scope, receive, stamping)


async def test_asgi_middleware_lies_around_everything() -> None:
    app = WebApp()
    app.use(ASGIMiddleware(Stamp, name="a"), ASGIMiddleware(Stamp, name="b"))
    group = app.group("/group", ASGIMiddleware(Stamp, name="c"))
    group.get("/")(lambda: GONE)
    group.mount("/mounted", Starlette())
    client = connect(app)
    assert (await client.get("/group/")).headers.get_list("x-stamp") == ["c", "b", "a"]
    assert (await client.get("/group/mounted/x")).headers.get_list("x-stamp") == ["c", "b", "a"]
    assert (await client.get("/nowhere")).headers.get_list("x-stamp") == ["b", "a"]
    assert problem_of(await client.get("/raise"))["code"] == "INTERNAL_ERROR"


async def test_middleware_guards_what_is_mounted_too() -> None:
    def closed(inner: Handler) -> Handler:
        async def handle(request: Request) -> Result[Response]:
            if "key" not in request.headers:
                return Failure(QiError.permission("UNAUTHORIZED", "who?"))
            return (await inner(request)).tap(lambda response: response.headers.update({"x-seen": "1"}))

        return handle

    app = WebApp()
    app.use(closed)
    other = FastAPI()
    other.get("/thing")(lambda: {"path": "thing"})
    app.mount("/other", other)
    app.raw.get("/own")(lambda: 5)
    client = connect(app)
    for path in ("/other/thing", "/own", "/docs", "/openapi.json"):
        assert problem_of(await client.get(path))["code"] == "UNAUTHORIZED"
        response = await client.get(path, headers={"key": "1"})
        assert (response.status_code, response.headers["x-seen"]) == (200, "1")


async def test_existing_fastapi_routers_mount_unchanged() -> None:
    router = APIRouter(prefix="/old", tags=["old"])

    @router.get("/{number}")
    async def old(number: int) -> User:
        if number > 9:
            raise HTTPException(410, "gone")
        if number > 8:
            raise RuntimeError("hunter2")
        return User(id=number, name="old")

    app = WebApp()
    app.get("/new")(lambda: Success(1))
    app.include_router(router, prefix="/v1")
    client = connect(app)
    assert (await client.get("/v1/old/3")).json() == {"id": 3, "name": "old"}
    assert problem_of(await client.get("/v1/old/x"))["code"] == "INVALID_REQUEST"
    assert problem_of(await client.get("/v1/old/10"))["code"] == "GONE"
    crashed = await client.get("/v1/old/9")
    assert problem_of(crashed)["code"] == "INTERNAL_ERROR"
    assert "hunter2" not in crashed.text
    assert problem_of(await client.get("/v1/nowhere"))["code"] == "NOT_FOUND"
    assert problem_of(await client.post("/v1/old/3"))["code"] == "METHOD_NOT_ALLOWED"
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert set(paths) == {"/new", "/v1/old/{number}"}
    assert "default" in paths["/v1/old/{number}"]["get"]["responses"]


async def test_a_method_of_ours_beside_one_of_fastapis() -> None:
    app = WebApp()
    app.get("/both")(lambda: Success("ours"))
    app.raw.post("/both")(lambda: "theirs")
    client = connect(app)
    assert (await client.get("/both")).json() == "ours"
    assert (await client.post("/both")).json() == "theirs"
    assert (await client.put("/both")).status_code == 405


async def test_dependencies_stay_fastapis() -> None:
    app, seen = WebApp(), list[str]()

    async def transaction() -> AsyncIterator[str]:
        try:
            yield "transaction"
            seen.append("commit")
        except QiError as error:
            seen.append(f"rollback {error.code}")
            raise

    async def caller(token: str = "") -> Result[str]:
        return Success(token) if token else Failure(QiError.permission("UNAUTHORIZED", "who?"))

    def upper(name: Annotated[str, Depends(caller)]) -> Result[str]:
        return Success(name.upper())

    @app.post("/")
    async def handler(
        user: User,
        response: Response,
        tasks: BackgroundTasks,
        within: Annotated[str, Depends(transaction)],
        name: Annotated[str, Depends(upper)],
    ) -> Result[dict[str, str]]:
        response.headers["x-name"] = name
        tasks.add_task(seen.append, "task")
        return Success({"name": name}) if user.id == 1 else GONE

    client = connect(app)
    fine = await client.post("/?token=ann", json={"id": 1, "name": "x"})
    assert (fine.json(), fine.headers["x-name"]) == ({"name": "ANN"}, "ANN")
    assert seen == ["task", "commit"]
    seen.clear()
    assert problem_of(await client.post("/", json={"id": 1, "name": "x"}))["code"] == "UNAUTHORIZED"
    assert problem_of(await client.post("/?token=a", json={"id": 2, "name": "x"}))["code"] == "NOT_FOUND"
    assert seen == ["rollback UNAUTHORIZED", "rollback NOT_FOUND"]
    wrong = problem_of(await client.post("/?token=a", json={"id": "hunter2", "name": "x"}))
    assert wrong["context"]["errors"][0]["loc"] == ["body", "id"]
    app.raw.dependency_overrides[caller] = lambda: Success("bob")
    assert (await client.post("/", json={"id": 1, "name": "x"})).json() == {"name": "BOB"}


async def test_resolvers_make_values_of_parameters() -> None:
    app, asked = WebApp(), list[int]()

    async def store() -> dict[int, User]:
        return {1: ANN}

    async def user_of(raw: int, users: Annotated[dict[int, User], Depends(store)]) -> Result[User]:
        asked.append(raw)
        return Result.from_optional(users.get(raw), QiError.validation("USER_NOT_FOUND", "no such user"))

    @app.get("/users/{user}")
    async def user(user: User) -> Result[User]:
        return Success(user)

    @app.get("/users/{user}/posts/{number}")
    def posts(number: int) -> Result[int]:
        return Success(number)

    app.param("user", user_of)
    group = app.group("/loud")
    group.param("user", lambda raw: Success(User(id=0, name=raw.upper())))
    group.get("/{user}")(user)
    client = connect(app)
    assert (await client.get("/users/1")).json() == {"id": 1, "name": "Ann"}
    assert problem_of(await client.get("/users/2"))["code"] == "USER_NOT_FOUND"
    assert problem_of(await client.get("/users/x"))["context"]["errors"][0]["loc"] == ["path", "user"]
    assert (await client.get("/users/1/posts/3")).json() == 3
    assert problem_of(await client.get("/users/2/posts/3"))["code"] == "USER_NOT_FOUND"
    assert (await client.get("/loud/eve")).json() == {"id": 0, "name": "EVE"}
    assert asked == [1, 2, 1, 2]
    (parameter,) = app.openapi()["paths"]["/users/{user}"]["get"]["parameters"]
    assert (parameter["name"], parameter["schema"]["type"]) == ("user", "integer")


async def test_streams_stay_fastapis() -> None:
    app = WebApp()

    @app.get("/lines")
    async def lines() -> AsyncIterator[User]:
        yield ANN
        yield ANN

    @app.get("/stream")
    async def stream() -> Result[StreamingResponse]:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"a"
            yield b"b"

        return Success(StreamingResponse(chunks()))

    client = connect(app)
    assert (await client.get("/lines")).text.split() == ['{"id":1,"name":"Ann"}'] * 2
    assert (await client.get("/stream")).text == "ab"


async def test_lifespan() -> None:
    seen = list[str]()

    @asynccontextmanager
    async def lifespan(app: WebApp) -> AsyncGenerator[dict[str, str]]:
        app.raw.state.opened = True
        seen.append("open")
        yield {"pool": "pool"}
        seen.append("close")

    app = WebApp(lifespan=lifespan)
    sent = await run_lifespan(app)
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert seen == ["open", "close"]


async def run_lifespan(app: ASGIApp) -> list[Any]:
    sent = list[Any]()
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "lifespan", "state": {}}, receive, send)
    return sent


@pytest.mark.parametrize(
    ("declare", "told"),
    [
        (lambda app: [app.get("/a")(lambda: 1), app.get("/a")(lambda: 2)], "GET /a: .*declared twice"),
        (lambda app: app.get("/{x}/{x}")(lambda x: 1), "param name x"),
        (lambda app: app.get("/{x:strange}")(lambda x: 1), "strange"),
        (lambda app: app.post("/")(_unreadable), "POST /"),
    ],
)
async def test_an_application_that_cannot_be_built_does_not_start(declare: Any, told: str) -> None:
    app = WebApp()
    declare(app)
    error = app.check().error
    assert error is not None
    assert error.code == "INVALID_ROUTE"
    with pytest.raises((ValueError, TypeError), match=told):
        app.openapi()
    (failed,) = await run_lifespan(app)
    assert failed["type"] == "lifespan.startup.failed"


def _unreadable(connection: asyncio.StreamReader) -> None: ...


@pytest.mark.parametrize(
    "declare",
    [
        lambda app: app.route("FETCH", "/")(print),
        lambda app: app.route((), "/")(print),
        lambda app: app.route(5, "/")(print),
        lambda app: app.get("a")(print),
        lambda app: app.get(5)(print),
        lambda app: app.get("/")(5),
        lambda app: app.use(5),
        lambda app: app.use(Stamp),
        lambda app: app.group("x"),
        lambda app: app.mount("/x", 5),
        lambda app: app.param("a b", print),
        lambda app: app.param("a", 5),
        lambda app: app.error_handler(5, print),
        lambda app: app.error_handler("", print),
        lambda app: app.error_handler("X", 5),
        lambda app: app.static("/x", "/does/not/exist"),
    ],
)
def test_mistakes_of_the_program_are_told_where_they_stand(declare: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        declare(WebApp())


async def test_names_of_routes() -> None:
    app = WebApp()

    @app.get("/users/{number}", name="user")
    async def user(request: Request, number: int) -> Result[str]:
        return Success(str(request.url_for("user", number=number)))

    app.raw.get("/raw", name="raw")(lambda: None)
    assert (await connect(app).get("/users/3")).json() == "http://test/users/3"
    assert (app.url_path_for("user", number=3), app.url_path_for("raw")) == ("/users/3", "/raw")


async def test_behind_a_prefix() -> None:
    inner, outer = WebApp(), WebApp()
    inner.get("/users/{number}")(lambda number: Success(number))
    outer.mount("/api/{version}", inner)
    client = connect(outer)
    assert (await client.get("/api/v1/users/3")).json() == "3"
    assert (await client.get("/api/v1/openapi.json")).json()["servers"] == [{"url": "/api/v1"}]
    assert problem_of(await client.get("/api/v1/nothing"))["code"] == "NOT_FOUND"


async def test_what_is_declared_while_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    app = WebApp()
    client = connect(app)
    assert (await client.get("/late")).status_code == 404
    app.get("/late")(lambda: Success("there"))
    assert (await client.get("/late")).json() == "there"


async def test_cancelling_a_request_cancels_its_handler() -> None:
    app, entered, ended = WebApp(), asyncio.Event(), list[str]()

    @app.get("/")
    async def slow() -> Result[int]:
        entered.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("ended")
        return Success(1)

    async def never() -> Any:
        await asyncio.sleep(3600)

    scope: dict[str, Any] = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    task = asyncio.create_task(app(scope, never, never))  # type: ignore[arg-type]  # never called
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["ended"]
