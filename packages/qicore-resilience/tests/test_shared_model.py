"""A fleet of three against the model of one breaker: whatever is done where, all are what the model is.

The time of the nodes is set; what stands in Redis as the end of an open circuit's time is moved with it.
After each step it is waited until all have heard of it.
"""

from __future__ import annotations

import itertools
import random
from typing import Literal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from qicore.base import Failure, QiError, Result, Success
from qicore.resilience import CircuitBreakerConfig, Permit
from qicore.resilience.shared import SharedCircuitBreakers
from qicore_testkit.redis_server import RedisServer

from .fleet_processes import until

DOWN: Result[int] = Failure(QiError.network("NETWORK_ERROR", "connection refused"))
THRESHOLD, PROBES, RESET = 3, 2, 1000.0
CONFIG = CircuitBreakerConfig(
    failure_threshold=THRESHOLD, half_open_requests=PROBES, reset_timeout=RESET, monitoring_period=100_000
)
NODES = st.integers(0, 2)
_names = itertools.count()


class Fleet(RuleBasedStateMachine):
    server: RedisServer
    nodes: list[SharedCircuitBreakers]
    now = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.name = f"service {next(_names)}"
        self.breakers = [node.get(self.name) for node in self.nodes]
        self.state, self.failures, self.succeeded, self.forced = "CLOSED", 0, 0, False
        self.probes: list[Permit] = []

    def enter(self, state: str) -> None:
        self.state, self.failures, self.succeeded, self.forced = state, 0, 0, False
        if state != "HALF_OPEN":
            for permit in self.probes:  # they tell of a time that is over
                permit.success()
            self.probes.clear()
        until(lambda: all(breaker.state == self.state for breaker in self.breakers))

    @rule(node=NODES, fails=st.booleans())
    @precondition(lambda self: self.state == "CLOSED")
    def call(self, node: int, fails: bool) -> None:
        answer: Result[int] = DOWN if fails else Success(1)
        assert self.breakers[node].call_sync(lambda: answer) is answer
        self.failures += fails
        if self.failures == THRESHOLD:
            self.enter("OPEN")
        assert all(breaker.state == self.state for breaker in self.breakers)

    @rule(node=NODES)
    @precondition(lambda self: self.state == "OPEN")
    def turned_away(self, node: int) -> None:
        error = self.breakers[node].call_sync(lambda: Success(1)).error
        assert error is not None
        assert error.code == "CIRCUIT_OPEN"

    @rule()
    @precondition(lambda self: self.state == "OPEN" and not self.forced)
    def time_passes(self) -> None:
        self.server.call("HSET", f"qicore:circuit:{self.name}", "until", "0")
        Fleet.now += RESET + 1
        self.enter("HALF_OPEN")

    @rule()
    @precondition(lambda self: self.state == "HALF_OPEN")
    def a_probe_begins(self) -> None:
        if len(self.probes) + self.succeeded < PROBES:
            begun = len(self.probes)
            until(lambda: self.try_all() or len(self.probes) > begun)
        else:
            assert not self.try_all()

    def try_all(self) -> bool:
        """Ask all once, in any order, up to the first that admits."""
        for breaker in random.sample(self.breakers, 3):
            admitted = breaker.admit()
            if admitted.is_success:
                self.probes.append(admitted.unwrap())
                return True
        return False

    @rule(how=st.sampled_from(["success", "failure", "release"]))
    @precondition(lambda self: self.probes)
    def a_probe_ends(self, how: Literal["success", "failure", "release"]) -> None:
        permit = self.probes.pop()
        if how == "release":
            permit.release()
        elif how == "failure":
            permit.failure(QiError.network("NETWORK_ERROR", "connection refused"))
            self.enter("OPEN")
        else:
            permit.success()
            self.succeeded += 1
            if self.succeeded == PROBES:
                self.enter("CLOSED")

    @rule(node=NODES, how=st.sampled_from(["open", "close", "reset"]))
    def by_hand(self, node: int, how: Literal["open", "close", "reset"]) -> None:
        if self.state == ("OPEN" if how == "open" else "CLOSED"):
            return  # nothing would show when the others have heard of it
        getattr(self.breakers[node], how)()
        self.enter("OPEN" if how == "open" else "CLOSED")
        self.forced = how == "open"


def test_the_fleet_is_what_the_model_is() -> None:
    with RedisServer() as server:
        Fleet.server = server
        Fleet.nodes = [
            SharedCircuitBreakers.create(server.url, CONFIG, clock=lambda: Fleet.now).unwrap()
            for _ in range(3)
        ]
        try:
            assert all(node.wait(60) for node in Fleet.nodes)
            Fleet.TestCase.settings = settings(
                max_examples=60,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            )
            Fleet.TestCase("runTest").runTest()
        finally:
            for node in Fleet.nodes:
                node.close()
