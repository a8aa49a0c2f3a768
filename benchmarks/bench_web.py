"""qicore-web beside FastAPI, Starlette, Litestar and BlackSheep: the same answers on the same uvicorn.

Needs wrk on the PATH.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import web_apps
from fastapi import FastAPI
from harness import Suite
from litestar import Litestar, get
from qicore.base import Result, Success
from qicore.web import WebApp
from starlette.applications import Starlette
from starlette.routing import Route
from wrk import cost, free_port, post_script, servers, shuffled

ITEM = '{"id":1,"name":"tea","price":2.5,"tags":["a","b"]}'
ROUNDS = 7
ROWS = {
    "GET, a small JSON": ("/hello", False, "FastAPI at least 1.5 (at least 1.0 everywhere)"),
    "POST, a pydantic model in and out": ("/items", True, "FastAPI at least 1.5"),
    "a Failure, an HTTPException": ("/failing", False, "FastAPI at least 1.0"),
    "GET with dependencies that yield": ("/depending", False, "FastAPI at least 1.0"),
    "GET, 1,000 models": ("/many", False, "FastAPI at least 1.0"),
}


def under_wrk(suite: Suite) -> None:
    ports = {name: free_port() for name in web_apps.APPS}
    commands = {
        name: [
            *(sys.executable, "-m", "uvicorn", "web_apps:app", "--factory", "--port", str(ports[name])),
            *("--app-dir", str(Path(__file__).parent), "--log-level", "error", "--no-access-log"),
            *("--http", "httptools", "--loop", "asyncio"),
        ]
        for name in web_apps.APPS
    }
    script = post_script(ITEM)
    with servers(commands, ports) as running:
        for row, (path, posts, target) in ROWS.items():
            names = [name for name in running if path in web_apps.PATHS[name]]
            samples: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(ROUNDS):
                for name in shuffled(names):
                    url = f"http://127.0.0.1:{ports[name]}{path}"
                    samples[name].append(
                        cost(running[name], url, seconds=1, script=script if posts else None)
                    )
            suite.record(f"{row}: CPU time per request", samples, target=target)


async def call(app: Any, path: str) -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        return None

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"x")],
        "root_path": "",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("x", 80),
        "client": ("x", 1),
        "state": {},
        "asgi": {"version": "3.0"},
    }
    await app(scope, receive, send)


def with_routes(kind: str, number: int) -> Any:
    """Return an application of a framework with so many routes of two segments, one of them a parameter."""
    if kind == "qicore":
        ours = WebApp()
        for index in range(number):

            async def answer(name: str) -> Result[str]:
                return Success(name)

            ours.get(f"/r{index}/{{name}}")(answer)
        return ours
    if kind == "FastAPI":
        theirs = FastAPI(openapi_url=None)
        for index in range(number):

            async def fastapi_answer(name: str) -> str:
                return name

            theirs.get(f"/r{index}/{{name}}")(fastapi_answer)
        return theirs
    if kind == "Litestar":

        def handler(index: int) -> Any:
            @get(f"/r{index}/{{name:str}}", sync_to_thread=False)
            def litestar_answer(name: str) -> str:
                return name

            return litestar_answer

        return Litestar([handler(index) for index in range(number)], openapi_config=None)

    async def endpoint(request: Any) -> Any:
        return web_apps.starlette_response(request.path_params["name"])

    return Starlette(routes=[Route(f"/r{index}/{{name}}", endpoint) for index in range(number)])


async def matching(suite: Suite) -> None:
    kinds = ("FastAPI", "qicore", "Starlette", "Litestar")
    for number in (5, 1000):
        apps = {kind: with_routes(kind, number) for kind in kinds}
        last = f"/r{number - 1}/x"
        await suite.compare_async(
            f"the last of {number} routes, without a server",
            {kind: (lambda app=app, path=last: call(app, path)) for kind, app in apps.items()},
            target="qicore with 1000 as with 5",
        )
        await suite.compare_async(
            f"404 among {number} routes, without a server",
            {kind: (lambda app=app: call(app, "/nowhere/x")) for kind, app in apps.items()},
            target="qicore with 1000 as with 5",
        )


def main() -> None:
    packages = ("qicore-web", "fastapi", "starlette", "litestar", "blacksheep", "uvicorn", "pydantic")
    suite = Suite("web", packages)
    under_wrk(suite)
    asyncio.run(matching(suite))
    suite.save()


if __name__ == "__main__":
    main()
