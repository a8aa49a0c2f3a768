"""Circuits that are shared through Redis, several fleets' members in one process."""

import gc
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, CircuitChange
from qicore.resilience.shared import SharedCircuitBreakers
from qicore.resilience.shared_circuit import SharedCircuit
from qicore_testkit.redis_server import RedisServer
from redis.asyncio import Redis

from .fleet_processes import until

DOWN: Result[int] = Failure(QiError.network("NETWORK_ERROR", "connection refused"))
LONG: dict[str, Any] = {"monitoring_period": 600, "reset_timeout": 600}

Joins = Callable[..., list[CircuitBreaker]]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def join(server: RedisServer, request: pytest.FixtureRequest) -> Iterator[Joins]:
    """Make breakers of one name, as so many processes would have them."""
    with ExitStack() as stack:

        def joins(count: int, name: str = "service", **options: Any) -> list[CircuitBreaker]:
            config = CircuitBreakerConfig(**{**LONG, **options})
            made = [
                SharedCircuitBreakers.create(server.url, config, namespace=request.node.name).unwrap()
                for _ in range(count)
            ]
            for breakers in made:
                stack.enter_context(breakers)
                assert breakers.wait(60)
            return [breakers.get(name) for breakers in made]

        yield joins


def states(breakers: list[CircuitBreaker]) -> set[str]:
    return {breaker.state for breaker in breakers}


def test_failures_are_counted_together_and_each_is_told_once(join: Joins) -> None:
    breakers = join(3, failure_threshold=3)
    changes: list[CircuitChange] = []
    for breaker in breakers:
        breaker.add_listener(changes.append)
        assert breaker.call_sync(lambda: DOWN) is DOWN
    until(lambda: states(breakers) == {"OPEN"})
    until(lambda: len(changes) == 3)
    assert {(change.before, change.after) for change in changes} == {("CLOSED", "OPEN")}
    assert [breaker.statistics().failed for breaker in breakers] == [1, 1, 1]
    error = breakers[0].call_sync(lambda: DOWN).error
    assert error is not None
    assert error.code == "CIRCUIT_OPEN"
    retry_after: Any = error.context["retry_after"]
    assert 500 < retry_after <= 600


def test_names_are_apart(join: Joins) -> None:
    (one,), (other,) = join(1, "one", failure_threshold=1), join(1, "other", failure_threshold=1)
    (same,) = join(1, "one", failure_threshold=1)
    one.call_sync(lambda: DOWN)
    until(lambda: same.state == "OPEN")
    assert other.state == "CLOSED"


@pytest.mark.parametrize(
    "name", ["ü漢🙂", "a b\n{c}:*", 'quoted "name"\\', "half \ud800", "https://example.org:443"]
)
def test_any_text_is_a_name(join: Joins, name: str) -> None:
    one, other = join(2, name, failure_threshold=1)
    one.call_sync(lambda: DOWN)
    until(lambda: other.state == "OPEN")


def test_by_hand_it_is_opened_and_closed_for_all(join: Joins) -> None:
    breakers = join(3, failure_threshold=2, reset_timeout=0.05)
    breakers[0].open()
    until(lambda: states(breakers) == {"OPEN"})
    error = breakers[1].call_sync(lambda: DOWN).error
    assert error is not None
    assert "retry_after" not in error.context
    breakers[1].close()
    until(lambda: states(breakers) == {"CLOSED"})
    # Closing it empties the window everywhere.
    breakers[0].call_sync(lambda: DOWN)
    breakers[2].reset()
    assert states(breakers) == {"CLOSED"}
    breakers[2].open()
    until(lambda: states(breakers) == {"OPEN"})
    breakers[0].reset()
    until(lambda: states(breakers) == {"CLOSED"})
    assert breakers[0].statistics().failed == 0


