from collections.abc import Awaitable
from typing import assert_type

from qicore.base import QiError, Result, Success
from qicore.resilience import (
    Bulkhead,
    BulkheadConfig,
    BulkheadStatistics,
    Fallback,
    Hedge,
    HedgeConfig,
    HedgeStatistics,
    RateLimiter,
    RateLimiterConfig,
    RateLimiters,
    RateLimiterStatistics,
    Timeout,
)


def read() -> Result[int]:
    return Success(1)


async def fetch(page: str) -> Result[str]:
    return Success(page)


def from_a_file(error: QiError) -> Result[str]:
    return Success(error.code)


def from_anywhere(error: QiError) -> Result[str] | Awaitable[Result[str]]:
    return from_a_file(error) if error.cause else fetch(error.code)


assert_type(Timeout.create(1), Result[Timeout])
assert_type(Bulkhead.create(BulkheadConfig(), name="reports"), Result[Bulkhead])
assert_type(RateLimiter.create(RateLimiterConfig(), clock=lambda: 0.0), Result[RateLimiter])
assert_type(Hedge.create(HedgeConfig(delay=1)), Result[Hedge])
assert_type(BulkheadConfig().check(), Result[BulkheadConfig])
assert_type(Bulkhead().statistics(), BulkheadStatistics)
assert_type(RateLimiters(max_size=3).get("key").statistics(), RateLimiterStatistics)
assert_type(Hedge().statistics(), HedgeStatistics)

assert_type(Timeout(1).call_sync(read), Result[int])
assert_type(Bulkhead().call_sync(read), Result[int])
assert_type(RateLimiter().call_sync(read), Result[int])
assert_type(Hedge().call_sync(read), Result[int])
assert_type(
    Fallback(from_a_file, on=lambda error: error.code == "NETWORK_ERROR").call_sync(read), Result[int]
)

Timeout("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # seconds are a number
Bulkhead(RateLimiterConfig())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # other options
Fallback(read)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # it must take an error


async def use() -> None:
    assert_type(await Timeout(1).call(lambda: fetch("/")), Result[str])
    assert_type(await Bulkhead().call(lambda: fetch("/")), Result[str])
    assert_type(await RateLimiter().call(lambda: fetch("/")), Result[str])
    assert_type(await Hedge().call(lambda: fetch("/")), Result[str])
    assert_type(await Fallback(from_anywhere).call(lambda: fetch("/")), Result[str])
    # A Result is awaitable: what answers at once may be called like what takes its time.
    assert_type(await Hedge().call(read), Result[int])
