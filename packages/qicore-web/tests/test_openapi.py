from typing import Any

from pydantic import BaseModel
from qicore.base import ErrorCategory, Result, Success
from qicore.web import WebApp, WebConfig
from qicore_testkit.asgi_client import connect
from starlette.responses import PlainTextResponse, Response


class User(BaseModel):
    name: str


def schema_of(operation: dict[str, Any], status: str) -> Any:
    return operation["responses"][status]["content"]["application/json"]["schema"]


PROBLEM = {"$ref": "#/components/schemas/Problem"}


def test_results_are_documented_by_what_they_hold() -> None:
    app = WebApp(WebConfig(statuses={"USER_GONE": 410}))

    @app.get("/users/{number}", errors=["USER_GONE", "NOT_FOUND", ErrorCategory.TIMEOUT], tags=["users"])
    async def user(number: int) -> Result[User]:
        """Return one user."""
        return Success(User(name="Ann"))

    @app.get("/text")
    async def text() -> Result[Response]:
        return Success(PlainTextResponse("x"))

    app.get("/hidden", include_in_schema=False)(lambda: None)
    document = app.openapi()
    operation = document["paths"]["/users/{number}"]["get"]
    assert schema_of(operation, "200") == {"$ref": "#/components/schemas/User"}
    assert operation["description"] == "Return one user."
    assert sorted(operation["responses"]) == ["200", "404", "410", "422", "500", "504", "default"]
    for status in ("404", "410", "422", "500", "504", "default"):
        assert operation["responses"][status]["content"]["application/problem+json"]["schema"] == PROBLEM
    assert set(document["components"]["schemas"]) == {"User", "Problem"}
    assert "/hidden" not in document["paths"]
    assert "/openapi.json" not in document["paths"]


def test_head_is_documented_beside_get() -> None:
    app = WebApp()
    app.get("/both")(lambda: 1)
    app.post("/post")(lambda: 1)
    app.route(("GET", "HEAD"), "/own", lambda: 1)
    paths = app.openapi()["paths"]
    assert set(paths["/both"]) == {"get", "head"}
    assert set(paths["/post"]) == {"post"}
    assert "content" not in paths["/both"]["head"]["responses"]["200"]
    assert paths["/both"]["head"]["operationId"] != paths["/both"]["get"]["operationId"]


async def test_the_document_is_served_and_follows_what_is_declared() -> None:
    app = WebApp(WebConfig(title="Ships", version="2.0", description="All of them."))
    client = connect(app)
    first = (await client.get("/openapi.json")).json()
    assert first["info"] == {"title": "Ships", "version": "2.0", "description": "All of them."}
    assert first["openapi"].startswith("3.1")
    app.get("/late")(lambda: 1)
    app.raw.get("/later")(lambda: 1)
    assert set((await client.get("/openapi.json")).json()["paths"]) == {"/late", "/later"}
    assert app.raw.openapi() == app.openapi()


async def test_neither_document_nor_page_where_they_are_not_wanted() -> None:
    client = connect(WebApp(WebConfig(openapi_path=None, docs_path=None)))
    assert (await client.get("/openapi.json")).status_code == 404
    assert (await client.get("/docs")).status_code == 404
