import asyncio
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import CircuitBreaker, Hedge, HedgeConfig, HedgeStatistics, compose

DOWN = QiError.network("NETWORK_ERROR", "connection refused")
LONG = 60.0


class Attempts:
    """An operation whose attempts end as they are told: at once, never, or when the gate opens."""

    def __init__(self, *outcomes: QiError | int | None) -> None:
        self.outcomes = outcomes
        self.begun = self.cancelled = 0
        self.gate = threading.Event()

    def next(self) -> QiError | int | None:
        self.begun += 1
        return self.outcomes[self.begun - 1]

    async def call(self) -> Result[int]:
        outcome = self.next()
        try:
            if outcome is None:
                await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self.cancelled += 1
            raise
        return answer(outcome)

    def call_sync(self) -> Result[int]:
        outcome = self.next()
        if outcome is None:
            self.gate.wait()
        return answer(outcome)


def answer(outcome: QiError | int | None) -> Result[int]:
    return Failure(outcome) if isinstance(outcome, QiError) else Success(outcome or 0)


class TestAsync:
    async def test_a_quick_answer_needs_one_attempt(self) -> None:
        attempts = Attempts(1)
        assert assert_success(await Hedge(HedgeConfig(delay=LONG)).call(attempts.call)) == 1
        assert attempts.begun == 1

    async def test_the_first_success_is_the_answer_and_the_others_have_ended(self) -> None:
        attempts = Attempts(None, None, 3)
        assert assert_success(await Hedge(HedgeConfig(delay=0.001, attempts=3)).call(attempts.call)) == 3
        assert (attempts.begun, attempts.cancelled) == (3, 2)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_a_failure_begins_the_next_at_once(self) -> None:
        attempts = Attempts(DOWN, 2)
        assert assert_success(await Hedge(HedgeConfig(delay=LONG)).call(attempts.call)) == 2

    async def test_when_all_fail_all_are_told(self) -> None:
        last = QiError.timeout("TIMEOUT_ERROR", "no answer")
        attempts = Attempts(DOWN, last)
        error = assert_failure(await Hedge(HedgeConfig(delay=LONG)).call(attempts.call), "TIMEOUT_ERROR")
        assert "NETWORK_ERROR" in str(error.to_structured_data())

    async def test_what_another_attempt_cannot_mend_is_the_answer(self) -> None:
        wrong = QiError.validation("INVALID_URL", "no host")
        attempts = Attempts(wrong, 2)
        assert (await Hedge(HedgeConfig(delay=LONG)).call(attempts.call)).error is wrong
        assert attempts.begun == 1

    @pytest.mark.parametrize("hedges", [2, 5, 20])
    async def test_all_errors_are_told_the_last_first_as_far_as_a_chain_goes(self, hedges: int) -> None:
        attempts = Attempts(*(QiError.network(f"DOWN_{n}", "x") for n in range(hedges)))
        policy = Hedge(HedgeConfig(delay=LONG, attempts=hedges))
        error: QiError | None = assert_failure(await policy.call(attempts.call))
        codes: list[str] = []
        while error is not None:
            codes.append(error.code)
            error = error.cause
        assert codes == [f"DOWN_{n}" for n in reversed(range(hedges))][:11]

    async def test_a_success_comes_before_a_failure_of_the_same_moment(self) -> None:
        gate = asyncio.Event()
        begun = 0

        async def call() -> Result[int]:
            nonlocal begun
            begun += 1
            number = begun
            if begun == 4:
                gate.set()
            await gate.wait()
            return Success(3) if number == 3 else Failure(QiError.validation("INVALID_URL", "no host"))

        assert assert_success(await Hedge(HedgeConfig(delay=0, attempts=4)).call(call)) == 3

    @pytest.mark.parametrize("code", ["CIRCUIT_OPEN", "BULKHEAD_FULL", "RATE_LIMITED"])
    async def test_one_turned_away_does_not_end_those_that_run(self, code: str) -> None:
        begun = 0

        async def call() -> Result[int]:
            nonlocal begun
            begun += 1
            if begun == 1:
                await asyncio.sleep(0.05)
                return Success(1)
            return Failure(QiError.network(code, "turned away"))

        policy = Hedge(HedgeConfig(delay=0, attempts=5, hedge_on=lambda error: error.code != code))
        assert assert_success(await policy.call(call)) == 1
        assert begun == 2, "there was no room for more"
        assert policy.statistics() == HedgeStatistics(calls=1, further=1)

    async def test_it_has_the_errors_before_it_behind_it(self) -> None:
        wrong = QiError.validation("INVALID_URL", "no host")
        error = assert_failure(await Hedge(HedgeConfig(delay=LONG)).call(Attempts(DOWN, wrong).call))
        assert (error.code, error.cause) == ("INVALID_URL", DOWN)

    async def test_turned_away_at_once_it_is_the_answer(self) -> None:
        breaker = CircuitBreaker()
        breaker.open()
        policy = compose(Hedge(HedgeConfig(delay=LONG)), breaker)
        assert_failure(await policy.call(lambda: Success(1)), "CIRCUIT_OPEN")

    async def test_when_those_that_run_fail_too_it_stands_behind_them(self) -> None:
        begun = 0

        async def call() -> Result[int]:
            nonlocal begun
            begun += 1
            if begun == 1:
                await asyncio.sleep(0.05)
                return Failure(DOWN)
            return Failure(QiError.network("CIRCUIT_OPEN", "turned away"))

        error = assert_failure(await Hedge(HedgeConfig(delay=0)).call(call), "NETWORK_ERROR")
        assert error.cause is not None
        assert error.cause.code == "CIRCUIT_OPEN"

    async def test_a_broken_predicate_means_no_further_attempt_and_is_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(error: QiError) -> bool:
            raise KeyError("x")

        attempts = Attempts(DOWN, 2)
        policy = Hedge(HedgeConfig(delay=LONG, hedge_on=broken))
        assert assert_failure(await policy.call(attempts.call)) == DOWN
        assert attempts.begun == 1
        assert "`hedge_on` failed" in caplog.text

    async def test_what_an_attempt_raises_is_a_failure(self) -> None:
        async def breaks() -> Result[int]:
            raise KeyError("x")

        assert_failure(await Hedge().call(breaks), "KEY_ERROR")

    async def test_an_attempt_that_is_cancelled_by_itself_is_a_cancellation(self) -> None:
        async def cancelled() -> Result[int]:
            raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await Hedge().call(cancelled)

    async def test_cancelled_again_while_the_attempts_clean_up_it_still_waits_for_them(self) -> None:
        cleaning, go = asyncio.Event(), asyncio.Event()
        cleaned = False

        async def slow() -> Result[int]:
            nonlocal cleaned
            try:
                await asyncio.sleep(LONG)
            finally:
                cleaning.set()
                await go.wait()
                cleaned = True
            return Success(1)

        task = asyncio.ensure_future(Hedge(HedgeConfig(delay=LONG)).call(slow))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await cleaning.wait()
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cleaned
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_a_storm_of_cancellations_leaves_nothing_running(self) -> None:
        policy = Hedge(HedgeConfig(delay=0.0005, attempts=3))
        running = 0

        async def slow() -> Result[int]:
            nonlocal running
            running += 1
            try:
                await asyncio.sleep(random.random() / 200)
            finally:
                running -= 1
            return Success(1)

        for _ in range(10):
            tasks = [asyncio.ensure_future(policy.call(slow)) for _ in range(50)]
            for task in random.sample(tasks, 40):
                await asyncio.sleep(0)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert running == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert policy.statistics().calls <= 500

    async def test_cancelled_nothing_runs_on(self) -> None:
        attempts = Attempts(None, None)
        task = asyncio.ensure_future(Hedge(HedgeConfig(delay=0)).call(attempts.call))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert attempts.cancelled == attempts.begun > 0
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_no_more_attempts_than_said(self) -> None:
        attempts = Attempts(None, None, None)

        async def opens() -> None:
            await asyncio.sleep(0.05)

        task = asyncio.ensure_future(Hedge(HedgeConfig(delay=0.001, attempts=2)).call(attempts.call))
        await opens()
        assert attempts.begun == 2
        task.cancel()
        await asyncio.wait([task])


