import asyncio
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
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


async def test_an_error_that_has_the_first_behind_it_already_has_it_once() -> None:
    policy = Fallback(lambda error: Failure(QiError.cache("CACHE_LOAD_FAILED", "x").with_cause(error)))
    cause = assert_failure(policy.call_sync(down), "CACHE_LOAD_FAILED").cause
    assert cause == DOWN, "and nothing behind it"


@given(st.integers(0, 10), st.integers(0, 10))
def test_chains_of_any_length_go_together(first: int, second: int) -> None:
    def chain(name: str, length: int) -> QiError:
        error = QiError.network(name, "x")
        for n in range(length):
            error = QiError.network(f"{name}_{n}", "x").with_cause(error)
        return error

    before, after = chain("BEFORE", first), chain("AFTER", second)
    error = assert_failure(Fallback(lambda _: Failure(after)).call_sync(lambda: Failure(before)), after.code)
    codes: list[str] = []
    cause = error.cause
    while cause is not None:
        codes.append(cause.code)
        cause = cause.cause
    assert (before.code in codes) == (second < 10)


def test_the_cause_alone_may_be_what_stands_in() -> None:
    policy = Fallback(lambda error: Failure(error.cause or error))
    error = assert_failure(policy.call_sync(lambda: Failure(QiError.cache("A", "a").with_cause(DOWN))))
    assert error.code == "NETWORK_ERROR"
    assert error.cause is not None
    assert error.cause.code == "A"


async def test_a_broken_predicate_means_no_fallback_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(error: QiError) -> bool:
        raise KeyError("x")

    policy = Fallback(lambda error: Success(7), on=broken)
    assert policy.call_sync(down).error is DOWN
    assert (await policy.call(down_later)).error is DOWN
    assert [record.message for record in caplog.records] == [
        "`on` of a fallback failed: there is none for this error"
    ] * 2


@pytest.mark.parametrize("wrong", [Success(7), None, "cached"])
def test_what_is_no_function_is_said_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError, match="instead must be a function"):
        Fallback(wrong)
    with pytest.raises(TypeError, match="on must be a function"):
        Fallback(Failure, on=wrong)


async def test_fifty_at_once_each_with_its_own_error() -> None:
    policy = Fallback(lambda error: Success(error.context["n"]))

    async def fails(n: int) -> Result[object]:
        await asyncio.sleep(0)
        return Failure(QiError.network("NETWORK_ERROR", "x", n=n))

    results = await asyncio.gather(*(policy.call(partial(fails, n)) for n in range(50)))
    assert [assert_success(result) for result in results] == list(range(50))


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
