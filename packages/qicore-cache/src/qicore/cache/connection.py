"""From a URL to a client of redis-py: one server, Sentinel or Cluster, each with the same guarantees.

- Nothing is ever sent twice. redis-py repeats a command, a write too, up to ten times after a lost connection
  or a socket timeout; a repeated INCR counts twice, and a repeated SET may undo a newer one. Its retries are
  off; what may be repeated (a read) is repeated by the cache.
- No socket timeout: every operation runs under one deadline of the cache, which also covers the waiting for a
  connection, the handshake and the log-in. A connection that a deadline or a cancellation leaves in the
  middle of an answer is closed by redis-py, never lent again.
- Behind Sentinels each connection asks its server for its role first: a Sentinel that has not heard of a
  fail-over yet still names the old primary, whose values are old ones.
- Maintenance notifications are off. While they are on, the pool of redis-py 8.1 lends connections that the
  server has closed, and the first command after a restart would fail.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias, cast
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import (
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostConnectionError
from redis.maint_notifications import MaintNotificationsConfig

__all__ = [
    "REDIS_SCHEMES",
    "BadURLError",
    "Command",
    "Link",
    "RedisClient",
    "Spare",
    "Target",
    "open_link",
    "parse_target",
]

RedisClient: TypeAlias = "Redis | RedisCluster"
Command: TypeAlias = tuple[str | bytes | int, ...]
Kind: TypeAlias = Literal["server", "socket", "sentinel", "cluster"]

_SCHEMES: Final[Mapping[str, tuple[Kind, bool]]] = {
    "redis": ("server", False),
    "rediss": ("server", True),
    "unix": ("socket", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
REDIS_SCHEMES: Final = frozenset(_SCHEMES)

# What a query string may set. Not the timeouts, retries, protocol and decoding, on which the guarantees rest.
_OPTIONS: Final = frozenset({"client_name", "db", "password", "username"})
_TLS_OPTIONS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_SENTINEL_OPTIONS: Final = frozenset({"sentinel_password", "sentinel_username"})


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL names. Its credentials are in `options`, which no repr shows.

    >>> parse_target("redis+sentinel://:secret@a:26379,b:26380/main/2")
    Target(kind='sentinel', hosts=(('a', 26379), ('b', 26380)), path='', service='main', tls=False)
    """

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    tls: bool = False
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    sentinel_options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)


class BadURLError(ValueError):
    """The URL names no Redis. The message never shows any of it: a part of a password may be anywhere."""


def parse_target(url: str) -> Target:
    """Take a URL apart; BadURLError when it can't be one."""
    try:
        return _parse(url)
    except BadURLError:
        raise
    except ValueError:  # of urllib, whose messages quote the URL
        raise BadURLError("the host or the port in the URL can't be read") from None


def _parse(url: str) -> Target:
    parts = urlsplit(url)
    kind, tls = _SCHEMES.get(parts.scheme, (None, False))
    if kind is None:
        raise BadURLError(f"the scheme of the URL must be one of {', '.join(sorted(_SCHEMES))}")
    allowed = set(_OPTIONS)
    if tls:
        allowed |= _TLS_OPTIONS
    if kind == "sentinel":
        allowed |= _SENTINEL_OPTIONS
    options: dict[str, Any] = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if parts.fragment or options.keys() - allowed:
        raise BadURLError(
            f"after the ? of the URL may stand {', '.join(sorted(allowed))}; "
            "elsewhere write ? # / and @ as %3F %23 %2F and %40"
        )
    login, _, place = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    options |= {name: unquote(text) for name, text in (("username", user), ("password", password)) if text}
    sentinel = {
        name.removeprefix("sentinel_"): options.pop(name) for name in _SENTINEL_OPTIONS & options.keys()
    }
    if kind == "socket":
        if place or not parts.path.strip("/"):
            raise BadURLError("the URL must be unix:///path/of/the/socket")
        return Target(kind, path=unquote(parts.path), options=_with_database(options, ""))
    segments = [unquote(segment) for segment in parts.path.split("/") if segment]
    service = segments.pop(0) if kind == "sentinel" and segments else ""
    if kind == "sentinel" and not service:
        raise BadURLError("the URL must name the service: redis+sentinel://host:port/service")
    if len(segments) > 1:
        raise BadURLError("the path of the URL must be the number of the database")
    hosts = tuple(_host(text, 26379 if kind == "sentinel" else 6379) for text in place.split(","))
    if kind == "server" and len(hosts) > 1:
        raise BadURLError("several hosts need redis+sentinel:// or redis+cluster://")
    options = _with_database(options, "".join(segments))
    if kind == "cluster" and options.pop("db"):
        raise BadURLError("a Cluster has one database, number 0")
    return Target(kind, hosts, service=service, tls=tls, options=options, sentinel_options=sentinel)


def _with_database(options: dict[str, Any], segment: str) -> dict[str, Any]:
    text = str(options.get("db", segment) or 0)
    if not (text.isascii() and text.isdigit()):
        raise BadURLError("the database in the URL must be a number")
    return {**options, "db": int(text)}


def _host(text: str, default_port: int) -> tuple[str, int]:
    # urlsplit knows IPv6 in brackets, and refuses a port that is no number.
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", default_port if parts.port is None else parts.port


