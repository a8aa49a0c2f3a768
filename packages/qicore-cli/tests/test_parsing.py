"""What a command line comes to: the conventions, the values, the types."""

import copy
import pickle
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from qicore.base import ErrorCategory, Failure, QiError, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cli import (
    ParsedArgs,
    Parser,
    Values,
    ValueType,
    at_least_one,
    checked,
    choice,
    command,
    count,
    exclusive,
    float_range,
    group,
    int_range,
    lift,
    one_of,
    option,
    parse,
    parse_string,
    path,
    positional,
    program,
    pure,
    rule,
    sequence,
    validate,
)

deploy = sequence(command("deploy"), option("--env", str), option("--force", bool), positional("target", str))


def values(line: str, parser: Parser[Any]) -> dict[str, Any]:
    return dict(assert_success(parse_string(line, parser)))


def codes(line: str, parser: Parser[Any]) -> list[str]:
    error = assert_failure(parse_string(line, parser))
    members: Any = error.context.get("errors", ())
    return [member["code"] for member in members] or [error.code]


def message(line: str, parser: Parser[Any]) -> str:
    return assert_failure(parse_string(line, parser)).message


def test_a_command_line_becomes_values() -> None:
    parsed = assert_success(parse(["deploy", "--env", "prod", "web", "--force"], deploy))
    assert dict(parsed) == {"env": "prod", "force": True, "target": "web"}
    assert parsed.command == ("deploy",)
    assert parsed.value == {"env": "prod", "force": True, "target": "web"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-abc", {"a": True, "b": True, "c": True, "o": None, "v": 0}),
        ("-ofile", {"o": "file"}),
        ("-o file", {"o": "file"}),
        ("-abofile", {"a": True, "b": True, "o": "file"}),
        ("-o=file", {"o": "=file"}),  # as getopt has it
        ("-vvv", {"v": 3}),
        ("-v -av", {"a": True, "v": 2}),
        ("-o-", {"o": "-"}),
        ("-o -", {"o": "-"}),
        ("-o --", {"o": "--"}),
        ("-o -5", {"o": "-5"}),
        ("-o a -o b", {"o": "b"}),
    ],
)
def test_short_options(line: str, expected: dict[str, Any]) -> None:
    parser = sequence(option("-a", bool), option("-b", bool), option("-c", bool), option("-o"), count("-v"))
    found = values(line, parser)
    assert found == {"a": False, "b": False, "c": False, "o": None, "v": 0} | expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--name=x", "x"),
        ("--name x", "x"),
        ("--name=", ""),
        ("--name ''", ""),
        ("--name=--name", "--name"),
        ("--name=a=b", "a=b"),
        ("--name -x", "-x"),
        ("--name=x --name y", "y"),
    ],
)
def test_long_options(line: str, expected: str) -> None:
    assert values(line, option("--name")) == {"name": expected}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-5", ("-5",)),
        ("-5 -1.5e3 -.5", ("-5", "-1.5e3", "-.5")),
        ("-", ("-",)),
        ("-- -x --y", ("-x", "--y")),
        ("a -- --", ("a", "--")),
        ("a --flag b", ("a", "b")),
        ("''", ("",)),
    ],
)
def test_operands(line: str, expected: tuple[str, ...]) -> None:
    parser = sequence(option("--flag", bool), positional("rest", nargs="*"))
    assert values(line, parser)["rest"] == expected


def test_a_negative_number_is_an_option_where_there_is_such_an_option() -> None:
    parser = sequence(option("-5", bool, name="five"), positional("rest", nargs="*"))
    assert values("-5", parser) == {"five": True, "rest": ()}


