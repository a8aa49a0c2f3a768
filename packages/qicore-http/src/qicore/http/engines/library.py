"""httpcore or httpcore2: the layer below httpx and httpx2, by the same names."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import httpcore

__all__ = ["Library", "load_library"]


@dataclass(frozen=True, slots=True)
class Library:
    """What is used of it. The types are httpcore's; its successor has the same names and signatures."""

    AsyncConnectionPool: type[httpcore.AsyncConnectionPool]
    ConnectionPool: type[httpcore.ConnectionPool]
    Proxy: type[httpcore.Proxy]
    Request: type[httpcore.Request]
    URL: type[httpcore.URL]
    SyncBackend: type[httpcore.SyncBackend]
    ConnectError: type[Exception]
    ConnectTimeout: type[Exception]
    ConnectionNotAvailable: type[Exception]
    PoolTimeout: type[Exception]
    ReadError: type[Exception]
    ReadTimeout: type[Exception]
    RemoteProtocolError: type[Exception]
    WriteError: type[Exception]
    WriteTimeout: type[Exception]


def load_library(name: str) -> Library:
    """Return the library of that name; ImportError if it is not installed."""
    module: Any = import_module(name)
    return Library(*(getattr(module, field) for field in Library.__dataclass_fields__))
