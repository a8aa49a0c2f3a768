import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import Retry, RetryBudget, RetryConfig, RetryEvent


class Bench:
    """A retry whose time is ours, around an operation with outcomes in a row."""

    def __init__(self, config: RetryConfig, *outcomes: QiError | int) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.outcomes = list(outcomes)
        self.calls = 0
        self.takes = 0.0
        self.retry = Retry(config, clock=lambda: self.now, sleep=self.sleep, sleep_sync=self.sleep_sync)

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

    def test_an_open_circuit_is_not_waited_for(self, blocking: bool) -> None:
        bench = Bench(RetryConfig(), QiError.network("CIRCUIT_OPEN", "open", retry_after=1.0))
        assert_failure(bench.run(blocking=blocking), "CIRCUIT_OPEN")
        assert bench.calls == 1

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

    def test_the_service_says_how_long(self, blocking: bool) -> None:
        bench = Bench(RetryConfig(wait_initial=0), later(7), later(0), 1)
        assert_success(bench.run(blocking=blocking))
        assert bench.waits == [7, 0]

    def test_too_long_is_not_waited_for(self, blocking: bool) -> None:
        bench = Bench(RetryConfig(retry_after_max=30), later(31))
        assert assert_failure(bench.run(blocking=blocking), "HTTP_ERROR").context["retry_after"] == 31
        assert (bench.calls, bench.waits) == (1, [])

    @pytest.mark.parametrize("wanted", ["soon", None, -5, True])
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
        assert [(event.attempt, event.error) for event in events] == [(1, secret), (2, secret)]
        assert "attempt 1 failed: NETWORK/NETWORK_ERROR" in caplog.text
        assert "hunter2" not in caplog.text

    def test_a_listener_that_fails_hurts_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken(event: RetryEvent) -> None:
            raise RuntimeError("boom")

        assert_success(Bench(RetryConfig(on_retry=broken), DOWN, 1).run(blocking=True))
        assert "on_retry failed" in caplog.text


class TestBudget:
    @both
    def test_when_it_is_spent_the_failure_is_the_answer(self, blocking: bool) -> None:
        budget = RetryBudget(ratio=0, minimum=0, capacity=3)
        config = RetryConfig(attempts=9, wait_initial=0, budget=budget)
        bench = Bench(config, DOWN)
        error = assert_failure(bench.run(blocking=blocking), "NETWORK_ERROR")
        assert bench.calls == 4
        assert error.context["retry_budget"] == "exhausted"
        bench.run(blocking=blocking)
        assert bench.calls == 5

    def test_in_an_outage_retries_stay_a_share_of_the_calls(self) -> None:
        budget = RetryBudget(ratio=0.1, minimum=0, capacity=10)
        retry = Retry(RetryConfig(attempts=3, wait_initial=0, budget=budget))
        calls = [0]

        def down() -> Result[int]:
            calls[0] += 1
            return Failure(DOWN)

        for _ in range(1000):
            retry.call_sync(down)
        # Without a budget there would be 3000.
        assert 1100 <= calls[0] <= 1110

    @given(
        ratio=st.floats(0, 1),
        minimum=st.floats(0, 5),
        capacity=st.floats(1, 20),
        steps=st.lists(st.tuples(st.sampled_from("dwt"), st.floats(0, 3)), max_size=200),
    )
    def test_no_more_than_it_says(
        self, ratio: float, minimum: float, capacity: float, steps: list[tuple[str, float]]
    ) -> None:
        now = [0.0]
        budget = RetryBudget(ratio=ratio, minimum=minimum, capacity=capacity, clock=lambda: now[0])
        calls = retries = 0
        for step, seconds in steps:
            if step == "t":
                now[0] += seconds
            elif step == "d":
                calls += 1
                budget.deposit()
            else:
                retries += budget.withdraw()
            assert retries <= capacity + ratio * calls + minimum * now[0] + 1e-6
            assert 0 <= budget.available <= capacity

    def test_threads_take_no_more_than_there_is(self) -> None:
        budget = RetryBudget(ratio=0, minimum=0, capacity=500)
        taken: list[int] = []

        def take() -> None:
            taken.append(sum(budget.withdraw() for _ in range(100)))

        threads = [threading.Thread(target=take) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(taken) == 500

    @pytest.mark.parametrize("options", [{"ratio": -1}, {"minimum": float("nan")}, {"capacity": 0.5}])
    def test_wrong_options(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="ratio and minimum"):
            RetryBudget(**options)


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
        {"on_retry": 1},
    ],
)
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    error = assert_failure(Retry.create(RetryConfig(**options)), "INVALID_RESILIENCE_CONFIG")
    assert next(iter(options)) in error.message
    with pytest.raises(ValueError, match=next(iter(options))):
        Retry(RetryConfig(**options))
