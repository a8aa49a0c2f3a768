"""The client: what users of qicore-mcp hold in their hands."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from qicore.base import Result, Success
from qicore.mcp.config import McpConfig


class Mcp:
    """Opens with `create`, closes with `close` or at the end of an `async with`.

    >>> client = Mcp.create().unwrap()
    >>> client.config.timeout
    30.0
    """

    __slots__ = ("_closed", "config")

    def __init__(self, config: McpConfig) -> None:
        self.config = config
        self._closed = False

    @classmethod
    def create(cls, config: McpConfig | None = None) -> Result[Self]:
        """Check the options and return a client; INVALID_MCP_CONFIG [VALIDATION]."""
        return (config or McpConfig()).check().map(cls)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def close(self) -> Result[None]:
        """Release what the client holds. A second call changes nothing."""
        self._closed = True
        return Success(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
