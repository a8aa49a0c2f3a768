import asyncio
import dataclasses
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from qicore.base import Failure, QiError, Result, Success
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig

DOWN: Result[int] = Failure(QiError.network("NETWORK_ERROR", "connection refused"))
RATES: dict[str, Any] = {
    "failure_rate": 0.5,
    "minimum_calls": 1,
    "slow_call_duration": 100.0,
    "slow_call_rate": 1.0,
}


@pytest.fixture(autouse=True)
def switch_often() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def half_open(permits: int, **options: Any) -> CircuitBreaker:
    now = [0.0]
    config = CircuitBreakerConfig(failure_threshold=1, half_open_requests=permits, **options)
    breaker = CircuitBreaker(config, clock=lambda: now[0])
    breaker.call_sync(lambda: DOWN)
    now[0] = config.reset_timeout
    return breaker


def at_once(work: Callable[[int], object], threads: int = 50) -> None:
    """Run `work` in so many threads that all start together."""
    barrier = threading.Barrier(threads)
    raised: list[BaseException] = []

    def run(n: int) -> None:
        try:
            barrier.wait(30)
            work(n)
        except BaseException as error:
            raised.append(error)

    running = [threading.Thread(target=run, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    assert raised == []


def codes(results: list[Result[int]]) -> Counter[str]:
    return Counter("" if result.error is None else result.error.code for result in results)


@pytest.mark.parametrize("options", [{}, RATES], ids=["threshold", "rates"])
@pytest.mark.parametrize("permits", [1, 3, 49, 50])
async def test_of_fifty_tasks_exactly_the_permitted_get_through(
    permits: int, options: dict[str, Any]
) -> None:
    breaker = half_open(permits, **options)
    inside, go_on = 0, asyncio.Event()

    async def probe() -> Result[int]:
        nonlocal inside
        inside += 1
        await go_on.wait()
        return Success(1)

    tasks = [asyncio.create_task(breaker.call(probe)) for _ in range(50)]
    await asyncio.sleep(0)  # all of them run until they wait for the service
    assert (inside, sum(task.done() for task in tasks)) == (permits, 50 - permits)
    assert breaker.state == "HALF_OPEN"
    go_on.set()
    assert codes(await asyncio.gather(*tasks)) == Counter({"": permits, "CIRCUIT_OPEN": 50 - permits})
    assert breaker.state == "CLOSED"


@pytest.mark.parametrize("options", [{}, RATES], ids=["threshold", "rates"])
@pytest.mark.parametrize("permits", [1, 3, 49, 50])
def test_of_fifty_threads_exactly_the_permitted_get_through(permits: int, options: dict[str, Any]) -> None:
    breaker = half_open(permits, **options)
    turned_away = threading.Semaphore(0)
    inside: list[int] = []
    results: list[Result[int]] = []

    def work(n: int) -> None:
        def probe() -> Result[int]:
            inside.append(n)
            for _ in range(50 - permits):  # none of the permitted ends before all the others were turned away
                assert turned_away.acquire(timeout=30)
            return Success(1)

        result = breaker.call_sync(probe)
        results.append(result)
        if result.is_failure:
            turned_away.release(permits)

    at_once(work)
    assert len(inside) == permits
    assert codes(results) == Counter({"": permits, "CIRCUIT_OPEN": 50 - permits})
    assert breaker.state == "CLOSED"


async def test_of_fifty_tasks_a_failed_probe_opens_and_the_others_count_for_nothing() -> None:
    breaker = half_open(5)
    go_on = asyncio.Event()
    started = 0

    async def probe() -> Result[int]:
        nonlocal started
        started += 1
        mine = started
        await go_on.wait()
        return DOWN if mine == 1 else Success(mine)

    tasks = [asyncio.create_task(breaker.call(probe)) for _ in range(50)]
    await asyncio.sleep(0)
    assert started == 5
    go_on.set()
    await asyncio.gather(*tasks)
    seen = breaker.statistics()
    assert (seen.state, seen.opened, seen.late) == ("OPEN", 2, 4)


async def test_cancelled_probes_give_their_permits_back_to_others() -> None:
    breaker = half_open(3)
    for _ in range(20):
        inside = 0

        async def hang() -> Result[int]:
            nonlocal inside
            inside += 1
            await asyncio.Event().wait()
            return Success(1)

        tasks = [asyncio.create_task(breaker.call(hang)) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(end, asyncio.CancelledError) for end in ended) == 3
        assert inside == 3
        assert breaker.state == "HALF_OPEN"
    seen = breaker.statistics()
    assert (seen.succeeded, seen.failed, seen.released) == (0, 1, 60)
    for _ in range(3):
        breaker.call_sync(lambda: Success(1))
    assert breaker.state == "CLOSED"


async def test_a_timeout_around_a_probe_gives_its_permit_back() -> None:
    breaker = half_open(1)

    async def hang() -> Result[int]:
        await asyncio.Event().wait()
        return Success(1)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await breaker.call(hang)
    assert breaker.admit().is_success


@pytest.mark.parametrize("options", [{}, RATES], ids=["threshold", "rates"])
def test_no_call_of_any_thread_is_lost(options: dict[str, Any]) -> None:
    patient = dataclasses.replace(
        CircuitBreakerConfig(**options), failure_threshold=10**6, minimum_calls=10**6
    )
    breaker = CircuitBreaker(patient)
    each, threads = 5_000, 8

    def work(n: int) -> None:
        for _ in range(each):
            breaker.call_sync(lambda: Success(1))

    at_once(work, threads)
    assert breaker.statistics().succeeded == each * threads

    def fail(n: int) -> None:
        for _ in range(250):
            breaker.call_sync(lambda: DOWN)
            breaker.call_sync(lambda: Success(1))

    at_once(fail, threads)
    seen = breaker.statistics()
    assert (seen.failed, seen.succeeded) == (250 * threads, (each + 250) * threads)
    assert seen.recent_failures == 250 * threads


def test_threads_that_fail_at_once_open_it_once() -> None:
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=8))
    changes: list[object] = []
    breaker.add_listener(changes.append)
    for round_ in range(1, 21):
        at_once(lambda _: breaker.call_sync(lambda: DOWN), 16)
        assert breaker.statistics().opened == round_
        assert len(changes) == 2 * round_ - 1
        breaker.close()


def test_threads_and_tasks_share_one() -> None:
    breaker = half_open(3)
    inside: list[int] = []
    go_on = threading.Event()
    entered = threading.Semaphore(0)

    def work(n: int) -> None:
        def probe() -> Result[int]:
            inside.append(n)
            entered.release()
            assert go_on.wait(30)
            return Success(n)

        async def probe_in_task() -> Result[int]:
            return probe()

        result = breaker.call_sync(probe) if n % 2 else asyncio.run(breaker.call(probe_in_task))
        if result.is_failure:
            entered.release()

    def let_go() -> None:
        for _ in range(20):
            assert entered.acquire(timeout=30)
        go_on.set()

    watcher = threading.Thread(target=let_go)
    watcher.start()
    at_once(work, 20)
    watcher.join(30)
    assert len(inside) == 3
    assert breaker.state == "CLOSED"
