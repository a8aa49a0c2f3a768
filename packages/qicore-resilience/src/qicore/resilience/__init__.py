"""Circuit breaker, retry and the other policies around a call, each giving a Result.

>>> from qicore.base import Failure, QiError
>>> from qicore.resilience import CircuitBreaker, CircuitBreakerConfig
>>> breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1), name="geocoder")
>>> down = Failure(QiError.network("NETWORK_ERROR", "connection refused"))
>>> breaker.call_sync(lambda: down).error.code, breaker.call_sync(lambda: down).error.code
('NETWORK_ERROR', 'CIRCUIT_OPEN')
"""

from qicore.resilience.budget import RetryBudget
from qicore.resilience.bulkhead import Bulkhead, BulkheadConfig
from qicore.resilience.circuit import CircuitBreaker
from qicore.resilience.config import CircuitBreakerConfig
from qicore.resilience.fallback import Fallback
from qicore.resilience.hedge import Hedge, HedgeConfig
from qicore.resilience.listeners import CircuitChange
from qicore.resilience.permit import Permit
from qicore.resilience.phases import CircuitState
from qicore.resilience.policy import Policy, compose
from qicore.resilience.predicates import is_ill, is_transient
from qicore.resilience.protect import protect
from qicore.resilience.rate_limiter import RateLimiter, RateLimiterConfig, RateLimiters
from qicore.resilience.registry import CircuitBreakers
from qicore.resilience.retry import Retry
from qicore.resilience.retry_config import RetryConfig, RetryEvent
from qicore.resilience.statistics import (
    BulkheadStatistics,
    CircuitStatistics,
    HedgeStatistics,
    RateLimiterStatistics,
)
from qicore.resilience.timeout import Timeout

__all__ = [
    "Bulkhead",
    "BulkheadConfig",
    "BulkheadStatistics",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakers",
    "CircuitChange",
    "CircuitState",
    "CircuitStatistics",
    "Fallback",
    "Hedge",
    "HedgeConfig",
    "HedgeStatistics",
    "Permit",
    "Policy",
    "RateLimiter",
    "RateLimiterConfig",
    "RateLimiterStatistics",
    "RateLimiters",
    "Retry",
    "RetryBudget",
    "RetryConfig",
    "RetryEvent",
    "Timeout",
    "compose",
    "is_ill",
    "is_transient",
    "protect",
]
