"""A small ASGI application for the servers of the tests: it tells what reached it.

`/version` answers the HTTP version, `/echo` the body, `/headers` the fields as JSON, `/bytes/N` N bytes in
pieces, `/slow/SECONDS` after that long; `/events` sends three server-sent events; all else is a 404.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]  # as ASGI defines it
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

__all__ = ["app"]

_PIECE = 65536


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answer one request."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    path: str = scope["path"]
    first, _, argument = path.strip("/").partition("/")
    status, kind, body = 200, b"text/plain", b""
    if first == "version":
        body = scope["http_version"].encode()
    elif first == "echo":
        body = await _body(receive)
    elif first == "headers":
        kind = b"application/json"
        fields = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
        body = json.dumps(fields).encode()
    elif first == "bytes":
        body = bytes(int(argument))
    elif first == "slow":
        await asyncio.sleep(float(argument))
    elif first == "events":
        kind, body = b"text/event-stream", b"".join(b"id: %d\ndata: %d\n\n" % (n, n) for n in (1, 2, 3))
    else:
        status, body = 404, b"no such path"
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    for start in range(0, len(body), _PIECE):
        await send({"type": "http.response.body", "body": body[start : start + _PIECE], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return body
