"""The same three answers from each framework: `uvicorn web_apps:NAME`, run by bench_web.py."""

import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends
from pydantic import BaseModel


class Item(BaseModel):
    id: int
    name: str
    price: float
    tags: list[str] = []


MANY = [Item(id=number, name="tea", price=2.5, tags=["a", "b"]) for number in range(1000)]


def qicore() -> Any:
    from qicore.base import Failure, QiError, Result, Success
    from qicore.web import WebApp

    app = WebApp()

    @app.get("/hello")
    async def hello() -> Result[dict[str, str]]:
        return Success({"hello": "world"})

    @app.post("/items")
    async def items(item: Item) -> Result[Item]:
        return Success(item)

    @app.get("/failing")
    async def failing() -> Result[Item]:
        return Failure(QiError.validation("NOT_FOUND", "there is no such item"))

    async def user() -> AsyncIterator[str]:
        yield "ann"

    async def greeting(name: Annotated[str, Depends(user)]) -> Result[str]:
        return Success(f"hello {name}")

    @app.get("/depending")
    async def depending(text: Annotated[str, Depends(greeting)]) -> Result[dict[str, str]]:
        return Success({"greeting": text})

    @app.get("/many")
    async def many() -> Result[list[Item]]:
        return Success(MANY)

    return app


def fastapi() -> Any:
    from fastapi import FastAPI, HTTPException

    app = FastAPI()

    @app.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    @app.post("/items")
    async def items(item: Item) -> Item:
        return item

    @app.get("/failing")
    async def failing() -> Item:
        raise HTTPException(404, "there is no such item")

    async def user() -> AsyncIterator[str]:
        yield "ann"

    async def greeting(name: Annotated[str, Depends(user)]) -> str:
        return f"hello {name}"

    @app.get("/depending")
    async def depending(text: Annotated[str, Depends(greeting)]) -> dict[str, str]:
        return {"greeting": text}

    @app.get("/many")
    async def many() -> list[Item]:
        return MANY

    return app


def starlette_response(value: Any) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(value)


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    async def hello(request: Request) -> Response:
        return JSONResponse({"hello": "world"})

    async def items(request: Request) -> Response:
        item = Item.model_validate_json(await request.body())
        return Response(item.model_dump_json(), media_type="application/json")

    async def failing(request: Request) -> Response:
        raise HTTPException(404, "there is no such item")

    return Starlette(
        routes=[
            Route("/hello", hello),
            Route("/items", items, methods=["POST"]),
            Route("/failing", failing),
        ]
    )


def litestar() -> Any:
    from litestar import Litestar, get, post
    from litestar.exceptions import NotFoundException

    @get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    @post("/items", status_code=200)
    async def items(data: Item) -> Item:
        return data

    @get("/failing")
    async def failing() -> Item:
        raise NotFoundException("there is no such item")

    return Litestar([hello, items, failing], openapi_config=None)


def blacksheep() -> Any:
    from blacksheep import Application
    from blacksheep.exceptions import NotFound

    app = Application()

    @app.router.get("/hello")
    async def hello() -> dict[str, str]:
        return {"hello": "world"}

    @app.router.post("/items")
    async def items(data: Item) -> Item:
        return data

    @app.router.get("/failing")
    async def failing() -> Item:
        raise NotFound

    return app


COMMON = frozenset(("/hello", "/items", "/failing"))
PATHS = {
    "FastAPI": COMMON | {"/depending", "/many"},
    "qicore": COMMON | {"/depending", "/many"},
    "Starlette": COMMON,
    "Litestar": COMMON,
    "BlackSheep": COMMON,
}
# The first is the reference.
APPS = {
    "FastAPI": fastapi,
    "qicore": qicore,
    "Starlette": starlette,
    "Litestar": litestar,
    "BlackSheep": blacksheep,
}


def app() -> Any:
    return APPS[os.environ["WEB_APP"]]()
