"""Reload while developing: when a source file changes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from qicore.asgi.config import ServerConfig

__all__ = ["changes"]

log: Final = logging.getLogger("qicore.asgi")

_AT_MOST: Final = 5


async def changes(config: ServerConfig) -> AsyncIterator[list[str]]:
    """Yield the names of Python files that changed below the watched directories, each time some did."""
    try:
        import watchfiles
    except ImportError:
        log.error("reload needs watchfiles: install qicore-asgi[reload]")
        return
    directories = config.reload_dirs or [config.app_dir]
    watching = watchfiles.awatch(  # pyright: ignore[reportUnknownMemberType]  # it knows other libraries' events
        *directories, watch_filter=watchfiles.PythonFilter(), raise_interrupt=False
    )
    async for found in watching:
        names = sorted({Path(path).name for _, path in found})
        yield [*names[:_AT_MOST], *(["…"] if len(names) > _AT_MOST else [])]
