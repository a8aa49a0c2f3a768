from pathlib import Path

import pytest
from qicore_testkit.postgres_server import bundled_postgres, postgres_server, postgres_url
from qicore_testkit.redis_server import bundled_redis, redis_server

__all__ = ["bundled_postgres", "bundled_redis", "postgres_server", "postgres_url", "redis_server"]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an index may be kept, of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "askdocs.db")
    return str(request.getfixturevalue("postgres_url"))
