"""The nodes that combinators make, and the check that their parts go together."""

from collections.abc import Iterable
from typing import Any, TypeVar

from qicore.cli.evaluation import FAILED, Evaluation
from qicore.cli.leaves import Leaf, is_leaf
from qicore.cli.parser import Item, OptionalChoice, Parser, is_choice
from qicore.cli.values import Values

__all__ = [
    "Constraint",
    "Program",
    "Pure",
    "Regrouped",
    "Sequence",
    "Word",
    "check_operands",
    "join_items",
]

T = TypeVar("T")


class Pure(Parser[T]):
    """A parser that reads nothing and has a value."""

    __slots__ = ("value",)

    value: T

    def __init__(self, value: T) -> None:
        super().__init__(())
        object.__setattr__(self, "value", value)

    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:  # noqa: ARG002 - it reads nothing
        """Return the value."""
        return self.value


class Word(Parser[str], Item):
    """The name of a command, to be typed as it is."""

    __slots__ = ("help", "hidden", "words")

    words: tuple[str, ...]
    help: str
    hidden: bool

    def __init__(self, words: tuple[str, ...], help: str, hidden: bool) -> None:  # noqa: A002
        object.__setattr__(self, "words", words)
        object.__setattr__(self, "help", help)
        object.__setattr__(self, "hidden", hidden)
        super().__init__((self,))

    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:  # noqa: ARG002 - it has no value to find
        """Return the name."""
        return self.words[0]


class Sequence(Parser[Values]):
    """Parsers one after the other; its value is their values by name."""

    __slots__ = ("parts",)

    parts: tuple[Parser[Any], ...]

    def __init__(self, parts: Iterable[Parser[Any]], items: Iterable[Item] | None = None) -> None:
        flat: list[Parser[Any]] = []
        for part in parts:
            flat += part.parts if type(part) is Sequence else (part,)
        super().__init__(join_items(flat) if items is None else items)
        object.__setattr__(self, "parts", tuple(flat))

    def recorded(self) -> frozenset[str]:
        """Return the names of all parts."""
        return frozenset[str]().union(*(part.recorded() for part in self.parts))

    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:
        """Evaluate every part, so that every error is found."""
        own: dict[str, Any] = {}
        failed = False
        for part in self.parts:
            if part.evaluate(run, own) is FAILED:
                failed = True
        record.update(own)
        return FAILED if failed else Values(own, run.secrets)


class Regrouped(Parser[T]):
    """A parser whose items carry something more: a heading, or a constraint."""

    __slots__ = ("inner",)

    inner: Parser[T]

    def __init__(self, inner: Parser[T], items: Iterable[Item]) -> None:
        super().__init__(items)
        object.__setattr__(self, "inner", inner)

    def recorded(self) -> frozenset[str]:
        """Return the names of the inner parser."""
        return self.inner.recorded()

    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:
        """Evaluate the inner parser."""
        return self.inner.evaluate(run, record)


class Constraint(Item):
    """How many of some options may be given, or must be."""

    __slots__ = ("leaves", "most_one", "required")

    def __init__(self, leaves: tuple[Leaf[Any], ...], *, most_one: bool, required: bool) -> None:
        self.leaves = leaves
        self.most_one = most_one
        self.required = required


class Program(Item):
    """The name of a program and what else its help says."""

    __slots__ = ("description", "epilog", "name", "version")

    def __init__(self, name: str, version: str, description: str, epilog: str) -> None:
        self.name = name
        self.version = version
        self.description = description
        self.epilog = epilog


def join_items(parts: Iterable[Parser[Any]]) -> list[Item]:
    """Return all items, once it is sure that no two share a name, or a flag within one command."""
    items: list[Item] = []
    names: set[str] = set()
    flags: set[str] = set()
    for part in parts:
        shared = names.intersection(part.names)
        if shared:
            raise ValueError(f"two parts are named {min(shared)!r}: give one another name=")
        names |= part.names
        items += part.items
    operands: list[Leaf[Any]] = []
    for item in items:
        if isinstance(item, Word) or is_choice(item) or isinstance(item, OptionalChoice):
            check_operands(operands, before_command=True)
            flags, operands = set(), []  # a new command begins
            if isinstance(item, OptionalChoice) and item is not items[-1]:
                raise ValueError("an optional choice of commands must come last")
        elif is_leaf(item):
            again = flags.intersection((*item.flags, *item.negations))
            if again:
                raise ValueError(f"two options are called {min(again)}")
            flags.update(item.flags, item.negations)
            if not item.flags:
                operands.append(item)
    check_operands(operands, before_command=False)
    return items


def check_operands(operands: Iterable[Leaf[Any]], *, before_command: bool) -> None:
    """Raise ValueError when it could not be told which argument belongs to which operand."""
    if before_command and any(leaf.many or not leaf.required for leaf in operands):
        raise ValueError("an operand before a command must be required and take one argument")
    if sum(leaf.nargs in ("+", "*") for leaf in operands) > 1:
        raise ValueError("of the operands of a command only one can take any number of arguments")
