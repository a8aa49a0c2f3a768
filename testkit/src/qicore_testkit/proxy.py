"""A forward proxy: CONNECT tunnels, and plain requests with an absolute address."""

from __future__ import annotations

import select
import socket
from urllib.parse import urlsplit

from qicore_testkit.fault_server import Exchange, FaultServer
from qicore_testkit.raw_http import response

__all__ = ["forward", "forward_proxy"]


def forward_proxy() -> FaultServer:
    """Return a server that forwards every request; its `requests` tell what passed (CONNECT for tunnels)."""
    return FaultServer(default=forward)


def forward(exchange: Exchange) -> None:
    """Do what a forward proxy does with a request."""
    request = exchange.request
    tunnel = request.method == "CONNECT"
    parts = urlsplit(f"//{request.target}" if tunnel else request.target)
    try:
        upstream = socket.create_connection((parts.hostname, parts.port or 80), timeout=10)
    except OSError:
        exchange.send(response(502, b"no connection"))
        return
    with upstream:
        if tunnel:
            exchange.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            target = parts._replace(scheme="", netloc="").geturl() or "/"
            hop = (
                "connection",
                "proxy-authorization",
                "proxy-connection",
                "content-length",
                "transfer-encoding",
            )
            fields = [f"{name}: {value}" for name, value in request.fields if name not in hop]
            fields += ["connection: close", f"content-length: {len(request.body)}"]
            head = "\r\n".join([f"{request.method} {target} HTTP/1.1", *fields])
            upstream.sendall(head.encode("latin-1") + b"\r\n\r\n" + request.body)
        _relay(exchange.connection, upstream)
    exchange.close()


def _relay(client: socket.socket, upstream: socket.socket) -> None:
    other = {client: upstream, upstream: client}
    while True:
        readable, _, _ = select.select([client, upstream], [], [])
        for source in readable:
            data = source.recv(65536)
            if not data:
                return
            other[source].sendall(data)
