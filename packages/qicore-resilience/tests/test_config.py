from typing import Any

import pytest
from qicore.base import ErrorCategory
from qicore.resilience import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakers,
    HedgeConfig,
    RateLimiterConfig,
    RateLimiters,
    RetryConfig,
    Timeout,
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_threshold": 0},
        {"failure_threshold": True},
        {"failure_threshold": 2.5},
        {"half_open_requests": 0},
        {"minimum_calls": -1},
        {"reset_timeout": 0},
        {"reset_timeout": float("inf")},
        {"reset_timeout": 10**400},
        {"slow_call_duration": 10**400, "slow_call_rate": 0.5},
        {"monitoring_period": float("nan")},
        {"monitoring_period": "10"},
        {"failure_rate": 0},
        {"failure_rate": 1.01},
        {"slow_call_rate": 0.5},
        {"slow_call_duration": 1.0},
        {"slow_call_duration": 0.0, "slow_call_rate": 0.5},
        {"counts": None},
    ],
)
def test_wrong_options_are_named(wrong: dict[str, Any]) -> None:
    config = CircuitBreakerConfig(**wrong)
    error = config.check().error
    assert error is not None
    assert (error.code, error.get_category()) == ("INVALID_RESILIENCE_CONFIG", ErrorCategory.VALIDATION)
    assert next(iter(wrong)) in error.message
    assert CircuitBreaker.create(config).error == error
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CircuitBreaker(config)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CircuitBreakers(config)


def test_all_that_is_wrong_is_in_one_error() -> None:
    error = CircuitBreakerConfig(failure_threshold=0, reset_timeout=-1).check().error
    assert error is not None
    assert error.message == (
        "failure_threshold must be a whole number of at least 1; "
        "reset_timeout must be a number of seconds above 0"
    )


def test_right_options_are_given_back() -> None:
    config = CircuitBreakerConfig(failure_rate=1, slow_call_duration=2, slow_call_rate=0.5)
    assert config.check().unwrap() is config
    assert CircuitBreaker.create(config, name="x").unwrap().config is config


def test_what_no_clock_can_reckon_with_is_refused() -> None:
    for result in (
        RetryConfig(deadline=10**400).check(),
        RateLimiterConfig(period=10**400).check(),
        HedgeConfig(delay=10**400).check(),
        Timeout.create(10**400),
    ):
        assert result.error is not None
        assert result.error.code == "INVALID_RESILIENCE_CONFIG"


@pytest.mark.parametrize("max_size", [0, -1, "a", 1.5, None, True])
@pytest.mark.parametrize("registry", [CircuitBreakers, RateLimiters])
def test_a_registry_has_a_size(registry: Any, max_size: Any) -> None:
    with pytest.raises(ValueError, match="max_size"):
        registry(max_size=max_size)
