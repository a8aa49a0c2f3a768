import asyncio

from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.web import Handler, Middleware, compose
from starlette.requests import Request
from starlette.responses import Response

REQUEST = Request({"type": "http", "headers": []})


def tag(name: str) -> Middleware:
    """Middleware that writes down that it was passed, on the way in and out."""

    def around(inner: Handler) -> Handler:
        async def handle(request: Request) -> Result[Response]:
            request.scope.setdefault("in", []).append(name)
            result = await inner(request)
            return result.tap(lambda response: response.headers.append("x-out", name))

        return handle

    return around


def refuse(code: str) -> Middleware:
    def around(inner: Handler) -> Handler:
        async def handle(request: Request) -> Result[Response]:
            if code in request.scope.get("in", ()):
                return Failure(QiError.permission(code, "refused"))
            return await inner(request)

        return handle

    return around


def mend(code: str) -> Middleware:
    def around(inner: Handler) -> Handler:
        async def handle(request: Request) -> Result[Response]:
            result = await inner(request)
            return result.or_else(lambda error: Success(Response(code)) if error.code == code else result)

        return handle

    return around


NAMES = st.sampled_from(["a", "b", "c"])
MIDDLEWARE = st.one_of(NAMES.map(tag), NAMES.map(refuse), NAMES.map(mend))


def observed(middleware: Middleware) -> tuple[object, ...]:
    async def answer(request: Request) -> Result[Response]:
        return Success(Response("inside"))

    request = Request({"type": "http", "headers": []})
    result = asyncio.run(run(middleware(answer), request))
    response = result.data
    if response is None:
        return request.scope.get("in"), result.error
    return request.scope.get("in"), response.body, response.headers.getlist("x-out")


async def run(handler: Handler, request: Request) -> Result[Response]:
    return await handler(request)


@given(MIDDLEWARE, MIDDLEWARE, MIDDLEWARE)
def test_composition_is_associative(f: Middleware, g: Middleware, h: Middleware) -> None:
    assert (
        observed(compose(compose(f, g), h))
        == observed(compose(f, compose(g, h)))
        == observed(compose(f, g, h))
    )


@given(MIDDLEWARE)
def test_the_empty_composition_is_the_identity(f: Middleware) -> None:
    assert observed(compose(f, compose())) == observed(compose(compose(), f)) == observed(f)


def test_the_first_is_the_outermost() -> None:
    assert observed(compose(tag("a"), tag("b"))) == (["a", "b"], b"inside", ["b", "a"])
