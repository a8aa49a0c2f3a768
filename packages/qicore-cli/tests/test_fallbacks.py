"""Flags, environment, configuration, default: in this order, with their sources; and secrets stay secret."""

from pathlib import Path
from typing import Any

import pytest
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cli import (
    CLIConfig,
    Lookup,
    Parser,
    Values,
    at_least_one,
    choice,
    command,
    count,
    exclusive,
    generate_help,
    option,
    parse,
    path,
    pure,
    sequence,
)

SECRET = "hunter2-correct-horse"
port = option("--port", int, default=1, env="PORT", config="server.port")


@pytest.mark.parametrize(
    ("args", "environ", "config", "value", "source"),
    [
        (["--port", "4"], {"PORT": "3"}, {"server": {"port": 2}}, 4, "flag --port"),
        ([], {"PORT": "3"}, {"server": {"port": 2}}, 3, "environment PORT"),
        ([], {"PORT": ""}, {"server": {"port": 2}}, 2, "configuration server.port"),
        ([], {}, {"server.port": "2"}, 2, "configuration server.port"),
        ([], {}, {"server": {"port": None}}, 1, "default"),
        ([], {}, {"server": 5}, 1, "default"),
        ([], {}, None, 1, "default"),
    ],
)
def test_the_strongest_source_wins_and_is_known(
    args: list[str], environ: dict[str, str], config: Any, value: int, source: str
) -> None:
    parsed = assert_success(parse(args, port, CLIConfig(environ=environ, config=config)))
    assert (parsed.value, str(parsed.source("port"))) == (value, source)


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "77")
    assert parse([], port).unwrap().value == 77
    assert parse([], port, CLIConfig(environ={})).unwrap().value == 1


@pytest.mark.parametrize(
    ("parser", "native", "value"),
    [
        (option("--x", bool, config="x"), True, True),
        (option("--x", bool, config="x"), "off", False),
        (count("-x", config="x"), 3, 3),
        (count("-x", config="x"), "2", 2),
        (option("--x", str, config="x"), 5, "5"),
        (option("--x", str, config="x"), True, "true"),
        (option("--x", float, config="x"), 2, 2.0),
        (option("--x", path(), config="x"), Path("a"), Path("a")),
        (option("--x", int, multiple=True, config="x"), [1, "2"], (1, 2)),
        (option("--x", int, multiple=True, config="x"), 7, (7,)),
        (option("--x", int, nargs=2, config="x"), (1, 2), (1, 2)),
    ],
)
def test_a_configuration_may_hold_typed_values(parser: Parser[Any], native: object, value: object) -> None:
    parsed = assert_success(parse([], parser, CLIConfig(config={"x": native})))
    assert parsed.value == value
    assert type(parsed.value) is type(value)


@pytest.mark.parametrize(
    ("parser", "native"),
    [
        (option("--x", int, config="x"), "many"),
        (option("--x", int, config="x"), True),
        (option("--x", int, config="x"), [1]),
        (option("--x", int, config="x"), 1.5),
        (option("--x", str, config="x"), {"a": 1}),
        (option("--x", str, multiple=True, config="x"), {"a": 1}),
        (option("--x", int, nargs=2, config="x"), [1]),
        (option("--x", bool, config="x"), "perhaps"),
        (option("--x", bool, config="x"), 7),
        (count("-x", config="x"), -1),
        (count("-x", config="x"), "x"),
        (count("-x", config="x"), True),
    ],
)
def test_a_wrong_value_of_a_configuration_names_its_key(parser: Parser[Any], native: object) -> None:
    error = assert_failure(parse([], parser, CLIConfig(config={"x": native})), "CLI_BAD_VALUE")
    assert "configuration key x" in error.message


def test_a_wrong_variable_is_named() -> None:
    error = assert_failure(parse([], port, CLIConfig(environ={"PORT": "http"})), "CLI_BAD_VALUE")
    assert error.message == "environment variable PORT: 'http' is not valid: a whole number is expected"


def test_a_variable_can_hold_a_list() -> None:
    tags = option("--tag", str, multiple=True, env="TAGS")
    assert parse([], tags, CLIConfig(environ={"TAGS": " a  b "})).unwrap().value == ("a", "b")
    files = option("--file", Path, multiple=True, env="FILES")
    assert parse([], files, CLIConfig(environ={"FILES": "a b:c"})).unwrap().value == (Path("a b"), Path("c"))


def test_a_required_option_can_come_from_anywhere() -> None:
    parser = option("--env", str, required=True, env="ENV", config="env")
    assert parse([], parser, CLIConfig(environ={"ENV": "x"})).is_success
    assert parse([], parser, CLIConfig(environ={}, config={"env": "x"})).is_success
    error = assert_failure(parse([], parser, CLIConfig(environ={})), "CLI_MISSING_ARGUMENT")
    assert "the environment variable ENV or the configuration key env can give it too" in error.message


def test_groups_count_what_the_environment_gives() -> None:
    options = (option("--json", bool, env="JSON"), option("--yaml", bool))
    environ = CLIConfig(environ={"JSON": "1"})
    assert parse([], exclusive(*options, required=True), environ).is_success
    assert parse([], at_least_one(*options), environ).is_success
    assert parse(
        ["--yaml"], exclusive(*options), environ
    ).is_success  # the flag overrides, and so conflicts with none


