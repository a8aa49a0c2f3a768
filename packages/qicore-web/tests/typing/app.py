from typing import assert_type

from fastapi import FastAPI
from qicore.base import QiError, Result, Success
from qicore.web import Handler, Middleware, ProblemResponse, WebApp, WebConfig, compose, problem_response
from starlette.middleware import Middleware as ASGIMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response

app = WebApp()


@app.get("/users/{number}", errors=["USER_NOT_FOUND"], status_code=200)
async def user(number: int) -> Result[str]:
    return Success(str(number))


async def calls() -> None:
    # What was decorated is what it was.
    assert_type(await user(number=1), Result[str])
    assert_type(await app.route("POST", "/users", user)(number=1), Result[str])


assert_type(WebApp.create(WebConfig(title="Users")), Result[WebApp])
assert_type(app.raw, FastAPI)
assert_type(app.check(), Result[None])


def around(inner: Handler) -> Handler:
    async def handle(request: Request) -> Result[Response]:
        result = await inner(request)
        assert_type(result, Result[Response])
        return result

    return handle


assert_type(compose(around, around), Middleware)
app.use(around, ASGIMiddleware(GZipMiddleware, minimum_size=500))
assert_type(problem_response({"type": "http"}, QiError.validation("X", "x")), ProblemResponse)
