import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.web import WebApp
from qicore.web.middleware import timeout
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse


def request() -> Request:
    return Request({"type": "http", "method": "GET", "path": "/", "headers": []})


async def test_a_handler_that_is_too_slow_is_cancelled_and_cleans_up() -> None:
    cleaned: list[str] = []

    async def slow(request: Request) -> Result[Response]:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            cleaned.append("yes")
        return Success(Response())

    result = await timeout(0.01)(slow)(request())
    assert result.error is not None
    assert result.error.code == "TIMEOUT_ERROR"
    assert cleaned == ["yes"]


async def test_in_time_nothing_changes() -> None:
    failure = Failure(QiError.validation("WRONG", "no"))

    async def quick(request: Request) -> Result[Response]:
        return failure

    assert await timeout(60)(quick)(request()) is failure


async def test_what_middleware_inside_raises_keeps_its_status() -> None:
    async def raising(request: Request) -> Result[Response]:
        raise HTTPException(418, "short and stout")

    result = await timeout(60)(raising)(request())
    assert result.error is not None
    assert result.error.code == "IM_A_TEAPOT"


async def test_a_cancellation_from_outside_stays_one() -> None:
    started = asyncio.Event()

    async def slow(request: Request) -> Result[Response]:
        started.set()
        await asyncio.sleep(60)
        return Success(Response())

    call: Any = timeout(60)(slow)(request())
    task = asyncio.ensure_future(call)
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_in_an_application(ask: Any) -> None:
    app = WebApp()
    app.use(timeout(0.05))
    thread_goes_on = threading.Event()

    @app.get("/slow")
    async def slow() -> Result[int]:
        await asyncio.sleep(60)
        return Success(1)

    @app.get("/blocking")
    def blocking() -> Result[int]:
        thread_goes_on.wait(20)
        return Success(1)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(3):
                await asyncio.sleep(0.04)
                yield b"x"

        return StreamingResponse(pieces())

    @app.post("/reading")
    async def reading(request: Request) -> Result[int]:
        return Success(len(await request.body()))

    for path in ("/slow", "/blocking"):
        answer = await ask(app, path=path)
        assert answer.status == 504
        assert b"TIMEOUT_ERROR" in answer.body
    thread_goes_on.set()
    assert (await ask(app, path="/stream")).body == b"xxx", "the limit ends with the head"


async def test_a_body_that_does_not_come_is_not_waited_for(serve: Any) -> None:
    app = WebApp()
    app.use(timeout(0.05))

    @app.post("/reading")
    async def reading(request: Request) -> Result[int]:
        return Success(len(await request.body()))

    async with serve(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /reading HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 504")
        writer.close()


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), float("inf"), True, "1", None, 10**400])
def test_wrong_seconds(wrong: Any) -> None:
    with pytest.raises(ValueError, match="seconds"):
        timeout(wrong)
