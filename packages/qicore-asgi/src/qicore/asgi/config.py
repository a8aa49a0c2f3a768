"""The options of a server, and the checks on them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from qicore.base import Failure, QiError, Result, Success

__all__ = ["ServerConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerConfig:
    """How a `Server` behaves. The defaults are meant for production.

    Durations are seconds, sizes are bytes. `None` is no limit where it is allowed.

    Attributes:
        host: address to listen at; `"0.0.0.0"` or `"::"` is every one of this machine.
        port: TCP port; 0 lets the system choose, and `server.port` tells which.
        uds: path of a Unix socket to listen at, in the place of host and port.
        backlog: connections that may wait to be accepted.
        workers: processes that serve. 0 serves in this process and event loop; 1 and more are supervised.
        factory: the application is a function that makes it.
        app_dir: directory to import the application from, when it is named as `"module:attribute"`.
        loop: event loop of workers and of `run()`: `"auto"` is uvloop where it is installed.
        http: parser of HTTP: `"auto"` is httptools where it is installed, else h11.
        root_path: path prefix that a proxy cut off.
        proxy_headers: take client address and scheme from `X-Forwarded-*` of `trusted_proxies`.
        trusted_proxies: addresses and networks of proxies whose headers are believed; `"*"` for all.
        certfile: certificate chain (PEM) for TLS.
        keyfile: its private key, when it is not in `certfile`.
        keyfile_password: what the private key is encrypted with.
        ca_certs: authorities (PEM) that client certificates must come from; clients need one then.
        concurrency: requests that run at once in each process.
        queue: requests that wait for their turn past that; the next is answered 503 at once.
        retry_after: what the `Retry-After` of a 503 says.
        max_connections: open connections of each process; the next is closed at once.
        keep_alive: for how long a connection may stay without a request.
        header_timeout: for how long the head of a request may take, from its first byte; a new connection
            must send its first byte within it, too.
        body_timeout: for how long a body may stop before it is whole.
        max_header_size: size of a request's head, past which it is answered 431. One that comes in large
            parts may have up to twice that.
        start_timeout: for how long the application may take to start.
        drain_timeout: for how long requests may go on once the server is told to stop.
        drain_idle: for how long a connection without a request is kept open while draining: a request may be
            on its way.
        heartbeat: how often a worker tells that it lives.
        stuck_after: a worker whose event loop told nothing for so long is killed and replaced.
        restart_backoff: the shortest wait before a worker that died early is replaced; it doubles each time.
        restart_backoff_max: the longest.
        max_requests: requests after which a worker is replaced.
        max_requests_jitter: up to how many more, so that workers are not replaced all at once.
        reload: replace the workers when a source file changes; for development.
        reload_dirs: directories to watch; `app_dir` when there are none.
        access_log: let uvicorn log each request, without the query of its URL.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    uds: str | None = None
    backlog: int = 2048
    workers: int = 0
    factory: bool = False
    app_dir: str = "."
    loop: Literal["auto", "asyncio", "uvloop"] = "auto"
    http: Literal["auto", "h11", "httptools"] = "auto"
    root_path: str = ""
    proxy_headers: bool = False
    trusted_proxies: Sequence[str] = ("127.0.0.1", "::1")
    certfile: str | None = None
    keyfile: str | None = None
    keyfile_password: str | None = None
    ca_certs: str | None = None
    concurrency: int | None = None
    queue: int = 1024
    retry_after: float = 1.0
    max_connections: int | None = None
    keep_alive: float = 5.0
    header_timeout: float = 10.0
    body_timeout: float = 60.0
    max_header_size: int = 64 * 1024
    start_timeout: float = 60.0
    drain_timeout: float = 30.0
    drain_idle: float = 1.0
    heartbeat: float = 1.0
    stuck_after: float = 30.0
    restart_backoff: float = 0.5
    restart_backoff_max: float = 30.0
    max_requests: int | None = None
    max_requests_jitter: int = 0
    reload: bool = False
    reload_dirs: Sequence[str] = ()
    access_log: bool = False

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name}={'…' if name == 'keyfile_password' and value else repr(value)}"
            for name in self.__dataclass_fields__
            if (value := getattr(self, name)) != self.__dataclass_fields__[name].default
        )
        return f"ServerConfig({shown})"

    def check(self) -> Result[Self]:
        """Return the options, or INVALID_ASGI_CONFIG [VALIDATION] naming every one that is wrong.

        >>> ServerConfig(port=70000, queue=-1).check().error.message
        'port must be a whole number from 0 to 65535; queue must be a whole number, 0 or more'
        """
        # Any, since callers without types may have put anything there.
        values: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        wrong = [*_wrong_texts(values), *_wrong_numbers(values), *_wrong_durations(values)]
        for name, allowed in (
            ("loop", ("auto", "asyncio", "uvloop")),
            ("http", ("auto", "h11", "httptools")),
        ):
            if values[name] not in allowed:
                wrong.append(f"{name} must be one of {', '.join(allowed)}")
        for name in ("trusted_proxies", "reload_dirs"):
            entries = values[name]
            if isinstance(entries, str) or not _all_texts(entries):
                wrong.append(f"{name} must be a list of texts")
        wrong += [
            f"{name} must be True or False"
            for name in ("factory", "proxy_headers", "reload", "access_log")
            if type(values[name]) is not bool
        ]
        if wrong:
            return Failure(QiError.validation("INVALID_ASGI_CONFIG", "; ".join(wrong)))
        if self.keyfile is not None and self.certfile is None:
            wrong.append("keyfile needs a certfile")
        if self.ca_certs is not None and self.certfile is None:
            wrong.append("ca_certs needs a certfile")
        if self.stuck_after <= 2 * self.heartbeat:
            wrong.append("stuck_after must be more than two heartbeats")
        if self.restart_backoff > self.restart_backoff_max:
            wrong.append("restart_backoff must not be more than restart_backoff_max")
        if self.reload and self.workers == 0:
            wrong.append("reload needs workers=1 or more")
        if self.uds is not None and os.name == "nt":
            wrong.append("uds is not there on Windows")
        if wrong:
            return Failure(QiError.validation("INVALID_ASGI_CONFIG", "; ".join(wrong)))
        return Success(self)


