"""The laws, as properties: functor, applicative, sequence and choice as monoids, rendering and parsing."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Result
from qicore.base.testing import check_applicative_laws, check_functor_laws, check_monoid_laws
from qicore.cli import (
    Parser,
    choice,
    command,
    count,
    lift,
    option,
    parse,
    positional,
    pure,
    sequence,
)

# Few distinct words, so that many lines are right and many are wrong.
words = st.sampled_from(
    [
        "--a",
        "--b",
        "--a=1",
        "--b=x",
        "-v",
        "-vv",
        "-f",
        "-fv",
        "1",
        "-5",
        "x",
        "",
        "-",
        "--",
        "--help",
        "--c",
        "add",
        "rm",
    ]
)
lines = st.lists(words, max_size=7)
leaves = st.sampled_from(
    [
        option("--a", int, name="a"),
        option("--b", str, default="b"),
        option("-f", bool),
        count("-v"),
        positional("one"),
        positional("more", int, nargs="*"),
        pure(7),
        command("add"),
        choice(command("add", positional("x", int)), command("rm")),
    ]
)


def twice(value: object) -> object:
    return (value, value)


def pair_with(value: object) -> Callable[[object], object]:
    return lambda other: (value, other)


Function = Callable[[Any], object]
functions: st.SearchStrategy[Function] = st.sampled_from([str, repr, twice])


def same(line: list[str]) -> Any:
    """Return the equality of parsers over one command line: they answer the same, errors included."""

    def equal(left: Parser[Any], right: Parser[Any]) -> bool:
        return outcome(line, left) == outcome(line, right)

    return equal


def outcome(line: list[str], parser: Parser[Any]) -> object:
    return comparable(parse(line, parser))


def comparable(result: Result[Any]) -> object:
    """Return the value, or the error."""
    return result.data if result.error is None else result.error


def fit(parts: list[Parser[Any]]) -> bool:
    """Whether the parts can be in one sequence."""
    try:
        sequence(*parts)
    except ValueError:
        return False
    return True


@given(lines, leaves, functions, functions)
def test_functor(line: list[str], parser: Parser[Any], f: Any, g: Any) -> None:
    check_functor_laws(parser, f, g, equal=same(line))


@given(lines, leaves, leaves, leaves, functions, st.integers())
def test_applicative(line: list[str], u: Parser[Any], v: Parser[Any], w: Parser[Any], f: Any, x: int) -> None:
    if not fit([u, v, w]):
        u = v = pure(0)
    check_applicative_laws(
        u.map(pair_with),
        v.map(pair_with),
        w,
        f,
        x,
        pure=pure,
        apply=lambda function, value: lift(lambda fn, it: fn(it), function, value),
        equal=lambda left, right: value_of(line, left) == value_of(line, right),
    )


def value_of(line: list[str], parser: Parser[Any]) -> object:
    """Return the value or the error: pure parts have no names, so what is recorded by name may differ."""
    return comparable(parse(line, parser).map(lambda parsed: parsed.value))


@given(lines, leaves, leaves, leaves)
def test_sequence_is_a_monoid(line: list[str], a: Parser[Any], b: Parser[Any], c: Parser[Any]) -> None:
    if not fit([a, b, c]):
        b = c = sequence()
    check_monoid_laws(a, b, c, empty=sequence(), combine=sequence, equal=same(line))


@given(lines, st.permutations(["add", "rm", "mv", "ls"]))
def test_choice_is_a_monoid(line: list[str], names: list[str]) -> None:
    a, b, c = (command(name, positional("x", int), option("-f", bool)) for name in names[:3])
    check_monoid_laws(a, b, c, empty=choice(), combine=choice, equal=same([names[3], *line]))
    for name in names:
        check_monoid_laws(a, b, c, empty=choice(), combine=choice, equal=same([name, *line]))


@given(lines, st.sampled_from(["add", "rm", "ls"]))
def test_the_bar_is_choice(line: list[str], name: str) -> None:
    a, b = command("add", positional("x", int)), command("rm")
    assert outcome([name, *line], a | b) == outcome([name, *line], choice(a, b))


@given(lines, leaves, leaves)
def test_an_error_names_a_code_and_parsing_is_pure(line: list[str], a: Parser[Any], b: Parser[Any]) -> None:
    parser = sequence(a, b) if fit([a, b]) else a
    assert outcome(line, parser) == outcome(list(line), parser)
    error = parse(line, parser).error
    assert error is None or error.code.startswith("CLI_") or error.code == "MULTIPLE_ERRORS"


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@st.composite
def settings(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "name": draw(st.none() | texts),
        "size": draw(st.integers(-1000, 1000)),
        "tags": draw(st.lists(texts, max_size=3).map(tuple)),
        "pair": draw(st.none() | st.tuples(texts, texts)),
        "force": draw(st.booleans()),
        "verbose": draw(st.integers(0, 4)),
        "first": draw(texts),
        "rest": draw(st.lists(texts, max_size=4).map(tuple)),
    }


everything = sequence(
    command("run"),
    option("--name", str, "-n"),
    option("--size", int, "-s", default=0),
    option("--tag", str, "-t", name="tags", multiple=True),
    option("--pair", str, nargs=2),
    option("--force", bool, "-f", negatable=True),
    count("--verbose", "-v"),
    positional("first"),
    positional("rest", nargs="*"),
)


def render(values: dict[str, Any], *, short: bool) -> list[str]:
    """Write values as a command line, in one of two ways."""
    args = ["run"]
    if values["name"] is not None:
        # A short option can't have the empty text attached.
        args += [f"-n{values['name']}"] if short and values["name"] else [f"--name={values['name']}"]
    args += [f"-s{values['size']}"] if short else ["--size", str(values["size"])]
    for tag in values["tags"]:
        args += [f"-t{tag}"] if short and tag else [f"--tag={tag}"]
    cluster = "f" * values["force"] + "v" * values["verbose"]
    if short:
        args += [f"-{cluster}"] if cluster else []
    else:
        args += ["--force" if values["force"] else "--no-force", *["--verbose"] * values["verbose"]]
    if values["pair"] is not None:
        args += [f"--pair={values['pair'][0]}", values["pair"][1]]
    return [*args, "--", values["first"], *values["rest"]]


@given(settings(), st.booleans())
def test_what_is_rendered_is_parsed_again(values: dict[str, Any], short: bool) -> None:
    args = render(values, short=short)
    pair = values["pair"]
    if pair is not None and pair[1].startswith("-"):
        values = {**values, "pair": None}  # as a second value, an option would be one
        args = render(values, short=short)
    assert dict(parse(args, everything).unwrap()) == values
