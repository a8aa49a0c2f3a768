"""From texts to values: conversion, then fallbacks to the environment, the configuration and defaults."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from qicore.base import Failure, QiError, Result, Success
from qicore.cli.config import CLIConfig
from qicore.cli.errors import (
    CLI_BAD_VALUE,
    CLI_CONFLICT,
    CLI_MISSING_ARGUMENT,
    CLI_UNEXPECTED,
    quoted,
)
from qicore.cli.evaluation import FAILED
from qicore.cli.leaves import Leaf
from qicore.cli.nodes import Constraint
from qicore.cli.scan import Scan
from qicore.cli.types import to_bool
from qicore.cli.values import Origin, Source, Values

__all__ = ["resolve"]

_FLAG = Origin.FLAG


def resolve(found: Scan, options: CLIConfig) -> tuple[dict[str, Any], dict[str, Source]]:
    """Return every value and the source of each that is no default; errors are noted in `found`."""
    values: dict[str, Any] = {}
    waiting: list[Leaf[Any]] = []
    raw, spelled = found.raw, found.spelled
    for scope in found.scopes:
        values.update(scope.defaults)
        if scope.checked:
            waiting += [leaf for leaf in scope.checked if leaf.name not in spelled]
    sources: dict[str, Source] = {}
    leaves = found.scope.leaves
    for name, given in raw.items():
        leaf = leaves[name]
        sources[name] = Source(_FLAG, spelled[name])
        if leaf.shape != "value" or (leaf.kind.plain and not leaf.many):
            values[name] = given
        else:
            values[name] = _convert(found, leaf, given, spelled[name])
    if waiting:
        waiting = _from_environment(found, waiting, options.environ, values, sources)
    if waiting:
        waiting = _from_configuration(found, waiting, options, values, sources)
        for leaf in waiting:
            # An operand's absence was noted when the operands were counted.
            if leaf.required and leaf.flags:
                _missing(found, leaf)
    for scope in found.scopes:
        for constraint in scope.constraints:
            _constrain(found, constraint, sources)
    return values, sources


def _convert(found: Scan, leaf: Leaf[Any], given: Any, place: str) -> Any:
    """Return what the leaf makes of a text, or of a list of texts."""
    convert = leaf.kind.convert
    try:
        return tuple([convert(text) for text in given]) if leaf.many else convert(given)
    except Exception:  # noqa: BLE001 - each text is tried again by itself, and its error noted
        texts = cast("list[str]", given) if leaf.many else [given]
        for text in texts:
            try:
                convert(text)
            except Exception as error:  # noqa: BLE001 - the program's own function: translated here, once
                _bad_value(found, leaf, text, place, error)
        return FAILED


def _bad_value(found: Scan, leaf: Leaf[Any], given: object, place: str, error: Exception) -> None:
    if leaf.secret:
        found.fail(CLI_BAD_VALUE, f"{place}: its value is not valid", name=leaf.name, source=place)
        return
    shown = quoted(given if isinstance(given, str) else str(given))
    if isinstance(error, ValueError | TypeError):
        reason = str(error) or "it is not valid"
        found.fail(
            CLI_BAD_VALUE, f"{place}: {shown} is not valid", reason, value=shown, name=leaf.name, source=place
        )
    elif isinstance(error, QiError):
        found.errors.add(error)
    else:
        found.errors.add(QiError.from_exception(error, code=CLI_UNEXPECTED, name=leaf.name, source=place))


def _from_environment(
    found: Scan,
    waiting: Iterable[Leaf[Any]],
    environ: Mapping[str, str] | None,
    values: dict[str, Any],
    sources: dict[str, Source],
) -> list[Leaf[Any]]:
    """Take what the environment gives; return the leaves that still wait."""
    variables: Mapping[str, str] = os.environ if environ is None else environ
    left: list[Leaf[Any]] = []
    for leaf in waiting:
        text = variables.get(leaf.env, "") if leaf.env else ""
        if not text:  # an empty variable is an unset one, as for most programs
            left.append(leaf)
            continue
        sources[leaf.name] = Source(Origin.ENVIRONMENT, leaf.env)
        native = _split(leaf, text) if leaf.many else text
        values[leaf.name] = _adopt(found, leaf, native, f"environment variable {leaf.env}")
    return left


def _split(leaf: Leaf[Any], text: str) -> list[str]:
    """Split a variable as shells do a list: paths at the separator of PATH, all else at blanks."""
    return [part for part in text.split(os.pathsep) if part] if leaf.kind.shell else text.split()


def _from_configuration(
    found: Scan,
    waiting: list[Leaf[Any]],
    options: CLIConfig,
    values: dict[str, Any],
    sources: dict[str, Source],
) -> list[Leaf[Any]]:
    """Take what the configuration gives; return the leaves that still wait."""
    config: Any = options.config
    if config is None or not any(leaf.config for leaf in waiting):
        return waiting
    if callable(config) and not hasattr(config, "get"):
        load = cast("Callable[[Values], Result[Any]]", config)
        usable = {name: value for name, value in values.items() if value is not FAILED}
        loaded = load(Values(usable, found.scope.secrets))
        match loaded.variant:
            case Success(lookup):
                config = lookup
            case Failure(error):
                found.errors.add(error)
                return []
    left: list[Leaf[Any]] = []
    for leaf in waiting:
        value = _look_up(config, leaf.config) if leaf.config else None
        if value is None:
            left.append(leaf)
            continue
        sources[leaf.name] = Source(Origin.CONFIGURATION, leaf.config)
        values[leaf.name] = _adopt(found, leaf, value, f"configuration key {leaf.config}")
    return left


def _look_up(config: Any, key: str) -> Any:
    """Return the value at a dotted key of a mapping, or of anything with `get`; None when there is none."""
    if isinstance(config, Mapping):
        here: Any = cast("Mapping[str, Any]", config)
        if key in here:
            return here[key]
        for step in key.split("."):
            if not isinstance(here, Mapping) or step not in here:
                return None
            here = cast("Mapping[str, Any]", here)[step]
        return here
    value = config.get(key)
    return value.data if type(value) in (Success, Failure) else value


def _adopt(found: Scan, leaf: Leaf[Any], native: Any, place: str) -> Any:
    """Return the value of the leaf for what a variable or a configuration holds, which may have a type."""
    try:
        if leaf.shape == "flag":
            return native if isinstance(native, bool) else to_bool(_text(native))
        if leaf.shape == "count":
            return _whole(native)
        if not leaf.many:
            return leaf.kind.convert(_text(native))
        texts = [_text(part) for part in _parts(native)]
        if isinstance(leaf.nargs, int) and len(texts) != leaf.nargs:
            raise ValueError(f"{leaf.nargs} values are expected, not {len(texts)}")
        return tuple([leaf.kind.convert(text) for text in texts])
    except Exception as error:  # noqa: BLE001 - the program's own function: translated here, once
        _bad_value(found, leaf, native, place, error)
        return FAILED


def _parts(native: Any) -> list[Any]:
    if isinstance(native, Mapping):
        raise ValueError("a list is expected")
    try:
        return [native] if isinstance(native, str) else list(native)
    except TypeError:  # a single number, say
        return [native]


def _text(native: Any) -> str:
    if isinstance(native, str):
        return native
    if isinstance(native, bool):
        return "true" if native else "false"
    if isinstance(native, Iterable):
        raise ValueError("a single value is expected")
    return str(native)


def _whole(native: Any) -> int:
    if isinstance(native, bool) or not isinstance(native, int):
        text = _text(native)
        if not (text.isascii() and text.isdigit()):
            raise ValueError("a whole number is expected")
        native = int(text)
    if native < 0:
        raise ValueError("it must be 0 or more")
    return cast("int", native)


def _missing(found: Scan, leaf: Leaf[Any]) -> None:
    places = [f"the environment variable {leaf.env}"] if leaf.env else []
    places += [f"the configuration key {leaf.config}"] if leaf.config else []
    hint = f"{' or '.join(places)} can give it too" if places else ""
    found.fail(CLI_MISSING_ARGUMENT, f"missing option {leaf.spelling}", hint, name=leaf.name)


def _constrain(found: Scan, constraint: Constraint, sources: dict[str, Source]) -> None:
    given = [leaf for leaf in constraint.leaves if leaf.name in sources]
    flags = [found.spelled[leaf.name] for leaf in given if sources[leaf.name].origin is _FLAG]
    if constraint.most_one and len(flags) > 1:
        found.fail(CLI_CONFLICT, f"{' and '.join(flags)} exclude each other", options=flags)
    elif constraint.required and not given:
        names = [leaf.spelling for leaf in constraint.leaves if not leaf.hidden]
        number = "one" if constraint.most_one else "at least one"
        found.fail(CLI_MISSING_ARGUMENT, f"{number} of {', '.join(names)} is needed", options=names)
