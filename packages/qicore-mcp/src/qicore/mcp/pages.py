"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from qicore.mcp.errors import invalid_message

__all__ = ["every_page"]


async def every_page(page: Callable[[str | None], Awaitable[Any]], name: str, most: int) -> list[Any]:
    """Return the entries of all pages; a QiError is raised for a server that goes round in circles."""
    entries: list[Any] = []
    seen: set[str] = set()
    cursor: str | None = None
    for _ in range(most):
        result = await page(cursor)
        entries += getattr(result, name)
        cursor = result.next_cursor
        if cursor is None:
            return entries
        if cursor in seen:
            raise invalid_message(f"{name}/list: the server repeats a page")
        seen.add(cursor)
    raise invalid_message(f"{name}/list: more than {most} pages")
