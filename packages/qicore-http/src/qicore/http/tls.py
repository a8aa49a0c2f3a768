"""TLS contexts, shared by all clients of a process that want the same.

Loading the certificates of the usual authorities takes some 20 ms, so a context is built when the first https
connection needs it, and once for each set of options (see benchmarks/).
"""

from __future__ import annotations

import ssl
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

__all__ = ["TLSOptions", "tls_context"]

_MAX_CONTEXTS: Final = 64
_lock: Final = threading.Lock()
_contexts: Final[OrderedDict[tuple[object, ...], ssl.SSLContext]] = OrderedDict()


@dataclass(frozen=True, slots=True)
class TLSOptions:
    """What a context depends on.

    Attributes:
        verify: True to trust the usual authorities, False to trust anybody, or a PEM file or folder of
            authorities to trust.
        certificate: PEM file with the client's certificate and, if it is not in `key`, its key.
        key: PEM file with the key, or None.
        password: of the key, or None.
        http2: whether to offer HTTP/2.
    """

    verify: bool | str
    certificate: str | None
    key: str | None
    password: str | None
    http2: bool

    def fingerprint(self) -> tuple[object, ...]:
        """Return what tells two contexts apart: a file that was replaced makes a new one."""
        files = (self.verify if isinstance(self.verify, str) else None, self.certificate, self.key)
        return (self, *(_stamp(name) for name in files if name is not None))


def tls_context(options: TLSOptions) -> ssl.SSLContext:
    """Return the context for these options; OSError (ssl.SSLError too) when a file can't be used."""
    fingerprint = options.fingerprint()
    with _lock:
        context = _contexts.get(fingerprint)
        if context is None:
            context = _build(options)
            _contexts[fingerprint] = context
            if len(_contexts) > _MAX_CONTEXTS:
                _contexts.popitem(last=False)
        else:
            _contexts.move_to_end(fingerprint)
    return context


def _build(options: TLSOptions) -> ssl.SSLContext:
    if isinstance(options.verify, str):
        place = Path(options.verify)
        folder = place.is_dir()
        context = ssl.create_default_context(
            capath=str(place) if folder else None, cafile=None if folder else str(place)
        )
    else:
        # SSL_CERT_FILE and SSL_CERT_DIR if they are set, else the authorities of certifi.
        context = httpx.create_ssl_context(verify=options.verify)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # httpcore sets this at each connection too, to the same: a context is never shared by both settings.
    context.set_alpn_protocols(["http/1.1", "h2"] if options.http2 else ["http/1.1"])
    if options.certificate is not None:
        context.load_cert_chain(options.certificate, options.key, options.password)
    return context


def _stamp(name: str) -> tuple[int, int]:
    found = Path(name).stat()
    return found.st_mtime_ns, found.st_size
