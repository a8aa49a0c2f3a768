"""The error codes that the packages can produce, read from their source: what docs/errors.toml explains."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from qicore.base import ErrorCategory
from qicore.web.statuses import CODES, STATUSES, category_of
from workspace import ROOT, Package, packages

CODE = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")
EXPLANATIONS = ROOT / "docs" / "errors.toml"

Pair: TypeAlias = tuple[str, ErrorCategory | None]
_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(slots=True)
class ErrorCode:
    """A code, the categories it has in the source, and the packages that produce it."""

    name: str
    categories: set[ErrorCategory] = field(default_factory=set[ErrorCategory])
    packages: set[str] = field(default_factory=set[str])


@cache
def produced() -> dict[str, ErrorCode]:
    """Return every code that a package can produce, by name."""
    found: dict[str, ErrorCode] = {}

    def note(name: str, category: ErrorCategory | None, package: str) -> None:
        code = found.setdefault(name, ErrorCode(name))
        code.packages.add(package)
        if category is not None:
            code.categories.add(category)

    for package in packages():
        for name, category in Source.of(package).pairs():
            note(name, category, package.name)
    for status, name in CODES.items():  # made of statuses at run time
        note(name, category_of(status), "qicore-web")
    return dict(sorted(found.items()))


def explanations() -> dict[str, dict[str, Any]]:
    """Return what docs/errors.toml says of each code."""
    return tomllib.loads(EXPLANATIONS.read_text(encoding="utf-8"))


def page() -> str:
    """Return the catalogue as a page."""
    told, parts = explanations(), [_HEAD]
    for name, code in produced().items():
        entry = told[name]
        categories = sorted(code.categories) or [ErrorCategory(each) for each in entry["categories"]]
        follows = "".join(
            f"- {category}: HTTP status {_status(name, category)}, exit code {category.policy.exit_code}, "
            f"{_again(category)}\n"
            for category in categories
        )
        links = ", ".join(
            f"[{each}](components/{each.removeprefix('qicore-')}.md)" for each in sorted(code.packages)
        )
        parts.append(f"## {name}\n\n{entry['means']} From {links}.\n\n**To do:** {entry['do']}\n\n{follows}")
    return "\n".join(parts)


_HEAD = """# Error codes

Every code that a package of qicore can produce by itself, read from the source. Programs go by the code
and the category; the message is for people, and may change. The category says what follows: the HTTP status
of an answer, the exit code of a command, and whether to try again. The status is the one that qicore-web
sends; some codes have one of their own there.

