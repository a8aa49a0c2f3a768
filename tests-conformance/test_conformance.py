"""The official conformance suite: its default checks of a server, its core checks of a client."""

import re
import shlex
import sys
from pathlib import Path

from qicore_testkit.npm import NPM

npm = NPM(Path(__file__).parent)
SUITE = ("@modelcontextprotocol/conformance", "conformance")
CLIENT = str(Path(__file__).with_name("conformance_client.py"))


def passed(output: str) -> dict[str, tuple[int, int]]:
    """How many checks passed and failed, by scenario, from the summary of the suite."""
    found = re.findall(r"^[✓✗] (\S+): (\d+) passed, (\d+) failed", output, re.MULTILINE)
    return {name: (int(good), int(bad)) for name, good, bad in found}


def test_the_default_checks_of_a_server(server_url: str, tmp_path: Path) -> None:
    done = npm.run(npm.program(*SUITE), "server", "--url", server_url, "--output-dir", str(tmp_path))
    scenarios = passed(done.stdout)
    assert {name: bad for name, (_, bad) in scenarios.items() if bad} == {}, done.stdout
    assert done.returncode == 0, done.stderr
    assert (len(scenarios), sum(good for good, _ in scenarios.values())) == (30, 40)


def test_a_check_that_is_not_among_them_yet(server_url: str, tmp_path: Path) -> None:
    scenario = ("--scenario", "json-schema-2020-12", "--verbose")
    done = npm.run(
        npm.program(*SUITE), "server", "--url", server_url, *scenario, "--output-dir", str(tmp_path)
    )
    assert done.returncode == 0, done.stdout
    (file,) = tmp_path.rglob("checks.json")
    assert file.read_text().count('"SUCCESS"') == 4


def test_the_core_checks_of_a_client(tmp_path: Path) -> None:
    command = shlex.join([sys.executable, CLIENT])
    # All clients run at once; a slow machine needs more than the suite's 30 seconds for that.
    which = ("--suite", "core", "--timeout", "250000")
    done = npm.run(npm.program(*SUITE), "client", *which, "--command", command, "--output-dir", str(tmp_path))
    scenarios = passed(done.stdout)
    assert {name: bad for name, (_, bad) in scenarios.items() if bad} == {}, done.stdout
    assert done.returncode == 0, done.stderr
    assert (len(scenarios), sum(good for good, _ in scenarios.values())) == (18, 214)
