"""The breaker against a model of it: calls, outcomes, waits and interventions in any order, at set times."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from qicore.base import Failure, QiError, Result, Success
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, Permit

Outcome: TypeAlias = Literal["success", "answer", "failure", "release"]

DOWN = QiError.network("NETWORK_ERROR", "connection refused")
ABSENT = QiError.network("HTTP_ERROR", "no such page", status=404)
TURNED_AWAY = QiError.timeout("RATE_LIMITED", "not now")
OUTCOMES: st.SearchStrategy[Outcome] = st.sampled_from(["success", "answer", "failure", "release"])

# Quarters of a second, and a period of 25 seconds, in steps of a quarter: exact in floating point.
CONFIGS = [
    CircuitBreakerConfig(failure_threshold=2, monitoring_period=25, reset_timeout=40, half_open_requests=2),
    CircuitBreakerConfig(failure_threshold=1, monitoring_period=25, reset_timeout=10, half_open_requests=1),
    CircuitBreakerConfig(failure_rate=0.5, minimum_calls=4, monitoring_period=25, reset_timeout=40),
    CircuitBreakerConfig(
        failure_threshold=3,
        slow_call_duration=2,
        slow_call_rate=0.5,
        minimum_calls=3,
        monitoring_period=25,
        half_open_requests=2,
    ),
    CircuitBreakerConfig(
        failure_rate=0.6, slow_call_duration=2, slow_call_rate=0.3, minimum_calls=3, monitoring_period=25
    ),
]

NOTHING = cast("Any", multiple())


class Model:
    """What the documentation says, as plainly as it can be said."""

    def __init__(self, config: CircuitBreakerConfig) -> None:
        self.config, self.era = config, 0
        self.enter("CLOSED")

    def enter(self, state: str, until: float | None = None) -> None:
        self.state, self.until = state, until
        self.era += 1
        self.calls: list[tuple[float, bool, bool]] = []
        self.left = self.config.half_open_requests

    def admit(self, now: float) -> bool:
        if self.state == "OPEN" and self.until is not None and now >= self.until:
            self.enter("HALF_OPEN")
        self.left -= self.state == "HALF_OPEN" and self.left >= 0
        return self.state == "CLOSED" or (self.state == "HALF_OPEN" and self.left >= 0)

    def end(self, era: int, now: float, took: float, outcome: Outcome) -> None:
        if era != self.era:
            return
        if outcome == "release":
            self.left = max(self.left, 0) + (self.state == "HALF_OPEN")
            return
        failed, limit = outcome == "failure", self.config.slow_call_duration
        self.calls.append((now, failed, limit is not None and took >= limit))
        within = [call for call in self.calls if now - call[0] < self.config.monitoring_period]
        if self.state == "HALF_OPEN":
            done = len(self.calls) == self.config.half_open_requests
            if failed or (done and self.share(self.calls, 2, self.config.slow_call_rate)):
                self.enter("OPEN", now + self.config.reset_timeout)
            elif done:
                self.enter("CLOSED")
        elif self.too_many(within, failed):
            self.enter("OPEN", now + self.config.reset_timeout)

    def too_many(self, within: list[tuple[float, bool, bool]], failed: bool) -> bool:
        if len(within) >= self.config.minimum_calls and (
            self.share(within, 1, self.config.failure_rate)
            or self.share(within, 2, self.config.slow_call_rate)
        ):
            return True
        failures = sum(call[1] for call in within)
        return failed and self.config.failure_rate is None and failures >= self.config.failure_threshold

    @staticmethod
    def share(calls: list[tuple[float, bool, bool]], kind: int, limit: float | None) -> bool:
        return limit is not None and sum(call[kind] for call in calls) / len(calls) >= limit


class Pause:
    """What an operation awaits until the machine says how it ends."""

    def __await__(self) -> Generator[None, Any, Any]:
        return (yield)


@dataclass
class Outstanding:
    """A call that was let through, in which era of the model, when, and by which way."""

    era: int
    started: float
    way: Permit | Coroutine[None, Result[int], Result[int]]


class Breakers(RuleBasedStateMachine):
    outstanding: Bundle[Outstanding] = Bundle("outstanding")

    @initialize(config=st.sampled_from(CONFIGS))
    def start(self, config: CircuitBreakerConfig) -> None:
        self.now = 1000.0
        self.model = Model(config)
        self.breaker = CircuitBreaker(config, clock=lambda: self.now)

    def admit(self, let_through: bool) -> None:
        assert let_through is self.model.admit(self.now)

    @rule(target=outstanding)
    def take_a_permit(self) -> Any:
        admitted = self.breaker.admit()
        self.admit(admitted.is_success)
        self.check_rejection(admitted)
        if admitted.is_success:
            return Outstanding(self.model.era, self.now, admitted.unwrap())
        return cast("Any", multiple())

    @rule(target=outstanding)
    def begin_a_call(self) -> Any:
        async def operation() -> Result[int]:
            result: Result[int] = await Pause()
            return result

        call: Any = self.breaker.call(operation)
        try:
            call.send(None)
        except StopIteration as stop:
            self.admit(False)
            self.check_rejection(stop.value)
            return NOTHING
        self.admit(True)
        return Outstanding(self.model.era, self.now, call)

    @rule(call=consumes(outstanding), outcome=OUTCOMES, drop=st.booleans())
    def end_one(self, call: Outstanding, outcome: Outcome, drop: bool) -> None:
        self.model.end(call.era, self.now, self.now - call.started, outcome)
        if isinstance(call.way, Permit):
            if outcome == "success":
                call.way.success()
            elif outcome == "release":
                call.way.release()
            else:
                call.way.failure(DOWN if outcome == "failure" else ABSENT)
        elif outcome == "release" and drop:
            call.way.close()
        elif outcome == "release":
            with pytest.raises(asyncio.CancelledError):
                call.way.throw(asyncio.CancelledError())
        else:
            result = self.result(outcome)
            with pytest.raises(StopIteration) as stop:
                call.way.send(result)
            assert stop.value.value is result

    def edge(self) -> float:
        """Return when the circuit is due, or else the oldest call slides out of the window."""
        if self.model.until is not None:
            return self.model.until
        period = self.model.config.monitoring_period
        return next((call[0] + period for call in self.model.calls if self.now - call[0] < period), self.now)

    @rule(
        outcome=OUTCOMES,
        takes=st.sampled_from([0, 1.75, 2, 30]),
        when=st.sampled_from(["now", "before the edge", "at the edge"]),
    )
    def call_it(self, outcome: Outcome, takes: float, when: str) -> None:
        if when != "now":
            self.now = max(self.now, self.edge() - 0.25 * (when == "before the edge"))
        started = self.now
        began: list[int] = []

        def operation() -> Result[int]:
            self.admit(True)
            began.append(self.model.era)
            self.now += takes
            if outcome == "failure" and takes == 0:
                raise ConnectionResetError
            return self.result(outcome)

        result = self.breaker.call_sync(operation)
        if len(began) == 1:
            self.model.end(began[0], self.now, self.now - started, outcome)
        else:
            self.admit(False)
            self.check_rejection(result)

    @staticmethod
    def result(outcome: Outcome) -> Result[int]:
        errors = {"failure": DOWN, "answer": ABSENT, "release": TURNED_AWAY}
        return Failure(errors[outcome]) if outcome in errors else Success(1)

    def check_rejection(self, result: Result[Any]) -> None:
        if result.error is not None:
            until = self.model.until
            assert result.error.code == "CIRCUIT_OPEN"
            assert result.error.context.get("retry_after") == (None if until is None else until - self.now)

    @rule(seconds=st.sampled_from([0.25, 1, 5, 10, 24.75, 25, 40, 60]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(how=st.sampled_from(["open", "close", "reset"]))
    def intervene(self, how: Literal["open", "close", "reset"]) -> None:
        getattr(self.breaker, how)()
        self.model.enter("OPEN" if how == "open" else "CLOSED")

    @invariant()
    def they_agree(self) -> None:
        model, now = self.model, self.now
        due = model.state == "OPEN" and model.until is not None and now >= model.until
        assert self.breaker.state == ("HALF_OPEN" if due else model.state)
        if model.state == "CLOSED":
            period = self.breaker.config.monitoring_period
            failures = sum(failed for moment, failed, _ in model.calls if now - moment < period)
            assert self.breaker.statistics().recent_failures == failures


TestBreakers = Breakers.TestCase
TestBreakers.settings = settings(max_examples=400, stateful_step_count=60, deadline=None)