def test_flags_can_be_negated_and_left_unsaid() -> None:
    colour = option("--colour", bool, default=None)
    assert [
        values(line, colour)["colour"] for line in ("", "--colour", "--no-colour", "--colour --no-colour")
    ] == [
        None,
        True,
        False,
        False,
    ]
    assert values("--no-cache", option("--cache", bool, default=True)) == {"cache": False}
    assert codes("--no-force", option("--force", bool)) == ["CLI_UNKNOWN_OPTION"]
    assert codes("--force=yes", option("--force", bool)) == ["CLI_BAD_VALUE"]


def test_options_with_several_values() -> None:
    parser = sequence(option("--tag", str, "-t", multiple=True), option("--size", int, nargs=2))
    assert values("", parser) == {"tag": (), "size": None}
    assert values("--tag a -tb --tag=c --size 3 -4", parser) == {"tag": ("a", "b", "c"), "size": (3, -4)}
    assert values("--size=3 4", parser)["size"] == (3, 4)
    assert codes("--size 3", parser) == ["CLI_MISSING_ARGUMENT"]
    assert codes("--size 3 --tag x", parser) == ["CLI_MISSING_ARGUMENT"]
    assert codes("--size x y", parser) == ["CLI_BAD_VALUE", "CLI_BAD_VALUE"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a z", ("a", (), "z")),
        ("a b z", ("a", ("b",), "z")),
        ("a b c z", ("a", ("b", "c"), "z")),
    ],
)
def test_a_variadic_operand_leaves_the_others_theirs(line: str, expected: tuple[object, ...]) -> None:
    parser = sequence(positional("first"), positional("rest", nargs="*"), positional("last"))
    assert tuple(values(line, parser).values()) == expected


def test_optional_operands_are_filled_from_the_left() -> None:
    parser = sequence(positional("a"), positional("b", default="B"), positional("c", default="C"))
    assert [tuple(values(line, parser).values()) for line in ("1", "1 2", "1 2 3")] == [
        ("1", "B", "C"),
        ("1", "2", "C"),
        ("1", "2", "3"),
    ]
    assert codes("1 2 3 4", parser) == ["CLI_UNEXPECTED_ARGUMENT"]
    assert codes("", parser) == ["CLI_MISSING_ARGUMENT"]


def test_operands_of_fixed_number() -> None:
    parser = sequence(positional("point", float, nargs=2), positional("label", default=""))
    assert values("1 2", parser) == {"point": (1.0, 2.0), "label": ""}
    assert "POINT needs 2 arguments" in message("1", parser)


class Colour(Enum):
    RED = "red"
    DARK_BLUE = "dark-blue"


class Number(Enum):
    ONE = 1


@pytest.mark.parametrize(
    ("spec", "good", "bad"),
    [
        (int, {"5": 5, "-5": -5, "+7": 7, "007": 7}, ["", "x", "1_000", " 1", "1.0", "٣", "1e3", "9" * 5000]),
        (float, {"1.5": 1.5, "-1e3": -1000.0}, ["", "nan", "inf", "-inf", "1_0", " 1", "٣", "1e999"]),
        (bool, {"true": True, "No": False, "1": True, "off": False}, ["", "maybe", "2"]),
        (Decimal, {"1.10": Decimal("1.10")}, []),
        (Path, {"a/b": Path("a/b"), "-": Path("-")}, ["", "a\0b"]),
        (Colour, {"red": Colour.RED, "dark-blue": Colour.DARK_BLUE}, ["RED", "", "blue"]),
        (Number, {"ONE": Number.ONE}, ["1", "one"]),
        (int_range(1, 9), {"1": 1, "9": 9}, ["0", "10", "x"]),
        (int_range(minimum=1), {"100": 100}, ["0"]),
        (float_range(maximum=1), {"1": 1.0, "-5": -5.0}, ["1.1", "nan"]),
        (one_of("json", "text"), {"json": "json"}, ["JSON", "", "jsn"]),
        (str, {"": "", "x": "x"}, []),
    ],
)
def test_types(spec: Any, good: dict[str, object], bad: list[str]) -> None:
    parser = positional("it", spec)
    for text, expected in good.items():
        found = assert_success(parse(["--", text], parser)).value
        assert (found, type(found)) == (expected, type(expected))
    for text in bad:
        assert_failure(parse(["--", text], parser), "CLI_BAD_VALUE")


