import os
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest
from qicore.database import Database, DatabaseConfig
from qicore_testkit.postgres_server import PostgresServer
from qicore_testkit.redis_server import bundled_redis, redis_server

__all__ = ["bundled_redis", "redis_server"]

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.close()


@pytest.fixture
async def postgres_url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A place for one test: a schema of its own on the server that the environment names, or on ours."""
    url = os.environ.get("QICORE_TEST_POSTGRES_URL") or request.getfixturevalue("postgres").url
    schema = f"askdocs_test_{os.getpid()}_{next(_numbers)}"
    async with (await Database.connect(url, DatabaseConfig(connections=1))).unwrap() as database:
        (await database.execute(f"CREATE SCHEMA {schema}")).unwrap()
        joint = "&" if "?" in url else "?"
        yield f"{url}{joint}options={quote(f'-c search_path={schema}')}"
        (await database.execute(f"DROP SCHEMA {schema} CASCADE")).unwrap()


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an index may be kept, of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "askdocs.db")
    return str(request.getfixturevalue("postgres_url"))
