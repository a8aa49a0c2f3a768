# ruff: noqa: ARG002, D102 - a variant's methods are documented in Result, and use what matters to that variant
"""Success and Failure: the two variants of Result.

Each overrides every operation instead of asking which variant it is, and writes its field once through the
slot descriptor: the cheapest immutable form there is (see benchmarks/).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Never, TypeVar, final

from qicore.base.error import QiError
from qicore.base.result import Result

__all__ = ["Failure", "Success"]

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")
V = TypeVar("V")


@final
class Success(Result[T_co]):
    """The outcome that holds a value. See `Result`.

    >>> match Success(5).variant:
    ...     case Success(value):
    ...         print("got", value)
    ...     case Failure(error):
    ...         print("failed:", error)
    got 5
    """

    __match_args__ = ("data",)

    if TYPE_CHECKING:

        @property
        def is_success(self) -> Literal[True]: ...
        @property
        def is_failure(self) -> Literal[False]: ...
        @property
        def data(self) -> T_co: ...
        @property
        def error(self) -> None: ...
        @property
        def variant(self) -> Success[T_co]: ...

    else:
        __slots__ = ("data",)
        is_success = True
        is_failure = False
        error = None

    def __init__(self, value: T_co, /) -> None:
        _set_data(self, value)

    def __eq__(self, other: object) -> bool:
        if type(other) is not Success:
            return False if type(other) is Failure else NotImplemented
        return bool(self.data == other.data)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]  # any T

    def __hash__(self) -> int:
        return hash((Success, self.data))

    def __repr__(self) -> str:
        return f"Success({self.data!r})"

    def __reduce__(self) -> tuple[type[Success[T_co]], tuple[T_co]]:
        return (Success, (self.data,))

    def map(self, fn: Callable[[T_co], U], /) -> Success[U]:
        return Success(fn(self.data))

    def flat_map(self, fn: Callable[[T_co], Result[U]], /) -> Result[U]:
        return fn(self.data)

    def map_error(self, fn: Callable[[QiError], QiError], /) -> Success[T_co]:
        return self

    def or_else(self, fn: Callable[[QiError], Result[Any]], /) -> Success[T_co]:
        return self

    def filter(
        self, predicate: Callable[[T_co], bool], error: QiError | Callable[[T_co], QiError], /
    ) -> Result[T_co]:
        if predicate(self.data):
            return self
        return Failure(error if isinstance(error, QiError) else error(self.data))

    def tap(self, fn: Callable[[T_co], object], /) -> Success[T_co]:
        fn(self.data)
        return self

    def tap_error(self, fn: Callable[[QiError], object], /) -> Success[T_co]:
        return self

    def unwrap(self) -> T_co:
        return self.data

    def unwrap_or(self, default: object, /) -> T_co:
        return self.data

    def unwrap_or_else(self, fn: Callable[[QiError], object], /) -> T_co:
        return self.data

    def match(self, on_success: Callable[[T_co], U], on_failure: Callable[[QiError], object]) -> U:
        return on_success(self.data)

    flatMap = flat_map  # noqa: N815
    orElse = or_else  # noqa: N815
    unwrapOr = unwrap_or  # noqa: N815


@final
class Failure(Result[Never]):
    """The outcome that holds the error. See `Result`. Anything but a QiError is a TypeError.

    >>> Failure(QiError.timeout("LLM_TIMEOUT", "no answer within 30 s"))
    Failure(<QiError TIMEOUT/LLM_TIMEOUT: no answer within 30 s>)
    """

    __match_args__ = ("error",)

    if TYPE_CHECKING:

        @property
        def is_success(self) -> Literal[False]: ...
        @property
        def is_failure(self) -> Literal[True]: ...
        @property
        def data(self) -> None: ...
        @property
        def error(self) -> QiError: ...
        @property
        def variant(self) -> Failure: ...

    else:
        __slots__ = ("error",)
        is_success = False
        is_failure = True
        data = None

    def __init__(self, error: QiError, /) -> None:
        if not isinstance(error, QiError):  # pyright: ignore[reportUnnecessaryIsInstance]  # callers without types
            raise TypeError(f"a Failure holds a QiError, not {type(error).__name__}")
        _set_error(self, error)

    def __eq__(self, other: object) -> bool:
        if type(other) is not Failure:
            return False if type(other) is Success else NotImplemented
        return self.error == other.error

    def __hash__(self) -> int:
        return hash((Failure, self.error))

    def __repr__(self) -> str:
        return f"Failure({self.error!r})"

    def __reduce__(self) -> tuple[type[Failure], tuple[QiError]]:
        return (Failure, (self.error,))

    def map(self, fn: Callable[[Never], object], /) -> Failure:
        return self

    def flat_map(self, fn: Callable[[Never], Result[object]], /) -> Failure:
        return self

    def map_error(self, fn: Callable[[QiError], QiError], /) -> Failure:
        return Failure(fn(self.error))

    def or_else(self, fn: Callable[[QiError], Result[U]], /) -> Result[U]:
        return fn(self.error)

    def filter(
        self, predicate: Callable[[Never], bool], error: QiError | Callable[[Never], QiError], /
    ) -> Failure:
        return self

    def tap(self, fn: Callable[[Never], object], /) -> Failure:
        return self

    def tap_error(self, fn: Callable[[QiError], object], /) -> Failure:
        fn(self.error)
        return self

    def unwrap(self) -> Never:
        # Raised with a cleared traceback: each raise of the same object would add to the last one's frames.
        raise self.error.with_traceback(None)

    def unwrap_or(self, default: U, /) -> U:
        return default

    def unwrap_or_else(self, fn: Callable[[QiError], U], /) -> U:
        return fn(self.error)

    def match(self, on_success: Callable[[Never], object], on_failure: Callable[[QiError], V]) -> V:
        return on_failure(self.error)

    flatMap = flat_map  # noqa: N815
    orElse = or_else  # noqa: N815
    unwrapOr = unwrap_or  # noqa: N815


_set_data: Callable[[Success[Any], object], None] = vars(Success)["data"].__set__
_set_error: Callable[[Failure, QiError], None] = vars(Failure)["error"].__set__

if not TYPE_CHECKING:
    # The variants themselves, so that the contract's spelling costs no further call.
    Result.success = Success
    Result.failure = Failure
