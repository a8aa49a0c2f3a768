from typing import Any

import pytest
from qicore.base import ErrorCategory
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, CircuitBreakers


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
