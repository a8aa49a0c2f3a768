import gc

import pytest
from qicore.base import QiError
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, Permit

DOWN = QiError.network("NETWORK_ERROR", "the stream broke off")
ABSENT = QiError.network("HTTP_ERROR", "no such page", status=404)


def half_open(permits: int = 1) -> CircuitBreaker:
    now = [0.0]
    config = CircuitBreakerConfig(failure_threshold=1, half_open_requests=permits)
    breaker = CircuitBreaker(config, clock=lambda: now[0])
    breaker.admit().unwrap().failure(DOWN)
    now[0] = config.reset_timeout
    return breaker


def outcome(breaker: CircuitBreaker) -> tuple[int, int, int]:
    seen = breaker.statistics()
    return seen.succeeded, seen.failed, seen.released


@pytest.mark.parametrize("first", ["success", "failure", "release"])
def test_exactly_one_outcome_counts_the_first(first: str) -> None:
    breaker = CircuitBreaker()

    def tell(permit: Permit, how: str) -> None:
        if how == "failure":
            permit.failure(DOWN)
        else:
            getattr(permit, how)()

    permit = breaker.admit().unwrap()
    tell(permit, first)
    once = outcome(breaker)
    assert sum(once) == 1
    for later in ("success", "failure", "release"):
        tell(permit, later)
    del permit
    gc.collect()
    assert outcome(breaker) == once


def test_an_error_that_says_nothing_of_an_illness_is_an_answer() -> None:
    breaker = half_open()
    breaker.admit().unwrap().failure(ABSENT)
    assert breaker.state == "CLOSED"


def test_a_permit_that_is_given_back_can_be_taken_again() -> None:
    breaker = half_open()
    permit = breaker.admit().unwrap()
    assert breaker.admit().is_failure
    permit.release()
    again = breaker.admit().unwrap()
    assert breaker.admit().is_failure
    permit.release()
    assert breaker.admit().is_failure, "one permit comes back once"
    again.success()
    assert breaker.state == "CLOSED"


def test_a_forgotten_permit_is_given_back() -> None:
    breaker = half_open()
    breaker.admit()
    gc.collect()
    assert breaker.admit().is_success


@pytest.mark.parametrize("change", ["reset", "close", "open"])
def test_one_from_before_a_change_counts_for_nothing(change: str) -> None:
    breaker = half_open(permits=2)
    good, bad = breaker.admit().unwrap(), breaker.admit().unwrap()
    getattr(breaker, change)()
    state = breaker.state
    good.success()
    bad.failure(DOWN)
    assert breaker.state == state
    seen = breaker.statistics()
    assert (seen.succeeded, seen.recent_failures, seen.late) == (0, 0, 2)


def test_one_of_an_earlier_half_open_does_not_help_the_next() -> None:
    now = [0.0]
    breaker = CircuitBreaker(
        CircuitBreakerConfig(failure_threshold=1, half_open_requests=2, reset_timeout=10),
        clock=lambda: now[0],
    )
    breaker.admit().unwrap().failure(DOWN)
    now[0] = 10.0
    slow, broken = breaker.admit().unwrap(), breaker.admit().unwrap()
    broken.failure(DOWN)
    now[0] = 20.0
    breaker.admit().unwrap().success()
    slow.success()
    assert breaker.state == "HALF_OPEN", "two successes, but one of them belongs to the last time"
    slow.release()
    last = breaker.admit().unwrap()
    assert breaker.admit().is_failure, "nor does its permit come back to this time"
    last.success()
    assert breaker.state == "CLOSED"


def test_a_finaliser_may_give_one_back_while_the_lock_is_held() -> None:
    permits: list[Permit] = []
    now = [0.0]

    def clock() -> float:
        permits.clear()  # as the garbage collector may, at any allocation
        return now[0]

    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1, half_open_requests=1), clock=clock)
    breaker.admit().unwrap().failure(DOWN)
    now[0] = 60.0
    permits.append(breaker.admit().unwrap())
    breaker.statistics()
    assert permits == []
    assert breaker.admit().is_success
