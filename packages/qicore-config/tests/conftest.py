"""The parsers that PyYAML may have."""

import pytest
import yaml


@pytest.fixture(params=["libyaml", "pure Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test on libyaml's parser, and on the one that is there without it."""
    assert yaml.__with_libyaml__, "these tests are about both parsers"
    if request.param != "libyaml":
        monkeypatch.setattr(yaml, "__with_libyaml__", False)
