"""Lists in pages: the SDK's server gives all of a list at once."""

from __future__ import annotations

from typing import Any, Final

import mcp_types as types

from mcp import MCPError

__all__ = ["paging"]

_LISTS: Final = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "resource_templates",
    "prompts/list": "prompts",
}


def paging(size: int) -> Any:
    """Return middleware of the SDK that answers lists in pages of `size`."""

    async def page(ctx: Any, call_next: Any) -> Any:
        result = await call_next(ctx)
        name = _LISTS.get(ctx.method)
        if name is None or result is None:
            return result
        params: Any = ctx.params or {}
        start = _start(params.get("cursor"))
        return _cut(result, name, start, size)

    return page


def _cut(result: Any, name: str, start: int, size: int) -> Any:
    if hasattr(result, "keys"):
        key = "resourceTemplates" if name == "resource_templates" else name
        entries = result[key]
        more = start + size < len(entries)
        return {
            **result,
            key: entries[start : start + size],
            **({"nextCursor": str(start + size)} if more else {}),
        }
    entries = getattr(result, name)
    more = start + size < len(entries)
    return result.model_copy(
        update={name: entries[start : start + size], "next_cursor": str(start + size) if more else None}
    )


def _start(cursor: object) -> int:
    if cursor is None:
        return 0
    if isinstance(cursor, str) and cursor.isascii() and cursor.isdigit() and len(cursor) < 10:
        return int(cursor)
    raise MCPError(types.INVALID_PARAMS, "this is no cursor of this server")
