"""Assertions on results whose message is the whole error, so that a red test explains itself."""

from __future__ import annotations

from typing import TypeVar

from qicore.base.category import ErrorCategory
from qicore.base.error import QiError
from qicore.base.result import Result
from qicore.base.variants import Failure, Success

__all__ = ["assert_failure", "assert_success"]

T = TypeVar("T")


def assert_success(result: Result[T]) -> T:
    """Return the value of a Success; for a Failure raise AssertionError that shows all of the error.

    >>> assert_success(Success("done"))
    'done'
    """
    __tracebackhide__ = True  # pytest then points at the caller's line
    match result.variant:
        case Success(value):
            return value
        case Failure(error):
            raise AssertionError(f"expected a Success, got a Failure:\n{_describe(error)}") from error


def assert_failure(
    result: Result[object], code: str | None = None, category: ErrorCategory | None = None
) -> QiError:
    """Return the error of a Failure; raise AssertionError for a Success, another code or another category.

    >>> from qicore.base import QiError
    >>> assert_failure(Failure(QiError.cache("KEY_NOT_FOUND", "no key")), "KEY_NOT_FOUND").message
    'no key'
    """
    __tracebackhide__ = True
    match result.variant:
        case Success(value):
            raise AssertionError(
                f"expected a Failure{f' with {code}' if code else ''}, got Success({value!r})"
            )
        case Failure(error):
            if code is not None and error.code != code:
                raise AssertionError(f"expected the code {code}, got:\n{_describe(error)}") from error
            if category is not None and error.category is not category:
                raise AssertionError(f"expected the category {category}, got:\n{_describe(error)}") from error
            return error


def _describe(error: QiError | None) -> str:
    lines: list[str] = []
    while error is not None:
        lines.append(f"{'caused by ' if lines else ''}{error}")
        lines += [f"    {key}: {value!r}" for key, value in error.context.items()]
        error = error.cause
    return "\n".join(lines)