`QiError.from_exception` makes codes of the names of exceptions, which are not listed here: `ValueError` is
VALUE_ERROR. So do components for an exception that nobody foresaw. qicore-web answers a status that has no
name as `HTTP_` and its number.
"""


def _status(name: str, category: ErrorCategory) -> int:
    return STATUSES.get(name, category.policy.http_status)


def _again(category: ErrorCategory) -> str:
    retry = category.policy.retry
    return f"up to {retry.max_attempts} attempts" if retry else "no retry"


class Source:
    """The modules of one package, as far as they tell of codes."""

    def __init__(self, trees: Mapping[Path, ast.Module], shared: Mapping[str, int] | None = None) -> None:
        self.trees = trees
        self._takers = dict(shared or {})
        self._helpers: dict[str, _Function] = {}
        self._fixed: dict[str, ErrorCategory] = {}
        self._constants: dict[str, ast.expr] = {}
        for tree in trees.values():
            for node in ast.walk(tree):
                self._learn(node)
        for name, helper in self._helpers.items():
            category = next((each for each in map(_named_category, ast.walk(helper)) if each), None)
            if category:
                self._fixed[name] = category

    @classmethod
    def of(cls, package: Package) -> Source:
        """Read the source of a package; what the base has is known in each."""
        return _read(package.folder)

    @property
    def takers(self) -> Mapping[str, int]:
        """Functions and classes with a parameter `code`: name -> its position."""
        return self._takers

    def pairs(self) -> Iterator[Pair]:
        """Yield a code and its category for each place that makes an error, or a row of a table of errors."""
        for tree in self.trees.values():
            yield from self._visit(tree, None)

    def literals(self) -> Iterator[str]:
        """Yield every text in the source that looks like a code, but for the names of `__all__`."""
        for tree in self.trees.values():
            public = [node for node in tree.body if isinstance(node, ast.Assign) and _is_public(node)]
            hidden = {id(each) for node in public for each in ast.walk(node)}
            for node in ast.walk(tree):
                text = node.value if isinstance(node, ast.Constant) and id(node) not in hidden else None
                if isinstance(text, str) and "_" in text and CODE.fullmatch(text):
                    yield text

    def _learn(self, node: ast.AST) -> None:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            self._constants.setdefault(node.target.id, node.value)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [each.arg for each in [*node.args.posonlyargs, *node.args.args]]
            names = names[1:] if names[:1] in (["self"], ["cls"]) else names
            if "code" in names and node.name != "__init__":
                self._takers[node.name] = names.index("code")
                self._helpers[node.name] = node
        if isinstance(node, ast.ClassDef):
            fields = [
                each.target.id
                for each in node.body
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            ]
            for each in node.body:
                if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                    fields = [argument.arg for argument in each.args.args[1:]]
            if "code" in fields:
                self._takers[node.name] = fields.index("code")

    def _visit(self, node: ast.AST, around: _Function | None) -> Iterator[Pair]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            around = node
            yield from self._defaults(node)
        if isinstance(node, ast.Call):
            yield from self._call(node, around)
        if isinstance(node, ast.Tuple):
            yield from self._row(node.elts)
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                yield from self._row([key, value] if key is not None else [])
        for child in ast.iter_child_nodes(node):
            yield from self._visit(child, around)

    def _row(self, parts: list[ast.expr]) -> Iterator[Pair]:
        """A code next to a category, in a table."""
        category = next((each for each in map(self._category, parts) if each), None)
        if category and parts and isinstance(parts[0], ast.Constant):
            yield from ((code, category) for code in self._codes(parts[0], None))

    def _defaults(self, node: _Function) -> Iterator[Pair]:
        arguments = [*node.args.posonlyargs, *node.args.args]
        for argument, default in zip(reversed(arguments), reversed(node.args.defaults), strict=False):
            if argument.arg == "code":
                yield from ((code, None) for code in self._codes(default, None))

    def _call(self, node: ast.Call, around: _Function | None) -> Iterator[Pair]:
        name = _callee(node)
        given: list[ast.expr] = [each.value for each in node.keywords if each.arg == "code"]
        position = self._takers.get(name)
        if position is not None and position < len(node.args):
            given.append(node.args[position])
        if not given:
            return
        categories = self._categories(node, name, around)
        for code in self._codes(given[0], around):
            yield from ((code, category) for category in categories)

    def _categories(
        self, node: ast.Call, name: str, around: _Function | None
    ) -> list[ErrorCategory] | list[None]:
        certain = _named_category(node) or self._fixed.get(name)
        if certain is None and isinstance(node.func, ast.Attribute) and name == "_replace":
            row = self._resolve(node.func.value)
            certain = self._category(row.args[1]) if isinstance(row, ast.Call) else None
        if certain is None and name == "answer":
            certain = ErrorCategory.VALIDATION
        if certain is not None:
            return [certain]
        for argument in node.args:
            if (category := self._category(argument)) is not None:
                return [category]
            if isinstance(argument, ast.Name) and argument.id == "category":
                found = [
                    each
                    for value in _assigned("category", around)
                    for part in ast.walk(value)
                    if isinstance(part, ast.expr) and (each := self._category(part)) is not None
                ]
                if found:
                    return found
        return [None]

    def _codes(self, node: ast.expr, around: _Function | None) -> Iterator[str]:
        """Yield the codes that an expression may have."""
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str) and len(node.value) > 1 and CODE.fullmatch(node.value):
                yield node.value
        elif isinstance(node, ast.IfExp):
            yield from self._codes(node.body, around)
            yield from self._codes(node.orelse, around)
        elif isinstance(node, ast.Name):
            for value in _assigned(node.id, around) or [self._resolve(node)]:
                if not isinstance(value, ast.Name):
                    yield from self._codes(value, None)

    def _category(self, node: ast.expr) -> ErrorCategory | None:
        node = self._resolve(node)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "ErrorCategory":
            return ErrorCategory.__members__.get(node.attr)
        return None

    def _resolve(self, node: ast.expr) -> ast.expr:
        return self._constants.get(node.id, node) if isinstance(node, ast.Name) else node


@cache
def _read(folder: Path) -> Source:
    return Source(_parse(folder), _base_takers())


def _parse(folder: Path) -> dict[Path, ast.Module]:
    return {
        file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted((folder / "src").rglob("*.py"))
    }


@cache
def _base_takers() -> dict[str, int]:
    base = next(each for each in packages() if each.component == "base")
    return {**Source(_parse(base.folder)).takers, "cls": 0}


def _callee(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _named_category(node: ast.AST) -> ErrorCategory | None:
    """The category of `QiError.network(…)`."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("QiError."):
        return ErrorCategory.__members__.get(_callee(node).upper())
    return None


def _assigned(name: str, around: _Function | None) -> list[ast.expr]:
    """The expressions that a function assigns to a name, also as a part of a tuple."""
    found: list[ast.expr] = []
    for node in ast.walk(around) if around else ():
        if isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id == name:
                found.append(node.value)
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = zip(target.elts, node.value.elts, strict=False)
                found += [value for part, value in pairs if isinstance(part, ast.Name) and part.id == name]
    return found


def _is_public(node: ast.Assign) -> bool:
    return isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