class Spare(Protocol):
    """What is used of a connection that belongs to no pool."""

    def connect(self) -> Awaitable[None]:
        """Connect and log in."""
        ...

    def disconnect(self, *, nowait: bool) -> Awaitable[None]:
        """Close it."""
        ...

    def send_command(self, *words: bytes | str | int) -> Awaitable[None]:
        """Send one command."""
        ...

    def pack_commands(self, commands: Sequence[Command]) -> list[bytes]:
        """Return commands as they are sent."""
        ...

    def send_packed_command(self, command: list[bytes]) -> Awaitable[None]:
        """Send what was packed."""
        ...

    def can_read(self) -> Awaitable[bool]:
        """Whether there is something to read, or the end; raises when it is not connected."""
        ...

    def read_response(self, *, timeout: float | None = None, push_request: bool = False) -> Awaitable[Any]:
        """Read one answer; with `push_request` also a push message, and None when the time is over."""
        ...


async def _must_be_primary(connection: Any) -> None:
    await connection.send_command("ROLE")
    role = await connection.read_response()
    if role[0] != b"master":
        raise LostConnectionError("the Sentinel names a server that is no primary")


class _Sentinels(Sentinel):
    """Sentinels that several connections may ask at once."""

    async def discover_master(self, service_name: str) -> Any:
        """Ask one after the other, and begin the next time with the one that has answered.

        redis-py moves it to the front by exchanging two places of a list that all have in common. When others
        do so meanwhile, one Sentinel gets two places and another none: it is never asked again, nor closed.
        """
        asking = copy.copy(self)
        asking.sentinels = list(self.sentinels)
        found: Any = await cast("Any", Sentinel).discover_master(asking, service_name)
        first = asking.sentinels[0]
        self.sentinels.sort(key=lambda one: one is not first)
        return found


class _Primary(SentinelManagedConnection):
    """A connection to whichever server the Sentinels name, if it is the primary."""

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await _must_be_primary(self)


class _PrimaryTLS(SentinelManagedSSLConnection):
    """The same over TLS."""

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        await _must_be_primary(self)


class _Closeable(Protocol):
    def aclose(self) -> Awaitable[None]: ...


@dataclass(frozen=True, slots=True)
class Link:
    """A client, how to close it, and how to make one more connection to where it writes.

    Attributes:
        raw: the client of redis-py, for one server or a Cluster.
        spare: makes an unconnected connection outside of the pool; None for a Cluster, which has many
            servers.
        spare_at: the same for the server of a Cluster that is at a host and a port.
        seeds: the servers of a Cluster that its URL names.
    """

    raw: RedisClient
    closers: tuple[_Closeable, ...]
    spare: Callable[[], Spare] | None = None
    spare_at: Callable[[str, int], Callable[[], Spare]] | None = None
    seeds: tuple[tuple[str, int], ...] = ()

    async def close(self) -> None:
        """Close every connection, also when closing one fails or is cancelled."""
        async with AsyncExitStack() as stack:
            for closer in reversed(self.closers):
                stack.push_async_callback(closer.aclose)


def open_link(target: Target, *, timeout: float, max_connections: int) -> Link:
    """Return a client for the target; it connects when it is first used.

    `timeout`, in seconds, only divides the time between the sentinels, so that a dead one leaves some for
    the next; `max_connections` bounds the pool, and that to each server of a Cluster.
    """
    common: dict[str, Any] = {
        "protocol": 3,
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        **target.options,
    }
    if target.kind == "cluster":
        nodes = [ClusterNode(host, port) for host, port in target.hosts]
        cluster = RedisCluster(startup_nodes=nodes, ssl=target.tls, max_connections=max_connections, **common)
        kind = SSLConnection if target.tls else Connection

        def spare_at(host: str, port: int) -> Callable[[], Spare]:
            pool = ConnectionPool(connection_class=kind, host=host, port=port, **common)
            return cast("Callable[[], Spare]", pool.make_connection)

        return Link(cluster, (cluster,), spare_at=spare_at, seeds=target.hosts)
    if target.kind == "sentinel":
        share = timeout / (len(target.hosts) + 1)
        asking: dict[str, Any] = {**common, "socket_timeout": share, "socket_connect_timeout": share}
        for name in ("db", "username", "password"):
            asking.pop(name, None)
        sentinel = _Sentinels(  # type: ignore[no-untyped-call]  # redis-py has no types there
            list(target.hosts),
            sentinel_kwargs={**asking, **target.sentinel_options, "ssl": target.tls},
            **common,
        )
        primary: Redis = cast("Any", sentinel).master_for(
            target.service,
            max_connections=max_connections,
            connection_class=_PrimaryTLS if target.tls else _Primary,
        )
        spare = primary.connection_pool.make_connection
        return Link(primary, (primary, sentinel), cast("Callable[[], Spare]", spare))
    if target.kind == "socket":
        place: dict[str, Any] = {"connection_class": UnixDomainSocketConnection, "path": target.path}
    else:
        host, port = target.hosts[0]
        place = {"connection_class": SSLConnection if target.tls else Connection, "host": host, "port": port}
    pool = ConnectionPool(max_connections=max_connections, **place, **common)
    client = Redis.from_pool(pool)
    return Link(client, (client,), cast("Callable[[], Spare]", pool.make_connection))
