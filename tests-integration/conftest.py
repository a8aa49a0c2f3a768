from pathlib import Path

import pytest
import wheels as wheel_building


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every distribution's wheel, freshly built: name -> file."""
    return wheel_building.build(tmp_path_factory.mktemp("dist"))
