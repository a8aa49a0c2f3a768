"""An awaitable chain: the steps of a pipeline written down first, then run by one `await`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Generic, TypeVar, cast

from qicore.base.error import QiError
from qicore.base.result import Result

__all__ = ["AsyncResult"]

T = TypeVar("T")
U = TypeVar("U")

_Step = Callable[[Result[Any]], "Result[Any] | Awaitable[Result[Any]]"]


class AsyncResult(Generic[T]):
    """A Result to come, on which operations are chained before it is there; `await` it for the Result.

    `flat_map` and `or_else` take plain and async functions alike, since a Result is itself awaitable; the
    async twin of any other operation ends in `_async`. A chain is a value: each operation gives a new one.
    Awaiting it runs the steps in order; a second await needs a source that can be awaited again.

    >>> import asyncio
    >>> async def fetch(key: str) -> Result[int]:
    ...     return Result.success(len(key))
    >>> async def main() -> Result[str]:
    ...     doubled = AsyncResult(fetch("abc")).map(lambda n: n * 2)
    ...     return await doubled.flat_map(lambda n: Result.success(f"{n}!"))
    >>> asyncio.run(main())
    Success('6!')
    """

    __slots__ = ("_source", "_steps")

    def __init__(self, source: Awaitable[Result[T]], _steps: tuple[_Step, ...] = ()) -> None:
        self._source = source
        self._steps = _steps

    def __await__(self) -> Generator[Any, Any, Result[T]]:
        return self._run().__await__()

    async def _run(self) -> Result[T]:
        result: Result[Any] = await self._source
        for step in self._steps:
            outcome = step(result)
            result = await outcome
        return result

    def _then(self, step: _Step) -> AsyncResult[Any]:
        return AsyncResult(cast("Awaitable[Result[Any]]", self._source), (*self._steps, step))

    def map(self, fn: Callable[[T], U], /) -> AsyncResult[U]:
        """Apply `fn` to the value."""
        return self._then(lambda result: result.map(fn))

    def map_async(self, fn: Callable[[T], Awaitable[U]], /) -> AsyncResult[U]:
        """Apply the async function `fn` to the value."""
        return self._then(lambda result: result.map_async(fn))

    def flat_map(self, fn: Callable[[T], Awaitable[Result[U]]], /) -> AsyncResult[U]:
        """Go on with `fn(value)`, a Result or an awaitable of one."""
        # A Success hands on whatever fn gives, and _run awaits it when it is no Result yet.
        return self._then(lambda result: result.flat_map(cast("Callable[[T], Result[U]]", fn)))

    def map_error(self, fn: Callable[[QiError], QiError], /) -> AsyncResult[T]:
        """Apply `fn` to the error."""
        return self._then(lambda result: result.map_error(fn))

    def or_else(self, fn: Callable[[QiError], Awaitable[Result[U]]], /) -> AsyncResult[T | U]:
        """Go on with `fn(error)`, a Result or an awaitable of one."""
        return self._then(lambda result: result.or_else(cast("Callable[[QiError], Result[U]]", fn)))

    def filter(
        self, predicate: Callable[[T], bool], error: QiError | Callable[[T], QiError], /
    ) -> AsyncResult[T]:
        """Keep the value if `predicate(value)` holds, else fail with `error`."""
        return self._then(lambda result: result.filter(predicate, error))

    def tap(self, fn: Callable[[T], object], /) -> AsyncResult[T]:
        """Call `fn(value)` for its effect."""
        return self._then(lambda result: result.tap(fn))

    def tap_async(self, fn: Callable[[T], Awaitable[object]], /) -> AsyncResult[T]:
        """Await `fn(value)` for its effect."""
        return self._then(lambda result: result.tap_async(fn))

    def tap_error(self, fn: Callable[[QiError], object], /) -> AsyncResult[T]:
        """Call `fn(error)` for its effect."""
        return self._then(lambda result: result.tap_error(fn))

    async def unwrap(self) -> T:
        """Await the chain and return the value, or raise the QiError."""
        return (await self).unwrap()

    async def unwrap_or(self, default: U, /) -> T | U:
        """Await the chain and return the value, or `default`."""
        return (await self).unwrap_or(default)

    async def match(self, on_success: Callable[[T], U], on_failure: Callable[[QiError], U]) -> U:
        """Await the chain and return `on_success(value)` or `on_failure(error)`."""
        return (await self).match(on_success, on_failure)
