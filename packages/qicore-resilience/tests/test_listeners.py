import logging
import threading

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, CircuitChange

DOWN: Result[int] = Failure(QiError.network("NETWORK_ERROR", "connection refused to secret.example"))
ONE = CircuitBreakerConfig(failure_threshold=1, half_open_requests=1)


def down() -> Result[int]:
    return DOWN


def up() -> Result[int]:
    return Success(1)


def test_every_change_is_told_with_its_reason() -> None:
    now = [100.0]
    breaker = CircuitBreaker(ONE, name="geocoder", clock=lambda: now[0])
    told: list[CircuitChange] = []
    breaker.add_listener(told.append)
    breaker.call_sync(down)
    now[0] = 160.0
    breaker.call_sync(up)
    breaker.open()
    breaker.open()
    breaker.close()
    breaker.close()
    breaker.reset()
    assert [(change.before.value, change.after.value, change.at) for change in told] == [
        ("CLOSED", "OPEN", 100.0),
        ("OPEN", "HALF_OPEN", 160.0),
        ("HALF_OPEN", "CLOSED", 160.0),
        ("CLOSED", "OPEN", 160.0),
        ("OPEN", "CLOSED", 160.0),
    ]
    assert [change.error for change in told] == [DOWN.error, None, None, None, None]
    assert {change.name for change in told} == {"geocoder"}


def test_one_that_is_removed_hears_no_more() -> None:
    breaker = CircuitBreaker(ONE)
    told: list[CircuitChange] = []
    breaker.add_listener(told.append)
    breaker.remove_listener(told.append)
    breaker.remove_listener(print)
    breaker.open()
    assert told == []


def test_one_that_raises_is_logged_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    breaker = CircuitBreaker(ONE)
    told: list[CircuitChange] = []

    def broken(change: CircuitChange) -> None:
        raise RuntimeError("broken listener")

    breaker.add_listener(broken)
    breaker.add_listener(told.append)
    assert breaker.call_sync(down) == DOWN
    assert len(told) == 1
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert (record.name, record.exc_info is not None) == ("qicore.resilience", True)


def test_changes_are_logged_by_code_and_not_by_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "qicore.resilience")
    breaker = CircuitBreaker(ONE, name="geocoder")
    breaker.call_sync(down)
    breaker.close()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "circuit 'geocoder' is OPEN, it was CLOSED: NETWORK/NETWORK_ERROR"),
        ("INFO", "circuit 'geocoder' is CLOSED, it was OPEN"),
    ]


def test_one_may_use_the_breaker_and_changes_keep_their_order() -> None:
    breaker = CircuitBreaker(ONE)
    told: list[str] = []

    def close_again(change: CircuitChange) -> None:
        if change.after == "OPEN":
            breaker.close()

    breaker.add_listener(close_again)
    breaker.add_listener(lambda change: told.append(change.after.value))
    breaker.call_sync(down)
    assert breaker.state == "CLOSED"
    assert told == ["OPEN", "CLOSED"]


def test_one_that_takes_its_time_holds_up_no_other_call() -> None:
    breaker = CircuitBreaker(ONE)
    told, go_on = threading.Event(), threading.Event()
    heard: list[str] = []

    def slow(change: CircuitChange) -> None:
        heard.append(change.after.value)
        told.set()
        assert go_on.wait(30)

    breaker.add_listener(slow)
    caller = threading.Thread(target=breaker.open)
    caller.start()
    assert told.wait(30)
    assert breaker.call_sync(up).is_failure
    breaker.close()
    assert breaker.call_sync(up) == Success(1)
    assert heard == ["OPEN"], "one change at a time"
    go_on.set()
    caller.join(30)
    assert heard == ["OPEN", "CLOSED"]


def test_an_interrupt_in_a_listener_costs_no_permit() -> None:
    now = [0.0]
    breaker = CircuitBreaker(ONE, clock=lambda: now[0])

    def interrupted(change: CircuitChange) -> None:
        if change.after.value == "HALF_OPEN":
            raise KeyboardInterrupt

    breaker.add_listener(interrupted)
    breaker.call_sync(down)
    now[0] = 60.0
    with pytest.raises(KeyboardInterrupt):
        breaker.call_sync(up)
    assert breaker.statistics().released == 1
    assert breaker.call_sync(up).is_success
    assert breaker.state.value == "CLOSED"