class TestBlocking:
    def test_the_first_success_is_the_answer(self) -> None:
        attempts = Attempts(None, 2)
        assert assert_success(Hedge(HedgeConfig(delay=0.001)).call_sync(attempts.call_sync)) == 2
        attempts.gate.set()

    def test_a_failure_begins_the_next_at_once(self) -> None:
        attempts = Attempts(DOWN, 2)
        assert assert_success(Hedge(HedgeConfig(delay=LONG)).call_sync(attempts.call_sync)) == 2

    def test_when_all_fail_all_are_told(self) -> None:
        attempts = Attempts(DOWN, QiError.timeout("TIMEOUT_ERROR", "no answer"))
        error = assert_failure(Hedge(HedgeConfig(delay=LONG)).call_sync(attempts.call_sync), "TIMEOUT_ERROR")
        assert "NETWORK_ERROR" in str(error.to_structured_data())

    @pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
    def test_what_ends_the_program_ends_it_through_the_thread(self, kind: type[BaseException]) -> None:
        def ends() -> Result[int]:
            raise kind(3)

        with pytest.raises(kind):
            Hedge().call_sync(ends)

    def test_where_no_further_thread_starts_the_first_is_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        attempts, start = Attempts(None), threading.Thread.start

        def starts_once(thread: threading.Thread) -> None:
            if attempts.begun:
                attempts.gate.set()
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", starts_once)
        policy = Hedge(HedgeConfig(delay=0.01, hedge_on=lambda error: True))
        assert assert_success(policy.call_sync(attempts.call_sync)) == 0

    def test_fifty_threads_share_one(self) -> None:
        policy = Hedge(HedgeConfig(delay=0.001))

        def slow(number: int) -> Result[int]:
            time.sleep(random.random() / 500)
            return Success(number)

        with ThreadPoolExecutor(50) as pool:
            calls = [pool.submit(policy.call_sync, partial(slow, number)) for number in range(100)]
            assert [assert_success(call.result()) for call in calls] == list(range(100))
        assert policy.statistics().calls == 100


@pytest.mark.parametrize("options", [{"delay": -1}, {"attempts": 0}, {"hedge_on": None}])
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    error = assert_failure(Hedge.create(HedgeConfig(**options)), "INVALID_RESILIENCE_CONFIG")
    assert next(iter(options)) in error.message
    with pytest.raises(ValueError, match=next(iter(options))):
        Hedge(HedgeConfig(**options))
