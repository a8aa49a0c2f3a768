import inspect

from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, Retry, RetryConfig, protect


async def test_policies_stand_around_each_call() -> None:
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=3))
    calls: list[tuple[int, str]] = []

    @protect(Retry(RetryConfig(attempts=2, wait_initial=0)), breaker)
    def find(user: int, *, name: str = "?") -> Result[str]:
        """Find a user."""
        calls.append((user, name))
        return Failure(QiError.network("NETWORK_ERROR", "connection refused"))

    @protect(breaker)
    async def find_later(user: int) -> Result[str]:
        return Success(f"user {user}")

    assert (find.__name__, find.__doc__) == ("find", "Find a user.")
    assert inspect.iscoroutinefunction(find_later)
    assert assert_success(await find_later(1)) == "user 1"
    assert_failure(find(7, name="Ada"), "NETWORK_ERROR")
    assert calls == [(7, "Ada"), (7, "Ada")]
    assert_failure(find(8), "CIRCUIT_OPEN")
    assert_failure(await find_later(1), "CIRCUIT_OPEN")
    assert calls[-1] == (8, "?")


def test_nothing_around_it_still_answers_results() -> None:
    @protect()
    def broken() -> Result[int]:
        raise KeyError("x")

    assert_failure(broken(), "KEY_ERROR")
