"""Whatever a factory gives becomes a Result."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.base.testing import assert_failure
from qicore.cache.factory import run_factory, run_factory_sync

ERROR = QiError.network("DOWN", "it is down")


async def later(value: Any) -> Any:
    await asyncio.sleep(0)
    return value


class Awaitable:
    def __await__(self) -> Any:
        return later(3).__await__()


@pytest.mark.parametrize(
    ("factory", "result"),
    [
        (lambda: 1, Success(1)),
        (lambda: None, Success(None)),
        (lambda: Success(1), Success(1)),
        (lambda: Failure(ERROR), Failure(ERROR)),
        (lambda: later(1), Success(1)),
        (lambda: later(Success(1)), Success(1)),
        (lambda: later(Failure(ERROR)), Failure(ERROR)),
        (Awaitable, Success(3)),
        (lambda: asyncio.ensure_future(later(4)), Success(4)),
    ],
)
async def test_every_form_gives_a_result(factory: Callable[[], Any], result: Result[Any]) -> None:
    assert await run_factory(factory) == result


async def test_what_it_raises_is_a_failure_with_the_exception_kept() -> None:
    cause = KeyError("x")

    def raises() -> Any:
        raise cause

    async def raises_later() -> Any:
        await asyncio.sleep(0)
        raise cause

    for result in (await run_factory(raises), await run_factory(raises_later), run_factory_sync(raises)):
        error = assert_failure(result, "KEY_ERROR")
        assert error.category is ErrorCategory.UNKNOWN
        assert error.__cause__ is cause


async def test_an_error_that_it_raises_is_the_failure() -> None:
    def raises() -> int:
        raise ERROR

    assert await run_factory(raises) == run_factory_sync(raises) == Failure(ERROR)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
async def test_what_ends_a_program_or_a_task_passes(kind: type[BaseException]) -> None:
    def raises() -> int:
        raise kind

    with pytest.raises(kind):
        await run_factory(raises)
    with pytest.raises(kind):
        run_factory_sync(raises)


async def test_without_awaiting_only_plain_forms_will_do() -> None:
    factories: list[Callable[[], Any]] = [lambda: 1, lambda: Success(1)]
    for factory in factories:
        assert run_factory_sync(factory) == Success(1)
    assert_failure(run_factory_sync(lambda: later(1)), "INVALID_FACTORY")
    assert_failure(run_factory_sync(Awaitable), "INVALID_FACTORY")
