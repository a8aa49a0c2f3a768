"""Node, the programs of npm that speak MCP, and our server for them."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from qicore_testkit.npm import NPM

HERE = Path(__file__).parent


@pytest.fixture(scope="session", autouse=True)
def programs() -> None:
    NPM(HERE).install()


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The address of the server that the conformance suite wants."""
    with subprocess.Popen(
        [sys.executable, str(HERE / "conformance_server.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
        process.stdin.close()
