"""`askdocs serve`: the site in worker processes, reloaded and stopped without dropping a request."""

from __future__ import annotations

import os

from qicore.asgi import Server, ServerConfig
from qicore.base import Result, early_return
from rich.console import Console
from rich.text import Text

from askdocs.settings import Settings
from askdocs.site import ENVIRONMENT, opened

__all__ = ["serve"]


@early_return
async def serve(settings: Settings, console: Console) -> Result[None]:
    """Serve the index until SIGINT or SIGTERM; SIGHUP puts new workers in the place of the old ones.

    Fails with INDEX_NOT_FOUND [FILESYSTEM] before anything listens, and as the server does.
    """
    # Told here, once, instead of by each worker.
    async with (await opened(settings)).unwrap() as index:
        (await index.ping()).unwrap()
    # The workers are processes of their own, and find their settings there.
    os.environ[ENVIRONMENT] = settings.model_dump_json()
    server = Server.create(
        "askdocs.site:from_environment",
        ServerConfig(
            host=settings.serve.host,
            port=settings.serve.port,
            workers=settings.serve.workers,
            factory=True,
            proxy_headers=bool(settings.serve.proxies),
            trusted_proxies=settings.serve.proxies,
        ),
    ).unwrap()
    (await server.start()).unwrap()
    console.print(Text(f"serving {settings.index.place} at {server.url} (Ctrl-C stops it)"))
    return await server.wait()
