"""What mypy and pyright must infer, in strict mode. Checked, never run."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import assert_type

import click
from qicore.base import Failure, QiError, Result, Success
from qicore.cli import (
    ParsedArgs,
    Parser,
    Values,
    checked,
    choice,
    command,
    count,
    exclusive,
    from_click,
    int_range,
    lift,
    one_of,
    option,
    parse,
    path,
    positional,
    program,
    pure,
    run,
    sequence,
    to_click,
    validate,
)


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Ingest:
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Ask:
    question: str
    limit: int


@dataclass(frozen=True)
class App:
    config: Path | None
    level: str
    json: bool
    action: Ingest | Ask | None


def even(text: str) -> Result[int]:
    return Success(int(text)) if int(text) % 2 == 0 else Failure(QiError.validation("ODD", "it is odd"))


def options() -> None:
    assert_type(option("--env", str), Parser[str | None])
    assert_type(option("--env"), Parser[str | None])
    assert_type(option("--env", str, required=True), Parser[str])
    assert_type(option("--env", str, "-e", default="x"), Parser[str])
    assert_type(option("--tag", str, multiple=True), Parser[tuple[str, ...]])
    assert_type(option("--size", int, nargs=2), Parser[tuple[int, ...] | None])
    assert_type(option("--size", int, nargs=2, default=(1, 2)), Parser[tuple[int, ...]])
    assert_type(option("--force", bool), Parser[bool])
    assert_type(option("--colour", bool, default=None), Parser[bool | None])
    assert_type(option("--file", Path, required=True), Parser[Path])
    assert_type(option("--colour", Colour, required=True), Parser[Colour])
    assert_type(option("--port", int_range(1, 9), default=1), Parser[int])
    assert_type(option("--even", checked(even), required=True), Parser[int])
    assert_type(option("--level", one_of("a", "b"), default="a"), Parser[str])
    assert_type(count("-v"), Parser[int])


def operands() -> None:
    assert_type(positional("x"), Parser[str])
    assert_type(positional("x", int), Parser[int])
    assert_type(positional("x", int, default=1), Parser[int])
    assert_type(positional("x", int, default=None), Parser[int | None])
    assert_type(positional("x", path(), nargs="+"), Parser[tuple[Path, ...]])


ingest = command("ingest", positional("paths", path(), nargs="+")).into(Ingest)
ask = command("ask", positional("question"), option("--limit", int, default=5)).into(Ask)


def joined() -> None:
    assert_type(pure(1), Parser[int])
    assert_type(sequence(option("--a"), count("-v")), Parser[Values])
    assert_type(exclusive(option("--a"), option("--b")), Parser[Values])
    assert_type(command("a"), Parser[str])
    assert_type(command("a", positional("x", int)), Parser[int])
    assert_type(command("a", positional("x", int), positional("y")), Parser[Values])
    assert_type(choice(ingest, ask), Parser[Ingest | Ask])
    assert_type(ingest | ask | command("stats"), Parser[Ingest | Ask | str])
    assert_type(choice(ingest, ask).optional(), Parser[Ingest | Ask | None])
    assert_type(positional("x", int).map(str), Parser[str])
    assert_type(positional("x").refine(even), Parser[int])


app = program(
    "app",
    lift(
        App,
        option("--config", path()),
        option("--log-level", one_of("debug", "info"), default="info"),
        option("--json", bool),
        choice(ingest, ask).optional(),
    ),
    version="1",
)


def main(parsed: ParsedArgs[App]) -> Result[None]:
    assert_type(parsed.value.action, Ingest | Ask | None)
    return Success(None)


async def main_async(parsed: ParsedArgs[App]) -> Result[None]:
    return Success(None)


def used() -> None:
    assert_type(app, Parser[App])
    assert_type(parse([], app), Result[ParsedArgs[App]])
    assert_type(parse([], app).unwrap().value, App)
    assert_type(parse([], app).flat_map(lambda parsed: validate(parsed, [])), Result[ParsedArgs[App]])
    assert_type(run(app, main), int)
    assert_type(run(app, main_async), int)
    assert_type(to_click(app, main), click.Command)
    assert_type(from_click(click.Command("x")), Result[Parser[Values]])


def refused() -> None:
    # A dataclass that takes something else than the parts give, in number or in type.
    lift(Ask, option("--question", str, required=True))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]  # that is the point
    lift(Ask, option("--question"), option("--limit", int, default=1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # that is the point