class Settings:
    """What a configuration of another package looks like: `get` gives a Result."""

    def __init__(self, **values: object) -> None:
        self.values = values

    def get(self, key: str) -> Result[object]:
        if key in self.values:
            return Success(self.values[key])
        return Failure(QiError.configuration("CONFIG_KEY_MISSING", key))


def test_a_configuration_is_anything_with_get() -> None:
    settings = Settings(**{"server.port": 8080})
    assert isinstance(settings, Lookup)
    assert parse([], port, CLIConfig(environ={}, config=settings)).unwrap().value == 8080
    assert parse([], port, CLIConfig(environ={}, config=Settings())).unwrap().value == 1


def test_a_configuration_is_loaded_by_what_the_flags_say() -> None:
    seen: list[object] = []

    def load(values: Values) -> Result[Lookup]:
        seen.append(values["config"])
        return Success({"server": {"port": 9}})

    parser = sequence(option("--config", str, default="none"), port)
    options = CLIConfig(environ={}, config=load)
    assert parse(["--config", "a.yaml"], parser, options).unwrap()["port"] == 9
    assert parse(["--port", "4"], parser, options).unwrap()["port"] == 4
    assert seen == ["a.yaml"]  # nothing waits for it when the flag is given


def test_a_configuration_that_can_not_be_loaded_is_an_error_like_the_others() -> None:
    def load(values: Values) -> Result[Lookup]:
        return Failure(QiError.filesystem("CONFIG_NOT_FOUND", "no such file"))

    def boom(values: Values) -> Result[Lookup]:
        raise KeyError("x")

    parser = sequence(port, option("--size", int))
    error = assert_failure(
        parse(["--size", "x"], parser, CLIConfig(environ={}, config=load)), "MULTIPLE_ERRORS"
    )
    assert error.category is ErrorCategory.UNKNOWN
    assert "no such file" in error.message
    error = assert_failure(parse([], parser, CLIConfig(environ={}, config=boom)), "CLI_UNEXPECTED")
    assert isinstance(error.__cause__, KeyError)


def test_wrong_options_are_a_failure() -> None:
    assert_failure(CLIConfig.create(width=3), "INVALID_CLI_CONFIG", ErrorCategory.CONFIGURATION)
    wrong: Any = 5
    assert_failure(CLIConfig.create(config=wrong), "INVALID_CLI_CONFIG")
    assert_failure(parse([], pure(1), CLIConfig(width=3)), "INVALID_CLI_CONFIG")
    assert CLIConfig.create(width=40).unwrap() == CLIConfig(width=40)


def spill(value: object) -> Any:
    raise ValueError(f"no good: {value}")


def explode(value: object) -> Any:
    raise KeyError(value)


SECRETS: list[tuple[Parser[Any], list[str], dict[str, str], Any]] = [
    (option("--password", int, secret=True), ["--password", SECRET], {}, None),
    (option("--password", spill, secret=True), [f"--password={SECRET}"], {}, None),
    (option("--password", explode, secret=True), [f"--password={SECRET}"], {}, None),
    (option("--password", str, secret=True).map(spill), ["--password", SECRET], {}, None),
    (option("--password", str, secret=True).map(explode), ["--password", SECRET], {}, None),
    (sequence(option("--password", str, secret=True), pure(1)).map(spill), ["--password", SECRET], {}, None),
    (option("--password", int, secret=True, env="PASS"), [], {"PASS": SECRET}, None),
    (option("--password", int, secret=True, config="pass"), [], {}, {"pass": SECRET}),
    (option("--password", str, secret=True), [f"--pasword={SECRET}"], {}, None),
    (option("--password", str, secret=True), ["--pasword", SECRET], {}, None),
    (sequence(option("--password", str, secret=True), pure(1)), ["--xyzzy", SECRET], {}, None),
    (option("--password", str, "-p", secret=True), ["--password", SECRET, "--bogus"], {}, None),
    (option("--password", str, "-p", secret=True), [f"-P{SECRET}"], {}, None),
    (sequence(option("--password", str, "-p", secret=True), count("-v")), [f"-vP{SECRET}"], {}, None),
    (
        sequence(option("--password", str, secret=True), option("--user")),
        ["--user", f"--password={SECRET}"],
        {},
        None,
    ),
    (
        choice(command("login", option("--password", str, secret=True))),
        ["--xyzzy", SECRET, "login"],
        {},
        None,
    ),
    (choice(command("login", option("--password", str, secret=True))).optional(), ["-x", SECRET], {}, None),
]


@pytest.mark.parametrize(("parser", "args", "environ", "config"), SECRETS)
def test_a_secret_is_in_no_error(
    parser: Parser[Any], args: list[str], environ: dict[str, str], config: Any
) -> None:
    error = assert_failure(parse(args, parser, CLIConfig(environ=environ, config=config)))
    assert SECRET not in str(error)
    assert SECRET not in repr(error.to_structured_data())
    assert SECRET not in repr(error.__cause__)


def test_a_secret_is_in_no_repr_and_no_help() -> None:
    parser = sequence(option("--password", str, secret=True, default=SECRET), option("--user", str))
    parsed = parse(["--user", "x"], parser).unwrap()
    assert parsed["password"] == SECRET
    assert SECRET not in repr(parsed) + repr(parsed.value) + generate_help(parser)
