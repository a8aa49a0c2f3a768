"""Environment variables as a layer: `APP_DB__HOST` is `db.host`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from qicore.config.config import ConfigLimits
from qicore.config.dotenv_format import Binding, read_dotenv
from qicore.config.errors import Refused
from qicore.config.freezing import freeze_scalar
from qicore.config.loading import read_file
from qicore.config.tree import Branch, ConfigValue, FrozenMapping, Source, Trace

_LOG: Final = logging.getLogger("qicore.config")

__all__ = ["Variable", "nest", "read_environment", "variables_of"]


class Variable(NamedTuple):
    """A variable, its value, and where it was set."""

    name: str
    value: str
    source: Source
    line: int


def variables_of(bindings: Iterable[Binding], layer: Source) -> list[Variable]:
    """Return what a dotenv file sets, each with its place."""
    return [
        Variable(name, value, Source(layer=layer.layer, file=layer.file, variable=name), line)
        for name, value, line in bindings
    ]


def read_environment(
    environ: Mapping[str, str],
    prefix: str,
    separator: str,
    dotenv: str | None,
    limits: ConfigLimits,
) -> tuple[FrozenMapping, Branch]:
    """Return the values of the variables with this prefix; raise Refused.

    `dotenv` is the path of a dotenv file: what it sets counts where `environ` has no such variable.
    """
    if prefix and not prefix.endswith("_"):
        prefix += "_"
    found: dict[str, Variable] = {}
    if dotenv is not None:
        bindings = _read_dotenv_file(dotenv, environ, limits)
        variables = variables_of(bindings, Source(layer="environment", file=dotenv))
        found = {variable.name: variable for variable in variables}
    for name in environ:
        if name.startswith(prefix):
            found[name] = Variable(name, environ[name], Source(layer="environment", variable=name), 0)
    return nest(found.values(), prefix, separator, Source(layer="environment"), limits)


def _read_dotenv_file(path: str, environ: Mapping[str, str], limits: ConfigLimits) -> list[Binding]:
    try:
        return read_dotenv(read_file(path, limits).removeprefix("\ufeff"), environ, limits)
    except FileNotFoundError:
        _LOG.debug("there is no %s: only the environment counts", path)
        return []
    except Refused as refused:
        refused.origin = path
        raise
    except OSError as error:
        raise Refused("CONFIG_UNREADABLE", f"it can't be read: {error.strerror}", origin=path) from error


def nest(
    variables: Iterable[Variable], prefix: str, separator: str, layer: Source, limits: ConfigLimits
) -> tuple[FrozenMapping, Branch]:
    """Return the tree that the names of the variables describe; raise Refused."""
    root = _Node(None)
    count = 0
    for variable in variables:
        name = variable.name
        if not name.startswith(prefix) or len(name) == len(prefix):
            continue
        count += 1
        if count > limits.max_values:
            raise Refused("CONFIG_TOO_LARGE", f"there are more than {limits.max_values} variables")
        _place(root, _split(name[len(prefix) :], separator), variable, limits)
    return _freeze(root, (layer, 0))


def _split(name: str, separator: str) -> list[str]:
    parts = name.lower().split(separator)
    # `__CF_USER_TEXT_ENCODING` of macOS, `_`: no path that anybody meant.
    return parts if all(parts) else [name.lower()]


class _Node:
    __slots__ = ("children", "variable")

    def __init__(self, variable: Variable | None) -> None:
        self.variable = variable
        self.children: dict[str, _Node] = {}


def _place(root: _Node, parts: list[str], variable: Variable, limits: ConfigLimits) -> None:
    if len(parts) > limits.max_depth:
        problem = f"{variable.name} is nested deeper than {limits.max_depth} levels"
        raise Refused("CONFIG_TOO_DEEP", problem, line=variable.line)
    node = root
    for part in parts:
        node = node.children.setdefault(part, _Node(None))
        if node.variable is not None:
            if part is parts[-1] and node.variable.value == variable.value:
                return  # `http_proxy` and `HTTP_PROXY`, set to the same
            raise _conflict(node.variable, variable)
    if node.children:
        raise _conflict(_any_below(node), variable)
    node.variable = variable


def _any_below(node: _Node) -> Variable:
    while node.variable is None:
        node = next(iter(node.children.values()))
    return node.variable


def _conflict(first: Variable, second: Variable) -> Refused:
    shorter, longer = sorted((first, second), key=lambda variable: len(variable.name))
    if len(shorter.name) == len(longer.name):
        problem = f"{first.name} and {second.name} are the same key with different values"
    else:
        problem = f"{shorter.name} is a value and {longer.name} makes it a section: unset one of them"
    origin = (second.source.file or "") if second.line else ""
    return Refused("CONFIG_CONFLICT", problem, line=second.line, origin=origin)


def _freeze(node: _Node, mark: tuple[Source, int]) -> tuple[FrozenMapping, Branch]:
    values: dict[str, ConfigValue] = {}
    children: dict[str | int, Trace] = {}
    for key, child in node.children.items():
        variable = child.variable
        if variable is None:
            inner = _any_below(child)
            values[key], children[key] = _freeze(child, (inner.source, inner.line))
            continue
        try:
            freeze_scalar(key)
            values[key] = freeze_scalar(variable.value)
        except ValueError as problem:
            name = variable.name.encode("utf-8", "backslashreplace").decode()
            raise Refused("INVALID_CONFIG", f"{name}: {problem}", line=variable.line) from None
        children[key] = (variable.source, variable.line)
    return MappingProxyType(values), Branch(mark, children)
