"""The law snippets of the contracts' source run as printed there."""

from qicore.base import Result
from qicore.config import Configuration


def test_monad_laws() -> None:
    assert Result.success(5).flatMap(lambda x: Result.success(x * 2)) == Result.success(10)
    assert Result.success(5).flatMap(Result.success) == Result.success(5)


def test_monoid_laws() -> None:
    empty_config = Configuration({})
    config = Configuration({"key": "value"})
    assert config.merge(empty_config) == config
    assert empty_config.merge(config) == config


def test_functor_laws() -> None:
    result = Result.success(5)
    assert result.map(lambda x: x) == result
