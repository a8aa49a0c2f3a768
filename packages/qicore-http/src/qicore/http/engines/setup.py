"""What the options say to every engine."""

from __future__ import annotations

from qicore.http.config import HTTPConfig
from qicore.http.engines.proxies import Proxies
from qicore.http.guard import NetworkGuard
from qicore.http.tls import TLSOptions

__all__ = ["guard_of", "proxies_of", "tls_options"]


def guard_of(config: HTTPConfig) -> NetworkGuard | None:
    """Return the guard that the options ask for."""
    return NetworkGuard(config.allowed_networks) if config.block_private_networks else None


def proxies_of(config: HTTPConfig) -> Proxies:
    """Return the proxies that the options or the environment name."""
    # Behind a proxy it is the proxy that connects: a guard here would guard nothing.
    return Proxies(config.proxy, trust_env=config.trust_env and not config.block_private_networks)


def tls_options(config: HTTPConfig) -> TLSOptions:
    """Return what the options say about TLS."""
    return TLSOptions(
        config.verify if isinstance(config.verify, bool) else str(config.verify),
        None if config.certificate is None else str(config.certificate),
        None if config.certificate_key is None else str(config.certificate_key),
        config.certificate_password,
        config.http2,
    )
