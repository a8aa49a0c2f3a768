from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from qicore.database import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
async def db(path: Path) -> AsyncIterator[Database]:
    """A database on a file, with a table of one counter."""
    async with (await Database.connect(path)).unwrap() as database:
        (await database.execute("CREATE TABLE counter (id INTEGER PRIMARY KEY, n INT NOT NULL)")).unwrap()
        (await database.create("counter", {"id": 1, "n": 0})).unwrap()
        yield database


@pytest.fixture
async def memory() -> AsyncIterator[Database]:
    async with (await Database.connect(":memory:")).unwrap() as database:
        yield database
