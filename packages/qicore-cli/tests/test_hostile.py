"""Input nobody asked for: huge, malformed, from another script, or not even text."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base.testing import assert_failure, assert_success
from qicore.cli import (
    choice,
    command,
    count,
    generate_help,
    one_of,
    option,
    parse,
    parse_string,
    path,
    positional,
    sequence,
)

parser = sequence(
    option("--env", str, "-e"),
    option("--size", int),
    option("--tag", str, multiple=True),
    option("--level", one_of("high", "low"), default="low"),
    count("-v"),
    choice(command("add", positional("files", nargs="*")), command("move", positional("to", path()))),
)


@given(
    st.lists(
        st.text(max_size=6) | st.sampled_from(["add", "move", "--env", "--", "-v", "--size=1"]), max_size=8
    )
)
def test_any_arguments_get_an_answer(args: list[str]) -> None:
    result = parse(args, parser)
    if result.error is not None:
        assert result.error.to_string().isprintable()


@given(st.text(max_size=30))
def test_any_line_gets_an_answer(line: str) -> None:
    assert parse_string(line, parser).is_failure or parse_string(line, parser).is_success


def test_an_empty_command_line() -> None:
    assert_failure(parse([], parser), "CLI_MISSING_ARGUMENT")
    assert_failure(parse([""], parser), "CLI_UNKNOWN_COMMAND")
    assert_failure(parse_string("", parser), "CLI_MISSING_ARGUMENT")


@pytest.mark.parametrize("args", ["add", ["add", 5], [b"add"], [None]])
def test_what_is_no_list_of_texts(args: Any) -> None:
    assert_failure(parse(args, parser), "CLI_ARGV")


HUGE = 100_000


@pytest.mark.parametrize(
    "args",
    [
        ["add", *["file"] * HUGE],
        ["--tag", "x"] * HUGE + ["add"],
        ["--tag=x"] * HUGE + ["add"],
        ["-v"] * HUGE + ["add"],
        ["-" + "v" * HUGE, "add"],
        ["add", "--", *["--env"] * HUGE],
        ["--env", "x" * 10 * HUGE, "add"],
    ],
    ids=["operands", "pairs", "attached", "counted", "cluster", "after --", "long value"],
)
def test_huge_lines_are_read(args: list[str]) -> None:
    parsed = assert_success(parse(args, parser))
    assert parsed.command == ("add",)


@pytest.mark.parametrize(
    "args",
    [
        ["add", *[f"--bogus{number}" for number in range(HUGE)]],
        ["add", *["--bogus"] * HUGE],
        ["add", "-" + "q" * HUGE],
        ["add", "--" + "q" * 10 * HUGE],
        ["q" * 10 * HUGE],
        ["--size", "9" * 10 * HUGE, "add"],
        ["--size=x"] * HUGE + ["add"],
        ["move", *["x"] * HUGE],
        ["--level", "l" * 10 * HUGE, "add"],
    ],
    ids=["different", "same", "letters", "long", "command", "digits", "values", "surplus", "choice"],
)
def test_huge_mistakes_are_answered_in_few_words(args: list[str]) -> None:
    error = assert_failure(parse(args, parser))
    assert len(error.message) < 10_000


def test_errors_beyond_reading_are_counted() -> None:
    error = assert_failure(parse(["add", *["--bogus"] * 1000], parser), "MULTIPLE_ERRORS")
    members: Any = error.context["errors"]
    assert len(members) + error.context["not_shown"] == 1000  # type: ignore[operator]


@pytest.mark.parametrize(
    ("before", "repeated", "after"),
    [(["add"], "x", []), (["add"], "--bogus", []), ([], "--tag=x", ["add"]), (["add", "--"], "-v", [])],
)
def test_time_grows_with_the_line_and_not_with_its_square(
    before: list[str], repeated: str, after: list[str]
) -> None:
    def spent(number: int) -> float:
        args = [*before, *[repeated] * number, *after]
        best = float("inf")
        for _ in range(5):
            began = time.process_time()
            parse(args, parser)
            best = min(best, time.process_time() - began)
        return best

    # Ten times as long: about 10 times when linear, 100 when quadratic.
    assert spent(100_000) < 40 * max(spent(10_000), 1e-3)


def test_nul_bytes_and_surrogates() -> None:
    assert assert_success(parse(["--env", "a\0b", "add"], parser))["env"] == "a\0b"
    assert_failure(parse(["move", "a\0b"], parser), "CLI_BAD_VALUE")
    raw = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert assert_success(parse(["add", raw], parser))["files"] == (raw,)
    error = assert_failure(parse(["move", "x", raw], parser), "CLI_UNEXPECTED_ARGUMENT")
    error.to_string().encode()
    assert_failure(parse([raw], parser), "CLI_UNKNOWN_COMMAND")


def test_control_characters_can_not_forge_a_line() -> None:
    for args in (["x\nerror: all is well"], ["add", "--x\r\x1b[2J"], ["--size", "\x1b[31m", "add"]):
        error = assert_failure(parse(args, parser))
        assert error.message.isprintable()


@pytest.mark.parametrize("dash", ["–", "—", "−", "\uff0d"])  # noqa: RUF001 - that is the point
def test_dashes_that_only_look_like_hyphens(dash: str) -> None:
    error = assert_failure(parse([f"{dash}{dash}env=x", "add"], parser), "CLI_UNKNOWN_OPTION")
    assert f"U+{ord(dash):04X}" in error.message
    assert "did you mean --env?" in error.message
    assert_failure(parse([f"{dash}v", "add"], parser), "CLI_UNKNOWN_OPTION")
    # What would be no option with a hyphen either is an operand like any other.
    assert assert_success(parse(["add", f"{dash} a quote"], parser))["files"] == (f"{dash} a quote",)
    assert assert_success(parse(["add", "--", f"{dash}v"], parser))["files"] == (f"{dash}v",)


def test_letters_of_another_script_are_no_match() -> None:
    error = assert_failure(parse(["аdd"], parser), "CLI_UNKNOWN_COMMAND")  # noqa: RUF001 - that is the point
    assert "did you mean add?" in error.message


def test_a_deep_tree_of_commands() -> None:
    tree = command("end")
    for level in range(100):
        tree = command(f"level{level}", tree)
    line = [f"level{level}" for level in reversed(range(100))] + ["end"]
    assert assert_success(parse(line, tree)).command == tuple(line)
    assert "end" in generate_help(tree, command=line)


def test_a_wide_tree_of_commands() -> None:
    wide = choice(*(command(f"c{number}", option("--x", int)) for number in range(2000)))
    assert assert_success(parse(["c1999", "--x", "1"], wide)).command == ("c1999",)
