# ruff: noqa: D102 - the properties are documented in the docstring of the class
"""Result: what every operation answers, a `Success` with its value or a `Failure` with its `QiError`.

`Result` states the contract and is never instantiated; its two variants are in `qicore.base.variants`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Generator
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Never,
    NoReturn,
    ParamSpec,
    TypeAlias,
    TypeVar,
    cast,
)

from qicore.base.error import QiError

if TYPE_CHECKING:
    from qicore.base.variants import Failure, Success

__all__ = ["Result"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
V = TypeVar("V")
P = ParamSpec("P")

Catch: TypeAlias = type[Exception] | tuple[type[Exception], ...]
ToError: TypeAlias = Callable[[Exception], QiError]


class Result(Generic[T_co]):
    """The outcome of an operation that can fail: a `Success` holding a T, or a `Failure` holding a `QiError`.

    Take one apart with `match()`, `unwrap_or()`, or the `match` statement over `.variant`, which type
    checkers know to be exhaustive; build on it with `map()` and `flat_map()`, which leave a Failure as it is.

    >>> def parse(text: str) -> Result[int]:
    ...     return Result.from_try_catch(int, text, catch=ValueError)
    >>> parse("20").map(lambda number: number + 1)
    Success(21)
    >>> parse("x").unwrap_or(0)
    0

    Attributes:
        is_success: whether this is a Success.
        is_failure: whether this is a Failure.
        data: the value of a Success, None for a Failure.
        error: the error of a Failure, None for a Success.
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def is_success(self) -> bool: ...
        @property
        def is_failure(self) -> bool: ...
        @property
        def data(self) -> T_co | None: ...
        @property
        def error(self) -> QiError | None: ...
        @property
        def variant(self) -> Success[T_co] | Failure:
            """This same result, typed as `Success[T] | Failure`, for an exhaustive `match` statement."""
            ...

    else:

        @property
        def variant(self):
            """This same result, typed as `Success[T] | Failure`, for an exhaustive `match` statement."""
            return self

    def __init_subclass__(cls) -> None:
        if cls.__module__ != "qicore.base.variants":
            raise TypeError("a Result has two variants, Success and Failure, and can't be subclassed")
        super().__init_subclass__()

    def __init__(self) -> None:
        raise TypeError("make a Result with Success(value) or Failure(error)")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Result is immutable: .{name} can't be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Result is immutable: .{name} can't be deleted")

    def __await__(self) -> Generator[Any, Any, Result[T_co]]:
        # A result is already there, so awaiting one gives it at once: the same line of code serves a
        # component that answers immediately and one that answers with a coroutine.
        yield from ()
        return self

    if TYPE_CHECKING:

        @staticmethod
        def success(value: V) -> Result[V]:
            """Return a Success holding `value`; the same as `Success(value)`."""
            ...

        @staticmethod
        def failure(error: QiError) -> Result[Never]:
            """Return a Failure holding `error`; the same as `Failure(error)`."""
            ...

    @staticmethod
    def from_try_catch(
        fn: Callable[P, V],
        /,
        *args: Any,
        catch: Catch = Exception,
        to_error: ToError = QiError.from_exception,
        **kwargs: Any,
    ) -> Result[V]:
        """Call `fn(*args, **kwargs)`: what it returns is a Success, what it raises a Failure.

        Only exceptions in `catch` become Failures, by `to_error`; every other one propagates, and so does
        every BaseException that is no Exception, such as KeyboardInterrupt and CancelledError.

        >>> Result.from_try_catch(int, "7f", base=16)
        Success(127)
        >>> Result.from_try_catch(int, "x", catch=ValueError).error.code
        'VALUE_ERROR'
        """
        try:
            return Result.success(fn(*args, **kwargs))
        except catch as exception:
            if not isinstance(exception, Exception):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
                raise
            return Result.failure(to_error(exception))

    @staticmethod
    async def from_try_catch_async(
        fn: Callable[..., Awaitable[V]],
        /,
        *args: Any,
        catch: Catch = Exception,
        to_error: ToError = QiError.from_exception,
        **kwargs: Any,
    ) -> Result[V]:
        """Await `fn(*args, **kwargs)`, else as `from_try_catch`. A cancellation always propagates."""
        try:
            return Result.success(await fn(*args, **kwargs))
        except catch as exception:
            if not isinstance(exception, Exception):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
                raise
            return Result.failure(to_error(exception))

    @staticmethod
    def from_optional(value: V | None, error: QiError | Callable[[], QiError]) -> Result[V]:
        """Return a Success of `value`, or a Failure of `error` when the value is None.

        >>> missing = QiError.validation("NO_USER", "there is no such user")
        >>> Result.from_optional({"ann": 1}.get("bob"), missing).error.code
        'NO_USER'
        """
        if value is not None:
            return Result.success(value)
        return Result.failure(error if isinstance(error, QiError) else error())

    @abstractmethod
    def map(self, fn: Callable[[T_co], U], /) -> Result[U]:
        """Return a Success of `fn(value)`; a Failure is returned as it is.

        >>> Result.success(2).map(str)
        Success('2')
        """

    @abstractmethod
    def flat_map(self, fn: Callable[[T_co], Result[U]], /) -> Result[U]:
        """Return `fn(value)`, itself a Result; a Failure is returned as it is and `fn` is not called.

        >>> odd = QiError.validation("ODD", "it is odd")
        >>> half = lambda n: Result.failure(odd) if n % 2 else Result.success(n // 2)
        >>> Result.success(12).flat_map(half).flat_map(half)
        Success(3)
        >>> str(Result.success(6).flat_map(half).flat_map(half).error)
        'VALIDATION/ODD: it is odd'
        """

    @abstractmethod
    def map_error(self, fn: Callable[[QiError], QiError], /) -> Result[T_co]:
        """Return a Failure of `fn(error)`; a Success is returned as it is."""

    @abstractmethod
    def or_else(self, fn: Callable[[QiError], Result[U]], /) -> Result[T_co | U]:
        """Return `fn(error)`, the alternative; a Success is returned as it is and `fn` is not called.

        >>> missing = Result.failure(QiError.cache("KEY_NOT_FOUND", "no key"))
        >>> missing.or_else(lambda error: Result.success("default"))
        Success('default')
        """

    @abstractmethod
    def filter(
        self, predicate: Callable[[T_co], bool], error: QiError | Callable[[T_co], QiError], /
    ) -> Result[T_co]:
        """Return this Success if `predicate(value)` holds, else a Failure of `error` or of `error(value)`."""

    @abstractmethod
    def tap(self, fn: Callable[[T_co], object], /) -> Result[T_co]:
        """Call `fn(value)` for its effect if this is a Success, and return this same result."""

    @abstractmethod
    def tap_error(self, fn: Callable[[QiError], object], /) -> Result[T_co]:
        """Call `fn(error)` for its effect if this is a Failure, and return this same result."""

    @abstractmethod
    def unwrap(self) -> T_co:
        """Return the value, or raise the QiError of a Failure, that same object.

        >>> Result.success(1).unwrap()
        1
        """

    @abstractmethod
    def unwrap_or(self, default: U, /) -> T_co | U:
        """Return the value, or `default` for a Failure.

        >>> Result.failure(QiError.cache("KEY_NOT_FOUND", "no such key")).unwrap_or(0)
        0
        """

    @abstractmethod
    def unwrap_or_else(self, fn: Callable[[QiError], U], /) -> T_co | U:
        """Return the value, or `fn(error)` for a Failure."""

    @abstractmethod
    def match(self, on_success: Callable[[T_co], U], on_failure: Callable[[QiError], V]) -> U | V:
        """Return `on_success(value)` or `on_failure(error)`: exactly one of the two is called.

        >>> Result.success(2).match(on_success=lambda n: f"got {n}", on_failure=str)
        'got 2'
        """

    async def map_async(self, fn: Callable[[T_co], Awaitable[U]], /) -> Result[U]:
        """Return a Success of `await fn(value)`; else as `map`."""
        if self.error is not None:
            return cast("Failure", self)
        return Result.success(await fn(self.unwrap()))

    async def flat_map_async(self, fn: Callable[[T_co], Awaitable[Result[U]]], /) -> Result[U]:
        """Return `await fn(value)`; else as `flat_map`."""
        # A Failure is itself awaitable, as is whatever fn gives.
        return await self.flat_map(cast("Callable[[T_co], Result[U]]", fn))

    async def map_error_async(self, fn: Callable[[QiError], Awaitable[QiError]], /) -> Result[T_co]:
        """Return a Failure of `await fn(error)`; else as `map_error`."""
        return self if self.error is None else Result.failure(await fn(self.error))

    async def or_else_async(self, fn: Callable[[QiError], Awaitable[Result[U]]], /) -> Result[T_co | U]:
        """Return `await fn(error)`; else as `or_else`."""
        return self if self.error is None else await fn(self.error)

    async def filter_async(
        self,
        predicate: Callable[[T_co], Awaitable[bool]],
        error: QiError | Callable[[T_co], QiError],
        /,
    ) -> Result[T_co]:
        """Return this Success if `await predicate(value)` holds; else as `filter`."""
        if self.error is None and not await predicate(self.unwrap()):
            return self.filter(_never, error)
        return self

    async def tap_async(self, fn: Callable[[T_co], Awaitable[object]], /) -> Result[T_co]:
        """Await `fn(value)` for its effect if this is a Success, and return this same result."""
        if self.error is None:
            await fn(self.unwrap())
        return self

    async def tap_error_async(self, fn: Callable[[QiError], Awaitable[object]], /) -> Result[T_co]:
        """Await `fn(error)` for its effect if this is a Failure, and return this same result."""
        if self.error is not None:
            await fn(self.error)
        return self

    async def unwrap_or_else_async(self, fn: Callable[[QiError], Awaitable[U]], /) -> T_co | U:
        """Return the value, or `await fn(error)` for a Failure."""
        return self.unwrap() if self.error is None else await fn(self.error)

    async def match_async(
        self,
        on_success: Callable[[T_co], Awaitable[U]],
        on_failure: Callable[[QiError], Awaitable[V]],
    ) -> U | V:
        """Return `await on_success(value)` or `await on_failure(error)`: exactly one of the two is called."""
        return await self.match(on_success, on_failure)

    # The contracts' own spellings, for code shared with other languages.
    fromTryCatch = from_try_catch  # noqa: N815
    flatMap = flat_map  # noqa: N815
    orElse = or_else  # noqa: N815
    unwrapOr = unwrap_or  # noqa: N815


def _never(_: object) -> bool:
    return False
