import gc
import threading
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, CircuitBreakers

DOWN: Result[int] = Failure(QiError.network("NETWORK_ERROR", "connection refused"))


def down() -> Result[int]:
    return DOWN


def test_a_key_has_one_breaker_of_that_name_and_these_options() -> None:
    config = CircuitBreakerConfig(failure_threshold=2)
    breakers = CircuitBreakers(config)
    breaker = breakers.get("a")
    assert breakers.get("a") is breaker
    assert breakers.get("b") is not breaker
    assert (breaker.name, breaker.config) == ("a", config)
    assert ("a" in breakers, "c" in breakers, len(breakers)) == (True, False, 2)


def test_one_service_does_not_open_the_circuit_of_another() -> None:
    breakers = CircuitBreakers(CircuitBreakerConfig(failure_threshold=1))
    breakers.get("a").call_sync(down)
    assert (breakers.get("a").state, breakers.get("b").state) == ("OPEN", "CLOSED")


@pytest.mark.parametrize("size", [0, -1])
def test_it_holds_at_least_one(size: int) -> None:
    with pytest.raises(ValueError, match="max_size"):
        CircuitBreakers(max_size=size)


def test_the_least_needed_one_is_forgotten_first() -> None:
    now = [0.0]
    breakers = CircuitBreakers(CircuitBreakerConfig(failure_threshold=2), max_size=5, clock=lambda: now[0])
    breakers.get("by hand").open()
    for _ in range(2):
        breakers.get("open").call_sync(down)
        breakers.get("half open").call_sync(down)
    now[0] = 60.0
    permit = breakers.get("half open").admit()
    breakers.get("open").close()
    for _ in range(2):
        breakers.get("open").call_sync(down)
    breakers.get("failing").call_sync(down)
    breakers.get("well")
    gone: list[str] = []
    for n in range(5):
        before = {key for key in ("by hand", "open", "half open", "failing", "well") if key in breakers}
        breakers.get(f"new {n}").open()  # worth keeping above all: so none of these goes
        gone += [key for key in before if key not in breakers]
        assert len(breakers) == 5
    assert gone == ["well", "failing", "half open", "open", "by hand"]
    assert permit.is_success


def test_of_equals_the_one_that_was_not_asked_for_longest() -> None:
    breakers = CircuitBreakers(max_size=2)
    breakers.get("a")
    breakers.get("b")
    breakers.get("a")
    breakers.get("c")
    assert ("a" in breakers, "b" in breakers, "c" in breakers) == (True, False, True)


def test_failures_that_are_out_of_the_window_keep_nothing_alive() -> None:
    now = [0.0]
    breakers = CircuitBreakers(max_size=2, clock=lambda: now[0])
    breakers.get("a").call_sync(down)
    now[0] = 10.0
    breakers.get("b").call_sync(down)
    breakers.get("c")
    assert ("a" in breakers, "b" in breakers) == (False, True)


def test_whoever_holds_a_forgotten_one_shares_it() -> None:
    breakers = CircuitBreakers(CircuitBreakerConfig(failure_threshold=1), max_size=1)
    held = breakers.get("a")
    breakers.get("b")
    assert "a" not in breakers
    held.call_sync(down)
    assert breakers.get("a") is held
    assert breakers.get("a").state == "OPEN"


def test_what_nobody_holds_is_gone() -> None:
    breakers = CircuitBreakers(max_size=1)
    first = weakref.ref(breakers.get("a"))
    breakers.get("b")
    gc.collect()
    assert first() is None


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=80), st.integers(1, 4))
def test_an_open_one_is_never_forgotten_before_one_that_is_well(
    steps: list[tuple[str, bool]], size: int
) -> None:
    breakers = CircuitBreakers(CircuitBreakerConfig(failure_threshold=1), max_size=size)
    opened: set[str] = set()
    for key, fails in steps:
        was_open = {other for other in opened if other in breakers}
        was_well = len(breakers) - len(was_open)
        breaker = breakers.get(key)
        assert breaker.state == ("OPEN" if key in was_open else "CLOSED")
        forgotten = {other for other in was_open if other not in breakers}
        assert not (forgotten and was_well)
        opened -= forgotten
        if fails:
            breaker.call_sync(down)
            opened.add(key)
        assert len(breakers) <= size


def test_threads_that_ask_at_once_get_the_same_one() -> None:
    breakers = CircuitBreakers(max_size=4)
    barrier = threading.Barrier(50)
    got: list[CircuitBreaker] = []

    def ask() -> None:
        barrier.wait(30)
        got.append(breakers.get("a"))

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(got) == 50
    assert len(set(map(id, got))) == 1
