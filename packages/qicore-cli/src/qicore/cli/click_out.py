"""A parser as a click command: click reads the line, qicore converts and builds as ever."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource
from qicore.base import QiError, Result
from qicore.cli.compiled import HELP, Branch, Scope, compile_parser
from qicore.cli.config import CLIConfig
from qicore.cli.leaves import Leaf
from qicore.cli.parser import Parser
from qicore.cli.parsing import finish
from qicore.cli.running import Main, call_main, report
from qicore.cli.scan import Scan

__all__ = ["convert"]

T = TypeVar("T")

_KEY: Final = "qicore.cli"


class _Failed(click.ClickException):
    """A Failure on its way through click."""

    def __init__(self, error: QiError) -> None:
        super().__init__(report(error).removeprefix("error: ").rstrip("\n"))
        self.error = error
        self.exit_code = error.category.policy.exit_code  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # click reads it from the instance


class _Group(click.Group):
    """A group that knows the aliases of its commands."""

    def __init__(self, *args: Any, spellings: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.spellings = spellings

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, self.spellings.get(cmd_name, cmd_name))


def convert(parser: Parser[T], main: Main[T] | None) -> click.Command:
    """Return the click command of a parser."""

    def done(ctx: click.Context) -> Any:
        found = _collect(ctx)
        result = finish(parser, found, CLIConfig())
        outcome: Result[Any] = result if main is None else result.flat_map(partial(call_main, main))
        if outcome.error is not None:
            raise _Failed(outcome.error)
        return outcome.data

    return _command(compile_parser(parser), None, done)


def _command(scope: Scope, branch: Branch | None, done: Callable[[click.Context], Any]) -> click.Command:
    program = scope.program
    name = scope.head.words[0] if scope.head else program.name if program else None

    @click.pass_context
    def callback(ctx: click.Context, /, **_: Any) -> Any:
        ctx.meta.setdefault(_KEY, [])
        ctx.meta[_KEY].append((scope, branch, ctx))
        if ctx.invoked_subcommand is None:
            return done(ctx)
        return None

    facts: dict[str, Any] = {
        "name": name,
        "callback": callback,
        "params": [*_options(scope), *map(_argument, scope.operands)],
        "help": scope.head.help if scope.head else program.description if program else None,
        "hidden": bool(scope.head and scope.head.hidden),
        "context_settings": {
            "help_option_names": [flag for flag in HELP.flags if scope.options[flag].action == "help"]
        },
    }
    if scope.head is None and program:
        facts["epilog"] = program.epilog or None
    if scope.words is None:
        command = click.Command(**facts)
    else:
        command = _Group(
            **facts,
            commands=[_command(inner.scope, inner, done) for inner in scope.branches],
            invoke_without_command=scope.command_optional,
            spellings={word: inner.head.words[0] for word, inner in scope.words.items()},
        )
    if scope.head is None and program and program.version:
        command = click.version_option(program.version, prog_name=program.name)(command)
    return command


def _options(scope: Scope) -> list[click.Parameter]:
    return [_option(leaf) for leaf in scope.own if leaf.flags]


def _option(leaf: Leaf[Any]) -> click.Option:
    declarations = [*leaf.flags, leaf.name]
    facts: dict[str, Any] = {"help": leaf.help or None, "hidden": leaf.hidden}
    if leaf.shape == "flag":
        if leaf.negations:
            long, negated = next(flag for flag in leaf.flags if flag.startswith("--")), leaf.negations[0]
            declarations[declarations.index(long)] = f"{long}/{negated}"
        return click.Option(declarations, is_flag=True, default=bool(leaf.default), **facts)
    if leaf.shape == "count":
        return click.Option(declarations, count=True, **facts)
    nargs = leaf.nargs if isinstance(leaf.nargs, int) else 1
    return click.Option(
        declarations,
        type=_type(leaf),
        multiple=leaf.multiple,
        nargs=nargs,
        metavar=leaf.metavar,
        required=leaf.required and not (leaf.env or leaf.config),
        **facts,
    )


def _argument(leaf: Leaf[Any]) -> click.Argument:
    nargs = leaf.nargs if isinstance(leaf.nargs, int) else -1 if leaf.nargs else 1
    return click.Argument(
        [leaf.name], type=_type(leaf), nargs=nargs, required=leaf.required, metavar=leaf.metavar
    )


def _type(leaf: Leaf[Any]) -> "click.ParamType[Any]":
    """Return a type that completes, and leaves the text as it is: converting is qicore's part."""
    if leaf.kind.choices and not leaf.secret:
        return click.Choice(leaf.kind.choices)
    if leaf.kind.shell:
        return click.Path(dir_okay=True, file_okay=leaf.kind.shell == "file")
    return click.STRING


def _collect(ctx: click.Context) -> Scan:
    """Return what click found, from the outermost command of ours to the innermost."""
    levels: list[tuple[Scope, Branch | None, click.Context]] = ctx.meta[_KEY]
    first = max(index for index, (scope, _, _) in enumerate(levels) if scope.parent is None)
    found = Scan(levels[first][0])
    for scope, branch, here in levels[first:]:
        if branch is not None:
            found.scopes.append(scope)
            if branch.alternative is not None:
                found.taken.append(branch.alternative)
        for leaf in scope.own:
            value = here.params.get(leaf.name)
            if here.get_parameter_source(leaf.name) is ParameterSource.COMMANDLINE and value is not None:
                found.raw[leaf.name] = value
                found.spelled[leaf.name] = leaf.spelling
    return found
