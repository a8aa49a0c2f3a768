from typing import assert_type

from qicore.base import QiError, Result, Success
from qicore.resilience import (
    Bulkhead,
    CircuitBreaker,
    Fallback,
    Hedge,
    Policy,
    RateLimiter,
    RateLimiters,
    Retry,
    RetryBudget,
    RetryConfig,
    Timeout,
    compose,
    protect,
)

every: list[Policy] = [
    CircuitBreaker(),
    Retry(),
    Timeout(1),
    Bulkhead(),
    RateLimiter(),
    Fallback(lambda error: Success(error.code)),
    Hedge(),
    compose(),
]


def read(page: str, *, size: int = 1) -> Result[int]:
    return Success(len(page) * size)


async def fetch(page: str) -> Result[str]:
    return Success(page)


async def instead(error: QiError) -> Result[str]:
    return Success(error.code)


assert_type(RateLimiters().get("key"), RateLimiter)
assert_type(protect(Retry())(read)("x", size=2), Result[int])
assert_type(Retry.create(RetryConfig(budget=RetryBudget())), Result[Retry])
protect(Retry())(read)(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a page is a str


class Users:
    @protect(Retry())
    def find(self, name: str) -> Result[int]:
        return Success(len(name))

    @protect(Retry(), CircuitBreaker())
    async def fetch(self, name: str, *, again: bool = False) -> Result[str]:
        return Success(name)


async def use(policy: Policy) -> None:
    assert_type(await policy.call(lambda: fetch("/")), Result[str])
    assert_type(policy.call_sync(lambda: read("/")), Result[int])
    assert_type(await compose(policy, Retry()).call(lambda: fetch("/")), Result[str])
    assert_type(await protect(policy)(fetch)("/"), Result[str])
    assert_type(await Fallback(instead).call(lambda: fetch("/")), Result[str])
    assert_type(Users().find("Ada"), Result[int])
    assert_type(await Users().fetch("Ada", again=True), Result[str])
    await Users().fetch("Ada", again=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a bool
