import asyncio
import threading
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import Hedge, HedgeConfig

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


@pytest.mark.parametrize("options", [{"delay": -1}, {"attempts": 0}])
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    error = assert_failure(Hedge.create(HedgeConfig(**options)), "INVALID_RESILIENCE_CONFIG")
    assert next(iter(options)) in error.message
    with pytest.raises(ValueError, match=next(iter(options))):
        Hedge(HedgeConfig(**options))
