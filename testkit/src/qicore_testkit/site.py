"""A site to read: a real server on a free port, whose pages change, and that can die."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

__all__ = ["Answer", "Site", "serving"]


@dataclass(frozen=True)
class Answer:
    """What the site says: a page, or something else."""

    body: bytes = b""
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class Site:
    """Pages by path. `asked` tells what was asked for, with the status it was given: 0 for a reset."""

    pages: dict[str, Answer] = field(default_factory=dict[str, Answer])
    asked: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    agents: set[str] = field(default_factory=set[str])
    dies_after: int | None = None
    port: int = 0
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        """Where it begins."""
        return f"http://127.0.0.1:{self.port}/"

    def html(self, path: str, words: str, *links: str, **headers: str) -> None:
        """Put a page there that links to others; `Cache_Control=...` is a header of its answer."""
        anchors = "".join(f'<p><a href="{link}">on</a></p>' for link in links)
        body = f"<html><head><title>{path}</title></head><body><p>{words}</p>{anchors}</body></html>"
        self.pages[path] = Answer(body.encode(), headers=headers)

    def wait_for(self, count: int, path: str | None = None) -> None:
        """Wait until so many requests, of this path or of any, were answered."""
        with self.changed:
            self.changed.wait_for(lambda: sum(path in (None, asked) for asked, _ in self.asked) >= count)

    def note(self, path: str, status: int) -> None:
        """Write down a request."""
        with self.changed:
            self.asked.append((path, status))
            self.changed.notify_all()

    def answers(self, path: str) -> list[int]:
        """Return the statuses that this path was answered with."""
        return [status for asked, status in self.asked if asked == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site = cast("_Server", self.server).site
        with site.changed:  # a condition's lock may be taken twice
            dead = site.dies_after is not None and len(site.asked) >= site.dies_after
            if dead:
                site.note(self.path, 0)
        if dead:  # a reset, as of a process that was killed
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        answer = site.pages.get(self.path, Answer(b"nothing here", "text/plain", 404))
        tag = f'"{sha256(answer.body).hexdigest()[:16]}"'
        status = answer.status
        if status == 200 and self.headers.get("If-None-Match") == tag:
            answer, status = Answer(headers=answer.headers), 304
        site.agents.add(self.headers.get("User-Agent", ""))
        site.note(self.path, status)
        self.send_response(status)
        if answer.kind:
            self.send_header("Content-Type", answer.kind)
        if status in (200, 304):
            self.send_header("ETag", tag)
        for name, value in answer.headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 304:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if status != 304:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has in the base
        """Say nothing: the tests look at `asked`."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, site: Site) -> None:
        self.site = site
        super().__init__(("127.0.0.1", site.port), _Handler)
        site.port = self.server_address[1]


@contextmanager
def serving(site: Site) -> Generator[Site]:
    """Serve the site while the block runs."""
    server = _Server(site)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
