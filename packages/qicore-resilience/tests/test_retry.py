import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import Retry, RetryConfig, RetryEvent


class Bench:
    """A retry whose time is ours, around an operation with outcomes in a row."""

    def __init__(self, config: RetryConfig, *outcomes: QiError | int) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.outcomes = list(outcomes)
        self.calls = 0
        self.takes = 0.0
        self.retry = Retry(
            config, name="bench", clock=lambda: self.now, sleep=self.sleep, sleep_sync=self.sleep_sync
        )

    async def sleep(self, seconds: float) -> None:
        self.sleep_sync(seconds)

    def sleep_sync(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def operation(self) -> Result[int]:
        self.calls += 1
        self.now += self.takes
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        return Failure(outcome) if isinstance(outcome, QiError) else Success(outcome)

    async def asynchronous(self) -> Result[int]:
        return self.operation()

    def run(self, *, blocking: bool) -> Result[int]:
        if blocking:
            return self.retry.call_sync(self.operation)
        return asyncio.run(self.retry.call(self.asynchronous))


DOWN = QiError.network("NETWORK_ERROR", "connection refused")
both = pytest.mark.parametrize("blocking", [True, False])


def later(seconds: float) -> QiError:
    return QiError.network("HTTP_ERROR", "busy", status=503, retry_after=seconds)


@both
class TestAttempts:
    def test_a_success_is_the_answer(self, blocking: bool) -> None:
        bench = Bench(RetryConfig(), 7)
        assert assert_success(bench.run(blocking=blocking)) == 7
        assert (bench.calls, bench.waits) == (1, [])

    def test_what_fails_in_passing_is_tried_again(self, blocking: bool) -> None:
        bench = Bench(RetryConfig(attempts=4), DOWN, DOWN, 7)
        assert assert_success(bench.run(blocking=blocking)) == 7
        assert (bench.calls, len(bench.waits)) == (3, 2)

    def test_the_last_failure_is_the_answer_and_tells_how_many(self, blocking: bool) -> None:
        last = QiError.timeout("TIMEOUT_ERROR", "no answer")
        bench = Bench(RetryConfig(attempts=3), DOWN, DOWN, last)
        error = assert_failure(bench.run(blocking=blocking), "TIMEOUT_ERROR")
        assert error.context["attempts"] == bench.calls == 3

    def test_what_is_no_use_is_not_repeated(self, blocking: bool) -> None:
        wrong = QiError.validation("INVALID_URL", "no host")
        bench = Bench(RetryConfig(), wrong)
        assert bench.run(blocking=blocking).error is wrong
        assert bench.calls == 1

    def test_nor_when_it_comes_later(self, blocking: bool) -> None:
        bench = Bench(RetryConfig(attempts=9), DOWN, QiError.network("HTTP_ERROR", "gone", status=410))
        assert assert_failure(bench.run(blocking=blocking), "HTTP_ERROR").context["attempts"] == 2

    @pytest.mark.parametrize("retry_after", [5.1, None])
    def test_an_open_circuit_is_not_waited_for(self, blocking: bool, retry_after: float | None) -> None:
        config = RetryConfig(wait_max=5, retry_on=lambda error: True)
        bench = Bench(config, QiError.network("CIRCUIT_OPEN", "open", retry_after=retry_after))
        assert_failure(bench.run(blocking=blocking), "CIRCUIT_OPEN")
        assert (bench.calls, bench.waits) == (1, [])

    def test_unless_it_lets_calls_through_soon(self, blocking: bool) -> None:
        config = RetryConfig(wait_initial=0, wait_max=5)
        bench = Bench(config, QiError.network("CIRCUIT_OPEN", "open", retry_after=5), 7)
        assert assert_success(bench.run(blocking=blocking)) == 7
        assert bench.waits == [5]

    def test_and_before_the_deadline(self, blocking: bool) -> None:
        config = RetryConfig(wait_initial=0, wait_max=5, deadline=4)
        bench = Bench(config, QiError.network("CIRCUIT_OPEN", "open", retry_after=5), 7)
        assert_failure(bench.run(blocking=blocking), "CIRCUIT_OPEN")
        assert (bench.calls, bench.waits) == (1, [])

    def test_it_answers_with_the_errors_that_came_before(self, blocking: bool) -> None:
        refused = QiError.network("NETWORK_ERROR", "refused")
        slow = QiError.timeout("TIMEOUT_ERROR", "no answer")
        bench = Bench(RetryConfig(attempts=5), refused, slow, refused, slow, DOWN)
        error = assert_failure(bench.run(blocking=blocking), "NETWORK_ERROR")
        assert error.context["earlier_errors"] == (
            "NETWORK/NETWORK_ERROR: refused",
            "TIMEOUT/TIMEOUT_ERROR: no answer",
        )

    def test_they_are_ten_at_most(self, blocking: bool) -> None:
        errors = [QiError.network("NETWORK_ERROR", f"request {number}") for number in range(50)]
        error = Bench(RetryConfig(attempts=50), *errors).run(blocking=blocking).error
        assert error is not None
        assert error.message == "request 49"
        assert error.context["earlier_errors"] == tuple(map(str, errors[:10]))

    def test_one_error_again_and_again_is_no_other(self, blocking: bool) -> None:
        error = Bench(RetryConfig(), DOWN).run(blocking=blocking).error
        assert error is not None
        assert error.context == {"attempts": 3}

    def test_when_nobody_can_say_whether_it_is_worth_it_it_is_not(
        self, blocking: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(error: QiError) -> bool:
            raise RuntimeError("boom")

        bench = Bench(RetryConfig(retry_on=broken), DOWN)
        assert bench.run(blocking=blocking).error is DOWN
        assert bench.calls == 1
        assert "`retry_on` of retry 'bench' failed" in caplog.text

    def test_each_error_is_judged_once(self, blocking: bool) -> None:
        judged: list[QiError] = []

        def judge(error: QiError) -> bool:
            judged.append(error)
            return True

        Bench(RetryConfig(retry_on=judge), DOWN, later(1), DOWN).run(blocking=blocking)
        assert judged == [DOWN, later(1), DOWN]

    def test_the_caller_decides_what_is_worth_it(self, blocking: bool) -> None:
        config = RetryConfig(retry_on=lambda error: error.code == "AGAIN")
        bench = Bench(config, QiError.validation("AGAIN", "x"), DOWN)
        assert_failure(bench.run(blocking=blocking), "NETWORK_ERROR")
        assert bench.calls == 2

    def test_one_attempt_is_none_more(self, blocking: bool) -> None:
        bench = Bench(RetryConfig(attempts=1), DOWN)
        assert bench.run(blocking=blocking).error is DOWN
        assert bench.calls == 1

    def test_an_exception_is_a_failure_and_is_tried_again_if_it_may(self, blocking: bool) -> None:
        calls: list[int] = []

        def broken() -> Result[int]:
            calls.append(1)
            raise ConnectionResetError("reset")

        async def broken_later() -> Result[int]:
            return broken()

        retry = Retry(RetryConfig(wait_initial=0))
        result = retry.call_sync(broken) if blocking else asyncio.run(retry.call(broken_later))
        assert result.error is not None
        assert isinstance(result.error.__cause__, ConnectionResetError)
        assert len(calls) == 3


@both
class TestWaits:
    @given(initial=st.floats(0, 10), most=st.floats(0, 10), attempts=st.integers(2, 12))
    def test_each_is_drawn_from_a_range_that_doubles_up_to_the_cap(
        self, blocking: bool, initial: float, most: float, attempts: int
    ) -> None:
        bench = Bench(RetryConfig(attempts=attempts, wait_initial=initial, wait_max=most), DOWN)
        bench.run(blocking=blocking)
        assert len(bench.waits) == attempts - 1
        for number, wait in enumerate(bench.waits):
            assert 0 <= wait <= min(most, initial * 2**number)

    def test_they_are_spread_over_all_of_it(self, blocking: bool) -> None:
        waits: list[float] = []
        for _ in range(300):
            bench = Bench(RetryConfig(attempts=2, wait_initial=1), DOWN)
            bench.run(blocking=blocking)
            waits += bench.waits
        assert min(waits) < 0.1
        assert max(waits) > 0.9
        assert 0.4 < sum(waits) / len(waits) < 0.6

    @pytest.mark.parametrize(("initial", "most"), [(0.0, 0.0), (1e-300, 5.0), (1e300, 5.0)])
    def test_many_attempts_do_not_overflow(self, blocking: bool, initial: float, most: float) -> None:
        bench = Bench(RetryConfig(attempts=1100, wait_initial=initial), DOWN)
        bench.run(blocking=blocking)
        assert len(bench.waits) == 1099
        assert 0 <= max(bench.waits) <= most

    def test_the_service_says_how_long(self, blocking: bool) -> None:
        bench = Bench(RetryConfig(wait_initial=0), later(7), later(0), 1)
        assert_success(bench.run(blocking=blocking))
        assert bench.waits == [7, 0]

    @pytest.mark.parametrize("wanted", [30.1, 31, 10**400])
    def test_too_long_is_not_waited_for(self, blocking: bool, wanted: float) -> None:
        bench = Bench(RetryConfig(retry_after_max=30), later(wanted))
        assert assert_failure(bench.run(blocking=blocking), "HTTP_ERROR").context["retry_after"] == wanted
        assert (bench.calls, bench.waits) == (1, [])

    def test_who_was_told_the_same_time_does_not_come_back_at_the_same_moment(self, blocking: bool) -> None:
        waits: set[float] = set()
        for _ in range(20):
            bench = Bench(RetryConfig(attempts=2, wait_initial=1), later(7))
            bench.run(blocking=blocking)
            waits.update(bench.waits)
        assert len(waits) == 20
        assert all(7 <= wait <= 8 for wait in waits)

    @pytest.mark.parametrize("wanted", ["soon", None, -5, True, [1], float("nan"), -(10**400)])
    def test_nonsense_is_no_time(self, blocking: bool, wanted: Any) -> None:
        bench = Bench(RetryConfig(wait_initial=0), later(wanted), 1)
        assert_success(bench.run(blocking=blocking))
        assert bench.waits == [0]

    def test_no_attempt_begins_after_the_deadline(self, blocking: bool) -> None:
        bench = Bench(RetryConfig(attempts=99, wait_initial=0, deadline=10), DOWN)
        bench.takes = 3
        bench.run(blocking=blocking)
        assert bench.calls == 4  # they begin at 0, 3, 6 and 9

    def test_nor_is_a_wait_begun_that_would_end_after_it(self, blocking: bool) -> None:
        bench = Bench(RetryConfig(wait_initial=0, deadline=10), later(11))
        bench.run(blocking=blocking)
        assert (bench.calls, bench.waits) == (1, [])


@given(
    outcomes=st.lists(st.one_of(st.floats(0, 50).map(later), st.just(DOWN), st.just(7)), min_size=1),
    attempts=st.integers(1, 8),
    deadline=st.one_of(st.none(), st.floats(0.1, 60)),
    takes=st.floats(0, 10),
    initial=st.floats(0, 10),
)
def test_whatever_happens_the_limits_hold(
    outcomes: list[QiError | int], attempts: int, deadline: float | None, takes: float, initial: float
) -> None:
    config = RetryConfig(attempts=attempts, deadline=deadline, wait_initial=initial)
    runs: list[tuple[int, list[float], Result[int]]] = []
    for blocking in (True, False):
        bench = Bench(config, *outcomes)
        bench.takes = takes
        random.seed(1)
        result = bench.run(blocking=blocking)
        runs.append((bench.calls, bench.waits, result))

        assert 1 <= bench.calls <= attempts
        assert len(bench.waits) == bench.calls - 1
        last = outcomes[min(bench.calls, len(outcomes)) - 1]
        assert result.data == last if isinstance(last, int) else result.error is not None
        if deadline is not None and bench.calls > 1:
            assert bench.now - takes - 100 < deadline + 1e-9
        for wait, outcome in zip(bench.waits, outcomes, strict=False):
            assert isinstance(outcome, QiError)
            asked = outcome.context.get("retry_after", 0)
            assert isinstance(asked, int | float)
            assert asked <= wait <= asked + config.wait_max
            assert asked <= config.retry_after_max
    assert runs[0] == runs[1]  # awaiting or blocking


class TestCancelling:
    async def test_during_a_wait_it_ends_at_once(self) -> None:
        calls: list[int] = []
        waiting = asyncio.Event()

        async def down() -> Result[int]:
            calls.append(1)
            return Failure(QiError.network("NETWORK_ERROR", "x", retry_after=29))

        task = asyncio.ensure_future(Retry(RetryConfig(on_retry=lambda event: waiting.set())).call(down))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(calls) == 1

    async def test_nor_is_it_lost_in_a_later_attempt(self) -> None:
        calls: list[int] = []
        running = asyncio.Event()

        async def hangs_later() -> Result[int]:
            calls.append(1)
            if len(calls) == 1:
                return Failure(DOWN)
            running.set()
            await asyncio.sleep(3600)
            return Success(1)

        task = asyncio.ensure_future(Retry(RetryConfig(wait_initial=0)).call(hangs_later))
        await running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert len(calls) == 2

    @pytest.mark.parametrize("first_fails", [True, False])
    @pytest.mark.parametrize("kind", [asyncio.CancelledError, KeyboardInterrupt, SystemExit])
    def test_what_ends_the_task_or_the_program_goes_on_its_way(
        self, kind: type[BaseException], first_fails: bool
    ) -> None:
        outcomes: list[Callable[[], Result[int]]] = [lambda: Failure(DOWN)] if first_fails else []

        def ends() -> Result[int]:
            if outcomes:
                return outcomes.pop()()
            raise kind

        with pytest.raises(kind):
            Retry(RetryConfig(wait_initial=0)).call_sync(ends)


class TestTelling:
    def test_each_retry_is_told_and_logged_without_its_message(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        events: list[RetryEvent] = []
        secret = QiError.network("NETWORK_ERROR", "password=hunter2", token="hunter2")
        with caplog.at_level(logging.INFO, "qicore.resilience"):
            Bench(RetryConfig(on_retry=events.append), secret).run(blocking=True)
        told = [(event.name, event.attempt, event.error) for event in events]
        assert told == [("bench", 1, secret), ("bench", 2, secret)]
        assert "retry 'bench': attempt 1 failed with NETWORK/NETWORK_ERROR, the next in" in caplog.text
        assert "hunter2" not in caplog.text

    def test_a_listener_that_fails_hurts_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken(event: RetryEvent) -> None:
            raise RuntimeError("boom")

        assert_success(Bench(RetryConfig(on_retry=broken), DOWN, 1).run(blocking=True))
        assert "`on_retry` of retry 'bench' failed" in caplog.text


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"wait_initial": -1},
        {"wait_max": float("inf")},
        {"deadline": 0},
        {"retry_after_max": -1},
        {"retry_on": "yes"},
        {"budget": 0.2},
        {"on_retry": 1},
    ],
)
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    error = assert_failure(Retry.create(RetryConfig(**options)), "INVALID_RESILIENCE_CONFIG")
    assert next(iter(options)) in error.message
    with pytest.raises(ValueError, match=next(iter(options))):
        Retry(RetryConfig(**options))


def test_it_says_what_it_is() -> None:
    assert_failure(Retry.create(RetryConfig(attempts=0), name="users"), "INVALID_RESILIENCE_CONFIG")
    retry = assert_success(Retry.create(RetryConfig(attempts=4), name="users"))
    assert (retry.name, retry.config.attempts, repr(retry)) == ("users", 4, "<Retry 'users' attempts=4>")
