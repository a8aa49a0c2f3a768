"""What a command line came to: the values by name, the typed value, and where each one came from."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar, cast

__all__ = ["Origin", "ParsedArgs", "Source", "Values"]

T_co = TypeVar("T_co", covariant=True)

_HIDDEN = "'***'"


class Origin(StrEnum):
    """The four places a value can come from, the strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    CONFIGURATION = "configuration"
    DEFAULT = "default"


class Source(NamedTuple):
    """Where a value came from: the place, and the flag, the variable or the key there.

    >>> str(Source(Origin.ENVIRONMENT, "APP_PORT"))
    'environment APP_PORT'
    """

    origin: Origin
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.origin.value} {self.detail}" if self.detail else self.origin.value


_DEFAULT = Source(Origin.DEFAULT)


class Values(Mapping[str, Any]):
    """An immutable mapping from names to values. Its repr never shows the value of a secret."""

    __slots__ = ("_items", "_secrets")

    _items: Mapping[str, Any]
    _secrets: frozenset[str]

    def __init__(self, items: Mapping[str, Any], secrets: frozenset[str] = frozenset()) -> None:
        object.__setattr__(self, "_items", items)
        object.__setattr__(self, "_secrets", secrets)

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"parsed values are immutable: .{name} can't be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"parsed values are immutable: .{name} can't be deleted")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Values, (dict(self._items), self._secrets))

    def __repr__(self) -> str:
        return f"Values({self._shown()})"

    def _shown(self) -> str:
        return ", ".join(
            f"{name}={_HIDDEN if name in self._secrets else repr(value)}"
            for name, value in self._items.items()
        )


class ParsedArgs(Values, Generic[T_co]):
    """A parsed command line: a mapping from names to values, and the typed value its parser makes of them.

    >>> from qicore.cli import command, option, parse, sequence
    >>> parser = sequence(command("deploy"), option("--env", str), option("--force", bool))
    >>> parsed = parse(["deploy", "--env", "prod"], parser).unwrap()
    >>> parsed["env"], parsed["force"], parsed.command
    ('prod', False, ('deploy',))
    >>> str(parsed.source("env")), str(parsed.source("force"))
    ('flag --env', 'default')

    Attributes:
        value: what the parser makes of the command line, typed: the T of `Parser[T]`.
        command: the names of the commands that were given, outermost first.
    """

    __slots__ = ("_names", "_sources", "command", "value")

    value: T_co
    command: tuple[str, ...]
    _names: tuple[str, ...]
    _sources: Mapping[str, Source]

    def __init__(
        self,
        items: Mapping[str, Any],
        value: T_co,
        command: tuple[str, ...] = (),
        sources: Mapping[str, Source] | None = None,
        names: tuple[str, ...] = (),
        secrets: frozenset[str] = frozenset(),
    ) -> None:
        place = object.__setattr__
        place(self, "_items", items)
        place(self, "_secrets", secrets)
        place(self, "value", value)
        place(self, "command", command)
        place(self, "_sources", {} if sources is None else sources)
        place(self, "_names", names)

    def source(self, name: str) -> Source:
        """Return where the value called `name` came from."""
        return self._sources.get(name, _DEFAULT)

    @property
    def sources(self) -> Mapping[str, Source]:
        """The source of every option and operand by name, for a program that explains its configuration."""
        return MappingProxyType({name: self.source(name) for name in self._names})

    @property
    def given(self) -> Mapping[str, Any]:
        """The values that are no defaults: what a layer of flags over other configuration is made of."""
        return MappingProxyType({name: value for name, value in self._items.items() if name in self._sources})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ParsedArgs):
            return NotImplemented
        them = cast("ParsedArgs[object]", other)
        return bool(
            self._items == them._items
            and self.command == them.command
            and self._sources == them._sources
            and self.value == them.value
        )

    __hash__ = None  # type: ignore[assignment]  # as of any mapping: values may be unhashable

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (dict(self._items), self.value, self.command, dict(self._sources), self._names, self._secrets)
        return (ParsedArgs, parts)

    def __repr__(self) -> str:
        shown = f"{' '.join(self.command)}: " if self.command else ""
        return f"ParsedArgs({shown}{self._shown()})"
