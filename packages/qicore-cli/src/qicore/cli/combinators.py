"""How parsers are joined: in sequence, as alternatives, in groups, under a command or a program."""

from collections.abc import Iterable
from typing import Any, TypeVar, overload

from qicore.cli.leaves import is_leaf
from qicore.cli.nodes import Constraint, Program, Pure, Regrouped, Sequence, Word, join_items
from qicore.cli.parser import Choice, Parser
from qicore.cli.values import Values

__all__ = [
    "at_least_one",
    "choice",
    "command",
    "exclusive",
    "group",
    "program",
    "pure",
    "sequence",
]

T = TypeVar("T")
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


def pure(value: T, /) -> Parser[T]:
    """Return the parser that reads nothing and whose value is `value`.

    >>> from qicore.cli import parse
    >>> parse([], pure(5)).unwrap().value
    5
    """
    return Pure(value)


@overload
def sequence() -> Parser[Values]: ...
@overload
def sequence(part: Parser[T], /) -> Parser[T]: ...
@overload
def sequence(first: Parser[Any], second: Parser[Any], /, *rest: Parser[Any]) -> Parser[Values]: ...
def sequence(*parts: Parser[Any]) -> Parser[Any]:
    """Return the parser of all parts together, whose value is their values by name.

    Options may stand anywhere among the operands; what follows a `command` in the sequence belongs to that
    command. Associative, with `sequence()` as its identity. Raises ValueError when two parts have the same
    name or flag.

    >>> from qicore.cli import command, option, parse, positional
    >>> parser = sequence(
    ...     command("deploy"), option("--env", str), option("--force", bool), positional("target", str)
    ... )
    >>> parse(["deploy", "web", "--env=prod"], parser).unwrap().value
    Values(env='prod', force=False, target='web')
    """
    return _sequence(parts)


def _sequence(parts: tuple[Parser[Any], ...]) -> Parser[Any]:
    # Without its identities, and a single part as itself: so the laws hold to the letter.
    real = [part for part in parts if not (type(part) is Sequence and not part.parts)]
    return real[0] if len(real) == 1 else Sequence(real)


@overload
def command(
    name: str, /, *, help: str = ..., aliases: Iterable[str] = ..., hidden: bool = ...
) -> Parser[str]: ...
@overload
def command(
    name: str, part: Parser[T], /, *, help: str = ..., aliases: Iterable[str] = ..., hidden: bool = ...
) -> Parser[T]: ...
@overload
def command(
    name: str,
    first: Parser[Any],
    second: Parser[Any],
    /,
    *parts: Parser[Any],
    help: str = ...,
    aliases: Iterable[str] = ...,
    hidden: bool = ...,
) -> Parser[Values]: ...
def command(
    name: str,
    /,
    *parts: Parser[Any],
    help: str = "",  # noqa: A002 - the name that argparse and click use
    aliases: Iterable[str] = (),
    hidden: bool = False,
) -> Parser[Any]:
    """Return the parser of a command: its name, then its parts, whose value it has.

    Without parts its value is its name, and `sequence(command(name), *parts)` reads the same.
    A hidden command works, but help, completion and suggestions don't mention it.

    >>> from qicore.cli import choice, parse
    >>> parse(["stop"], choice(command("start"), command("stop"))).unwrap().value
    'stop'
    """
    words = (name, *aliases)
    for word in words:
        if not word or word.startswith("-") or not word.isprintable() or " " in word:
            raise ValueError(f"{word!r} is no name for a command")
    head = Word(words, help, hidden)
    if not parts:
        return head
    body = _sequence(parts)
    return Regrouped(body, join_items((head, body)))


