from qicore.base import Failure, QiError, Result, Success
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig

DOWN: Result[int] = Failure(QiError.network("NETWORK_ERROR", "connection refused"))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def down() -> Result[int]:
    return DOWN


async def up() -> Result[int]:
    return Success(1)


async def test_it_opens_tries_and_closes() -> None:
    clock = Clock()
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=2, half_open_requests=2), clock=clock)
    assert [await breaker.call(down) for _ in range(2)] == [DOWN, DOWN]
    assert breaker.state == "OPEN"
    error = (await breaker.call(up)).error
    assert error is not None
    assert (error.code, error.context["retry_after"]) == ("CIRCUIT_OPEN", 60.0)
    clock.now += 60
    assert breaker.state == "HALF_OPEN"
    assert await breaker.call(up) == Success(1)
    assert breaker.state == "HALF_OPEN"
    assert await breaker.call(up) == Success(1)
    assert breaker.state == "CLOSED"
