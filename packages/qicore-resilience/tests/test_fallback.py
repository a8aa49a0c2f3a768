import asyncio
from typing import Any

import pytest
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.resilience import Fallback

DOWN = QiError.network("NETWORK_ERROR", "connection refused")


def down() -> Result[int]:
    return Failure(DOWN)


async def down_later() -> Result[int]:
    return Failure(DOWN)


async def test_it_answers_instead_and_knows_why() -> None:
    seen: list[QiError] = []

    def instead(error: QiError) -> Result[int]:
        seen.append(error)
        return Success(7)

    async def instead_later(error: QiError) -> Result[int]:
        await asyncio.sleep(0)
        return instead(error)

    assert assert_success(Fallback(instead).call_sync(down)) == 7
    assert assert_success(await Fallback(instead).call(down_later)) == 7
    assert assert_success(await Fallback(instead_later).call(down_later)) == 7
    assert seen == [DOWN, DOWN, DOWN]


async def test_a_success_needs_none() -> None:
    policy = Fallback(lambda error: Failure(error))
    assert assert_success(policy.call_sync(lambda: Success(1))) == 1
    assert assert_success(await policy.call(lambda: Success(1))) == 1


async def test_only_for_the_errors_that_it_is_for() -> None:
    policy = Fallback(lambda error: Success(7), on=lambda error: error.category is ErrorCategory.TIMEOUT)
    assert policy.call_sync(down).error is DOWN
    assert (await policy.call(down_later)).error is DOWN


async def test_when_it_fails_too_both_errors_are_told() -> None:
    worse = QiError.cache("CACHE_LOAD_FAILED", "damaged")

    def raises(error: QiError) -> Result[int]:
        raise KeyError("x")

    for policy, code in (
        (Fallback(lambda error: Failure(worse)), worse.code),
        (Fallback(raises), "KEY_ERROR"),
    ):
        for result in (policy.call_sync(down), await policy.call(down_later)):
            error = assert_failure(result, code)
            assert "NETWORK_ERROR" in str(error.to_structured_data())


async def test_the_same_error_is_no_cause_of_its_own() -> None:
    policy = Fallback(Failure)
    assert policy.call_sync(down).error is DOWN


def test_a_blocking_call_needs_a_blocking_fallback() -> None:
    async def later(error: QiError) -> Result[int]:
        return Success(7)

    pending: list[Any] = []

    def instead(error: QiError) -> Any:
        pending.append(later(error))
        return pending[0]

    assert "must answer a Result, not coroutine" in assert_failure(Fallback(instead).call_sync(down)).message
    pending[0].close()


async def test_cancellation_is_no_failure() -> None:
    async def cancelled() -> Result[int]:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Fallback(lambda error: Success(7)).call(cancelled)
