"""A click command as a parser."""

from collections.abc import Iterable
from typing import Any, Literal

import click
from qicore.base import Failure, Result, Success
from qicore.cli.combinators import choice, command, program, pure, sequence
from qicore.cli.errors import CLI_UNSUPPORTED, mistake
from qicore.cli.leaves import MISSING, Leaf
from qicore.cli.parser import Parser
from qicore.cli.types import ValueType, to_bool
from qicore.cli.values import Values

__all__ = ["convert"]


def convert(source: click.Command) -> Result[Parser[Values]]:
    """Return the parser of a click command, or CLI_UNSUPPORTED."""
    name = source.name or "program"
    try:
        with click.Context(source, info_name=name, **source.context_settings) as ctx:
            parts = _parts(source, ctx, frozenset(), ())
    except _UnsupportedError as error:
        return Failure(mistake(CLI_UNSUPPORTED, str(error), ()))
    except (ValueError, TypeError) as error:
        return Failure(mistake(CLI_UNSUPPORTED, f"the click command can't be converted: {error}", ()))
    except click.ClickException as error:
        return Failure(mistake(CLI_UNSUPPORTED, error.format_message(), ()))
    # A part that reads nothing, so that there are two at least and the value is always the values by name.
    body = program(name, pure(None), sequence(), *parts, help=_help(source), epilog=source.epilog or "")
    return Success(body)


class _UnsupportedError(Exception):
    """What click has and a parser has not."""


def _help(source: click.Command) -> str:
    return (source.help or source.short_help or "").partition("\f")[0].strip()


def _parts(
    source: click.Command, ctx: click.Context, names: frozenset[str], path: tuple[str, ...]
) -> list[Parser[Any]]:
    where = " ".join(path) or source.name or "the command"
    if ctx.ignore_unknown_options or (ctx.allow_extra_args and not isinstance(source, click.Group)):
        raise _UnsupportedError(f"{where} takes options that it does not know")
    parts: list[Parser[Any]] = []
    for param in source.params:
        if not param.expose_value:  # click's own --version and their like
            continue
        leaf = _leaf(param, ctx, names, path)
        names |= {leaf.name}
        parts.append(leaf)
    if isinstance(source, click.Group):
        parts.append(_commands(source, ctx, names, path))
    return parts


def _commands(
    source: click.Group, ctx: click.Context, names: frozenset[str], path: tuple[str, ...]
) -> Parser[Any]:
    if source.chain:
        raise _UnsupportedError(f"{source.name} is a chained group")
    alternatives: list[Parser[Any]] = []
    for word in source.list_commands(ctx):
        inner = source.get_command(ctx, word)
        if inner is None:
            continue
        with click.Context(inner, info_name=word, parent=ctx, **inner.context_settings) as below:
            parts = _parts(inner, below, names, (*path, word))
        alternatives.append(command(word, *parts, help=_help(inner), hidden=inner.hidden))
    found = choice(*alternatives)
    return found.optional() if source.invoke_without_command else found


def _leaf(
    param: click.Parameter, ctx: click.Context, names: frozenset[str], path: tuple[str, ...]
) -> Leaf[Any]:
    name = param.name or ""
    if name in names:
        name = "_".join([*(word.replace("-", "_") for word in path), name])
    default = _default(param, ctx)
    nargs = param.nargs if param.nargs > 1 else None
    facts: dict[str, Any] = {
        "name": name,
        "kind": _kind(param),
        "metavar": param.metavar or _metavar(param),
        "heading": "",
        "config": "",
        "env": _variable(param),
        "flags": (),
        "negations": (),
        "hidden": False,
        "help": "",
        "secret": False,
        "multiple": False,
        "shape": "value",
        "nargs": nargs,
    }
    required = param.required
    if isinstance(param, click.Option):
        facts |= _option(param)
        required = required or (param.prompt is not None and default is None)
        if facts["shape"] == "flag":
            default = bool(default) if default is not None else False
        elif facts["shape"] == "count":
            default = default or 0
        elif facts["multiple"] and default is None:
            default = ()
    elif param.nargs == -1:
        facts["nargs"] = "+" if required else "*"
        default = () if default is None else default
    facts |= {"required": required, "default": MISSING if required else default}
    return Leaf(**facts)


def _option(param: click.Option) -> dict[str, Any]:
    shape = "value"
    if param.count:
        shape = "count"
    elif param.is_flag:
        if not param.is_bool_flag:
            raise _UnsupportedError(f"{param.opts[0]} is one of several flags for one value")
        shape = "flag"
    return {
        "flags": tuple(param.opts),
        "negations": tuple(param.secondary_opts),
        "hidden": param.hidden,
        "help": param.help or "",
        "secret": param.hide_input,
        "multiple": param.multiple,
        "shape": shape,
    }


def _variable(param: click.Parameter) -> str:
    """Return the environment variable of an option; a parser reads one, and none for an operand."""
    if not isinstance(param, click.Option) or param.envvar is None:
        return ""
    return param.envvar if isinstance(param.envvar, str) else next(iter(param.envvar), "")


def _metavar(param: click.Parameter) -> str:
    return (param.name or "").upper() if isinstance(param, click.Argument) else param.type.name.upper()


def _default(param: click.Parameter, ctx: click.Context) -> Any:
    default = param.to_info_dict()["default"]
    if callable(default):
        default = default()
    return None if default is None else param.type_cast_value(ctx, default)


def _kind(param: click.Parameter) -> ValueType[Any]:
    kind: click.ParamType[Any] = param.type
    if isinstance(kind, click.Tuple):
        first, *rest = kind.types
        if any(type(each) is not type(first) for each in rest):
            raise _UnsupportedError(f"{param.name} takes values of different types")
        kind = first
    if kind is click.BOOL:
        return ValueType(to_bool, "BOOL")
    if kind is click.STRING:
        return ValueType(str, "TEXT")

    def convert(text: str) -> Any:
        try:
            return kind.convert(text, param, None)
        except click.BadParameter as error:
            raise ValueError(error.message) from None

    choices: Iterable[str] = map(str, kind.choices) if isinstance(kind, click.Choice) else ()
    shell: Literal["", "file"] = "file" if isinstance(kind, click.Path | click.File) else ""
    return ValueType(convert, kind.name.upper(), choices=choices, shell=shell)
