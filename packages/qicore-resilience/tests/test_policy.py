import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.resilience import (
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitState,
    Policy,
    Retry,
    RetryConfig,
    compose,
)

T = TypeVar("T")


class Note:
    """A policy that writes down when it begins and ends."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        self.log.append(f"{self.name}(")
        result = await operation()
        self.log.append(f"){self.name}")
        return result

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        self.log.append(f"{self.name}(")
        result = operation()
        self.log.append(f"){self.name}")
        return result


class Opaque:
    """A policy that stands for another, which `compose` does not see."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        return await self.policy.call(operation)

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        return self.policy.call_sync(operation)


def run(policy: Policy, log: list[str]) -> tuple[Result[int], list[str]]:
    log.clear()
    result = policy.call_sync(lambda: Success(1))
    blocking = log.copy()
    log.clear()
    assert asyncio.run(cast("Any", policy.call(lambda: Success(1)))) == result
    assert log == blocking
    return result, blocking


names = st.lists(st.sampled_from("abcd"), max_size=4)


@given(names, names, names)
def test_compose_is_a_monoid(left: list[str], middle: list[str], right: list[str]) -> None:
    log: list[str] = []
    a, b, c = (compose(*(Note(name, log) for name in some)) for some in (left, middle, right))
    flat = compose(*(Note(name, log) for name in (*left, *middle, *right)))
    assert run(compose(compose(a, b), c), log) == run(compose(a, compose(b, c)), log) == run(flat, log)
    assert run(compose(compose(), a), log) == run(a, log) == run(compose(a, compose()), log)


@given(names, names, names)
def test_groups_that_stay_groups_do_the_same(left: list[str], middle: list[str], right: list[str]) -> None:
    log: list[str] = []
    a, b, c = (Opaque(compose(*(Note(name, log) for name in some))) for some in (left, middle, right))
    flat = compose(*(Note(name, log) for name in (*left, *middle, *right)))
    assert run(compose(Opaque(compose(a, b)), c), log) == run(compose(a, Opaque(compose(b, c))), log)
    assert run(compose(a, b, c), log) == run(flat, log)


def test_the_first_is_the_outermost() -> None:
    log: list[str] = []
    assert run(compose(Note("a", log), Note("b", log)), log)[1] == ["a(", "b(", ")b", ")a"]


def raises() -> Result[int]:
    raise KeyError("user")


async def raises_later() -> Result[int]:
    raise KeyError("user")


@pytest.mark.parametrize("policy", [compose(), compose(Retry(RetryConfig(attempts=1)), CircuitBreaker())])
async def test_what_the_operation_raises_is_a_failure(policy: Policy) -> None:
    for result in (policy.call_sync(raises), await policy.call(raises_later), await policy.call(raises)):
        error = result.error
        assert error is not None
        assert error.code == "KEY_ERROR"
        assert isinstance(error.__cause__, KeyError)


async def test_what_is_no_result_is_a_failure() -> None:
    def nothing() -> Any:
        return None

    async def nothing_later() -> Any:
        return None

    for result in (compose().call_sync(nothing), await compose().call(nothing_later)):
        assert result.error is not None
        assert "must answer a Result, not NoneType" in result.error.message


@pytest.mark.parametrize("wrong", [Retry, CircuitBreaker, None, 3, compose])
def test_what_is_no_policy_is_said_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError, match="is no policy: it needs the methods call and call_sync"):
        compose(Retry(), wrong)


def test_it_shows_what_it_stands_for() -> None:
    policy = compose(compose(Retry(name="a")), compose(), compose(Retry(name="b"), Retry(name="c")))
    assert repr(policy) == ("compose(<Retry 'a' attempts=3>, <Retry 'b' attempts=3>, <Retry 'c' attempts=3>)")


class TestOrder:
    """Which policy stands outside decides what each of them sees."""

    def setup_method(self) -> None:
        self.calls = 0
        self.breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=2))
        self.retry = Retry(RetryConfig(attempts=5, wait_initial=0))

    def down(self) -> Result[int]:
        self.calls += 1
        return Failure(QiError.network("NETWORK_ERROR", "connection refused"))

    def test_retry_outside_each_attempt_asks_the_breaker_and_an_open_circuit_ends_it(self) -> None:
        result = compose(self.retry, self.breaker).call_sync(self.down)
        assert result.error is not None
        assert (result.error.code, self.calls) == ("CIRCUIT_OPEN", 2)
        # It says why the circuit is open.
        assert result.error.context["attempts"] == 3
        assert result.error.context["earlier_errors"] == ("NETWORK/NETWORK_ERROR: connection refused",)

    def test_retry_outside_an_open_circuit_is_waited_for_when_it_is_to_be_tried_soon(self) -> None:
        now = 0.0

        def sleep(seconds: float) -> None:
            nonlocal now
            now += seconds

        def comes_back() -> Result[int]:
            self.calls += 1
            return Success(1) if now >= 4 else Failure(QiError.network("NETWORK_ERROR", "refused"))

        config = CircuitBreakerConfig(failure_threshold=2, reset_timeout=4, half_open_requests=1)
        breaker = CircuitBreaker(config, clock=lambda: now)
        retry = Retry(RetryConfig(attempts=4, wait_initial=0), clock=lambda: now, sleep_sync=sleep)
        # Two attempts open the circuit, the third is turned away and told to wait, the fourth is the probe.
        assert compose(retry, breaker).call_sync(comes_back) == Success(1)
        assert (self.calls, now, breaker.state) == (3, 4, CircuitState.CLOSED)

    def test_breaker_outside_it_counts_only_how_the_last_attempt_ended(self) -> None:
        policy = compose(self.breaker, self.retry)
        assert [policy.call_sync(self.down).is_failure for _ in range(2)] == [True, True]
        assert self.calls == 10
        assert self.breaker.statistics().failed == 2
        result = policy.call_sync(self.down)
        assert result.error is not None
        assert (result.error.code, self.calls) == ("CIRCUIT_OPEN", 10)