def test_a_rate_is_one_of_the_whole_fleet(join: Joins) -> None:
    well, ill = breakers = join(2, failure_rate=0.5, minimum_calls=10)
    for _ in range(30):
        well.call_sync(lambda: Success(1))
    for _ in range(12):  # by itself it would open
        ill.call_sync(lambda: DOWN)
    late = join(1, failure_rate=0.5, minimum_calls=10)[0]
    late.open()  # by now what was counted has been told, or will be for nothing
    until(lambda: ill.state == "OPEN" and well.state == "OPEN")
    assert ill.statistics().opened == 1
    late.close()
    until(lambda: states([*breakers, late]) == {"CLOSED"})
    for _ in range(6):
        well.call_sync(lambda: Success(1))
        ill.call_sync(lambda: DOWN)
    until(lambda: states([*breakers, late]) == {"OPEN"})


def test_slow_calls_of_the_fleet_open_it(join: Joins) -> None:
    options = {"slow_call_duration": 1e-9, "slow_call_rate": 1.0, "minimum_calls": 4}
    breakers = join(2, **options)
    for _ in range(2):
        for breaker in breakers:
            breaker.call_sync(lambda: Success(1))
    until(lambda: states(breakers) == {"OPEN"})


async def test_tasks_and_permits_go_through_it_too(join: Joins) -> None:
    one, other = join(2, failure_threshold=2)

    async def fetch() -> Result[int]:
        return DOWN

    assert await one.call(fetch) is DOWN
    other.admit().unwrap().failure(QiError.timeout("TIMEOUT_ERROR", "late"))
    until(lambda: states([one, other]) == {"OPEN"})


def test_what_ended_before_it_closed_does_not_count_after_it(join: Joins) -> None:
    one, other = join(2, failure_threshold=1)
    permit = other.admit().unwrap()
    one.open()
    until(lambda: other.state == "OPEN")
    one.close()
    until(lambda: other.state == "CLOSED")
    permit.failure(QiError.network("NETWORK_ERROR", "an old connection"))
    assert other.statistics().late == 1
    assert states([one, other]) == {"CLOSED"}


def test_closed_each_is_its_own(server: RedisServer) -> None:
    breakers = SharedCircuitBreakers.create(server.url, CircuitBreakerConfig(failure_threshold=1)).unwrap()
    assert breakers.wait(60)
    breaker = breakers.get("closed")
    assert breakers.get("closed") is breaker
    assert breakers.close() == Success(None)
    assert breakers.close() == Success(None)
    assert not breakers.connected
    assert breaker.call_sync(lambda: DOWN) is DOWN
    assert breaker.state == "OPEN"
    assert not any(thread.name == "qicore-resilience" for thread in threading.enumerate())


async def test_closing_may_be_awaited_and_it_is_a_context(server: RedisServer) -> None:
    async with SharedCircuitBreakers.create(server.url).unwrap() as breakers:
        assert breakers.wait(60)
    assert await breakers.close() == Success(None)


def test_who_forgets_it_leaves_no_thread_behind(server: RedisServer) -> None:
    breakers = SharedCircuitBreakers.create(server.url).unwrap()
    breakers.get("a")
    del breakers
    until(lambda: not any(thread.name == "qicore-resilience" for thread in threading.enumerate()))


def test_whenever_it_is_closed_its_thread_ends(server: RedisServer) -> None:
    # With a time limit of its own, redis-py waits in ways that swallow a cancellation before Python 3.12.
    for pause in [0.0005 * number for number in range(60)]:
        breakers = SharedCircuitBreakers.create(lambda: Redis(host="127.0.0.1", port=server.port)).unwrap()
        breakers.get("a")
        time.sleep(pause)
        breakers.close()
    until(lambda: not any(thread.name == "qicore-resilience" for thread in threading.enumerate()))


def test_a_client_of_ones_own(server: RedisServer) -> None:
    def connect() -> Redis:
        return Redis(host="127.0.0.1", port=server.port)

    with SharedCircuitBreakers.create(connect).unwrap() as breakers:
        assert breakers.wait(60)


