"""The expressions of a template: what they use, and what is known about their value."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from jinja2 import Environment, nodes
from qicore.document.values import ELEMENT, VALUE, Group, Known, Macro, Many, Module, Need, Path, Scope, Value

__all__ = ["Expressions"]

_SAME_ELEMENTS: Final = frozenset(
    ("list", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "unique")
)
_ONE_ELEMENT: Final = frozenset(("first", "last", "max", "min", "random"))
_BY_ATTRIBUTE: Final = frozenset(("groupby", "join", "map", "max", "min", "sort", "sum", "unique"))
_ATTRIBUTE_FIRST: Final = frozenset(("groupby", "rejectattr", "selectattr"))
_MAX_CALLS: Final = 30


class Expressions:
    """Looks at expressions, and notes each use of the data."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.needs: dict[Need, None] = {}
        self.template = ""
        self.block: tuple[str, int, Scope] | None = None
        self._guards: frozenset[Path] = frozenset()
        self._calls: list[nodes.Macro] = []
        self._block_stack: list[tuple[str, int]] = []

    @abstractmethod
    def call_macro(self, macro: Macro, given: list[Value], named: dict[str, Value]) -> None:
        """Look at a macro's body with what it is called with."""

    @abstractmethod
    def run_block(self, name: str, level: int, scope: Scope) -> None:
        """Look at a block as the template on that level of inheritance has it."""

    def _need(self, value: Value, line: int) -> None:
        if isinstance(value, Known):
            self.needs[Need(value.path, value.optional, self._guards, line, self.template)] = None

    @contextmanager
    def guarded(self, paths: frozenset[Path]) -> Generator[None, None, None]:
        """Take `paths` for given."""
        before, self._guards = self._guards, self._guards | paths
        try:
            yield
        finally:
            self._guards = before

    def guards_of(self, test: nodes.Node, scope: Scope) -> tuple[frozenset[Path], frozenset[Path]]:
        """Return the paths that are there when the test holds, and those that are when it does not."""
        none: frozenset[Path] = frozenset()
        match test:
            case nodes.Test(name="defined" | "undefined"):
                value = self._look(test.node, scope)
                paths = frozenset((value.path,)) if isinstance(value, Known) else none
                return (paths, none) if test.name == "defined" else (none, paths)
            case nodes.Not():
                when, otherwise = self.guards_of(test.node, scope)
                return otherwise, when
            case nodes.And():
                left, right = self.guards_of(test.left, scope), self.guards_of(test.right, scope)
                return left[0] | right[0], left[1] & right[1]
            case nodes.Or():
                left, right = self.guards_of(test.left, scope), self.guards_of(test.right, scope)
                return left[0] & right[0], left[1] | right[1]
            case _:
                return none, none

    def element(self, value: Value) -> Value:
        """Return what is known about an element of the value."""
        match value:
            case Known():
                return value.step(ELEMENT)
            case Many():
                return value.element
            case _:
                return None

    def _look(self, node: nodes.Node, scope: Scope) -> Value:
        """Return what is known about the value without noting the use of it itself."""
        match node:
            case nodes.Name():
                is_set, value = scope.find(node.name)
                if is_set or node.name in self.environment.globals:
                    return value
                return None if node.name == "self" else Known((node.name,))
            case nodes.Getattr():
                return self._part(self._look(node.node, scope), node.attr)
            case nodes.Getitem(arg=nodes.Const(value=str() as name)):
                return self._part(self._look(node.node, scope), name)
            case nodes.Getitem():
                base = self._look(node.node, scope)
                self.value(node.arg, scope)
                self._need(base, node.lineno)
                if isinstance(node.arg, nodes.Slice):
                    return base
                is_index = isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, int)
                return self.element(base) if is_index else None
            case _:
                return self.value(node, scope)

    def _part(self, base: Value, name: str) -> Value:
        match base:
            case Known():
                return base.step(name)
            case Module():
                return base.scope.names.get(name)
            case Group():
                return base.second if name == "list" else None
            case _:
                return None

    def value(self, node: nodes.Node, scope: Scope) -> Value:
        """Note what the expression uses; return what is known about its value."""
        match node:
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                value = self._look(node, scope)
                self._need(value, node.lineno)
                if isinstance(value, Macro):  # handed on, to be called who knows with what
                    self._call(value, [], {})
                return value
            case nodes.Filter():
                return self._filter(node, scope)
            case nodes.Test(name="defined" | "undefined"):
                self._lead(node.node, scope)
                return None
            case nodes.Call():
                return self._call_node(node, scope)
            case nodes.And() | nodes.Or():
                self.value(node.left, scope)
                when, otherwise = self.guards_of(node.left, scope)
                with self.guarded(when if isinstance(node, nodes.And) else otherwise):
                    self.value(node.right, scope)
                return None
            case nodes.CondExpr():
                return self._condition(node, scope)
            case _:
                for child in node.iter_child_nodes():
                    self._child(child, scope)
                return None

    def _child(self, child: nodes.Node, scope: Scope) -> None:
        if isinstance(child, nodes.Expr):
            self.value(child, scope)
        else:  # a pair of a mapping, a keyword argument, an operand
            for part in child.iter_child_nodes():
                self._child(part, scope)

    def _lead(self, node: nodes.Node, scope: Scope) -> Value:
        """Note what leads to a value that itself may be lacking."""
        match node:
            case nodes.Name():
                return self._look(node, scope)
            case nodes.Getattr():
                return self._part(self.value(node.node, scope), node.attr)
            case nodes.Getitem(arg=nodes.Const(value=str() as name)):
                return self._part(self.value(node.node, scope), name)
            case _:
                return self.value(node, scope)

    def _condition(self, node: nodes.CondExpr, scope: Scope) -> Value:
        self.value(node.test, scope)
        when, otherwise = self.guards_of(node.test, scope)
        with self.guarded(when):
            first = self.value(node.expr1, scope)
        if node.expr2 is None:
            return first
        with self.guarded(otherwise):
            second = self.value(node.expr2, scope)
        return first if first == second else None

    def _filter(self, node: nodes.Filter, scope: Scope) -> Value:
        for child in (*node.args, *node.kwargs):
            self._child(child, scope)
        if node.node is None:  # the body of a filter block
            return None
        if node.name in ("default", "d"):
            value = self._lead(node.node, scope)
            return Known(value.path, len(value.path)) if isinstance(value, Known) else None
        value = self.value(node.node, scope)
        attribute = _attribute(node)
        if node.name == "attr":
            value = self._part(value, attribute) if attribute else None
            self._need(value, node.lineno)
            return value
        element = self.element(value)
        if attribute and node.name in _BY_ATTRIBUTE | _ATTRIBUTE_FIRST:
            part = element
            for name in attribute.split("."):
                part = self._part(part, name) if not name.isdigit() else self.element(part)
            self._need(part, node.lineno)
            if node.name == "map":
                return Many(part)
        match node.name:
            case name if name in _SAME_ELEMENTS:
                return value
            case name if name in _ONE_ELEMENT:
                return element
            case "batch" | "slice":
                return Many(value)
            case "groupby":
                return Many(Group(value))
            case "items" | "dictsort" if isinstance(value, Known):
                return Many(Group(value.step(VALUE)))
            case _:
                return None

    def _call_node(self, node: nodes.Call, scope: Scope) -> Value:
        callee: Value = None
        result: Value = None
        match node.node:
            case nodes.Getattr(node=nodes.Name(name="self")) if not scope.find("self")[0]:
                self._run_other_block(node.node.attr, 0, scope)
            case nodes.Name(name="super") if self.block is not None:
                self._run_other_block(self.block[0], self.block[1] + 1, self.block[2])
            case nodes.Getattr():
                base = self.value(node.node.node, scope)  # the method itself is no part of the data
                callee = self._part(base, node.node.attr) if isinstance(base, Module) else None
                if isinstance(base, Known) and node.node.attr in ("items", "values"):
                    inner = base.step(VALUE)
                    result = Many(Group(inner) if node.node.attr == "items" else inner)
            case nodes.Name():
                callee = self._look(node.node, scope)
                self._need(callee, node.lineno)
            case _:
                self.value(node.node, scope)
        given = [self.value(argument, scope) for argument in node.args]
        named = {pair.key: self.value(pair.value, scope) for pair in node.kwargs}
        for rest in (node.dyn_args, node.dyn_kwargs):
            if rest is not None:
                self.value(rest, scope)
        if isinstance(callee, Macro):
            self._call(callee, given, named)
        return result

    def _call(self, macro: Macro, given: list[Value], named: dict[str, Value]) -> None:
        if macro.node not in self._calls and len(self._calls) < _MAX_CALLS:
            self._calls.append(macro.node)
            self.call_macro(macro, given, named)
            self._calls.pop()

    def _run_other_block(self, name: str, level: int, scope: Scope) -> None:
        if len(self._block_stack) < _MAX_CALLS and (name, level) not in self._block_stack:
            self._block_stack.append((name, level))
            self.run_block(name, level, scope)
            self._block_stack.pop()


def _attribute(node: nodes.Filter) -> str | None:
    """Return the name of the attribute that a filter is told to look at."""
    for pair in node.kwargs:
        if pair.key in ("attribute", "name") and isinstance(pair.value, nodes.Const):
            return str(pair.value.value)
    if node.name in (*_ATTRIBUTE_FIRST, "attr") and node.args and isinstance(node.args[0], nodes.Const):
        return str(node.args[0].value)
    return None
