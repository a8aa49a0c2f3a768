"""Parser[T]: a value that says what a command line may hold, and which T it makes of it.

Parsers are trees. Parsing reads the tokens by a table compiled from the tree (`compiled.py`), and then
`evaluate`s the tree once, left to right, over the values found: that is where functions are mapped and
dataclasses are built. So mapping costs nothing while reading, and every error is collected in one pass.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeGuard, TypeVar, cast

from qicore.base import Result
from qicore.cli.evaluation import FAILED, Evaluation

if TYPE_CHECKING:
    from qicore.cli.compiled import Scope

__all__ = [
    "Choice",
    "Into",
    "Item",
    "Map",
    "Maybe",
    "Named",
    "OptionalChoice",
    "Parser",
    "is_choice",
]

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


class Parser(ABC, Generic[T_co]):
    """What a command line may hold, as an immutable value that makes a T of it.

    Made by `option`, `positional`, `command`, `count` and `pure`; joined by `sequence`, `lift`, `choice` and
    their kin. Parsers obey the laws of an applicative functor, and `sequence` and `choice` those of a monoid.

    >>> from qicore.cli import parse, positional
    >>> double = positional("number", int).map(lambda number: number * 2)
    >>> parse(["21"], double).unwrap().value
    42

    Attributes:
        items: the options, operands, commands and alternatives in it, in order.
        label: the name under which its value is recorded, None when it has none of its own.
    """

    __slots__ = ("compiled", "items", "label", "names")

    items: tuple["Item", ...]
    label: str | None
    names: frozenset[str]
    compiled: "Scope | None"

    def __init__(self, items: Iterable["Item"], label: str | None = None) -> None:
        place = object.__setattr__
        place(self, "items", tuple(items))
        place(self, "label", label)
        place(self, "names", frozenset(_names(self.items)))
        place(self, "compiled", None)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Parser is immutable: .{name} can't be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Parser is immutable: .{name} can't be deleted")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(sorted(self.names)) or 'nothing'}>"

    def __or__(self, other: "Parser[U]") -> "Parser[T_co | U]":
        """Return the choice between the two: each begins with a command."""
        return Choice((self, other))

    def recorded(self) -> frozenset[str]:
        """Return the names under which this parser records values.

        Raises ValueError when that depends on which command is given.
        """
        return self.names

    @abstractmethod
    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:
        """Return the value made of what was found, and add the values by name to `record`."""

    def map(self, fn: Callable[[T_co], U], /) -> "Parser[U]":
        """Return the parser whose value is `fn(value)`.

        A ValueError of `fn` is CLI_BAD_VALUE with its message; any other exception is CLI_UNEXPECTED
        [UNKNOWN].
        """
        return Map(self, fn)

    def refine(self, fn: Callable[[T_co], Result[U]], /) -> "Parser[U]":
        """Return the parser whose value is that of `fn(value)`, a Result; a Failure is one of the errors.

        >>> from qicore.base import Failure, QiError, Success
        >>> from qicore.cli import option, parse
        >>> def even(number: int):
        ...     return Success(number) if number % 2 == 0 else Failure(QiError.validation("ODD", "it is odd"))
        >>> parse(["--size", "3"], option("--size", int, default=0).refine(even)).error.code
        'ODD'
        """

        def unwrapped(value: Any) -> U:
            return fn(value).unwrap()

        return Map(self, unwrapped)

    def into(self, cls: type[U], /) -> "Parser[U]":
        """Return the parser whose value is the dataclass `cls`, built from the values by name.

        A ValueError of `__post_init__` is CLI_BAD_VALUE. Raises TypeError when `cls` is no dataclass, and
        ValueError when it has a field that no part is named after, or lacks one that a part is.

        >>> from dataclasses import dataclass
        >>> from qicore.cli import command, parse, positional
        >>> @dataclass
        ... class Greet:
        ...     name: str
        >>> parse(["greet", "Ann"], command("greet", positional("name")).into(Greet)).unwrap().value
        Greet(name='Ann')
        """
        return Into(self, cls)

    def named(self, name: str, /) -> "Parser[T_co]":
        """Return the parser that records its value, whatever it is made of, under `name`."""
        return Named(self, name)

    def optional(self) -> "Parser[T_co | None]":
        """Return the choice of commands of which none needs to be given; its value is then None."""
        return Maybe(self)


def _names(items: Iterable["Item"]) -> Iterator[str]:
    for item in items:
        yield from item.introduces()


class Item:
    """What the items of a parser have in common."""

    __slots__ = ()

    def introduces(self) -> Iterable[str]:
        """Return the names of the values that this item reads."""
        return ()


class Map(Parser[U]):
    """A parser whose value is made by a function of another's."""

    __slots__ = ("fn", "inner")

    inner: Parser[Any]
    fn: Callable[[Any], U]

    def __init__(self, inner: Parser[Any], fn: Callable[[Any], U]) -> None:
        super().__init__(inner.items, inner.label)
        object.__setattr__(self, "inner", inner)
        object.__setattr__(self, "fn", fn)

    def recorded(self) -> frozenset[str]:
        """Return the names of the inner parser."""
        return self.inner.recorded()

    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:
        """Map the inner value."""
        value = self.inner.evaluate(run, record)
        if value is FAILED:
            return value
        try:
            value = self.fn(value)
        except Exception as error:  # noqa: BLE001 - the program's own function: translated here, once
            return run.refuse(error, self)
        if self.label is not None:
            record[self.label] = value
        return value