def _wrong_texts(values: dict[str, Any]) -> list[str]:
    wrong = [
        f"{name} must be text"
        for name in ("host", "app_dir", "root_path")
        if not isinstance(values[name], str) or "\0" in values[name]
    ]
    if isinstance(values["root_path"], str) and not values["root_path"].isascii():
        wrong.append("root_path must be ASCII: percent-encode the rest")
    wrong += [
        f"{name} must be text that is not empty, or None"
        for name in ("uds", "certfile", "keyfile", "keyfile_password", "ca_certs")
        if not (values[name] is None or (isinstance(values[name], str) and values[name].strip("\0")))
        or "\0" in (values[name] or "")
    ]
    return wrong


def _wrong_numbers(values: dict[str, Any]) -> list[str]:
    wrong: list[str] = []
    port = values["port"]
    if type(port) is not int or not 0 <= port <= 65535:
        wrong.append("port must be a whole number from 0 to 65535")
    for name, least in (
        ("backlog", 1),
        ("workers", 0),
        ("queue", 0),
        ("max_header_size", 256),
        ("max_requests_jitter", 0),
    ):
        if type(values[name]) is not int or values[name] < least:
            wrong.append(f"{name} must be a whole number, {least} or more")
    wrong += [
        f"{name} must be a whole number of at least 1, or None"
        for name in ("concurrency", "max_connections", "max_requests")
        if values[name] is not None and (type(values[name]) is not int or values[name] < 1)
    ]
    return wrong


def _wrong_durations(values: dict[str, Any]) -> list[str]:
    names = (
        *("keep_alive", "header_timeout", "body_timeout", "start_timeout", "heartbeat", "stuck_after"),
        *("restart_backoff", "restart_backoff_max"),
    )
    wrong = [
        f"{name} must be a number of seconds above 0" for name in names if not _is_duration(values[name], 0)
    ]
    wrong += [
        f"{name} must be a number of seconds, 0 or more"
        for name in ("retry_after", "drain_timeout", "drain_idle")
        if not (_is_duration(values[name], 0) or values[name] == 0)
    ]
    return wrong


def _is_duration(value: object, above: float) -> bool:
    # A year: what no clock or event loop has trouble with.
    return type(value) in (int, float) and above < value <= 31_536_000 and not math.isnan(value)  # type: ignore[operator, arg-type]  # numbers


def _all_texts(entries: Any) -> bool:
    try:
        return all(isinstance(entry, str) for entry in entries)
    except TypeError:
        return False