def test_a_path_can_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    file, folder = path(exists=True, kind="file"), path(exists=True, kind="directory")
    assert parse([str(tmp_path / "file")], positional("x", file)).is_success
    assert parse([str(tmp_path)], positional("x", folder)).is_success
    for spec, place in (
        (file, tmp_path),
        (folder, tmp_path / "file"),
        (file, tmp_path / "none"),
        (folder, "x" * 9999),
    ):
        assert_failure(parse([str(place)], positional("x", spec)), "CLI_BAD_VALUE")


def test_any_function_can_be_a_type() -> None:
    def even(text: str) -> Any:
        return Success(int(text)) if int(text) % 2 == 0 else Failure(QiError.validation("ODD", "it is odd"))

    assert values("4", positional("n", checked(even))) == {"n": 4}
    assert "it is odd" in message("3", positional("n", checked(even)))
    assert values("a,b", positional("n", ValueType(lambda text: text.split(","), "LIST"))) == {
        "n": ["a", "b"]
    }

    def broken(text: str) -> int:
        raise KeyError(text)

    error = assert_failure(parse(["x"], positional("n", broken)), "CLI_UNEXPECTED", ErrorCategory.UNKNOWN)
    assert isinstance(error.__cause__, KeyError)


nested = program(
    "git",
    option("--work-tree", str),
    choice(
        command("remote", choice(command("add", positional("url"), option("--tags", bool)), command("list"))),
        command("status", option("--short", bool, "-s"), aliases=("st",)),
    ),
    version="2.0",
)


def test_commands_nest_with_options_at_each_level() -> None:
    parsed = assert_success(parse_string("--work-tree x remote add --tags URL", nested))
    assert parsed.command == ("remote", "add")
    assert dict(parsed) == {"work_tree": "x", "tags": True, "url": "URL"}
    assert dict(assert_success(parse_string("st -s", nested))) == {"work_tree": None, "short": True}
    assert assert_success(parse_string("st", nested)).command == ("status",)


def test_outer_options_may_follow_the_command_unless_it_has_the_flag_itself() -> None:
    assert values("remote add URL --work-tree x", nested)["work_tree"] == "x"
    parser = sequence(option("-n", int, name="outer"), command("x", option("-n", int, name="inner")))
    assert values("-n 1 x -n 2", parser) == {"outer": 1, "inner": 2}


def test_after_two_hyphens_a_command_is_still_a_command() -> None:
    assert values("-- remote add -x", nested)["url"] == "-x"


def test_an_operand_can_stand_before_the_commands() -> None:
    parser = sequence(positional("host"), choice(command("start"), command("stop")))
    assert assert_success(parse(["web", "stop"], parser)).command == ("stop",)
    assert codes("web", parser) == ["CLI_MISSING_ARGUMENT"]
    assert codes("", parser) == ["CLI_MISSING_ARGUMENT"]


def test_a_choice_can_be_followed_by_what_all_alternatives_share() -> None:
    parser = sequence(choice(command("start"), command("stop")), option("--now", bool))
    assert values("stop --now", parser) == {"now": True}
    assert codes("--now stop", parser) == ["CLI_UNKNOWN_OPTION"]


def test_an_optional_command() -> None:
    parser = choice(command("a"), command("b", positional("x", int))).optional()
    assert [assert_success(parse_string(line, parser)).value for line in ("", "a", "b 3")] == [None, "a", 3]
    assert codes("c", parser) == ["CLI_UNKNOWN_COMMAND"]


