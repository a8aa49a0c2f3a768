"""A server with everything, for the tests: over stdio, or with `--http`, which tells its port."""

import asyncio
import os
import socket
import sys
from dataclasses import dataclass
from typing import Annotated

from mcp.server.mcpserver import Context, Elicit, ListRoots, Resolve, Sample
from mcp_types import CreateMessageResult, ListRootsResult, SamplingMessage, TextContent
from pydantic import BaseModel
from qicore.base import Failure, QiError, Result, Success
from qicore.mcp import MCPServer, MCPServerConfig


@dataclass
class Weather:
    city: str
    degrees: float


class Answer(BaseModel):
    yes: bool


def ask_user(topic: str) -> Elicit[Answer]:
    if topic == "crash":
        raise RuntimeError("the password is sesame")
    return Elicit(f"Do you like {topic}?", Answer)


def ask_model() -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(type="text", text="hm?"))], max_tokens=9)


def ask_folders() -> ListRoots:
    return ListRoots()


def make(config: MCPServerConfig | None = None) -> MCPServer:
    server = MCPServer(
        "everything", config or MCPServerConfig(version="1.2", instructions="Be kind.", page_size=3)
    )

    @server.tool()
    def add(a: int, b: int = 1) -> int:
        """Add two numbers."""
        return a + b

    @server.tool()
    async def weather(city: str) -> Result[Weather]:
        """Tell the weather."""
        if city == "Atlantis":
            return Failure(QiError.validation("NO_SUCH_CITY", "there is no such city", secret="sesame"))
        return Success(Weather(city, 21.5))

    @server.tool()
    def crash() -> str:
        raise RuntimeError("the password is sesame")

    @server.tool()
    async def sleep(seconds: float, ctx: Context) -> str:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            cancelled.append("sleep")
            raise
        return "awake"

    @server.tool()
    def cancellations() -> list[str]:
        return cancelled

    @server.tool()
    def huge(size: int) -> str:
        return "x" * size

    @server.tool()
    def pid() -> int:
        return os.getpid()

    @server.tool()
    def printing() -> str:
        print("this is no message")  # noqa: T201 - that is what is tried
        return "printed"

    @server.tool()
    async def steps(count: int, ctx: Context, size: int = 0) -> int:
        for number in range(count):
            await ctx.report_progress(number + 1, count, f"step {number + 1}" + "." * size)
        return count

    @server.tool()
    def header(name: str, ctx: Context) -> str | None:
        """Tell a header of the request."""
        return None if ctx.headers is None else ctx.headers.get(name)

    @server.tool()
    async def ask(ctx: Context) -> str:
        answer = await ctx.elicit("Do you?", Answer)
        return answer.model_dump_json()

    @server.tool()
    def consult(
        topic: str,
        user: Annotated[Answer, Resolve(ask_user)],
        model: Annotated[CreateMessageResult, Resolve(ask_model)],
        folders: Annotated[ListRootsResult, Resolve(ask_folders)],
    ) -> str:
        """Ask the user, the model and for the folders, in any version of the protocol."""
        return f"{topic}: {user.yes}, {getattr(model.content, 'text', '')}, {folders.roots[0].name}"

    @server.tool()
    def no_unicode(fail: bool = False) -> Result[str]:
        """Answer a name as the file system may give it."""
        name = b"caf\xe9".decode("utf-8", "surrogateescape")
        return Failure(QiError.validation("NO_SUCH_FILE", name)) if fail else Success(name)

    @server.resource("text://greeting", mime_type="text/plain")
    def greeting() -> str:
        """A greeting."""
        return "Hello"

    @server.resource("item://{number}")
    def item(number: str) -> Result[str]:
        """An item."""
        if number == "0":
            return Failure(QiError.validation("NO_SUCH_ITEM", "there is no item 0", secret="sesame"))
        if number == "1":
            raise RuntimeError("the password is sesame")
        return Success(f"item {number}")

    @server.prompt()
    def review(code: str) -> Result[str]:
        """Ask for a review."""
        return Success(f"Review this: {code}")

    return server


cancelled: list[str] = []


def main() -> None:
    if "--http" not in sys.argv:
        make().run_stdio()
        return
    import uvicorn

    listener = socket.create_server(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    print(listener.getsockname()[1], flush=True)  # noqa: T201 - whoever started it reads it
    config = uvicorn.Config(make().asgi_app(), log_level="warning", lifespan="on")
    asyncio.run(uvicorn.Server(config).serve([listener]))


if __name__ == "__main__":
    main()
