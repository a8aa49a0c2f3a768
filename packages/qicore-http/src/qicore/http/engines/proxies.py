"""Which proxy a request goes through."""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

__all__ = ["Proxies"]


class Proxies:
    """The proxy for everything, or else those of the environment as they were when the client was made."""

    def __init__(self, proxy: str | None, *, trust_env: bool) -> None:
        self._proxy = proxy
        self._found = getproxies() if trust_env and proxy is None else {}

    def choose(self, scheme: str, host: str) -> str | None:
        """Return the URL of the proxy for this scheme and host, or None for none."""
        if self._proxy is not None:
            return self._proxy
        found = self._found.get(scheme) or self._found.get("all")
        if not found or proxy_bypass(host):
            return None
        return found if "://" in found else f"http://{found}"