def test_every_error_is_in_one_answer() -> None:
    parser = sequence(
        option("--env", str, required=True), option("--port", int), positional("a"), positional("b", int)
    )
    assert codes("--prot=1 --port x 1", parser) == [
        "CLI_UNKNOWN_OPTION",
        "CLI_MISSING_ARGUMENT",
        "CLI_BAD_VALUE",
        "CLI_MISSING_ARGUMENT",
    ]
    error = assert_failure(
        parse_string("--prot=1 --port x 1", parser), "MULTIPLE_ERRORS", ErrorCategory.VALIDATION
    )
    assert error.category.policy.exit_code == 2


@pytest.mark.parametrize(
    ("line", "suggestion"),
    [
        ("--wrok-tree x status", "did you mean --work-tree?"),
        ("statsu", "did you mean status?"),
        ("remote ad", "did you mean add?"),
        ("--work x status", "did you mean --work-tree?"),  # no abbreviations
        ("status --shrot", "did you mean --short?"),
        ("status --versio", "did you mean --version?"),
        ("xyzzy", "choose from remote, status"),
    ],
)
def test_typos_are_answered_with_suggestions(line: str, suggestion: str) -> None:
    assert suggestion in message(line, nested)


def test_a_misspelled_option_takes_its_value_along() -> None:
    assert codes("--wrok-tree x status", nested) == ["CLI_UNKNOWN_OPTION"]


def test_a_value_that_is_an_option_is_a_forgotten_value() -> None:
    assert codes("deploy --env --force web", deploy) == ["CLI_MISSING_ARGUMENT"]
    assert "write --env=VALUE" in message("deploy --env --force web", deploy)
    assert values("deploy --env=--force web", deploy)["env"] == "--force"


def test_a_cluster_with_an_unknown_letter_names_it() -> None:
    assert "unknown option -x in '-ax'" in message("-ax", option("-a", bool))


def test_options_that_exclude_each_other() -> None:
    parser = exclusive(option("--json", bool), option("--yaml", bool), option("--as", str, name="as_"))
    assert values("--json", parser)["json"] is True
    assert values("", parser) == {"json": False, "yaml": False, "as_": None}
    assert "--json and --as exclude each other" in message("--json --as=x", parser)
    needed = exclusive(option("--json", bool), option("--yaml", bool), required=True)
    assert codes("", needed) == ["CLI_MISSING_ARGUMENT"]
    assert codes("--json --yaml", needed) == ["CLI_CONFLICT"]


def test_at_least_one_of_some_options() -> None:
    parser = at_least_one(option("--user"), option("--group"))
    assert codes("", parser) == ["CLI_MISSING_ARGUMENT"]
    assert values("--user a --group b", parser) == {"user": "a", "group": "b"}


@dataclass(frozen=True)
class Range:
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


low = option("--low", int, default=0)
high = option("--high", int, default=9)
bounds = sequence(low, high)


@pytest.mark.parametrize("parser", [bounds.into(Range), lift(Range, low, high)])
def test_a_dataclass_is_built_and_may_refuse(parser: Parser[Range]) -> None:
    assert assert_success(parse_string("--low 3", parser)).value == Range(3, 9)
    assert assert_failure(parse_string("--low 10", parser), "CLI_BAD_VALUE").message == "low is above high"


def test_functions_that_refuse_are_all_heard() -> None:
    def refuse(value: int) -> Any:
        return Failure(QiError.validation("NO", f"not {value}"))

    parser = sequence(
        option("--a", int, default=1).refine(refuse), option("--b", int, default=2).refine(refuse)
    )
    assert codes("", parser) == ["NO", "NO"]


def test_an_unforeseen_exception_of_a_function_is_kept() -> None:
    error = assert_failure(parse_string("1", positional("n", int).map(lambda n: n / 0)), "CLI_UNEXPECTED")
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_a_name_for_what_was_built() -> None:
    parser = sequence(option("--json", bool), bounds.into(Range).named("range"))
    assert values("--json --high 5", parser) == {"json": True, "range": Range(0, 5)}


def test_a_group_changes_nothing_but_the_help() -> None:
    assert values("--low 2", group("Bounds", bounds)) == values("--low 2", bounds)


