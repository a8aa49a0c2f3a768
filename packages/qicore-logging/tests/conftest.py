from __future__ import annotations

from collections.abc import Iterator

import pytest
from qicore.logging import LogConfig, Logger, clear_contextvars
from qicore.logging.testing import MemoryDestination


@pytest.fixture
def memory() -> MemoryDestination:
    return MemoryDestination()


@pytest.fixture
def log(memory: MemoryDestination) -> Iterator[Logger]:
    with Logger.create(LogConfig(destination=memory, format="json", level="debug")).unwrap() as logger:
        yield logger
    clear_contextvars()
