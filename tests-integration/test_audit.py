"""The audit finds what is vulnerable, and says so when nobody could be asked."""

from __future__ import annotations

import json
from collections.abc import Generator

import pytest
from audit import UNAVAILABLE, audit, locked
from qicore_testkit.fault_server import Exchange, FaultServer
from qicore_testkit.raw_http import response
from qicore_testkit.redis_server import free_port

REQUIREMENTS = "structlog==25.1.0\njinja2==3.1.5\n"
ADVISORY = {
    "id": "GHSA-cpwx-vrp4-4pq7",
    "summary": "The sandbox lets templates out",
    "affected": [
        {
            "package": {"name": "jinja2", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.1.6"}]}],
            "versions": ["3.1.5"],
        }
    ],
}


@pytest.fixture
def database() -> Generator[FaultServer]:
    """A database that knows of one advisory, and speaks as OSV does."""

    def behave(exchange: Exchange) -> None:
        asked = json.loads(exchange.request.body)["package"]["name"]
        found = {"vulns": [ADVISORY]} if asked == "jinja2" else {}
        exchange.send(response(200, json.dumps(found).encode(), {"Content-Type": "application/json"}))

    with FaultServer() as server:
        server.default = behave
        yield server


def test_a_vulnerable_package_is_named(database: FaultServer) -> None:
    code, text = audit(REQUIREMENTS, "--osv-url", f"{database.url}/v1/query")
    assert code == 1
    assert "jinja2 3.1.5: GHSA-cpwx-vrp4-4pq7" in text
    assert "3.1.6" in text
    assert "structlog" not in text


def test_nothing_known_is_said_with_the_count(database: FaultServer) -> None:
    code, text = audit("structlog==25.1.0\n", "--osv-url", f"{database.url}/v1/query")
    assert (code, text) == (0, "1 packages, no known vulnerability")


def test_a_database_that_is_away_is_no_clean_audit() -> None:
    code, text = audit(REQUIREMENTS, "--osv-url", f"http://127.0.0.1:{free_port()}/v1/query")
    assert code == UNAVAILABLE
    assert text.startswith("nothing was audited")


def test_what_users_get_is_audited_and_the_peers_of_the_benchmarks_are_not() -> None:
    names = {line.partition("==")[0] for line in locked().splitlines() if "==" in line}
    assert {"pydantic", "psycopg", "openai", "mkdocs", "pytest"} <= names
    assert names.isdisjoint({"diskcache", "litestar", "qicore-base"})