class Into(Parser[U]):
    """A parser whose value is a dataclass built from the values by name."""

    __slots__ = ("cls", "inner")

    inner: Parser[Any]
    cls: Callable[..., U]

    def __init__(self, inner: Parser[Any], cls: type[U]) -> None:
        super().__init__(inner.items)
        if not hasattr(cls, "__dataclass_fields__"):
            raise TypeError(f"{cls.__name__} is no dataclass: use .map() to build anything else")
        _fit(cls, inner.recorded())
        object.__setattr__(self, "inner", inner)
        object.__setattr__(self, "cls", cls)

    def recorded(self) -> frozenset[str]:
        """Return the names of the inner parser."""
        return self.inner.recorded()

    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:
        """Build the dataclass."""
        own: dict[str, Any] = {}
        value = self.inner.evaluate(run, own)
        record.update(own)
        if value is FAILED:
            return value
        try:
            return self.cls(**own)
        except Exception as error:  # noqa: BLE001 - the program's own class: translated here, once
            return run.refuse(error, self)


def _fit(cls: type[Any], names: frozenset[str]) -> None:
    from dataclasses import MISSING, fields

    taken = [field for field in fields(cls) if field.init]
    missing = [
        field.name
        for field in taken
        if field.name not in names and field.default is MISSING and field.default_factory is MISSING
    ]
    surplus = sorted(names.difference(field.name for field in taken))
    if missing:
        raise ValueError(f"no part is named after the field(s) {', '.join(missing)} of {cls.__name__}")
    if surplus:
        raise ValueError(f"{cls.__name__} has no field for {', '.join(surplus)}")


class Named(Parser[T_co]):
    """A parser that records its value under a name of its own."""

    __slots__ = ("inner",)

    inner: Parser[T_co]

    def __init__(self, inner: Parser[T_co], name: str) -> None:
        if not name.isidentifier():
            raise ValueError(f"{name!r} is no name for a value: it must be an identifier")
        super().__init__(inner.items, name)
        object.__setattr__(self, "inner", inner)

    def recorded(self) -> frozenset[str]:
        """Return the one name."""
        return frozenset((cast("str", self.label),))

    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:
        """Record the inner value under the name, in place of the names of its parts."""
        value = self.inner.evaluate(run, {})
        record[cast("str", self.label)] = value
        return value


class Choice(Parser[U], Item):
    """Alternatives, each of which begins with a command."""

    __slots__ = ("alternatives",)

    alternatives: tuple[Parser[Any], ...]

    def __init__(self, alternatives: Iterable[Parser[Any]]) -> None:
        flat: list[Parser[Any]] = []
        for alternative in alternatives:
            flat += alternative.alternatives if type(alternative) is Choice else (alternative,)
        seen: set[str] = set()
        for alternative in flat:
            for word in _words(alternative):
                if word in seen:
                    raise ValueError(f"two alternatives begin with the command {word!r}")
                seen.add(word)
        object.__setattr__(self, "alternatives", tuple(flat))
        super().__init__((self,))

    def introduces(self) -> Iterable[str]:
        """Return the names of all alternatives."""
        return {name for alternative in self.alternatives for name in alternative.names}

    def recorded(self) -> frozenset[str]:
        """Return the names that each alternative records; ValueError when they differ."""
        found = {alternative.recorded() for alternative in self.alternatives}
        if len(found) > 1:
            raise ValueError(
                "the alternatives have different parts: map each, and give the choice a name by .named()"
            )
        return found.pop() if found else frozenset()

    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:
        """Evaluate the alternative that was taken."""
        taken = run.take()
        return FAILED if taken is None else taken.evaluate(run, record)


class Maybe(Parser[U | None]):
    """A choice of commands of which none needs to be given."""

    __slots__ = ("inner",)

    inner: Parser[U]

    def __init__(self, inner: Parser[U]) -> None:
        only = inner.items[0] if len(inner.items) == 1 else None
        if only is None or not is_choice(only):
            raise ValueError("only a choice of commands can be optional: an option or operand has default=")
        super().__init__((OptionalChoice(only),))
        object.__setattr__(self, "inner", inner)

    def recorded(self) -> frozenset[str]:
        """Return no names; ValueError when there would be some, but only with a command."""
        if self.inner.recorded():
            raise ValueError("the values of an optional command need a name: use .optional().named()")
        return frozenset()

    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:
        """Evaluate what was taken, or give None."""
        return self.inner.evaluate(run, record) if run.remaining else None


class OptionalChoice(Item):
    """The item that says that a choice may be left out."""

    __slots__ = ("choice",)

    def __init__(self, choice: Choice[Any]) -> None:
        self.choice = choice

    def introduces(self) -> Iterable[str]:
        """Return the names of the choice."""
        return self.choice.introduces()


def is_choice(item: Item) -> TypeGuard[Choice[Any]]:
    """Whether an item is a choice."""
    return isinstance(item, Choice)


def _words(alternative: Parser[Any]) -> tuple[str, ...]:
    for item in alternative.items:
        words: tuple[str, ...] | None = getattr(item, "words", None)
        if words is not None:
            return words
        break
    raise ValueError(f"an alternative must begin with a command, and {alternative!r} does not")
