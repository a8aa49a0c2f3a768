"""Circuit breaker, retry and the other policies around a call, each giving a Result.

>>> from qicore.base import Failure, QiError
>>> from qicore.resilience import CircuitBreaker, CircuitBreakerConfig
>>> breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1), name="geocoder")
>>> down = Failure(QiError.network("NETWORK_ERROR", "connection refused"))
>>> breaker.call_sync(lambda: down).error.code, breaker.call_sync(lambda: down).error.code
('NETWORK_ERROR', 'CIRCUIT_OPEN')
"""

from qicore.resilience.circuit import CircuitBreaker
from qicore.resilience.config import CircuitBreakerConfig
from qicore.resilience.listeners import CircuitChange
from qicore.resilience.permit import Permit
from qicore.resilience.phases import CircuitState
from qicore.resilience.predicates import is_ill, is_transient
from qicore.resilience.registry import CircuitBreakers
from qicore.resilience.statistics import CircuitStatistics

__all__ = [
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakers",
    "CircuitChange",
    "CircuitState",
    "CircuitStatistics",
    "Permit",
    "is_ill",
    "is_transient",
]
