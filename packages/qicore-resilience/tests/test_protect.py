import asyncio
import inspect
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, Retry, RetryConfig, protect

DOWN = QiError.network("NETWORK_ERROR", "connection refused")
AGAIN = QiError.network("HTTP_ERROR", "too many requests", status=429)


async def test_policies_stand_around_each_call() -> None:
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=3))
    calls: list[tuple[int, str]] = []

    @protect(Retry(RetryConfig(attempts=2, wait_initial=0)), breaker)
    def find(user: int, *, name: str = "?") -> Result[str]:
        """Find a user."""
        calls.append((user, name))
        return Failure(DOWN)

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


class Users:
    """Methods are functions, too."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    @protect(Retry(RetryConfig(wait_initial=0)))
    def find(self, name: str) -> Result[int]:
        self.calls.append(name)
        return Success(1) if len(self.calls) > 1 else Failure(DOWN)

    @classmethod
    @protect(Retry(RetryConfig(wait_initial=0)))
    async def count(cls, first: int) -> Result[int]:
        return Success(first + 1)

    @staticmethod
    @protect(Retry(RetryConfig(wait_initial=0)))
    def zero() -> Result[int]:
        return Success(0)


async def test_methods() -> None:
    users = Users()
    assert assert_success(users.find("Ada")) == 1
    assert users.calls == ["Ada", "Ada"]
    assert assert_success(await Users.count(1)) == 2
    assert assert_success(users.zero()) == 0


async def test_many_calls_at_once_do_not_mix() -> None:
    @protect(Retry(RetryConfig(attempts=4, wait_initial=0)), CircuitBreaker())
    async def attempts(number: int) -> Result[int]:
        await asyncio.sleep(0)
        seen[number] += 1
        return Success(number) if seen[number] > number % 4 else Failure(AGAIN)

    seen = [0] * 100
    results = await asyncio.gather(*(attempts(number) for number in range(100)))
    assert [assert_success(result) for result in results] == list(range(100))
    assert seen == [number % 4 + 1 for number in range(100)]


def test_without_parentheses_it_says_so_at_once() -> None:
    def find() -> Result[int]:
        return Success(1)

    bare: Any = protect
    with pytest.raises(TypeError, match="is no policy: it needs the methods call and call_sync"):
        bare(find)


class _Finder:
    async def __call__(self, user: int) -> Result[str]:
        return Success(f"user {user}")


async def test_an_object_with_an_async_call_is_an_async_function() -> None:
    assert assert_success(await protect(Retry())(_Finder())(1)) == "user 1"
    assert assert_success(await protect(Retry())(_Finder().__call__)(1)) == "user 1"


def test_a_coroutine_where_none_can_be_awaited_is_told_so_and_closed() -> None:
    coroutine: Any = _Finder()(1)

    def find() -> Result[str]:
        return coroutine  # type: ignore[no-any-return]  # as a careless caller

    error = assert_failure(protect(Retry(RetryConfig(attempts=1)))(find)(), "TYPE_ERROR")
    assert "async def" in error.message
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
