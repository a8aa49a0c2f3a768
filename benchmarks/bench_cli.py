"""qicore.cli against argparse, click, typer and cyclopts: a nested command with six arguments; the import.

Every contender reads `app --verbose remote add --name origin --depth 3 --tag a --force URL` with a parser
made before; cyclopts without `--verbose`, which it has no place for. argparse and qicore give the values;
click, typer and cyclopts call an empty function with them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
import cyclopts
import typer
from harness import Suite
from qicore.cli import command, lift, option, parse, positional, program, sequence

ARGS = [
    "--verbose",
    "remote",
    "add",
    "--name",
    "origin",
    "--depth",
    "3",
    "--tag",
    "a",
    "--force",
    "https://x.org",
]
MANY = ["add", *["file.txt"] * 100_000]


def by_name() -> Any:
    add = command(
        "add",
        option("--name", str, "-n"),
        option("--depth", int, default=1),
        option("--tag", str, multiple=True),
        option("--force", bool, "-f"),
        positional("url"),
    )
    return program("app", option("--verbose", bool, "-v"), command("remote", add))


@dataclass
class Add:
    name: str | None
    depth: int
    tags: tuple[str, ...]
    force: bool
    url: str


@dataclass
class App:
    verbose: bool
    add: Add


def typed() -> Any:
    add = lift(
        Add,
        option("--name", str, "-n"),
        option("--depth", int, default=1),
        option("--tag", str, multiple=True),
        option("--force", bool, "-f"),
        positional("url"),
    )
    return program("app", lift(App, option("--verbose", bool, "-v"), command("remote", command("add", add))))


def by_argparse() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("app")
    parser.add_argument("--verbose", "-v", action="store_true")
    remote = parser.add_subparsers(dest="first").add_parser("remote")
    add = remote.add_subparsers(dest="second").add_parser("add")
    add.add_argument("--name", "-n")
    add.add_argument("--depth", type=int, default=1)
    add.add_argument("--tag", action="append")
    add.add_argument("--force", "-f", action="store_true")
    add.add_argument("url")
    return parser


def by_click() -> click.Command:
    @click.group()
    @click.option("--verbose", "-v", is_flag=True)
    def app(verbose: bool) -> None: ...

    @app.group()
    def remote() -> None: ...

    @remote.command()
    @click.option("--name", "-n")
    @click.option("--depth", type=int, default=1)
    @click.option("--tag", multiple=True)
    @click.option("--force", "-f", is_flag=True)
    @click.argument("url")
    def add(**values: object) -> object:
        return values

    return app


def by_typer() -> Any:
    app, remote = typer.Typer(), typer.Typer()
    app.add_typer(remote, name="remote")

    @app.callback()
    def root(verbose: bool = False) -> None: ...

    @remote.command("add")
    def add(
        url: str,
        name: str = "",
        depth: int = 1,
        tag: list[str] = [],  # noqa: B006 - what typer wants
        force: bool = False,
    ) -> object:
        return url

    @remote.command("other")  # with one command only, typer drops its name
    def other() -> None: ...

    return typer.main.get_command(app)


def by_cyclopts() -> Callable[[], object]:
    app = cyclopts.App("app", result_action="return_value")
    remote = cyclopts.App("remote")
    app.command(remote)

    @remote.command
    def add(
        url: str, *, name: str = "", depth: int = 1, tag: list[str] | None = None, force: bool = False
    ) -> object:
        return url

    args = ARGS[1:]  # its options belong to one command each
    return lambda: app(args, exit_on_error=False)


def imports(suite: Suite) -> None:
    """Time a fresh interpreter with each import, less one without any."""
    names = ("qicore.cli", "argparse", "click", "typer", "cyclopts")
    samples: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(11):
        bare = _start("pass")
        for name in names:
            samples[name].append(max(_start(f"import {name}") - bare, 1e-6))
    suite.record("import, less the start of the interpreter", samples, target="without click and argparse")


def _start(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def main() -> None:
    suite = Suite("cli", ("qicore-cli", "click", "typer", "cyclopts"))
    named, made, plain, clicked, typered = by_name(), typed(), by_argparse(), by_click(), by_typer()
    assert parse(ARGS, named).unwrap()["depth"] == 3
    assert parse(ARGS, made).unwrap().value.add.url == "https://x.org"
    suite.compare(
        "parse a nested command with 6 arguments",
        {
            "qicore.cli": lambda: parse(ARGS, named),
            "qicore.cli, into dataclasses": lambda: parse(ARGS, made),
            "argparse, prebuilt": lambda: plain.parse_args(ARGS),
            "click, prebuilt": lambda: clicked.main(ARGS, standalone_mode=False),
            "typer, prebuilt": lambda: typered.main(ARGS, standalone_mode=False),
            "cyclopts, prebuilt": by_cyclopts(),
        },
        target="no slower than click, aiming at argparse",
    )
    suite.compare(
        "build the parser, and parse once",
        {
            "qicore.cli": lambda: parse(ARGS, by_name()),
            "argparse": lambda: by_argparse().parse_args(ARGS),
            "click": lambda: by_click().main(ARGS, standalone_mode=False),
        },
    )
    wide = sequence(command("add", positional("files", nargs="+")))
    wide_argparse = argparse.ArgumentParser()
    wide_argparse.add_subparsers().add_parser("add").add_argument("files", nargs="+")
    suite.compare(
        "100,000 operands",
        {"qicore.cli": lambda: parse(MANY, wide), "argparse": lambda: wide_argparse.parse_args(MANY)},
    )
    imports(suite)
    suite.save()


if __name__ == "__main__":
    main()
