import math
from typing import Any

import pytest
from qicore.base import ErrorCategory
from qicore.cache import CacheConfig
from qicore.resilience import CircuitBreakerConfig


@pytest.mark.parametrize(
    "options",
    [
        {"timeout": 0},
        {"timeout": math.nan},
        {"max_entries": 0},
        {"max_entries": True},
        {"max_weight": -1},
        {"max_value_size": -1},
        {"ttl_jitter": 1.5},
        {"namespace": ""},
        {"namespace": "\ud800"},
        {"weigh": len},
        {"on_failure": "ignore"},
        {"serializer": object()},
        {"circuit_breaker": CircuitBreakerConfig(failure_threshold=0)},
    ],
)
def test_what_is_wrong_is_named(options: dict[str, Any]) -> None:
    error = CacheConfig(**options).check().error
    assert error is not None
    assert error.code == "CACHE_CREATION_FAILED"
    assert error.get_category() is ErrorCategory.VALIDATION
    assert next(iter(options)) in error.message


@pytest.mark.parametrize(
    "options", [{"ttl": 0}, {"ttl": -1}, {"ttl": math.inf}, {"ttl": True}, {"stale_ttl": -1}]
)
def test_a_wrong_time_to_live_has_its_code(options: dict[str, Any]) -> None:
    error = CacheConfig(**options).check().error
    assert error is not None
    assert error.code == "INVALID_TTL"


def test_the_defaults_are_right() -> None:
    assert CacheConfig().check().is_success
    assert CacheConfig() == CacheConfig()