@overload
def choice() -> Parser[Any]: ...
@overload
def choice(a: Parser[A], /) -> Parser[A]: ...
@overload
def choice(a: Parser[A], b: Parser[B], /) -> Parser[A | B]: ...
@overload
def choice(a: Parser[A], b: Parser[B], c: Parser[C], /) -> Parser[A | B | C]: ...
@overload
def choice(a: Parser[A], b: Parser[B], c: Parser[C], d: Parser[D], /) -> Parser[A | B | C | D]: ...
@overload
def choice(
    a: Parser[A], b: Parser[B], c: Parser[C], d: Parser[D], e: Parser[E], /
) -> Parser[A | B | C | D | E]: ...
@overload
def choice(
    a: Parser[A], b: Parser[B], c: Parser[C], d: Parser[D], e: Parser[E], f: Parser[F], /
) -> Parser[A | B | C | D | E | F]: ...
@overload
def choice(
    a: Parser[A], b: Parser[B], c: Parser[C], d: Parser[D], e: Parser[E], f: Parser[F], g: Parser[G], /
) -> Parser[A | B | C | D | E | F | G]: ...
@overload
def choice(
    a: Parser[A],
    b: Parser[B],
    c: Parser[C],
    d: Parser[D],
    e: Parser[E],
    f: Parser[F],
    g: Parser[G],
    h: Parser[H],
    /,
) -> Parser[A | B | C | D | E | F | G | H]: ...
@overload
def choice(
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
) -> Parser[A | B | C | D | E | F | G | H | J]: ...
@overload
def choice(
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
) -> Parser[A | B | C | D | E | F | G | H | J | K]: ...
@overload
def choice(*alternatives: Parser[T]) -> Parser[T]: ...
def choice(*alternatives: Parser[Any]) -> Parser[Any]:
    """Return the parser of exactly one of the alternatives, each of which begins with a command.

    `a | b` is the same, exactly typed for any number. Associative, and `choice()`, which takes nothing, is
    its identity. Raises ValueError when an alternative has no command, or two have the same.

    >>> from qicore.cli import command, parse, positional
    >>> parser = choice(command("add", positional("x", int)), command("drop"))
    >>> parse(["add", "5"], parser).unwrap().value
    5
    """
    return Choice(alternatives)


def group(heading: str, /, *parts: Parser[Any]) -> Parser[Values]:
    """Return the sequence of the parts, whose options have a heading of their own in the help."""
    body = Sequence(parts)
    return Regrouped(body, [item.under(heading) if is_leaf(item) else item for item in body.items])


def exclusive(*options: Parser[Any], required: bool = False) -> Parser[Values]:
    """Return the sequence of options of which at most one may be given, and with `required` exactly one.

    What the environment or the configuration gives counts only for `required`: a flag overrides them, and so
    conflicts with none. CLI_CONFLICT and CLI_MISSING_ARGUMENT say when it is otherwise.

    >>> from qicore.cli import option, parse
    >>> formats = exclusive(option("--json", bool), option("--yaml", bool))
    >>> parse(["--json", "--yaml"], formats).error.code
    'CLI_CONFLICT'
    """
    return _constrained(options, most_one=True, required=required)


def at_least_one(*options: Parser[Any]) -> Parser[Values]:
    """Return the sequence of options of which one or more must be given, from wherever."""
    return _constrained(options, most_one=False, required=True)


def _constrained(options: tuple[Parser[Any], ...], *, most_one: bool, required: bool) -> Parser[Values]:
    body = Sequence(options)
    leaves = tuple(item for item in body.items if is_leaf(item))
    if len(leaves) != len(body.items) or len(leaves) < 2 or any(not leaf.flags for leaf in leaves):
        raise ValueError("only options can exclude each other, two at least")
    if any(leaf.required for leaf in leaves):
        raise ValueError("an option that excludes others, or stands in for them, can't be required by itself")
    return Regrouped(body, (*leaves, Constraint(leaves, most_one=most_one, required=required)))


@overload
def program(name: str, /, *, version: str = ..., help: str = ..., epilog: str = ...) -> Parser[Values]: ...
@overload
def program(
    name: str, part: Parser[T], /, *, version: str = ..., help: str = ..., epilog: str = ...
) -> Parser[T]: ...
@overload
def program(
    name: str,
    first: Parser[Any],
    second: Parser[Any],
    /,
    *parts: Parser[Any],
    version: str = ...,
    help: str = ...,
    epilog: str = ...,
) -> Parser[Values]: ...
def program(
    name: str,
    /,
    *parts: Parser[Any],
    version: str = "",
    help: str = "",  # noqa: A002 - the name that argparse and click use
    epilog: str = "",
) -> Parser[Any]:
    """Return the parser of a whole program: the sequence of its parts, with what its help shall say.

    With a version there is an option `--version`. Names and flags are checked here, for every command.
    """
    body = _sequence(parts)
    return Regrouped(body, (Program(name, version, help, epilog), *body.items))