def test_rules_are_all_checked() -> None:
    parsed = assert_success(parse_string("--low 3 --high 2", bounds))

    def low_is_even(found: ParsedArgs[Any]) -> bool:
        return bool(found["low"] % 2 == 0)

    def boom(found: ParsedArgs[Any]) -> bool:
        raise KeyError("x")

    ordered = rule(lambda found: found["low"] <= found["high"], "--low must not be above --high")
    error = assert_failure(validate(parsed, [ordered, low_is_even, lambda _: Success(1)]), "MULTIPLE_ERRORS")
    assert "--low must not be above --high; low is even does not hold" in error.message
    assert_failure(validate(parsed, [low_is_even]), "CLI_RULE_BROKEN")
    assert_failure(validate(parsed, [lambda _: Failure(QiError.validation("MINE", "mine"))]), "MINE")
    assert_failure(validate(parsed, [boom]), "CLI_UNEXPECTED", ErrorCategory.UNKNOWN)
    assert validate(parsed, []) == Success(parsed)
    assert validate(parsed, [lambda _: True]).unwrap() is parsed


def test_what_was_parsed_is_an_immutable_mapping() -> None:
    parsed = assert_success(parse_string("--low 3", bounds))
    assert (list(parsed), len(parsed), parsed.get("none")) == (["low", "high"], 2, None)
    with pytest.raises(AttributeError):
        setattr(parsed, "value", 1)  # noqa: B010 - the type checkers know that it can't be assigned
    with pytest.raises(AttributeError):
        delattr(parsed, "value")
    assert copy.deepcopy(parsed) == parsed == pickle.loads(pickle.dumps(parsed))
    assert parsed != parse_string("--low 4", bounds).unwrap()
    assert parsed != 5
    assert repr(parsed) == "ParsedArgs(low=3, high=9)"
    assert parsed.given == {"low": 3}
    assert {name: str(source) for name, source in parsed.sources.items()} == {
        "low": "flag --low",
        "high": "default",
    }
    assert pickle.loads(pickle.dumps(Values({"a": 1}))) == {"a": 1}


def test_help_and_version_are_outcomes_that_stop_what_follows() -> None:
    for line in ("--help", "-h", "--bogus -h", "--help --version"):
        error = assert_failure(parse_string(line, nested), "CLI_HELP")
        assert str(error.context["text"]).startswith("Usage: git ")
    error = assert_failure(parse_string("remote add --help", nested), "CLI_HELP")
    assert "git remote add [OPTIONS] URL" in str(error.context["text"])
    assert assert_failure(parse_string("--version", nested), "CLI_VERSION").context["text"] == "git 2.0\n"
    assert codes("remote bogus --help", nested) == ["CLI_UNKNOWN_COMMAND"]
    assert values("-- --help", positional("x")) == {"x": "--help"}


def test_a_program_may_have_a_help_or_version_option_of_its_own() -> None:
    parser = program("x", option("-h", bool, name="human"), option("--version", str), version="1")
    assert values("-h --version=2", parser) == {"human": True, "version": "2"}
    assert codes("--help", parser) == ["CLI_HELP"]


def test_nothing_reads_nothing() -> None:
    assert assert_success(parse([], pure("x"))).value == "x"
    assert codes("a", pure("x")) == ["CLI_UNEXPECTED_ARGUMENT"]
    assert codes("", choice()) == ["CLI_MISSING_ARGUMENT"]
    assert codes("x", choice()) == ["CLI_UNKNOWN_COMMAND"]


def test_parse_string_splits_as_a_shell_does() -> None:
    assert values(r"deploy --env='a b' we\ b", deploy) == {"env": "a b", "force": False, "target": "we b"}
    for line in ("deploy 'open", 'deploy "open', "deploy end\\"):
        assert codes(line, deploy) == ["CLI_SYNTAX"]
