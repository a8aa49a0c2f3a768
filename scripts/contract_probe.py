"""Hold operations against what the contract table says of them, where the wheels are installed.

    python scripts/contract_probe.py < rows.json > problems.json

Only the standard library and what is looked at: it runs in an environment that has nothing of the workspace.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import typing
from collections.abc import Awaitable, Iterator
from contextlib import suppress
from importlib import import_module
from operator import attrgetter
from typing import Any

from qicore.base import Result

_SEE = re.compile(r"\b(?:[Ss]ee|as) `[\w.]+`(?:(?:,| and) `[\w.]+`)*")


def problems(name: str, gives: str, codes: list[str]) -> list[str]:
    """Return what is wrong with an operation; nothing, when all is well."""
    package_name = ".".join(name.split(".")[:2])
    package = import_module(package_name)
    path = name.split(".")[2:]
    found = list(_not_public(package, path))
    owner: Any = package
    try:
        for part in path[:-1]:
            owner = getattr(owner, part)
        operation = getattr(owner, path[-1])
    except AttributeError as error:
        return [*found, str(error)]
    return [
        *found,
        *_not_documented(operation, owner, package, codes),
        *_not_typed(operation, owner, package, gives),
    ]


def _not_public(package: Any, path: list[str]) -> Iterator[str]:
    if not str(package.__file__).startswith(sys.prefix):
        yield f"{package.__name__} does not come from its wheel"
    if list(package.__all__) != sorted(package.__all__):
        yield "__all__ is not sorted"
    if path[0] not in package.__all__:
        yield f"{path[0]} is not in __all__"
    if any(part.startswith("_") for part in path):
        yield "a private name"


def _not_documented(operation: Any, owner: Any, package: Any, codes: list[str]) -> Iterator[str]:
    text = inspect.getdoc(operation) or ""
    summary = " ".join(text.partition("\n\n")[0].split())
    if len(summary.split()) < 3:
        yield "no summary"
    told = [text]
    if inspect.isclass(owner):
        told += [each.__doc__ or "" for each in owner.__mro__ if each.__module__.startswith("qicore.")]
    for match in _SEE.finditer(text):
        for name in re.findall(r"`([\w.]+)`", match[0]):
            for place in (owner, package):
                with suppress(AttributeError):
                    told.append(inspect.getdoc(attrgetter(name)(place)) or "")
    words = set(re.findall(r"\w+", " ".join(told)))
    if lacking := [code for code in codes if code not in words]:
        yield f"no docstring names {', '.join(lacking)}"


def _not_typed(operation: Any, owner: Any, package: Any, gives: str) -> Iterator[str]:
    if inspect.isclass(operation):
        function = operation.__init__
        skipped = 1
    else:
        function = inspect.unwrap(getattr(operation, "__func__", operation))
        stored = inspect.getattr_static(owner, operation.__name__, None)
        skipped = int(inspect.isclass(owner) and not isinstance(stored, staticmethod))
    parameters = list(inspect.signature(function).parameters.values())[skipped:]
    if bare := [each.name for each in parameters if each.annotation is inspect.Parameter.empty]:
        yield f"no type for {', '.join(bare)}"
    try:
        hints = _hints(function, package)
    except (NameError, TypeError, AttributeError) as error:
        yield f"its annotations are none: {error}"
        return
    if "return" not in hints:
        yield "no type for what it returns"
        return
    returned = operation if inspect.isclass(operation) else hints["return"]
    shapes = list(_shapes(function, returned, package))
    # A blocking twin gives at once what the other has to be awaited for; a Result can be awaited, too.
    if gives.startswith("no Result: "):
        if shapes:
            yield f"it gives {' and '.join(shapes)}"
    elif gives not in shapes and not (gives == "any Result" and shapes):
        yield f"it gives {returned}, and not: {gives}"


def _shapes(function: Any, returned: Any, package: Any) -> Iterator[str]:
    """Yield in which ways what is returned is, or holds, a Result."""
    waits = inspect.iscoroutinefunction(function)
    if _is_result(returned):
        yield "await Result" if waits else "Result"
    elif waits and typing.get_origin(returned) is list and _is_result(typing.get_args(returned)[0]):
        yield "list of Results"
    elif typing.get_origin(returned) is Awaitable and _is_result(typing.get_args(returned)[0]):
        yield "await Result"
    elif inspect.isclass(returned):
        if any(_is_result(given) for given in _given(returned, ("__anext__", "__aiter__"), package)):
            yield "stream of Results"
        if any(_is_result(given) for given in _given(returned, ("__aenter__", "__enter__"), package)):
            yield "block with a Result"


def _given(kind: type, methods: tuple[str, ...], package: Any) -> Iterator[Any]:
    """Yield what the methods that there are return; of an iterator, what it yields."""
    for name in methods:
        method = getattr(kind, name, None)
        if method is not None:
            given = _hints(method, package).get("return")
            yield given
            yield from typing.get_args(given)


def _hints(function: Any, package: Any) -> dict[str, Any]:
    """Return the annotations; a name that only a type checker imports may be one of the package's own."""
    names: dict[str, Any] = dict(package.__dict__)
    return typing.get_type_hints(function, localns=names)


def _is_result(kind: Any) -> bool:
    kind = typing.get_origin(kind) or kind
    return inspect.isclass(kind) and issubclass(kind, Result)


def main() -> None:
    """Answer rows of name, shape and codes by the problems of each name."""
    rows: list[tuple[str, str, list[str]]] = json.load(sys.stdin)
    json.dump({name: problems(name, gives, codes) for name, gives, codes in rows}, sys.stdout)


if __name__ == "__main__":
    main()
