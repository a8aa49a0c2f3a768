"""The algebraic laws as functions: give them values of your own type, and they raise where a law is broken.

Call them from a Hypothesis test with drawn values. The laws are those of Wadler, "Monads for functional
programming" (1995), and of McBride and Paterson, "Applicative programming with effects" (2008).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

__all__ = ["check_applicative_laws", "check_functor_laws", "check_monad_laws", "check_monoid_laws"]

T = TypeVar("T")

Equal = Callable[[Any, Any], object]


class _Functor(Protocol):
    def map(self, fn: Callable[[Any], Any], /) -> Any: ...


class _Monad(Protocol):
    def flat_map(self, fn: Callable[[Any], Any], /) -> Any: ...


def check_functor_laws(
    container: _Functor,
    f: Callable[[Any], Any],
    g: Callable[[Any], Any],
    *,
    equal: Equal = operator.eq,
) -> None:
    """Check identity and composition of `container.map`; `f` must take what `g` gives.

    >>> from qicore.base import Success
    >>> check_functor_laws(Success(3), str, abs)
    """
    _demand("functor identity", equal, container.map(lambda value: value), container)
    composed = container.map(lambda value: f(g(value)))
    _demand("functor composition", equal, container.map(g).map(f), composed)


def check_monad_laws(
    unit: Callable[[Any], Any],
    value: object,
    container: _Monad,
    f: Callable[[Any], Any],
    g: Callable[[Any], Any],
    *,
    equal: Equal = operator.eq,
) -> None:
    """Check left identity, right identity and associativity of `container.flat_map`.

    `unit` wraps a value; `f` and `g` take a value and give a container, `g` taking what is in `f`'s.

    >>> from qicore.base import Success
    >>> check_monad_laws(Success, 1, Success(2), lambda n: Success(n + 1), lambda n: Success(str(n)))
    """
    _demand("left identity", equal, unit(value).flat_map(f), f(value))
    _demand("right identity", equal, container.flat_map(unit), container)
    nested = container.flat_map(lambda inner: f(inner).flat_map(g))
    _demand("monad associativity", equal, container.flat_map(f).flat_map(g), nested)


def check_monoid_laws(
    a: T, b: T, c: T, *, empty: T, combine: Callable[[T, T], T], equal: Equal = operator.eq
) -> None:
    """Check that `empty` is the identity of `combine` on both sides, and that `combine` is associative.

    >>> check_monoid_laws("a", "b", "c", empty="", combine=operator.add)
    """
    _demand("left identity", equal, combine(empty, a), a)
    _demand("right identity", equal, combine(a, empty), a)
    _demand("monoid associativity", equal, combine(combine(a, b), c), combine(a, combine(b, c)))


def check_applicative_laws(
    u: Any,
    v: Any,
    w: Any,
    f: Callable[[Any], Any],
    x: object,
    *,
    pure: Callable[[Any], Any],
    apply: Callable[[Any, Any], Any],
    equal: Equal = operator.eq,
) -> None:
    """Check identity, homomorphism, interchange and composition of `pure` and `apply`.

    `u` and `v` hold functions of one argument, `w` holds a value; `f` is a function and `x` a value for it.

    >>> from qicore.base import Result, Success
    >>> def apply(fn: Result, value: Result) -> Result:
    ...     return fn.flat_map(value.map)
    >>> check_applicative_laws(Success(abs), Success(int), Success("-2"), abs, -1, pure=Success, apply=apply)
    """

    def same(value: Any) -> Any:
        return value

    def to_x(fn: Callable[[Any], Any]) -> Any:
        return fn(x)

    _demand("applicative identity", equal, apply(pure(same), w), w)
    _demand("homomorphism", equal, apply(pure(f), pure(x)), pure(f(x)))
    _demand("interchange", equal, apply(u, pure(x)), apply(pure(to_x), u))

    def compose(outer: Callable[[Any], Any]) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
        return lambda inner: lambda value: outer(inner(value))

    composed = apply(apply(apply(pure(compose), u), v), w)
    _demand("applicative composition", equal, composed, apply(u, apply(v, w)))


def _demand(law: str, equal: Equal, left: object, right: object) -> None:
    if not equal(left, right):
        raise AssertionError(f"the law of {law} is broken: {left!r} is not {right!r}")
