"""A client of an ASGI application in the same process."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


def connect(app: Any) -> "httpx.AsyncClient":
    """Return a client of `app`; it holds nothing that must be closed."""
    import httpx

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")
