import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import Retry, RetryBudget, RetryConfig

DOWN = QiError.network("NETWORK_ERROR", "connection refused")


class Service:
    """It is up or down, and counts what it is asked."""

    def __init__(self, *, up: bool = False) -> None:
        self.up = up
        self.load = 0

    def ask(self) -> Result[int]:
        self.load += 1
        return Success(1) if self.up else Failure(DOWN)

    async def ask_later(self) -> Result[int]:
        await asyncio.sleep(0)
        return self.ask()


async def at_once(seconds: float) -> None:
    await asyncio.sleep(0)


def retry_with(budget: RetryBudget, attempts: int = 3) -> Retry:
    return Retry(
        RetryConfig(attempts=attempts, budget=budget), sleep=at_once, sleep_sync=lambda seconds: None
    )


@pytest.mark.parametrize("blocking", [True, False])
def test_when_it_is_spent_the_failure_is_the_answer(blocking: bool) -> None:
    service = Service()
    retry = retry_with(RetryBudget(ratio=0, minimum=0, capacity=3), attempts=9)

    def call() -> Result[int]:
        return retry.call_sync(service.ask) if blocking else asyncio.run(retry.call(service.ask_later))

    first = assert_failure(call(), "NETWORK_ERROR")
    assert (service.load, first.context["attempts"]) == (4, 4)
    second = assert_failure(call(), "NETWORK_ERROR")
    assert (service.load, second.context["attempts"]) == (5, 1)
    assert first.context["retry_budget"] == second.context["retry_budget"] == "exhausted"


class TestOutage:
    """While a service is down, its load grows by the ratio, and not by the number of attempts."""

    def test_retries_stay_a_share_of_the_calls(self) -> None:
        service = Service()
        retry = retry_with(RetryBudget(ratio=0.1, minimum=0, capacity=10))
        for _ in range(1000):
            retry.call_sync(service.ask)
        # Without a budget it would be 3000. What is paid in while the budget is full is lost.
        assert 1000 + 100 <= service.load <= 1000 + 100 + 10

    def test_and_a_number_each_second(self) -> None:
        now = [0.0]
        service = Service()
        budget = RetryBudget(ratio=0, minimum=2, capacity=10, clock=lambda: now[0])
        retry = retry_with(budget)
        for tick in range(1000):
            now[0] = tick / 10
            retry.call_sync(service.ask)
        assert service.load == 1000 + 10 + 199  # in 99.9 seconds

    async def test_for_tasks_together(self) -> None:
        service = Service()
        retry = retry_with(RetryBudget(ratio=0.1, minimum=0, capacity=10))

        async def client() -> None:
            for _ in range(20):
                await retry.call(service.ask_later)

        await asyncio.gather(*(client() for _ in range(50)))
        assert 1000 + 100 <= service.load <= 1000 + 100 + 10

    def test_for_threads_together(self) -> None:
        services = [Service() for _ in range(10)]
        budget = RetryBudget(ratio=0.1, minimum=0, capacity=10)

        def client(service: Service) -> None:
            retry = retry_with(budget)
            for _ in range(100):
                retry.call_sync(service.ask)

        threads = [threading.Thread(target=client, args=(service,)) for service in services]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 1000 + 100 <= sum(service.load for service in services) <= 1000 + 100 + 10

    def test_of_layers_on_each_other_each_adds_its_share(self) -> None:
        service = Service()
        inner = retry_with(RetryBudget(ratio=0.1, minimum=0, capacity=10))
        outer = retry_with(RetryBudget(ratio=0.1, minimum=0, capacity=10))
        for _ in range(1000):
            outer.call_sync(lambda: inner.call_sync(service.ask))
        assert service.load <= 1000 * 1.1**2 + 30  # without budgets it would be 9000

    def test_when_it_is_over_retries_are_there_again(self) -> None:
        service = Service()
        budget = RetryBudget(ratio=0.1, minimum=0, capacity=10)
        retry = retry_with(budget)
        for _ in range(100):
            retry.call_sync(service.ask)
        assert budget.available < 1
        service.up = True
        for _ in range(100):
            assert_success(retry.call_sync(service.ask))
        assert budget.available == 10


@given(
    ratio=st.floats(0, 1),
    minimum=st.floats(0, 5),
    capacity=st.floats(1, 20),
    steps=st.lists(st.tuples(st.sampled_from("dwt"), st.floats(-1, 3)), max_size=200),
)
def test_no_more_than_it_says(
    ratio: float, minimum: float, capacity: float, steps: list[tuple[str, float]]
) -> None:
    now = latest = 0.0
    budget = RetryBudget(ratio=ratio, minimum=minimum, capacity=capacity, clock=lambda: now)
    calls = retries = 0
    for step, seconds in steps:
        if step == "t":
            now += seconds  # even back
            latest = max(latest, now)
        elif step == "d":
            calls += 1
            budget.deposit()
        else:
            retries += budget.withdraw()
        assert retries <= capacity + ratio * calls + minimum * latest + 1e-6
        assert 0 <= budget.available <= capacity


@given(st.integers(1, 50))
def test_a_share_of_the_calls_is_no_rounding_less(calls: int) -> None:
    budget = RetryBudget(ratio=1 / calls, minimum=0, capacity=1)
    assert budget.withdraw()
    for _ in range(calls):
        assert not budget.withdraw()
        budget.deposit()
    assert budget.withdraw()


def test_threads_take_no_more_than_there_is() -> None:
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
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ratio and minimum"):
        RetryBudget(**options)


def test_it_shows_what_is_left() -> None:
    assert repr(RetryBudget(minimum=0, capacity=3)) == "<RetryBudget 3 of 3>"


def test_a_call_in_a_signal_handler_may_use_the_budget_that_it_interrupts() -> None:
    nested: list[float] = []

    def clock() -> float:
        if not nested and budget is not None:
            nested.append(0.0)
            budget.deposit()  # as a handler would that comes right here, with the lock held
        return 1.0

    budget: RetryBudget | None = None
    budget = RetryBudget(clock=clock)
    done = threading.Thread(target=budget.deposit, daemon=True)
    done.start()
    done.join(60)
    assert not done.is_alive()
    assert nested == [0.0]
