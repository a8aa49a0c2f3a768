"""Lists in pages: the SDK's server gives all of a list at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import mcp_types as types
from pydantic import BaseModel
from qicore.mcp.handling import sendable

from mcp import MCPError

__all__ = ["in_pages"]


def in_pages(
    entries: Callable[[], Awaitable[Sequence[Any]]], field: str, answer: type[BaseModel], size: int
) -> Callable[[Any, types.PaginatedRequestParams], Awaitable[Any]]:
    """Return a handler for the SDK's server that gives a list in pages of `size`.

    A cursor is the number of the first entry: nothing is kept for a client between two pages.
    """

    async def page(_ctx: Any, params: types.PaginatedRequestParams) -> BaseModel:
        start = _start(params.cursor)
        every = await entries()
        end = start + size
        more = str(end) if end < len(every) else None
        return sendable(f"the list of {field}", answer(**{field: every[start:end]}, next_cursor=more))

    return page


def _start(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if cursor.isascii() and cursor.isdigit() and len(cursor) < 10:
        return int(cursor)
    raise MCPError(types.INVALID_PARAMS, "this is no cursor of this server")