def test_a_client_that_connects_again_by_itself_may_have_missed_something(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    # Without options of its own, a client of redis-py's tries ten times.
    with SharedCircuitBreakers.create(lambda: Redis(host="127.0.0.1", port=server.port)).unwrap() as breakers:
        assert breakers.wait(60)
        server.call("CLIENT", "KILL", "TYPE", "pubsub")
        until(lambda: "Redis is away" in caplog.text)
        until(lambda: breakers.connected)


@pytest.mark.parametrize("part", ["failures", "counts", "leader", "wanted"])
def test_no_name_is_a_part_of_another(join: Joins, part: str) -> None:
    (one, other), (part_of_it,) = join(2, failure_threshold=1), join(1, f"service:{part}")
    part_of_it.open()
    (told,) = join(1, f"service:{part}")
    until(lambda: told.state == "OPEN")
    one.call_sync(lambda: DOWN)
    until(lambda: other.state == "OPEN")
    (late,) = join(1, f"service:{part}")
    until(lambda: late.state == "OPEN")


def test_what_is_forgotten_while_redis_is_away_is_gone() -> None:
    with SharedCircuitBreakers.create("redis://127.0.0.1:1", max_size=2).unwrap() as breakers:
        for number in range(50):
            breakers.get(f"forgotten {number}")
        gc.collect()
        circuits = [each for each in gc.get_objects() if type(each) is SharedCircuit]
        assert sum(circuit.name.startswith("forgotten") for circuit in circuits) < 10


def test_circuits_may_be_made_while_it_looks_at_all(server: RedisServer) -> None:
    tried = itertools.count()
    attempts = 0

    def connect() -> Redis:
        nonlocal attempts
        attempts = next(tried)
        return Redis(host="127.0.0.1", port=server.port if attempts > 3 else 1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with SharedCircuitBreakers.create(connect, max_size=5000).unwrap() as breakers:
            numbers = itertools.count()

            def make_many() -> bool:
                for _ in range(2000):
                    breakers.get(str(next(numbers)))
                return attempts > 3

            until(make_many)
            assert breakers.wait(60)
    finally:
        sys.setswitchinterval(interval)


def test_what_was_to_be_told_when_the_connection_broke_is_told_later() -> None:
    with RedisServer() as own, SharedCircuitBreakers.create(own.url).unwrap() as breakers:
        assert breakers.wait(60)
        one, other = breakers.get("one"), breakers.get("other")
        for _ in range(3):
            own.pause()
            one.open()
            other.open()
            until(lambda: not breakers.connected)
            own.resume()
            until(lambda: breakers.connected)
            until(lambda: own.call("HGET", "qicore:circuit:other", "state") == "OPEN")
            until(lambda: own.call("HGET", "qicore:circuit:one", "state") == "OPEN")
            one.close()
            other.close()
            until(lambda: own.call("HGET", "qicore:circuit:other", "state") == "CLOSED")
            until(lambda: own.call("HGET", "qicore:circuit:one", "state") == "CLOSED")


@pytest.mark.parametrize("url", ["http://hunter2", "redis://:hunter2@host:port", "hunter2", 7])
def test_no_url(url: Any) -> None:
    error = SharedCircuitBreakers.create(url).error
    assert error is not None
    assert (error.code, error.category) == ("INVALID_RESILIENCE_CONFIG", ErrorCategory.VALIDATION)
    assert "hunter2" not in str(error.to_structured_data())


def test_wrong_options_are_named() -> None:
    config = CircuitBreakerConfig(failure_threshold=0)
    error = SharedCircuitBreakers.create("redis://h", config, namespace="", max_size=0).error
    assert error is not None
    for name in ("failure_threshold", "namespace", "max_size"):
        assert name in error.message


def test_a_wrong_password_is_as_if_nobody_were_there(caplog: pytest.LogCaptureFixture) -> None:
    with (
        RedisServer(password="correct") as server,
        SharedCircuitBreakers.create(f"redis://:hunter2@{server.address}").unwrap() as breakers,
    ):
        until(lambda: "Redis is away" in caplog.text)
        assert not breakers.connected
        assert breakers.get("a").call_sync(lambda: Success(1)) == Success(1)
    assert "hunter2" not in caplog.text


def test_it_is_loaded_by_who_asks_for_it_only() -> None:
    program = "import sys, qicore.resilience; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
