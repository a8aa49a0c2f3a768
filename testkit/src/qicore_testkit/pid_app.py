"""An ASGI application that tells which process answers, for tests of servers with workers.

Every answer is the process id and what was sent, `PID ECHO`: the query string, or a body. `/slow` takes
50 ms, `/sleep` as many seconds as its query says, `/block` blocks the event loop for so long, and `/die`
ends the process.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["app"]

Message = MutableMapping[str, Any]  # as ASGI defines it

_PID = str(os.getpid()).encode()


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer one request, or live as long as the server."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path: str = scope["path"]
    echo: bytes = scope["query_string"]
    if path == "/slow":
        await asyncio.sleep(0.05)
    elif path == "/sleep":
        await asyncio.sleep(float(echo))
    elif path == "/block":
        time.sleep(float(echo))  # noqa: ASYNC251 - that is what it is for
    elif path == "/die":
        os._exit(int(echo or 1))
    elif path == "/body":
        more = True
        while more:
            message = await receive()
            echo += message.get("body", b"")
            more = message.get("more_body", False)
    body = _PID + b" " + echo
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
