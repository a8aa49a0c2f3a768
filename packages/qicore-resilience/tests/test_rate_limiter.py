import asyncio
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import RateLimiter, RateLimiterConfig, RateLimiters
from qicore.resilience.rate_limiter import how_busy


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
    assert error.context["name"] == "default"
    assert error.category.is_retryable
    bench.now += 5
    assert_success(bench.call())
    statistics = bench.limiter.statistics()
    assert (statistics.allowed, statistics.rejected, statistics.available) == (3, 2, 0)
    bench.now += 100
    assert bench.limiter.statistics().available == 2


@given(
    limit=st.integers(1, 10**9),
    period=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    burst=st.none() | st.integers(1, 10**9),
    now=st.floats(0, 1e12),
)
def test_any_right_options_do(limit: int, period: float, burst: int | None, now: float) -> None:
    limiter = RateLimiter(
        RateLimiterConfig(limit=limit, period=period, burst=burst, max_wait=0), clock=lambda: now
    )
    assert limiter.statistics().available >= 0
    assert_success(limiter.call_sync(lambda: Success(1)))
    assert 0 <= limiter.statistics().available <= (burst or limit)
    assert how_busy(limiter) >= 0


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


@pytest.mark.parametrize("order", ["as they came", "backwards", "at random"])
async def test_a_storm_of_cancellations_gives_every_turn_back(order: str) -> None:
    limiter = RateLimiter(RateLimiterConfig(limit=1, period=60))
    assert_success(await limiter.call(lambda: Success(1)))
    before = how_busy(limiter)
    for _ in range(5):
        tasks = [asyncio.ensure_future(limiter.call(lambda: Success(1))) for _ in range(50)]
        await asyncio.sleep(0)
        assert limiter.statistics().waiting == 50
        assert how_busy(limiter) > before + 49 * 60
        if order == "backwards":
            tasks.reverse()
        elif order == "at random":
            random.shuffle(tasks)
        for task in tasks:
            task.cancel()
        assert all(
            isinstance(end, asyncio.CancelledError)
            for end in await asyncio.gather(*tasks, return_exceptions=True)
        )
        assert how_busy(limiter) <= before
    statistics = limiter.statistics()
    assert (statistics.allowed, statistics.waiting, statistics.rejected) == (1, 0, 0)


async def test_who_waits_behind_a_cancelled_one_keeps_the_place() -> None:
    limiter = RateLimiter(RateLimiterConfig(limit=1, period=0.01))
    order: list[int] = []

    def numbered(number: int) -> Result[int]:
        order.append(number)
        return Success(number)

    tasks = [asyncio.ensure_future(limiter.call(partial(numbered, number))) for number in range(10)]
    await asyncio.sleep(0)
    for number in (3, 4, 7):
        tasks[number].cancel()
    later = asyncio.ensure_future(limiter.call(partial(numbered, 10)))
    await asyncio.gather(*tasks, later, return_exceptions=True)
    assert order == [0, 1, 2, 5, 6, 8, 9, 10]


def test_an_interrupt_gives_the_turn_back() -> None:
    def interrupts(_: float) -> None:
        raise KeyboardInterrupt

    limiter = RateLimiter(RateLimiterConfig(limit=1, period=60), sleep_sync=interrupts)
    assert_success(limiter.call_sync(lambda: Success(1)))
    before = how_busy(limiter)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            limiter.call_sync(lambda: Success(1))
    assert how_busy(limiter) <= before
    assert limiter.statistics().waiting == 0


def test_a_thread_sleeps_no_longer_at_once_than_the_system_can() -> None:
    slept: list[float] = []
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds if len(slept) < 3 else 1e12

    config = RateLimiterConfig(limit=1, period=1e12)
    limiter = RateLimiter(config, clock=lambda: now, sleep_sync=sleep)
    for _ in range(2):
        assert_success(limiter.call_sync(lambda: Success(1)))
    assert len(slept) == 3
    assert max(slept) < threading.TIMEOUT_MAX


async def test_the_rate_holds_after_a_loop_was_held_up() -> None:
    read: list[float] = []
    begun: list[float] = []

    def clock() -> float:
        read.append(time.monotonic())
        return read[-1]

    def note() -> Result[int]:
        begun.append(read[-1])  # when the limiter let it begin
        return Success(1)

    limiter = RateLimiter(RateLimiterConfig(limit=1, period=0.02, burst=1), clock=clock)
    tasks = [asyncio.ensure_future(limiter.call(note)) for _ in range(10)]
    await asyncio.sleep(0)
    time.sleep(0.11)  # noqa: ASYNC251 - what must not be done: it holds up the loop
    await asyncio.gather(*tasks)
    assert all(later - earlier > 0.02 - 1e-9 for earlier, later in pairwise(begun))


def test_three_loops_and_threads_share_one_rate() -> None:
    limiter = RateLimiter(RateLimiterConfig(limit=5, period=0.01, burst=5))
    begun: list[float] = []

    def note() -> Result[int]:
        begun.append(time.monotonic())
        return Success(1)

    async def many() -> None:
        for result in await asyncio.gather(*(limiter.call(note) for _ in range(20))):
            assert_success(result)

    start = time.monotonic()
    with ThreadPoolExecutor(23) as pool:
        loops = [pool.submit(asyncio.run, many()) for _ in range(3)]
        calls = [pool.submit(limiter.call_sync, note) for _ in range(40)]
        for loop in loops:
            loop.result()
        for call in calls:
            assert_success(call.result())
    assert len(begun) == 100
    # Five at once, and then one each 2 ms: a hundred take 190 ms at least.
    assert max(begun) - start >= 0.19
    assert limiter.statistics().allowed == 100


def test_a_call_in_a_signal_handler_does_not_wait_for_itself() -> None:
    limiter = RateLimiter(RateLimiterConfig(limit=10**9))
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        assert_success(limiter.call_sync(lambda: Success(1)))
        handled += 1

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        while handled < 300:
            assert_success(limiter.call_sync(lambda: Success(1)))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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
    def test_each_has_its_own_name_and_the_same_time(self) -> None:
        now = [0.0]

        def sleep(seconds: float) -> None:
            now[0] += seconds

        config = RateLimiterConfig(limit=1, period=3600)
        limiters = RateLimiters(config, clock=lambda: now[0], sleep_sync=sleep)
        for _ in range(3):
            assert_success(limiters.get("api.example.org").call_sync(lambda: Success(1)))
        assert now == [7200]
        assert limiters.get("api.example.org").name == "api.example.org"
        assert "api.example.org" in repr(limiters.get("api.example.org"))

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


@pytest.mark.parametrize(
    "options",
    [{"limit": 0}, {"limit": 10**400}, {"period": 0}, {"burst": 0}, {"burst": 10**400}, {"max_wait": -1}],
)
def test_wrong_options_are_named(options: dict[str, Any]) -> None:
    error = assert_failure(RateLimiter.create(RateLimiterConfig(**options)), "INVALID_RESILIENCE_CONFIG")
    assert next(iter(options)) in error.message
    with pytest.raises(ValueError, match=next(iter(options))):
        RateLimiter(RateLimiterConfig(**options))
