"""Which variables a template needs, followed through everything that is known before it is rendered.

jinja2's `find_undeclared_variables` gives top-level names without lines, does not follow includes, and takes
the `x` of `{% if x is not defined %}{% set x = 1 %}{% endif %}{{ x }}` for undeclared. This walks the tree
as the template runs: loops bind their variable to the elements of what they iterate over, macros are looked
at once per call with what they are called with, both branches of an `if` are joined, blocks are those of the
most derived template.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Final, NamedTuple

from jinja2 import Environment, TemplateNotFound, nodes
from qicore.document.errors import limit_exceeded
from qicore.document.expressions import Expressions
from qicore.document.values import Group, Macro, Module, Need, Path, Scope, Value, show

__all__ = ["Analysis", "Variable", "find_needs", "to_variables"]

_MAX_STEPS: Final = 50_000  # some seconds; a large site of templates takes a few thousand


class Variable(NamedTuple):
    """A variable, as in `user.name` or `items[].title`: the line of its first use, and in which template."""

    name: str
    line: int
    template: str


def find_needs(environment: Environment, template: str) -> list[Need]:
    """Return every use of the data by the template; raise what loading and parsing raise."""
    analysis = Analysis(environment)
    analysis.render(template, Scope())
    return list(analysis.needs)


def to_variables(needs: Iterable[Need]) -> tuple[Variable, ...]:
    """Return each variable once, with the line of its first use; one that leads to others is left out."""
    found: dict[str, Variable] = {}
    for need in needs:
        name = show(need.path)
        found.setdefault(name, Variable(name, need.line, need.template))
    names = set(found)
    return tuple(
        variable
        for name, variable in found.items()
        if not any(other.startswith((name + ".", name + "[")) for other in names)
    )


class Analysis(Expressions):
    """One walk through a template and what it uses."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._trees: dict[str, nodes.Template] = {}
        self._blocks: dict[str, list[tuple[nodes.Block, str]]] = {}
        self._active: list[str] = []
        self._top = Scope()
        self._steps = 0

    # -- templates

    def _tree(self, name: str) -> nodes.Template:
        if name not in self._trees:
            loader = self.environment.loader
            assert loader is not None
            source, filename, _ = loader.get_source(self.environment, name)
            self._trees[name] = self.environment.parse(source, name, filename)
        return self._trees[name]

    def render(self, name: str, scope: Scope) -> None:
        """Look at a template as it is rendered on its own: with its parents and its own blocks."""
        if name in self._active:  # a template that includes itself needs what it needed the first time
            return
        blocks, top = self._blocks, self._top
        self._blocks, self._top = {}, scope
        self._active.append(name)
        try:
            parent: str | None = name
            chain: set[str] = set()
            while parent is not None and parent not in chain:
                chain.add(parent)
                parent = self._run_one(parent, scope)
        finally:
            self._active.pop()
            self._blocks, self._top = blocks, top

    def _run_one(self, name: str, scope: Scope) -> str | None:
        """Run one template of a chain of inheritance; return the name of its parent."""
        tree = self._tree(name)
        for block in tree.find_all(nodes.Block):
            self._blocks.setdefault(block.name, []).append((block, name))
        with self.within(name):
            extends = next((node for node in tree.body if isinstance(node, nodes.Extends)), None)
            if extends is None:
                self.run(tree.body, scope)
                # An extends behind a condition: its parent may be rendered too.
                extends = tree.find(nodes.Extends)
            else:
                for node in tree.body:
                    if not isinstance(node, (nodes.Output, nodes.Block)):
                        self.run([node], scope)
            if extends is None:
                return None
            self.value(extends.template, scope)
            return next(iter(_names(extends.template)), None)

    @contextmanager
    def within(self, template: str) -> Generator[None, None, None]:
        """Attribute what is found to `template`."""
        before, self.template = self.template, template
        try:
            yield
        finally:
            self.template = before

    # -- statements

    def run(self, body: Iterable[nodes.Node], scope: Scope) -> None:
        """Look at statements in their order."""
        for node in body:
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise limit_exceeded(
                    "steps", "the template is too intricate to be analysed", template=self.template
                )
            visit = self._visitors().get(type(node))
            if visit is not None:
                visit(node, scope)
            elif isinstance(node, nodes.Expr):
                self.value(node, scope)
            else:
                self.run(node.iter_child_nodes(), scope)

    def _visitors(self) -> dict[type[nodes.Node], Callable[..., None]]:
        return {
            nodes.For: self._for,
            nodes.If: self._if,
            nodes.Assign: self._assign,
            nodes.AssignBlock: self._assign_block,
            nodes.With: self._with,
            nodes.Macro: self._macro,
            nodes.CallBlock: self._call_block,
            nodes.FilterBlock: self._filter_block,
            nodes.Scope: self._inner,
            nodes.ScopedEvalContextModifier: self._inner,
            nodes.Block: self._block,
            nodes.Include: self._include,
            nodes.Import: self._import,
            nodes.FromImport: self._from_import,
            nodes.Extends: _nothing,
        }

    def _for(self, node: nodes.For, scope: Scope) -> None:
        element = self.element(self.value(node.iter, scope))
        inner = scope.inner()
        inner.names["loop"] = None
        bind(node.target, element, inner)
        guards: frozenset[Path] = frozenset()
        if node.test is not None:
            self.value(node.test, inner)
            guards = self.guards_of(node.test, inner)[0]
        with self.guarded(guards):
            self.run(node.body, inner)
        self.run(node.else_, scope.inner())

    def _if(self, node: nodes.If, scope: Scope) -> None:
        branches: list[tuple[list[nodes.Node], frozenset[Path], dict[str, Value]]] = []
        before = dict(scope.names)
        against: frozenset[Path] = frozenset()
        for branch in (node, *node.elif_):
            with self.guarded(against):
                self.value(branch.test, scope)
            when, otherwise = self.guards_of(branch.test, scope)
            branches.append((branch.body, against | when, {}))
            against |= otherwise
        branches.append((node.else_, against, {}))
        for body, guards, after in branches:
            scope.names = dict(before)
            with self.guarded(guards):
                self.run(body, scope)
            after.update(scope.names)
        scope.names = self._join(before, [(guards, after) for _, guards, after in branches], scope)

    @staticmethod
    def _join(
        before: dict[str, Value],
        branches: list[tuple[frozenset[Path], dict[str, Value]]],
        scope: Scope,
    ) -> dict[str, Value]:
        """Return what is set after an `if`: what each branch has set, or could take for given."""
        joined = dict(before)
        for name in {name for _, after in branches for name in after}:
            values = [after[name] for _, after in branches if name in after]
            around = scope.parent.find(name)[0] if scope.parent is not None else False
            if around or all(name in after or (name,) in guards for guards, after in branches):
                same = len(values) == len(branches) and all(value == values[0] for value in values)
                joined[name] = values[0] if same else None
            else:
                joined.pop(name, None)
        return joined

    def _assign(self, node: nodes.Assign, scope: Scope) -> None:
        bind(node.target, self.value(node.node, scope), scope)

    def _assign_block(self, node: nodes.AssignBlock, scope: Scope) -> None:
        self.run(node.body, scope.inner())
        if node.filter is not None:
            self.value(node.filter, scope)
        bind(node.target, None, scope)

    def _with(self, node: nodes.With, scope: Scope) -> None:
        inner = scope.inner()
        for target, value in zip(node.targets, node.values, strict=True):
            bind(target, self.value(value, scope), inner)
        self.run(node.body, inner)

    def _inner(self, node: nodes.Scope, scope: Scope) -> None:
        self.run(node.iter_child_nodes(), scope.inner())

    def _filter_block(self, node: nodes.FilterBlock, scope: Scope) -> None:
        self.run(node.body, scope.inner())
        self.value(node.filter, scope)

    def _macro(self, node: nodes.Macro, scope: Scope) -> None:
        scope.names[node.name] = Macro(node, scope, self.template)

    def _call_block(self, node: nodes.CallBlock, scope: Scope) -> None:
        inner = scope.inner()
        inner.names.update((argument.name, None) for argument in node.args)
        for default in node.defaults:
            self.value(default, scope)
        self.run(node.body, inner)
        self.value(node.call, scope)

    def call_macro(self, macro: Macro, given: list[Value], named: dict[str, Value]) -> None:
        """Look at a macro's body with what it is called with."""
        inner = macro.scope.inner()
        inner.names.update({"caller": None, "varargs": None, "kwargs": None})
        node = macro.node
        first_default = len(node.args) - len(node.defaults)
        for index, argument in enumerate(node.args):
            if index < len(given):
                inner.names[argument.name] = given[index]
            elif argument.name in named:
                inner.names[argument.name] = named[argument.name]
            elif index >= first_default:
                inner.names[argument.name] = self.value(node.defaults[index - first_default], inner)
            else:
                inner.names[argument.name] = None
        with self.within(macro.template):
            self.run(node.body, inner)

    # -- blocks, includes and imports

    def _block(self, node: nodes.Block, scope: Scope) -> None:
        self.run_block(node.name, 0, scope if node.scoped else self._top)

    def run_block(self, name: str, level: int, scope: Scope) -> None:
        """Look at a block as the template on that level of inheritance has it."""
        versions = self._blocks.get(name, [])
        if level < len(versions):
            block, template = versions[level]
            inner = scope.inner()
            inner.names["super"] = None
            before, self.block = self.block, (name, level, scope)
            with self.within(template):
                self.run(block.body, inner)
            self.block = before

    def _include(self, node: nodes.Include, scope: Scope) -> None:
        self.value(node.template, scope)
        names = _names(node.template)
        inner = scope.inner() if node.with_context else Scope()
        is_choice = not isinstance(node.template, nodes.CondExpr)
        for index, name in enumerate(names):
            try:
                self._tree(name)
            except TemplateNotFound:
                if node.ignore_missing or (is_choice and index + 1 < len(names)):
                    continue
                raise
            self.render(name, inner)
            if is_choice:
                return

    def _module(self, node: nodes.Import | nodes.FromImport, scope: Scope) -> Module | None:
        self.value(node.template, scope)
        names = _names(node.template)
        if len(names) != 1:
            return None
        inner = scope.inner() if node.with_context else Scope()
        self.render(names[0], inner)
        return Module(inner)

    def _import(self, node: nodes.Import, scope: Scope) -> None:
        scope.names[node.target] = self._module(node, scope)

    def _from_import(self, node: nodes.FromImport, scope: Scope) -> None:
        module = self._module(node, scope)
        for name in node.names:
            source, target = name if isinstance(name, tuple) else (name, name)
            scope.names[target] = None if module is None else module.scope.names.get(source)


def bind(target: nodes.Node, value: Value, scope: Scope) -> None:
    """Set the names of a target."""
    match target:
        case nodes.Name():
            scope.names[target.name] = value
        case nodes.Tuple(items=[first, second]) if isinstance(value, Group):
            bind(first, None, scope)
            bind(second, value.second, scope)
        case nodes.Tuple():
            for item in target.items:
                bind(item, None, scope)
        case _:  # an attribute of a namespace, which is the template's own
            pass


def _names(node: nodes.Expr) -> list[str]:
    """Return the names that an include, an import or an extends may mean, as far as they are written out."""
    match node:
        case nodes.Const(value=str() as name):
            return [name]
        case nodes.Const(value=[*names]):
            return [name for name in names if isinstance(name, str)]
        case nodes.List() | nodes.Tuple():
            return [name for item in node.items for name in _names(item)]
        case nodes.CondExpr():
            return [*_names(node.expr1), *(_names(node.expr2) if node.expr2 is not None else [])]
        case _:
            return []


def _nothing(node: nodes.Node, scope: Scope) -> None:
    pass
