"""The options of an MCP server, and the checks on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self, cast

from qicore.base import Result
from qicore.base.options import Checks

__all__ = ["MCPServerConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MCPServerConfig:
    """How a server behaves; the defaults are right for production.

    Attributes:
        version: of the server, for clients to see.
        title: of the server, for people to see, or None.
        instructions: how it wants to be used, for a model to read.
        page_size: how many tools, resources, templates or prompts a list gives at once.
        path: where streamable HTTP is served.
        json_response: answer with plain JSON instead of an event stream; then there is no progress.
        stateless: keep no sessions, so that any of several servers can take any request.
        max_request_size: bytes that a request over HTTP may have.
        allowed_hosts: values of the Host field that are served beside those of this machine; a `:*` at the
            end stands for any port.
        allowed_origins: values of the Origin field that browsers may send.
    """

    version: str = ""
    title: str | None = None
    instructions: str = ""
    page_size: int = 100
    path: str = "/mcp"
    json_response: bool = False
    stateless: bool = False
    max_request_size: int = 4 * 1024 * 1024
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()

    def check(self) -> Result[Self]:
        """Return these options, or what is wrong with them, all of it: INVALID_MCP_CONFIG [VALIDATION].

        >>> str(MCPServerConfig(page_size=0).check().error)
        'VALIDATION/INVALID_MCP_CONFIG: page_size must be a whole number of at least 1'
        """
        checks = Checks().text("version", self.version, empty=True).text("title", self.title, none=True)
        checks.text("instructions", self.instructions, empty=True).text("path", self.path)
        checks.that(str(self.path).startswith("/"), "path must begin with a slash")
        checks.whole("page_size", self.page_size).whole("max_request_size", self.max_request_size)
        for name in ("json_response", "stateless"):
            checks.that(isinstance(getattr(self, name), bool), f"{name} must be True or False")
        for name in ("allowed_hosts", "allowed_origins"):
            values = cast("tuple[object, ...]", getattr(self, name))
            right = type(values) is tuple and all(isinstance(value, str) and value for value in values)
            checks.that(right, f"{name} must be a tuple of texts")
        return checks.answer(self, "INVALID_MCP_CONFIG")
