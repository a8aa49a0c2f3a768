"""The options of an MCP client, and the checks on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self, TextIO, cast

import httpx2
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from qicore.base import Result
from qicore.base.options import Checks
from qicore.resilience import RetryConfig

__all__ = ["MCPConfig"]

_MODES: Final = ("auto", "legacy", *MODERN_PROTOCOL_VERSIONS)


@dataclass(frozen=True, kw_only=True, slots=True)
class MCPConfig:
    """How a client behaves; the defaults are right for production.

    Attributes:
        name: what the server is told that the client is.
        version: and of which version.
        timeout: seconds that an operation may take, connecting anew included, or None.
        connect_timeout: seconds in which a server must have answered for the first time.
        reconnect: how connecting is repeated when it fails.
        mode: which protocol is spoken: `auto` asks the server, `legacy` begins with the handshake of the
            versions up to 2025-11-25, and a later version is taken as agreed.
        headers: sent with every request over HTTP.
        auth: how requests over HTTP prove who sends them, or None; `OAuthClientProvider` of the SDK's
            `mcp.client.auth` for one, or any `httpx2.Auth`.
        max_message_size: bytes of one message over HTTP.
        max_pages: of a list; a server that gives more has gone wrong.
        max_messages: how many messages of the server wait for `receive`; then the oldest are dropped.
        log_level: from which on the server shall send log messages, where the protocol (2026-07-28) has the
            client say so with each request; or None.
        stderr: where a child process writes its log; None for this process's standard error.
    """

    name: str = "qicore-mcp"
    version: str = "0.1"
    timeout: float | None = 60.0
    connect_timeout: float = 30.0
    reconnect: RetryConfig = field(default=RetryConfig())
    mode: str = "auto"
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    auth: httpx2.Auth | None = field(default=None, repr=False)
    max_message_size: int = 64 * 1024 * 1024
    max_pages: int = 100
    max_messages: int = 1000
    log_level: str | None = None
    stderr: TextIO | None = field(default=None, repr=False)

    def check(self) -> Result[Self]:
        """Return these options, or what is wrong with them, all of it: INVALID_MCP_CONFIG [VALIDATION].

        >>> str(MCPConfig(timeout=0).check().error)
        'VALIDATION/INVALID_MCP_CONFIG: timeout must be a number of seconds above 0, or None'
        """
        checks = Checks().text("name", self.name).text("version", self.version)
        checks.seconds("timeout", self.timeout, none=True).seconds("connect_timeout", self.connect_timeout)
        if isinstance(cast("object", self.reconnect), RetryConfig):
            checks.nested("reconnect", self.reconnect.check())
        else:
            checks.that(False, "reconnect must be a RetryConfig")
        checks.one_of("mode", self.mode, _MODES)
        checks.one_of("log_level", self.log_level, LEVELS, none=True)
        checks.that(_are_texts(self.headers), "headers must be texts by name, without line breaks")
        wanted = self.auth is None or isinstance(cast("object", self.auth), httpx2.Auth)
        checks.that(wanted, "auth must be an httpx2.Auth, or None")
        for name in ("max_message_size", "max_pages", "max_messages"):
            checks.whole(name, getattr(self, name))
        checks.that(self.stderr is None or hasattr(self.stderr, "fileno"), "stderr must be an open file")
        return checks.answer(self, "INVALID_MCP_CONFIG")


LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""Of log messages, the least urgent first (RFC 5424)."""


def _are_texts(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    texts = [text for pair in cast("Mapping[object, object]", value).items() for text in pair]
    return all(isinstance(text, str) and "\n" not in text and "\r" not in text for text in texts)
