from typing import assert_type

from qicore.base import Failure, QiError, Result, Success
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, CircuitBreakers, CircuitState, Permit

breaker = CircuitBreaker()
assert_type(CircuitBreaker.create(CircuitBreakerConfig()), Result[CircuitBreaker])
assert_type(breaker.state, CircuitState)
assert_type(CircuitBreakers(max_size=3).get("key"), CircuitBreaker)
assert_type(breaker.admit(), Result[Permit])


def read() -> Result[int]:
    return Success(1)


async def fetch(page: str) -> Result[str]:
    return Success(page)


async def use() -> None:
    assert_type(await breaker.call(lambda: fetch("/")), Result[str])
    # A Result is awaitable: what answers at once may be called like what takes its time.
    assert_type(await breaker.call(read), Result[int])
    match breaker.call_sync(read).variant:
        case Success(value):
            assert_type(value, int)
        case Failure(error):
            assert_type(error, QiError)
