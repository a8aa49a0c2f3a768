"""Which proxy a request goes through."""

from __future__ import annotations

import ipaddress
from typing import Final
from urllib.request import getproxies, getproxies_environment, proxy_bypass

__all__ = ["PROXY_SCHEMES", "Proxies", "is_exempt"]

PROXY_SCHEMES: Final = ("http", "https")


class Proxies:
    """The proxy for everything, or else those of the environment as they were when the client was made.

    >>> proxies = Proxies("http://proxy.example:3128", trust_env=True)
    >>> proxies.choose("https", "example.org", 443)
    'http://proxy.example:3128'
    """

    def __init__(self, proxy: str | None, *, trust_env: bool) -> None:
        self._proxy = proxy
        heeded = trust_env and proxy is None
        self._found: dict[str, str] = getproxies() if heeded else {}
        # Without any in the environment, `getproxies` gives those of the system, if that has such settings.
        environment: dict[str, str] = getproxies_environment() if heeded else {}
        self._exempt = environment.get("no", "") if environment else None

    def unusable(self) -> str | None:
        """Return what is wrong with the proxies of the environment, or None."""
        for name in ("http", "https", "all"):
            scheme, separator, _ = self._found.get(name, "").partition("://")
            if separator and scheme not in PROXY_SCHEMES:
                return (
                    f"{name.upper()}_PROXY is the address of a {scheme} proxy, and it takes "
                    f"{' or '.join(PROXY_SCHEMES)}; trust_env=False ignores it"
                )
        return None

    def choose(self, scheme: str, host: str, port: int) -> str | None:
        """Return the URL of the proxy for this origin, or None for none."""
        if self._proxy is not None:
            return self._proxy
        found = self._found.get(scheme) or self._found.get("all")
        if not found or self._passes_by(host, port):
            return None
        return found if "://" in found else f"http://{found}"

    def _passes_by(self, host: str, port: int) -> bool:
        return proxy_bypass(host) if self._exempt is None else is_exempt(host, port, self._exempt)


def is_exempt(host: str, port: int, rules: str) -> bool:
    """Return whether a list as in NO_PROXY names this host: by name, domain, address or network; `*` is all.

    A rule may end with a port. `example.org` and `.example.org` are that host and all below it, as with curl.

    >>> rules = ".example.org, 10.0.0.0/8, [::1]:80, b.org:80"
    >>> [is_exempt(host, 80, rules) for host in ("a.example.org", "10.1.2.3", "::1", "b.org")]
    [True, True, True, True]
    >>> [is_exempt(host, 443, rules) for host in ("badexample.org", "11.1.2.3", "::1", "b.org")]
    [False, False, False, False]
    """
    host = host.lower().rstrip(".")
    return any(_names(rule.strip().lower(), host, port) for rule in rules.split(","))


def _names(rule: str, host: str, port: int) -> bool:
    name, separator, number = rule.rpartition(":")
    if separator and number.isdigit() and (":" not in name or name.startswith("[")):
        if int(number) != port:
            return False
    else:
        name = rule
    name = name.strip("[]").strip(".")
    if name in ("*", host):
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return bool(name) and host.endswith(f".{name}")
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False
