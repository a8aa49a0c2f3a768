"""Result is a functor, a monad and an applicative; and the checks find what is not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import (
    check_applicative_laws,
    check_functor_laws,
    check_monad_laws,
    check_monoid_laws,
)
from qicore.base.testing.strategies import errors, results


def of_one(value: object) -> Any: ...


FUNCTIONS: Any = st.functions(like=of_one, returns=st.integers(), pure=True)
KLEISLI: Any = st.functions(like=of_one, returns=results(st.integers()), pure=True)


@given(results(st.integers()), FUNCTIONS, FUNCTIONS)
def test_functor(result: Result[int], f: Any, g: Any) -> None:
    check_functor_laws(result, f, g)


@given(st.integers(), results(st.integers()), KLEISLI, KLEISLI)
def test_monad(value: int, result: Result[int], f: Any, g: Any) -> None:
    check_monad_laws(Success, value, result, f, g)
    check_monad_laws(Result.success, value, result, f, g)


@given(results(FUNCTIONS), results(FUNCTIONS), results(st.integers()), FUNCTIONS, st.integers())
def test_applicative(u: Any, v: Any, w: Any, f: Any, x: int) -> None:
    def apply(fn: Result[Any], value: Result[Any]) -> Result[Any]:
        return fn.flat_map(value.map)

    check_applicative_laws(u, v, w, f, x, pure=Success, apply=apply)


@given(results(st.integers()), errors(), st.integers())
def test_or_else_recovers_failures_only(result: Result[int], error: QiError, value: int) -> None:
    assert result.or_else(lambda _: Success(value)) == (result if result.is_success else Success(value))
    assert Failure(error).or_else(Failure) == Failure(error)


class Counting:
    """Breaks both functor laws: every map leaves a mark."""

    def __init__(self, marks: int = 0) -> None:
        self.marks = marks

    def map(self, fn: Any) -> "Counting":
        return Counting(self.marks + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counting) and self.marks == other.marks

    __hash__ = None  # type: ignore[assignment]  # mutable, for the test


class Forgetful:
    """Breaks the monad laws: binding loses the value."""

    def __init__(self, value: object) -> None:
        self.value = value

    def flat_map(self, fn: Any) -> "Forgetful":
        return Forgetful(None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Forgetful) and self.value == other.value

    __hash__ = None  # type: ignore[assignment]  # mutable, for the test


def test_the_checks_find_what_breaks_a_law() -> None:
    with pytest.raises(AssertionError, match="functor identity"):
        check_functor_laws(Counting(), str, str)
    with pytest.raises(AssertionError, match="left identity"):
        check_monad_laws(Forgetful, 1, Forgetful(1), Forgetful, Forgetful)
    with pytest.raises(AssertionError, match="right identity"):
        check_monoid_laws(5, 3, 1, empty=0, combine=lambda a, b: b)
    with pytest.raises(AssertionError, match="monoid associativity"):
        check_monoid_laws(1, 2, 3, empty=0, combine=lambda a, b: abs(a - b))
    with pytest.raises(AssertionError, match="applicative"):
        check_applicative_laws(abs, abs, 1, abs, 1, pure=lambda x: x, apply=lambda f, x: 0)
