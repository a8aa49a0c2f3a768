"""HTTP servers for tests: real ones in a process of their own, a proxy, and the raw-socket `FaultServer`.

The fixtures are imported into a package's `conftest.py`:

    from qicore_testkit.http_servers import fault_server, httpbin_url, tls_server  # noqa: F401

What they need (httpbin, hypercorn, trustme) belongs to the test dependencies of that package.
"""

from __future__ import annotations

import datetime as dt
import re
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from qicore_testkit.fault_server import FaultServer, wait_until
from qicore_testkit.proxy import forward_proxy

__all__ = [
    "Certificates",
    "FaultServer",
    "TLSServer",
    "certificates",
    "closed_port",
    "fault_server",
    "httpbin",
    "httpbin_url",
    "hypercorn",
    "make_certificates",
    "proxy",
    "run_server",
    "tls_server",
]

_HOST = "127.0.0.1"


@contextmanager
def closed_port() -> Generator[int]:
    """Hold a port of the loopback that refuses connections: bound by us, listened to by nobody."""
    with socket.socket() as holder:
        holder.bind((_HOST, 0))
        yield holder.getsockname()[1]


@contextmanager
def run_server(
    command: Sequence[str], ready: str, *, pass_fds: Sequence[int] = (), seconds: float = 60.0
) -> Generator[re.Match[str]]:
    """Run a server as a process until the end of `with`; yield the match of `ready` in what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log.txt")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=pass_fds
            )
        try:
            found: re.Match[str] | None = None

            def is_ready() -> bool:
                nonlocal found
                found = re.search(ready, log.read_text(encoding="utf-8", errors="replace"))
                return found is not None or process.poll() is not None

            wait_until(is_ready, seconds)
            assert found is not None, f"{command} did not start:\n{log.read_text(encoding='utf-8')}"
            yield found
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def httpbin() -> Generator[str]:
    """Run httpbin on a free port and yield its address, without a slash at its end."""
    command = [sys.executable, "-W", "ignore", "-m", "httpbin.core", "--host", _HOST, "--port", "0"]
    with run_server(command, r"Running on (http://[\d.:]+)") as found:
        yield found[1]


@dataclass(frozen=True, slots=True)
class Certificates:
    """A certificate authority of the tests' own, and what it signed, as PEM files."""

    folder: Path
    authority: Path
    """Its own certificate, which a client has to trust."""
    good: Path
    """Key and chain for `localhost`, 127.0.0.1 and ::1."""
    expired: Path
    """The same, but it ran out yesterday."""
    other_host: Path
    """Key and chain for `elsewhere.example`."""

    def server_context(self, chain: Path | None = None) -> ssl.SSLContext:
        """Return a server's context with one of the chains, the good one if none is given."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain or self.good)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a client's context that trusts the authority."""
        return ssl.create_default_context(cafile=str(self.authority))


def make_certificates(folder: Path) -> Certificates:
    """Write a new authority and its certificates to `folder`."""
    import trustme

    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    local = ("localhost", _HOST, "::1")
    issued = {
        "good": authority.issue_cert(*local),
        "expired": authority.issue_cert(*local, not_after=yesterday),
        "other_host": authority.issue_cert("elsewhere.example"),
    }
    for name, certificate in issued.items():
        certificate.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}.pem")
    return Certificates(folder, folder / "authority.pem", *(folder / f"{name}.pem" for name in issued))


@dataclass(frozen=True, slots=True)
class TLSServer:
    """A hypercorn of HTTP/1.1 and HTTP/2 over TLS; see `asgi_app` for its paths."""

    url: str
    certificates: Certificates


@contextmanager
def hypercorn(
    chain: Path | None, app: str = "qicore_testkit.asgi_app:app", *, clients: Path | None = None
) -> Generator[str]:
    """Run hypercorn with the given key and chain, or without TLS, on a free port; yield its address.

    With `clients` it takes only clients whose certificate one of these authorities has signed.
    """
    with socket.create_server((_HOST, 0), backlog=256) as listener:
        port = listener.getsockname()[1]
        number = listener.fileno()
        command = [sys.executable, "-m", "hypercorn", "--bind", f"fd://{number}", "--graceful-timeout", "0"]
        if chain is not None:
            command += ["--certfile", str(chain), "--keyfile", str(chain)]
        if clients is not None:
            command += ["--ca-certs", str(clients), "--verify-mode", "CERT_REQUIRED"]
        with run_server([*command, app], r"Running on", pass_fds=[number]):
            yield f"{'http' if chain is None else 'https'}://localhost:{port}"


@pytest.fixture
def fault_server() -> Iterator[FaultServer]:
    """A server on a raw socket that does to each request what the test scripts."""
    with FaultServer() as server:
        yield server


@pytest.fixture(scope="session")
def httpbin_url() -> Iterator[str]:
    """The address of an httpbin that all tests of the run share."""
    with httpbin() as url:
        yield url


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority of the run's own, with a good, an expired and a misplaced certificate."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def tls_server(certificates: Certificates) -> Iterator[TLSServer]:
    """A hypercorn with the good certificate that all tests of the run share."""
    with hypercorn(certificates.good) as url:
        yield TLSServer(url, certificates)


@pytest.fixture
def proxy() -> Iterator[FaultServer]:
    """A forward proxy; its `requests` tell what passed."""
    with forward_proxy() as running:
        yield running
