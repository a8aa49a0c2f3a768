"""qicore-resilience against other circuit breakers, and against tenacity and stamina, in one run.

Each is used in its fastest way: a decorated function, a call method or a context, whichever it has. The first
contender is the bare call, so what a breaker costs is its median minus that. An open circuit answers a
Failure in qicore and raises in the others; their caller catches it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import aiobreaker as untyped_aiobreaker  # pyright: ignore[reportMissingTypeStubs]
import circuitbreaker as untyped_circuitbreaker  # pyright: ignore[reportMissingTypeStubs]
import pybreaker
import stamina
import tenacity
from harness import Suite
from purgatory import AsyncCircuitBreakerFactory, SyncCircuitBreakerFactory
from qicore.base import Failure, QiError, Result, Success
from qicore.resilience import (
    Bulkhead,
    CircuitBreaker,
    CircuitBreakerConfig,
    Fallback,
    Hedge,
    Policy,
    RateLimiter,
    RateLimiterConfig,
    Retry,
    RetryConfig,
    Timeout,
    compose,
)
from qicore.resilience.shared import SharedCircuitBreakers
from qicore_testkit.redis_server import RedisServer

aiobreaker: Any = untyped_aiobreaker
circuitbreaker: Any = untyped_circuitbreaker

CALLS = 100
ANSWER: Result[int] = Success(1)
DOWN: Result[int] = Failure(QiError.network("NETWORK_ERROR", "connection refused"))
RATED = CircuitBreakerConfig(failure_rate=0.5, slow_call_duration=1.0, slow_call_rate=0.5)
PURGATORY: Any = asyncio.run(AsyncCircuitBreakerFactory().get_breaker("bench"))
PURGATORY_SYNC: Any = SyncCircuitBreakerFactory().get_breaker("bench")


async def fetch() -> Result[int]:
    return ANSWER


def read() -> Result[int]:
    return ANSWER


def down() -> Result[int]:
    return DOWN


def refuse() -> None:
    raise ConnectionError


def many(fn: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    """A hundred calls in one, so that the harness's own call does not count."""

    async def calls() -> None:
        for _ in range(CALLS):
            await fn()

    return calls


def many_sync(fn: Callable[[], object]) -> Callable[[], object]:
    def calls() -> None:
        for _ in range(CALLS):
            fn()

    return calls


async def closed_async(suite: Suite, shared: CircuitBreaker) -> None:
    ours, rated, aio = CircuitBreaker(), CircuitBreaker(RATED), aiobreaker.CircuitBreaker()
    theirs = cast("Callable[[], Awaitable[object]]", circuitbreaker.CircuitBreaker()(fetch))

    async def qicore() -> object:
        return await ours.call(fetch)

    async def qicore_shared() -> object:
        return await shared.call(fetch)

    async def qicore_rated() -> object:
        return await rated.call(fetch)

    async def bare() -> object:
        return await fetch()

    async def aiobreaker_() -> object:
        return await aio.call_async(fetch)  # type: ignore[arg-type]

    async def circuitbreaker_() -> object:
        return await theirs()

    async def purgatory_() -> object:
        async with PURGATORY:
            return await fetch()

    contenders = {
        "bare call": bare,
        "qicore": qicore,
        "qicore, shared through Redis": qicore_shared,
        "qicore, with rates": qicore_rated,
        "circuitbreaker": circuitbreaker_,
        "aiobreaker": aiobreaker_,
        "purgatory": purgatory_,
    }
    row = await suite.compare_async(
        "closed, async",
        {name: many(fn) for name, fn in contenders.items()},
        calls=CALLS,
        target="qicore within 500 ns over the bare call, and ahead of the others",
    )
    over = row["qicore"].median - row["bare call"].median
    print(f"  qicore over the bare call: {over * 1e9:.0f} ns")


def closed_sync(suite: Suite, shared: CircuitBreaker) -> None:
    ours, rated, py = CircuitBreaker(), CircuitBreaker(RATED), pybreaker.CircuitBreaker()
    theirs = cast("Callable[[], object]", circuitbreaker.CircuitBreaker()(read))

    def purgatory_() -> object:
        with PURGATORY_SYNC:
            return read()

    contenders: dict[str, Callable[[], object]] = {
        "bare call": lambda: read(),
        "qicore": lambda: ours.call_sync(read),
        "qicore, shared through Redis": lambda: shared.call_sync(read),
        "qicore, with rates": lambda: rated.call_sync(read),
        "circuitbreaker": lambda: theirs(),
        "pybreaker": lambda: py.call(read),
        "purgatory": purgatory_,
    }
    suite.compare(
        "closed, sync",
        {name: many_sync(fn) for name, fn in contenders.items()},
        calls=CALLS,
        target="ahead of the others",
    )


def told(suite: Suite, server: RedisServer) -> None:
    """How long it takes until another process knows that a circuit has opened, and then closed."""
    logging.disable(logging.WARNING)  # each change is told
    with (
        SharedCircuitBreakers.create(server.url).unwrap() as here,
        SharedCircuitBreakers.create(server.url).unwrap() as there,
    ):
        assert here.wait(60), "Redis must be heard"
        assert there.wait(60), "Redis must be heard"
        one, other = here.get("told"), there.get("told")

        def open_and_close() -> None:
            one.open()
            while other.state == "CLOSED":
                time.sleep(0.0001)
            one.close()
            while other.statistics().state != "CLOSED":
                time.sleep(0.0001)

        suite.compare("two changes until another knows", {"qicore, through Redis": open_and_close}, inner=5)
    logging.disable(logging.NOTSET)


