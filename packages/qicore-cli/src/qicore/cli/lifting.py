"""`lift`: a function of plain values becomes a function of parsers, exactly typed."""

from collections.abc import Callable
from typing import Any, TypeVar, overload

from qicore.cli.evaluation import FAILED, Evaluation
from qicore.cli.nodes import join_items
from qicore.cli.parser import Parser

__all__ = ["lift"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")
H = TypeVar("H")
J = TypeVar("J")
K = TypeVar("K")
M = TypeVar("M")
N = TypeVar("N")
R = TypeVar("R")


class Lifted(Parser[R]):
    """A parser whose value is that of a function, called with the values of other parsers."""

    __slots__ = ("fn", "parts")

    fn: Callable[..., R]
    parts: tuple[Parser[Any], ...]

    def __init__(self, fn: Callable[..., R], parts: tuple[Parser[Any], ...]) -> None:
        super().__init__(join_items(parts))
        object.__setattr__(self, "fn", fn)
        object.__setattr__(self, "parts", parts)

    def recorded(self) -> frozenset[str]:
        """Return the names of all parts."""
        return frozenset[str]().union(*(part.recorded() for part in self.parts))

    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:
        """Call the function, once every part has its value."""
        values = [part.evaluate(run, record) for part in self.parts]
        for value in values:
            if value is FAILED:
                return value
        try:
            return self.fn(*values)
        except Exception as error:  # noqa: BLE001 - the program's own function: translated here, once
            return run.refuse(error, self)


@overload
def lift(fn: Callable[[A], R], a: Parser[A], /) -> Parser[R]: ...
@overload
def lift(fn: Callable[[A, B], R], a: Parser[A], b: Parser[B], /) -> Parser[R]: ...
@overload
def lift(fn: Callable[[A, B, C], R], a: Parser[A], b: Parser[B], c: Parser[C], /) -> Parser[R]: ...
@overload
def lift(
    fn: Callable[[A, B, C, D], R], a: Parser[A], b: Parser[B], c: Parser[C], d: Parser[D], /
) -> Parser[R]: ...
@overload
def lift(
    fn: Callable[[A, B, C, D, E], R], a: Parser[A], b: Parser[B], c: Parser[C], d: Parser[D], e: Parser[E], /
) -> Parser[R]: ...
@overload
def lift(
    fn: Callable[[A, B, C, D, E, F], R],
    a: Parser[A],
    b: Parser[B],
    c: Parser[C],
    d: Parser[D],
    e: Parser[E],
    f: Parser[F],
    /,
) -> Parser[R]: ...
@overload
def lift(
    fn: Callable[[A, B, C, D, E, F, G], R],
    a: Parser[A],
    b: Parser[B],
    c: Parser[C],
    d: Parser[D],
    e: Parser[E],
    f: Parser[F],
    g: Parser[G],
    /,
) -> Parser[R]: ...
@overload
def lift(
    fn: Callable[[A, B, C, D, E, F, G, H], R],
    a: Parser[A],
    b: Parser[B],
    c: Parser[C],
    d: Parser[D],
    e: Parser[E],
    f: Parser[F],
    g: Parser[G],
    h: Parser[H],
    /,
) -> Parser[R]: ...
@overload
def lift(
    fn: Callable[[A, B, C, D, E, F, G, H, J], R],
    a: Parser[A],
    b: Parser[B],
    c: Parser[C],
    d: Parser[D],
    e: Parser[E],
    f: Parser[F],
    g: Parser[G],
    h: Parser[H],
    j: Parser[J],
    /,
) -> Parser[R]: ...
@overload
def lift(
    fn: Callable[[A, B, C, D, E, F, G, H, J, K], R],
    a: Parser[A],
    b: Parser[B],
    c: Parser[C],
    d: Parser[D],
    e: Parser[E],
    f: Parser[F],
    g: Parser[G],
    h: Parser[H],
    j: Parser[J],
    k: Parser[K],
    /,
) -> Parser[R]: ...
@overload
def lift(
    fn: Callable[[A, B, C, D, E, F, G, H, J, K, M], R],
    a: Parser[A],
    b: Parser[B],
    c: Parser[C],
    d: Parser[D],
    e: Parser[E],
    f: Parser[F],
    g: Parser[G],
    h: Parser[H],
    j: Parser[J],
    k: Parser[K],
    m: Parser[M],
    /,
) -> Parser[R]: ...
@overload
def lift(
    fn: Callable[[A, B, C, D, E, F, G, H, J, K, M, N], R],
    a: Parser[A],
    b: Parser[B],
    c: Parser[C],
    d: Parser[D],
    e: Parser[E],
    f: Parser[F],
    g: Parser[G],
    h: Parser[H],
    j: Parser[J],
    k: Parser[K],
    m: Parser[M],
    n: Parser[N],
    /,
) -> Parser[R]: ...
def lift(fn: Callable[..., Any], *parts: Parser[Any]) -> Parser[Any]:
    """Return the parser that calls `fn` with the values of up to twelve parts, in their order.

    The applicative's own operation: type checkers see that `fn`, often a dataclass, takes what the parts
    give. A ValueError of `fn` is CLI_BAD_VALUE with its message.

    >>> from dataclasses import dataclass
    >>> from qicore.cli import option, parse, positional
    >>> @dataclass
    ... class Copy:
    ...     source: str
    ...     force: bool
    >>> parse(["-f", "a.txt"], lift(Copy, positional("source"), option("--force", bool, "-f"))).unwrap().value
    Copy(source='a.txt', force=True)
    """
    return Lifted(fn, parts)
