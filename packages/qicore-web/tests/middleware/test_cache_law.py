"""The law of the cache: who reads after a write has ended does not see what was there before it."""

import asyncio
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.web.middleware import response_cache
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

PATHS = ("/a", "/b")
KINDS = ("text", "json")
CONTROLS = (*["max-age=60"] * 3, *["public, max-age=60", "s-maxage=30"] * 2, "no-store", "private", "")


class Slow:
    """A store that takes turns: whatever may happen meanwhile does."""

    def __init__(self, turns: random.Random) -> None:
        self.turns = turns
        self.values: dict[str, bytes] = {}

    async def pause(self) -> None:
        for _ in range(self.turns.randrange(4)):
            await asyncio.sleep(0)

    async def get(self, key: str, /) -> Result[bytes]:
        await self.pause()
        found = self.values.get(key)
        await self.pause()
        return Failure(QiError.cache("KEY_NOT_FOUND", "none")) if found is None else Success(found)

    async def set(self, key: str, value: bytes, /, ttl: float | None = None) -> Result[None]:
        await self.pause()
        self.values[key] = value
        await self.pause()
        return Success(None)

    async def remove(self, key: str, /) -> Result[bool]:
        await self.pause()
        found = self.values.pop(key, None)
        await self.pause()
        return Success(found is not None)


class World:
    """Pages with versions, for kinds of readers, with and without a name."""

    def __init__(self, seed: int, near: bool, vary: str) -> None:
        self.turns = random.Random(seed)
        self.store = Slow(self.turns)
        self.vary = vary
        self.now = 1e9
        self.versions: dict[str, int] = dict.fromkeys(PATHS, 0)
        self.wrong: list[Any] = []
        store = None if near else self.store
        self.handler = response_cache(store=store, clock=lambda: self.now, patience=60)(self.handle)

    async def handle(self, request: Request) -> Result[Response]:
        await self.store.pause()
        path = request.url.path
        if request.method == "PUT":
            self.versions[path] += 1
            await self.store.pause()
            return Success(Response(status_code=204))
        accept, user = request.headers.get("accept", ""), request.headers.get("cookie", "")
        control = self.turns.choice(CONTROLS)
        kind = accept if "accept" in self.vary else ""
        shown = "" if "public" in control or "s-maxage" in control else user
        body = f"{path} {self.versions[path]} {kind} {shown}"
        await self.store.pause()
        headers = {"cache-control": control, "vary": self.vary}
        if not control:
            headers.pop("cache-control")
        return Success(PlainTextResponse(body, headers=headers))

    async def ask(self, method: str, path: str, accept: str, user: str) -> str:
        headers = [(b"accept", accept.encode())]
        if user:
            headers.append((b"cookie", user.encode()))
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": headers,
        }
        scope["server"] = ("example.org", 80)
        return bytes((await self.handler(Request(scope))).unwrap().body).decode()

    async def read(self, path: str, accept: str, user: str) -> None:
        before = self.versions[path] if path not in self.writing else -1
        body = await self.ask("GET", path, accept, user)
        found, version, kind, shown = body.split(" ")
        if found != path or int(version) < before or (kind and kind != accept) or (shown and shown != user):
            self.wrong.append((path, accept, user, before, body))

    writing: tuple[str, ...] = ()

    async def write(self, path: str) -> None:
        self.writing = (*self.writing, path)
        await self.ask("PUT", path, "", "")
        rest = list(self.writing)
        rest.remove(path)
        self.writing = tuple(rest)


READ = st.tuples(
    st.just("read"), st.sampled_from(PATHS), st.sampled_from(KINDS), st.sampled_from(["", "", "ann", "bob"])
)
WRITE = st.tuples(st.just("write"), st.sampled_from(PATHS))
OTHER = st.just(("cancel",)) | st.tuples(st.just("wait"), st.integers(0, 40))
STEP = st.one_of(READ, READ, READ, WRITE, OTHER)


@given(
    st.lists(STEP, min_size=20, max_size=60),
    st.integers(0, 2**32),
    st.booleans(),
    st.sampled_from(["accept", "accept, x"]),
)
@settings(deadline=None, max_examples=200)
def test_nobody_reads_what_was_before_a_write_nor_what_is_for_another(
    steps: list[Any], seed: int, near: bool, vary: str
) -> None:
    async def run() -> None:
        world = World(seed, near, vary)
        tasks: list[asyncio.Task[None]] = []
        readers: list[asyncio.Task[None]] = []
        for name, *arguments in steps:
            if name == "read":
                readers.append(asyncio.create_task(world.read(*arguments)))
            elif name == "write":
                tasks.append(asyncio.create_task(world.write(*arguments)))
            elif name == "cancel" and readers:
                readers[world.turns.randrange(len(readers))].cancel()
            elif name == "wait":
                world.now += arguments[0]
            for _ in range(world.turns.choice((0, 1, 3, 10, 40))):
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        await asyncio.gather(*readers, return_exceptions=True)
        assert not any(task.exception() for task in readers if not task.cancelled()), (
            "a reader gets an answer, or is cancelled"
        )
        assert world.wrong == []

    asyncio.run(run())