def rejection(suite: Suite) -> None:
    ours = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1))
    ours.call_sync(down)
    py = pybreaker.CircuitBreaker(fail_max=1)
    circuit = circuitbreaker.CircuitBreaker(failure_threshold=1)
    theirs = cast("Callable[[], object]", circuit(refuse))
    purgatory = SyncCircuitBreakerFactory(default_threshold=1, default_ttl=1000).get_breaker("open")
    aio = aiobreaker.CircuitBreaker(fail_max=1, timeout_duration=timedelta(1000))
    for call in (lambda: py.call(refuse), theirs, lambda: aio.call(refuse)):
        with contextlib.suppress(
            ConnectionError, pybreaker.CircuitBreakerError, aiobreaker.CircuitBreakerError
        ):
            call()
    with contextlib.suppress(ConnectionError), purgatory:
        refuse()

    def pybreaker_() -> object:
        try:
            return py.call(refuse)
        except pybreaker.CircuitBreakerError as error:
            return error

    def circuitbreaker_() -> object:
        try:
            return theirs()
        except circuitbreaker.CircuitBreakerError as error:
            return error

    def aiobreaker_() -> object:
        try:
            return aio.call(refuse)
        except aiobreaker.CircuitBreakerError as error:
            return error

    def purgatory_() -> object:
        try:
            with purgatory:
                return refuse()
        except Exception as error:
            return error

    contenders: dict[str, Callable[[], object]] = {
        "qicore": lambda: ours.call_sync(read),
        "circuitbreaker": circuitbreaker_,
        "pybreaker": pybreaker_,
        "aiobreaker": aiobreaker_,
        "purgatory": purgatory_,
    }
    suite.compare(
        "open: the call is turned away",
        {name: many_sync(fn) for name, fn in contenders.items()},
        calls=CALLS,
        target="ahead of the others",
    )


async def retry_async(suite: Suite) -> None:
    """A call that succeeds at once, and one that fails once; nobody waits in between."""
    ours = Retry(RetryConfig(wait_initial=0))

    @tenacity.retry(stop=tenacity.stop_after_attempt(3))
    async def tenacity_() -> object:
        return await fetch()

    @stamina.retry(on=ConnectionError, attempts=3, wait_initial=0, wait_jitter=0, wait_max=0)
    async def stamina_() -> object:
        return await fetch()

    async def bare() -> object:
        return await fetch()

    async def qicore() -> object:
        return await ours.call(fetch)

    succeeding = {"bare call": bare, "qicore": qicore, "tenacity": tenacity_, "stamina": stamina_}
    await suite.compare_async(
        "retry, nothing to do",
        {name: many(fn) for name, fn in succeeding.items()},
        calls=CALLS,
        target="ahead of the others",
    )

    turn = False

    def fails() -> bool:
        nonlocal turn
        turn = not turn
        return turn

    async def failing() -> Result[int]:
        return DOWN if fails() else ANSWER

    async def raising() -> Result[int]:
        if fails():
            raise ConnectionError
        return ANSWER

    async def bare_twice() -> object:
        await failing()
        return await failing()

    async def qicore_twice() -> object:
        return await ours.call(failing)

    @tenacity.retry(stop=tenacity.stop_after_attempt(3))
    async def tenacity_twice() -> object:
        return await raising()

    @stamina.retry(on=ConnectionError, attempts=3, wait_initial=0, wait_jitter=0, wait_max=0)
    async def stamina_twice() -> object:
        return await raising()

    twice = {
        "bare calls": bare_twice,
        "qicore": qicore_twice,
        "tenacity": tenacity_twice,
        "stamina": stamina_twice,
    }
    await suite.compare_async(
        "retry, the second attempt succeeds",
        {name: many(fn) for name, fn in twice.items()},
        calls=CALLS,
        target="no slower than stamina",
    )


async def policies_async(suite: Suite) -> None:
    """What each policy costs around a call that succeeds at once."""
    policies: dict[str, Policy] = {
        "qicore, circuit breaker": CircuitBreaker(),
        "qicore, retry": Retry(),
        "qicore, timeout": Timeout(30),
        "qicore, bulkhead": Bulkhead(),
        "qicore, rate limiter": RateLimiter(RateLimiterConfig(limit=10**6, burst=10**9)),
        "qicore, fallback": Fallback(lambda _: ANSWER),
        "qicore, hedge": Hedge(),
    }
    policies["qicore, retry, breaker and timeout"] = compose(Retry(), CircuitBreaker(), Timeout(30))

    async def bare() -> object:
        return await fetch()

    def around(policy: Policy) -> Callable[[], Awaitable[object]]:
        async def call() -> object:
            return await policy.call(fetch)

        return call

    async def asyncio_timeout() -> object:
        async with asyncio.timeout(30):
            return await fetch()

    contenders = {"bare call": bare, "bare asyncio.timeout": asyncio_timeout}
    contenders |= {name: around(policy) for name, policy in policies.items()}
    await suite.compare_async(
        "each policy, async", {name: many(fn) for name, fn in contenders.items()}, calls=CALLS
    )


def main() -> None:
    peers = ("circuitbreaker", "aiobreaker", "purgatory", "pybreaker", "tenacity", "stamina")
    suite = Suite("resilience", ("qicore-resilience", *peers))
    # Else it would write a line to structlog for each retry.
    stamina.instrumentation.set_on_retry_hooks([])
    with RedisServer() as server, SharedCircuitBreakers.create(server.url).unwrap() as breakers:
        assert breakers.wait(60), "Redis must be heard"
        asyncio.run(closed_async(suite, breakers.get("bench")))
        closed_sync(suite, breakers.get("bench"))
        told(suite, server)
    rejection(suite)
    asyncio.run(retry_async(suite))
    asyncio.run(policies_async(suite))
    suite.save()


if __name__ == "__main__":
    main()
