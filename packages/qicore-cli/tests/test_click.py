"""To click and from click: the same command line, read by the other."""

import asyncio
from enum import Enum
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from qicore import base
from qicore.base import Failure, QiError, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cli import (
    ParsedArgs,
    choice,
    command,
    count,
    from_click,
    generate_help,
    int_range,
    lift,
    one_of,
    option,
    parse,
    path,
    positional,
    program,
    to_click,
)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


paint = program(
    "paint",
    option("--config", path(kind="file"), "-c", env="PAINT_CONFIG"),
    count("--verbose", "-v"),
    choice(
        command(
            "wall",
            positional("rooms", nargs="+"),
            option("--colour", Colour, default=Colour.RED, help="Which one."),
            option("--coats", int_range(1, 3), required=True),
            option("--tag", str, multiple=True),
            option("--size", int, nargs=2),
            option("--gloss", bool, default=None),
            option("--token", one_of("x", "y"), secret=True),
            aliases=["w"],
        ),
        command("quit", hidden=True).map(str.upper),
    ).optional(),
    version="1.0",
    help="Paint things.",
)


def invoke(cmd: click.Command, *args: str, **options: Any) -> Result:
    return CliRunner(**options).invoke(cmd, args, standalone_mode=False)


@pytest.mark.parametrize(
    "args",
    [
        ["-vv", "wall", "--coats", "2", "hall"],
        [
            "wall",
            "--coats=1",
            "--colour",
            "blue",
            "--tag",
            "a",
            "--tag=b",
            "--size",
            "3",
            "4",
            "--gloss",
            "a",
            "b",
        ],
        ["w", "--coats=1", "--no-gloss", "a"],
        ["quit"],
        [],
    ],
)
def test_click_reads_the_same(args: list[str]) -> None:
    ours = assert_success(parse(args, paint))
    theirs = invoke(to_click(paint), *args).return_value
    assert (dict(theirs), theirs.value, theirs.command) == (dict(ours), ours.value, ours.command)


def test_fallbacks_and_sources_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAINT_CONFIG", "a.yaml")
    parsed = invoke(to_click(paint), "wall", "--coats", "1", "x").return_value
    assert str(parsed["config"]) == "a.yaml"
    assert [str(parsed.source(name)) for name in ("config", "coats", "colour")] == [
        "environment PAINT_CONFIG",
        "flag --coats",
        "default",
    ]


def test_failures_are_click_exceptions_with_our_status() -> None:
    def main(parsed: ParsedArgs[Any]) -> base.Result[None]:
        return Failure(QiError.network("DOWN", "it is down"))

    result = CliRunner().invoke(to_click(paint, main), ["quit"])
    assert (result.exit_code, result.output) == (69, "Error: it is down [DOWN]\n")
    result = CliRunner().invoke(to_click(paint, main), ["wall", "--coats", "9", "x"])
    assert result.exit_code == 2
    assert "it must be 1 to 3 [CLI_BAD_VALUE]" in result.output


def test_main_may_be_a_coroutine_function() -> None:
    async def main(parsed: ParsedArgs[Any]) -> base.Result[str]:
        await asyncio.sleep(0)
        return Success(str(parsed.value))

    assert invoke(to_click(lift(str, positional("x", int)), main), "5").return_value == "5"


def test_help_and_version_of_the_click_command() -> None:
    result = CliRunner().invoke(to_click(paint), ["wall", "--help"])
    assert result.exit_code == 0
    assert "Which one." in result.output
    top = CliRunner().invoke(to_click(paint), ["-h"]).output
    assert "Paint things." in top
    assert "quit" not in top
    assert CliRunner().invoke(to_click(paint), ["--version"]).output == "paint, version 1.0\n"


def test_a_command_mounted_in_a_click_application() -> None:
    @click.group()
    @click.option("--debug", is_flag=True)
    def app(debug: bool) -> None: ...

    app.add_command(to_click(paint), "brush")
    parsed = invoke(app, "--debug", "brush", "-v", "wall", "--coats", "1", "x").return_value
    assert (parsed["verbose"], parsed.command) == (1, ("wall",))


@click.group(help="Move files.\f not shown", epilog="Bye.")
@click.option("--verbose", "-v", count=True, help="Say more.")
@click.version_option("9")
def mover(verbose: int) -> None: ...


@mover.command("copy", hidden=False)
@click.argument("sources", nargs=-1, required=True, type=click.Path())
@click.argument("target")
@click.option("--mode", type=click.Choice(["fast", "safe"]), default="safe", envvar="MODE")
@click.option("--jobs", type=click.IntRange(1, 8), default=2)
@click.option("--shout/--whisper", default=False)
@click.option("--verbose", is_flag=True)
@click.option("--pair", type=(int, int))
@click.option("--tag", multiple=True)
@click.option("--password", hide_input=True, type=int)
@click.option("--ask", prompt=True)
@click.option("--now", default=lambda: "today")
def copy_command(**values: object) -> object:
    return values


def test_a_click_command_becomes_a_parser() -> None:
    parser = assert_success(from_click(mover))
    line = ["-vv", "copy", "a", "b", "to", "--mode=fast", "--whisper", "--pair", "1", "-2", "--ask", "x"]
    parsed = assert_success(parse(line, parser))
    assert parsed.command == ("copy",)
    assert dict(parsed) == {
        "verbose": 2,
        "sources": ("a", "b"),
        "target": "to",
        "mode": "fast",
        "jobs": 2,
        "shout": False,
        "copy_verbose": False,
        "pair": (1, -2),
        "tag": (),
        "password": None,
        "ask": "x",
        "now": "today",
    }
    text = generate_help(parser)
    assert text.startswith("Usage: mover [OPTIONS] COMMAND [ARGS]...\n\nMove files.\n")
    assert text.endswith("Bye.\n")


def test_errors_of_click_types_are_ours() -> None:
    parser = assert_success(from_click(mover))
    line = ["copy", "a", "b", "--jobs", "9", "--mode", "x", "--password", "hunter2"]
    error = assert_failure(parse(line, parser), "MULTIPLE_ERRORS")
    assert "hunter2" not in repr(error.to_structured_data())
    assert "--jobs: '9' is not valid" in error.message
    assert "--mode: 'x' is not valid" in error.message
    assert "missing option --ask" in error.message


def test_what_click_can_do_and_a_parser_can_not() -> None:
    @click.group(chain=True)
    def chained() -> None: ...

    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("rest", nargs=-1, type=click.UNPROCESSED)
    def wrapper(rest: tuple[str, ...]) -> None: ...

    @click.command()
    @click.option("--upper", "case", flag_value="upper", default=True)
    @click.option("--lower", "case", flag_value="lower")
    def switch(case: str) -> None: ...

    @click.command()
    @click.option("--pair", type=(int, str))
    def mixed(pair: object) -> None: ...

    for source in (chained, wrapper, switch, mixed):
        assert_failure(from_click(source), "CLI_UNSUPPORTED")


def test_there_and_back() -> None:
    there = program("x", option("--size", int, "-s", default=3), positional("names", nargs="*"), count("-v"))
    back = assert_success(from_click(to_click(there)))
    for line in (["-s5", "a", "b"], ["-vv"], ["--size=1", "--", "-x"]):
        ours, theirs = (assert_success(parse(line, parser)) for parser in (there, back))
        assert {name: str(value) for name, value in ours.given.items()} == {
            name: str(value) for name, value in theirs.given.items()
        }
