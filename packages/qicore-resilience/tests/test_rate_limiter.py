import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import RateLimiter, RateLimiterConfig, RateLimiters


class Bench:
    """A limiter whose time is ours."""

    def __init__(self, **options: Any) -> None:
        self.now = 50.0
        self.begun: list[float] = []
        self.limiter = RateLimiter(
            RateLimiterConfig(**options),
            clock=lambda: self.now,
            sleep_sync=self.sleep,
            sleep=self.sleep_later,
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def sleep_later(self, seconds: float) -> None:
        self.now += seconds

    def call(self) -> Result[float]:
        return self.limiter.call_sync(self.note)

    def note(self) -> Result[float]:
        self.begun.append(self.now)
        return Success(self.now)


@given(
    limit=st.integers(1, 20),
    period=st.floats(0.01, 100),
    burst=st.none() | st.integers(1, 30),
    pauses=st.lists(st.floats(0, 30), min_size=1, max_size=60),
    waits=st.booleans(),
)
def test_in_any_time_no_more_than_it_says(
    limit: int, period: float, burst: int | None, pauses: list[float], waits: bool
) -> None:
    bench = Bench(limit=limit, period=period, burst=burst, max_wait=None if waits else 0)
    for pause in pauses:
        bench.now += pause
        assert bench.call().is_success or not waits
    most = burst or limit
    for first, start in enumerate(bench.begun):
        for last in range(first, len(bench.begun)):
            allowed = most + (bench.begun[last] - start) * limit / period
            assert last - first + 1 <= allowed + 1e-6


@given(limit=st.integers(1, 20), period=st.floats(0.01, 100), calls=st.integers(1, 60))
def test_nor_less_than_it_may(limit: int, period: float, calls: int) -> None:
    bench = Bench(limit=limit, period=period)
    for _ in range(calls):
        assert_success(bench.call())
    # All that the bucket held at once, then evenly.
    assert bench.now - 50 == pytest.approx(max(0, calls - limit) * period / limit, abs=1e-6)


def test_too_early_is_told_when_to_come_again() -> None:
    bench = Bench(limit=2, period=10, max_wait=0)
    assert [bench.call().is_success for _ in range(3)] == [True, True, False]
    error = assert_failure(bench.call(), "RATE_LIMITED")
    assert error.context["retry_after"] == pytest.approx(5)
    assert error.category.is_retryable
    bench.now += 5
    assert_success(bench.call())
    statistics = bench.limiter.statistics()
    assert (statistics.allowed, statistics.rejected) == (3, 2)


def test_one_waits_only_so_long() -> None:
    bench = Bench(limit=1, period=10, max_wait=10)
    assert assert_success(bench.call()) == 50
    assert assert_success(bench.call()) == 60
    bench.now = 50
    assert assert_failure(bench.call(), "RATE_LIMITED").context["retry_after"] == pytest.approx(20)


async def test_tasks_are_served_in_order() -> None:
    limiter = RateLimiter(RateLimiterConfig(limit=1, period=0.005))
    order: list[int] = []

    async def numbered(number: int) -> None:
        async def note() -> Result[int]:
            order.append(number)
            return Success(number)

        assert_success(await limiter.call(note))

    await asyncio.gather(*map(numbered, range(10)))
    assert order == list(range(10))


async def test_the_last_in_line_gives_its_turn_back_when_it_is_cancelled() -> None:
    limiter = RateLimiter(RateLimiterConfig(limit=1, period=60))
    assert_success(await limiter.call(lambda: Success(1)))
    debt = limiter.debt()
    tasks = [asyncio.ensure_future(limiter.call(lambda: Success(1))) for _ in range(5)]
    await asyncio.sleep(0)
    assert limiter.debt() > debt + 4 * 60
    for task in reversed(tasks):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert limiter.debt() <= debt
    assert limiter.statistics().allowed == 1


def test_fifty_threads_get_no_more_than_there_is() -> None:
    limiter = RateLimiter(RateLimiterConfig(limit=100, period=3600, max_wait=0))
    passed: list[int] = []

    def hammer() -> None:
        passed.append(sum(limiter.call_sync(lambda: Success(1)).is_success for _ in range(20)))

    threads = [threading.Thread(target=hammer) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(passed) == 100


async def test_what_the_operation_raises_is_a_failure() -> None:
    def breaks() -> Result[int]:
        raise KeyError("x")

    assert_failure(RateLimiter().call_sync(breaks), "KEY_ERROR")
    assert_failure(await RateLimiter().call(breaks), "KEY_ERROR")


class TestOneForEachKey:
    def test_each_has_its_own_rate(self) -> None:
        limiters = RateLimiters(RateLimiterConfig(limit=1, period=60, max_wait=0))
        assert limiters.get("a") is limiters.get("a")
        assert_success(limiters.get("a").call_sync(lambda: Success(1)))
        assert_failure(limiters.get("a").call_sync(lambda: Success(1)), "RATE_LIMITED")
        assert_success(limiters.get("b").call_sync(lambda: Success(1)))

    def test_the_one_at_rest_is_forgotten_first(self) -> None:
        now = [0.0]
        limiters = RateLimiters(RateLimiterConfig(limit=1, period=60), max_size=2, clock=lambda: now[0])
        assert_success(limiters.get("busy").call_sync(lambda: Success(1)))
        limiters.get("idle")
        limiters.get("new")
        assert ("busy" in limiters, "idle" in limiters, len(limiters)) == (True, False, 2)

    def test_wrong_options_are_wrong_at_once(self) -> None:
        with pytest.raises(ValueError, match="limit"):
            RateLimiters(RateLimiterConfig(limit=0))


@pytest.mark.parametrize("options", [{"limit": 0}, {"period": 0}, {"burst": 0}, {"max_wait": -1}])
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    error = assert_failure(RateLimiter.create(RateLimiterConfig(**options)), "INVALID_RESILIENCE_CONFIG")
    assert next(iter(options)) in error.message
    with pytest.raises(ValueError, match=next(iter(options))):
        RateLimiter(RateLimiterConfig(**options))
