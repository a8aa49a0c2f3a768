"""Many results into one."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TypeVar, overload

from qicore.base.error import QiError
from qicore.base.result import Result
from qicore.base.variants import Failure, Success

__all__ = ["accumulate", "collect", "collect_async", "combine", "partition"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
T = TypeVar("T")


def collect(results: Iterable[Result[T]]) -> Result[list[T]]:
    """Return a Success of all values in order, or the first Failure; what follows it is not even looked at.

    >>> collect([Success(1), Success(2)])
    Success([1, 2])
    """
    values: list[T] = []
    for result in results:
        match result.variant:
            case Success(value):
                values.append(value)
            case Failure() as failure:
                return failure
    return Success(values)


def partition(results: Iterable[Result[T]]) -> tuple[list[T], list[QiError]]:
    """Return all values and all errors, each in order.

    >>> partition([Success(1), Failure(QiError.cache("A", "no")), Success(2)])
    ([1, 2], [<QiError CACHE/A: no>])
    """
    values: list[T] = []
    errors: list[QiError] = []
    for result in results:
        match result.variant:
            case Success(value):
                values.append(value)
            case Failure(error):
                errors.append(error)
    return values, errors


def accumulate(results: Iterable[Result[T]]) -> Result[list[T]]:
    """Return a Success of all values in order, or one Failure with every error (see `QiError.aggregate`).

    >>> no, nor_that = QiError.cache("A", "no"), QiError.cache("B", "nor that")
    >>> accumulate([Failure(no), Success(1), Failure(nor_that)]).error.message
    '2 errors: no; nor that'
    """
    values, errors = partition(results)
    return Failure(QiError.aggregate(errors)) if errors else Success(values)


@overload
def combine(a: Result[A], b: Result[B], /) -> Result[tuple[A, B]]: ...
@overload
def combine(a: Result[A], b: Result[B], c: Result[C], /) -> Result[tuple[A, B, C]]: ...
@overload
def combine(a: Result[A], b: Result[B], c: Result[C], d: Result[D], /) -> Result[tuple[A, B, C, D]]: ...
@overload
def combine(
    a: Result[A], b: Result[B], c: Result[C], d: Result[D], e: Result[E], /
) -> Result[tuple[A, B, C, D, E]]: ...
@overload
def combine(
    a: Result[A], b: Result[B], c: Result[C], d: Result[D], e: Result[E], f: Result[F], /
) -> Result[tuple[A, B, C, D, E, F]]: ...
def combine(*results: Result[object]) -> Result[tuple[object, ...]]:
    """Return a Success of the values of two to six results of different types, or a Failure with all errors.

    >>> combine(Success(1), Success("a"))
    Success((1, 'a'))
    """
    return accumulate(results).map(tuple)


async def collect_async(
    awaitables: Iterable[Awaitable[Result[T]]], *, limit: int | None = None
) -> Result[list[T]]:
    """Await all at once, at most `limit` of them at a time, and return as `collect` does, in the order given.

    The first Failure to arrive ends the wait: what still runs is cancelled, and has ended when this returns.
    A limit below 1 is a ValueError.
    """
    if limit is not None and limit < 1:
        raise ValueError("limit must be at least 1")
    import asyncio  # dear to import, and whoever awaits this has it already

    gate = asyncio.Semaphore(limit) if limit is not None else None

    async def wait_for(awaitable: Awaitable[Result[T]]) -> T:
        if gate is None:
            return (await awaitable).unwrap()
        async with gate:
            return (await awaitable).unwrap()

    # All are taken before the first begins: an iterable that raises half-way leaves nothing of ours running.
    pending = [asyncio.ensure_future(wait_for(awaitable)) for awaitable in list(awaitables)]
    try:
        return Success(list(await asyncio.gather(*pending)))
    except QiError as error:
        return Failure(error)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
