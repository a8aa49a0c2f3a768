"""The tables that parsing reads: a Scope for the program, and one for each command, made when needed."""

from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias, cast

from qicore.cli.leaves import Leaf, is_leaf, option
from qicore.cli.nodes import Constraint, Program, Word, check_operands
from qicore.cli.parser import Item, OptionalChoice, Parser, is_choice

__all__ = ["Bound", "Branch", "Scope", "compile_parser"]

Action: TypeAlias = Literal["value", "flag", "count", "help", "version"]

HELP: Final = cast("Leaf[bool]", option("--help", bool, "-h", help="Show this help."))
VERSION: Final = cast("Leaf[bool]", option("--version", bool, help="Show the version."))


class Bound:
    """What one spelling of an option does."""

    __slots__ = ("action", "constant", "leaf", "single")

    def __init__(self, action: Action, leaf: Leaf[Any], *, constant: bool = True) -> None:
        self.action: Action = action
        self.leaf = leaf
        self.constant = constant
        # The common case, told apart once: one value, and the last one wins.
        self.single = action == "value" and not leaf.many


class Branch:
    """A command within a scope: its head, the alternative it begins, and its own scope."""

    __slots__ = ("_items", "_parent", "_scope", "alternative", "head")

    def __init__(
        self, head: Word, alternative: Parser[Any] | None, items: Sequence[Item], parent: "Scope"
    ) -> None:
        self.head = head
        self.alternative = alternative
        self._items = items
        self._parent = parent
        self._scope: Scope | None = None

    @property
    def scope(self) -> "Scope":
        """The scope of the command, compiled at its first use: most runs use one command of many."""
        scope = self._scope
        if scope is None:
            scope = self._scope = Scope(self._items, self._parent, self.head)
        return scope


class Scope:
    """What may stand after the program's name, or after the name of a command.

    Attributes:
        options: by spelling; those of outer scopes too, unless one here has the same spelling.
        operands: the operands of this scope.
        words: the commands by name and alias; None when there are none.
        branches: the same commands, each once, in order.
        needed: how many operands come before a command.
        checked: the leaves of this scope that must be looked at when no flag gave them.
        defaults: the values of all leaves of this scope that have a default.
    """

    __slots__ = (
        "branches",
        "checked",
        "command_optional",
        "constraints",
        "defaults",
        "head",
        "items",
        "leaves",
        "names",
        "needed",
        "operands",
        "options",
        "own",
        "parent",
        "path",
        "program",
        "secrets",
        "words",
    )

    def __init__(
        self, items: Sequence[Item], parent: "Scope | None" = None, head: Word | None = None
    ) -> None:
        self.items = items
        self.parent = parent
        self.head = head
        self.path: tuple[str, ...] = (*parent.path, head.words[0]) if parent and head else ()
        self.program: Program | None = parent.program if parent else None
        self.options: dict[str, Bound] = dict(parent.options) if parent else {}
        self.leaves: dict[str, Leaf[Any]] = dict(parent.leaves) if parent else {}
        self.own: list[Leaf[Any]] = []
        self.operands: list[Leaf[Any]] = []
        self.constraints: list[Constraint] = []
        self.words: dict[str, Branch] | None = None
        self.branches: list[Branch] = []
        self.command_optional = False
        if parent is None:
            for flag in HELP.flags:
                self.options[flag] = Bound("help", HELP)
        self._read(items)
        self.needed = sum(_least(leaf) for leaf in self.operands)
        self.checked = [leaf for leaf in self.own if leaf.required or leaf.env or leaf.config]
        self.defaults = {leaf.name: leaf.default for leaf in self.own if not leaf.required}
        self.names = tuple(self.leaves)
        self.secrets = frozenset(name for name, leaf in self.leaves.items() if leaf.secret)
        # Again, for what follows a choice: only here it meets the parts of each alternative.
        check_operands(self.operands, before_command=self.words is not None)

    def _read(self, items: Sequence[Item]) -> None:
        for index, item in enumerate(items):
            if is_leaf(item):
                self._add(item)
            elif isinstance(item, Constraint):
                self.constraints.append(item)
            elif isinstance(item, Program):
                if self.program is None:
                    self.program = item
                    if item.version:
                        self.options.setdefault(VERSION.flags[0], Bound("version", VERSION))
            else:
                self._branch(item, items[index + 1 :])
                return

    def _add(self, leaf: Leaf[Any]) -> None:
        if leaf.name in self.leaves:
            raise ValueError(f"two parts are named {leaf.name!r}: give one another name=")
        self.leaves[leaf.name] = leaf
        self.own.append(leaf)
        if not leaf.flags:
            self.operands.append(leaf)
            return
        for flag in (*leaf.flags, *leaf.negations):
            here = self.options.get(flag)
            if here is not None and here.leaf in self.own:
                raise ValueError(f"two options are called {flag}")
            action: Action = leaf.shape
            self.options[flag] = Bound(action, leaf, constant=flag in leaf.flags)

    def _branch(self, item: Item, rest: Sequence[Item]) -> None:
        self.words = {}
        if isinstance(item, OptionalChoice):
            self.command_optional = True
            item = item.choice
        if is_choice(item):
            for alternative in item.alternatives:
                head, *inner = alternative.items
                self._enter(Branch(cast("Word", head), alternative, (*inner, *rest), self))
        else:
            head = cast("Word", item)
            self._enter(Branch(head, None, rest, self))

    def _enter(self, branch: Branch) -> None:
        self.branches.append(branch)
        for word in branch.head.words:
            cast("dict[str, Branch]", self.words)[word] = branch


def _least(leaf: Leaf[Any]) -> int:
    """Return how many arguments an operand takes at least."""
    if not leaf.required:
        return 0
    return leaf.nargs if isinstance(leaf.nargs, int) else 1


def compile_parser(parser: Parser[Any]) -> Scope:
    """Return the outermost scope of a parser, compiled once."""
    scope = parser.compiled
    if scope is None:
        scope = Scope(parser.items)
        object.__setattr__(parser, "compiled", scope)
    return scope
