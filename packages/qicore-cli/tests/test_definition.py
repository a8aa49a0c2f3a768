"""What contradicts itself is said where it is written."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from qicore.cli import (
    Parser,
    choice,
    command,
    count,
    exclusive,
    generate_help,
    int_range,
    lift,
    one_of,
    option,
    parse,
    positional,
    program,
    pure,
    sequence,
)

anything: Any = None


def anything_goes(function: Any) -> Any:
    """Return a function as callers without types see it."""
    return function


@dataclass
class Pair:
    a: int
    b: int = 0
    c: list[int] = field(default_factory=list[int])
    d: int = field(default=0, init=False)


a = option("--a", int, default=0)


@pytest.mark.parametrize(
    ("define", "says"),
    [
        (lambda: option("env", str), "no name for an option"),
        (lambda: option("-env", str), "no name for an option"),
        (lambda: option("--", str), "no name for an option"),
        (lambda: option("-", str), "no name for an option"),
        (lambda: option("", str), "no name for an option"),
        (lambda: option("--a=b", str), "no name for an option"),
        (lambda: option("--a b", str), "no name for an option"),
        (lambda: option("---a", str), "no name for an option"),
        (lambda: option("--a\n", str), "no name for an option"),
        (lambda: option("--a", str, "--a"), "named the same twice"),
        (lambda: option("-5", bool), "give an identifier"),
        (lambda: option("--a", str, name="not a name"), "give an identifier"),
        (
            lambda: anything_goes(option)("--a", str, required=True, default="x"),
            "both be required and have a default",
        ),
        (lambda: option("--a", str, nargs=1), "nargs must be at least 2"),
        (lambda: anything_goes(option)("--a", str, nargs=2, multiple=True), "excludes multiple"),
        (lambda: option("-f", bool, negatable=True), "needs a long name"),
        (lambda: option("--f", bool, required=True), "can't be required"),
        (lambda: anything_goes(option)("--f", int, negatable=True), "can't be negatable"),
        (lambda: positional("x", nargs=0), "at least 1"),
        (lambda: positional("not a name"), "give an identifier"),
        (lambda: count("verbose"), "no name for an option"),
        (lambda: one_of(), "nothing to choose from"),
        (lambda: int_range(5, 1), "no number from 5 to 1"),
        (lambda: sequence(a, option("-a", str)), "named 'a'"),
        (lambda: sequence(a, option("--a", str, name="b")), "called --a"),
        (lambda: sequence(option("--no-a", str), option("--a", bool, negatable=True)), "called --no-a"),
        (lambda: sequence(a, command("x", a)), "named 'a'"),
        (lambda: sequence(positional("x", nargs="*"), positional("y", nargs="+")), "any number of arguments"),
        (lambda: sequence(positional("x", nargs="*"), command("y")), "before a command"),
        (lambda: sequence(positional("x", default=""), choice(command("y"))), "before a command"),
        (lambda: choice(command("x"), command("x")), "the command 'x'"),
        (lambda: choice(command("x"), command("y", aliases=["x"])), "the command 'x'"),
        (lambda: choice(command("x"), a), "begin with a command"),
        (lambda: choice(sequence(a, command("x")), command("y")), "begin with a command"),
        (lambda: sequence(choice(command("x")).optional(), a), "must come last"),
        (lambda: a.optional(), "only a choice"),
        (lambda: command("-x"), "no name for a command"),
        (lambda: command(""), "no name for a command"),
        (lambda: command("a b"), "no name for a command"),
        (lambda: exclusive(a), "two at least"),
        (lambda: exclusive(a, positional("b")), "only options"),
        (lambda: exclusive(a, option("--b", int, required=True)), "required by itself"),
        (lambda: a.named("not a name"), "must be an identifier"),
        (lambda: option("--b", int).into(Pair), "no part is named after the field(s) a"),
        (lambda: sequence(a, option("--z", int)).into(Pair), "has no field for z"),
        (lambda: sequence(a, option("--d", int)).into(Pair), "has no field for d"),
        (lambda: choice(command("x", a), command("y")).into(Pair), "map each"),
        (lambda: choice(command("x", a)).optional().into(Pair), "need a name"),
        (lambda: generate_help(a, command=["none"]), "there is no command"),
    ],
)
def test_what_contradicts_itself_is_a_value_error(define: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        define()
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "define",
    [
        lambda: option("--a", anything),
        lambda: anything_goes(option)("--a", str, hlep="x"),
        lambda: anything_goes(positional)("a", env="X"),
        lambda: pure(1).into(int),
    ],
)
def test_what_is_of_the_wrong_kind_is_a_type_error(define: Any) -> None:
    with pytest.raises(TypeError):
        define()


def test_parts_that_meet_only_behind_a_choice_are_compared_there() -> None:
    parser = sequence(choice(command("x", option("-n", int)), command("y")), option("-n", str, name="m"))
    with pytest.raises(ValueError, match="called -n"):
        parse(["x"], parser)


def test_alternatives_may_share_names_and_flags() -> None:
    parser = choice(command("x", a), command("y", a))
    assert parse(["y", "--a", "3"], parser).unwrap()["a"] == 3
    assert parse(["y", "--a", "3"], parser.into(Pair)).unwrap().value == Pair(3)


def test_a_parser_is_immutable() -> None:
    with pytest.raises(AttributeError):
        a.label = "x"
    with pytest.raises(AttributeError):
        del a.label


def test_a_parser_says_what_it_reads() -> None:
    assert repr(sequence(a, option("--b"))) == "<Sequence of a, b>"
    assert repr(pure(1)) == "<Pure of nothing>"


def test_sequence_of_one_is_that_one() -> None:
    both: Parser[Any] = sequence(a, option("--b"))
    one: Parser[Any] = sequence(sequence(), a, sequence())
    assert sequence(a) is a
    assert one is a
    assert sequence(both) is both


def total(*numbers: int) -> int:
    return sum(numbers)


def test_lift_takes_up_to_twelve() -> None:
    parts = [option(f"--o{number}", int, default=number) for number in range(12)]
    assert parse([], anything_goes(lift)(total, *parts)).unwrap().value == 66


def test_a_program_within_a_program_gives_its_parts() -> None:
    inner = program("inner", a, version="1")
    assert parse(["x", "--a", "2"], program("outer", command("x", inner), version="2")).unwrap()["a"] == 2
