"""The parts that hold values: options, flags, counters and operands."""

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeAlias, TypedDict, TypeGuard, TypeVar, Unpack, overload

from qicore.cli.evaluation import FAILED, Evaluation, Sentinel
from qicore.cli.parser import Item, Parser
from qicore.cli.types import Spec, ValueType, to_value_type

__all__ = ["MISSING", "Leaf", "OperandMeta", "OptionMeta", "count", "is_leaf", "option", "positional"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MISSING: Final[Any] = Sentinel("MISSING")
"""Stands for a default that was not given."""

Nargs: TypeAlias = int | Literal["+", "*"]
Shape: TypeAlias = Literal["value", "flag", "count"]


class OperandMeta(TypedDict, total=False):
    """What an operand may say of itself; each key is explained at `positional`."""

    help: str
    name: str
    metavar: str
    secret: bool


class OptionMeta(OperandMeta, total=False):
    """What an option may say of itself besides; each key is explained at `option`."""

    env: str
    config: str
    hidden: bool


class Leaf(Parser[T_co], Item):
    """An option, flag, counter or operand: the part of a parser that holds one value."""

    __slots__ = (
        "config",
        "default",
        "env",
        "flags",
        "heading",
        "help",
        "hidden",
        "kind",
        "metavar",
        "multiple",
        "name",
        "nargs",
        "negations",
        "required",
        "secret",
        "shape",
    )

    config: str
    default: Any
    env: str
    flags: tuple[str, ...]
    heading: str
    help: str
    hidden: bool
    kind: ValueType[Any]
    metavar: str
    multiple: bool
    name: str
    nargs: Nargs | None
    negations: tuple[str, ...]
    required: bool
    secret: bool
    shape: Shape

    def __init__(self, **facts: Any) -> None:
        for name, value in facts.items():
            object.__setattr__(self, name, value)
        super().__init__((self,), self.name)

    def under(self, heading: str) -> "Leaf[T_co]":
        """Return this leaf under another heading of the help."""
        facts = {name: getattr(self, name) for name in Leaf.__slots__}
        return Leaf(**{**facts, "heading": heading})

    def introduces(self) -> Iterable[str]:
        """Return the one name."""
        return (self.name,)

    def evaluate(self, run: Evaluation, record: dict[str, Any]) -> Any:
        """Return the value found."""
        value = run.values.get(self.name, FAILED)
        record[self.name] = value
        return value

    @property
    def spelling(self) -> str:
        """How errors and help call it: its longest flag, or the metavar of an operand."""
        return max(self.flags, key=len) if self.flags else self.metavar

    @property
    def many(self) -> bool:
        """Whether its value is a tuple."""
        return self.multiple or self.nargs is not None


def is_leaf(item: Item) -> TypeGuard[Leaf[Any]]:
    """Whether an item is a leaf."""
    return isinstance(item, Leaf)


@overload
def option(
    flag: str,
    type: type[bool],
    /,
    *aliases: str,
    default: bool = ...,
    negatable: bool | None = ...,
    **meta: Unpack[OptionMeta],
) -> Parser[bool]: ...
@overload
def option(
    flag: str,
    type: type[bool],
    /,
    *aliases: str,
    default: None,
    negatable: bool | None = ...,
    **meta: Unpack[OptionMeta],
) -> Parser[bool | None]: ...
@overload
def option(
    flag: str,
    type: Spec[T],
    /,
    *aliases: str,
    multiple: Literal[True],
    required: bool = ...,
    default: tuple[T, ...] = ...,
    **meta: Unpack[OptionMeta],
) -> Parser[tuple[T, ...]]: ...
@overload
def option(
    flag: str,
    type: Spec[T],
    /,
    *aliases: str,
    nargs: int,
    required: Literal[True],
    **meta: Unpack[OptionMeta],
) -> Parser[tuple[T, ...]]: ...
@overload
def option(
    flag: str,
    type: Spec[T],
    /,
    *aliases: str,
    nargs: int,
    default: tuple[T, ...],
    **meta: Unpack[OptionMeta],
) -> Parser[tuple[T, ...]]: ...
@overload
def option(
    flag: str,
    type: Spec[T],
    /,
    *aliases: str,
    nargs: int,
    **meta: Unpack[OptionMeta],
) -> Parser[tuple[T, ...] | None]: ...
@overload
def option(
    flag: str,
    type: Spec[T],
    /,
    *aliases: str,
    required: Literal[True],
    **meta: Unpack[OptionMeta],
) -> Parser[T]: ...
@overload
def option(
    flag: str,
    type: Spec[T],
    /,
    *aliases: str,
    default: T,
    **meta: Unpack[OptionMeta],
) -> Parser[T]: ...
@overload
def option(
    flag: str,
    type: Spec[T],
    /,
    *aliases: str,
    **meta: Unpack[OptionMeta],
) -> Parser[T | None]: ...
@overload
def option(flag: str, /, *, required: Literal[True], **meta: Unpack[OptionMeta]) -> Parser[str]: ...
@overload
def option(flag: str, /, *, default: str, **meta: Unpack[OptionMeta]) -> Parser[str]: ...
@overload
def option(flag: str, /, **meta: Unpack[OptionMeta]) -> Parser[str | None]: ...
def option(
    flag: str,
    type: Callable[[str], Any] = str,  # noqa: A002 - the name that argparse and click use
    /,
    *aliases: str,
    default: Any = MISSING,
    required: bool = False,
    multiple: bool = False,
    nargs: int | None = None,
    negatable: bool | None = None,
    **meta: Unpack[OptionMeta],
) -> Parser[Any]:
    """Return the parser of an option, or of a flag when `type` is bool.

    The value is None when the option is not given and has no default, False for a flag, () with `multiple`.
    Raises ValueError when these arguments contradict each other.

    Args:
        flag: its name, `--long-name` or `-s`.
        type: a type, a ValueType, or any function of the text that raises ValueError.
        aliases: its other names.
        default: its value when nothing gives one.
        required: it must be given, by a flag, the environment or the configuration.
        multiple: it may be given more than once, and its value is a tuple of all.
        nargs: how many values one use takes; its value is then a tuple.
        negatable: a flag also has the form `--no-name`; so has by itself every flag that is True or None by
        default. **meta: `help`; `name`, under which the value is recorded (`log_level` for `--log-level`);
        `metavar`; `env`, the
            environment variable and `config`, the dotted key of the configuration it falls back to;
            `hidden` from help, completion and suggestions; `secret`, so that no error, help or repr shows
            its value.

    >>> from qicore.cli import parse
    >>> parse(["-p", "80"], option("--port", int, "-p", default=8080)).unwrap().value
    80
    """
    flags = (flag, *aliases)
    _check_flags(flags)
    named = max(flags, key=len).lstrip("-")
    if type is bool:
        if required or multiple or nargs is not None:
            raise ValueError(f"{flag} is a flag: it can't be required, multiple or have nargs")
        default = False if default is MISSING else default
        long = [name[2:] for name in flags if name.startswith("--")]
        negatable = default is not False if negatable is None else negatable
        if negatable and not long:
            raise ValueError(f"{flag} needs a long name to be negatable")
        negations = tuple(f"--no-{name}" for name in long) if negatable else ()
        return _leaf(named, flags, "flag", bool, default, meta, negations=negations)
    if negatable is not None:
        raise ValueError(f"{flag} is no flag: it can't be negatable")
    if nargs is not None and (nargs < 2 or multiple):
        raise ValueError(f"{flag}: nargs must be at least 2, and excludes multiple")
    if required and default is not MISSING:
        raise ValueError(f"{flag} can't both be required and have a default")
    if default is MISSING and not required:
        default = () if multiple else None
    return _leaf(
        named, flags, "value", type, default, meta, required=required, multiple=multiple, nargs=nargs
    )


def count(flag: str, /, *aliases: str, **meta: Unpack[OptionMeta]) -> Parser[int]:
    """Return the parser of a flag that is counted: `-vvv` is 3.

    >>> from qicore.cli import parse
    >>> parse(["-vv", "--verbose"], count("--verbose", "-v")).unwrap().value
    3
    """
    flags = (flag, *aliases)
    _check_flags(flags)
    return _leaf(max(flags, key=len).lstrip("-"), flags, "count", int, 0, meta)


@overload
def positional(
    name: str,
    type: Spec[T],
    /,
    *,
    nargs: Nargs,
    default: tuple[T, ...] = ...,
    **meta: Unpack[OperandMeta],
) -> Parser[tuple[T, ...]]: ...
@overload
def positional(
    name: str,
    type: Spec[T],
    /,
    *,
    default: None,
    **meta: Unpack[OperandMeta],
) -> Parser[T | None]: ...
@overload
def positional(
    name: str,
    type: Spec[T],
    /,
    *,
    default: T = ...,
    **meta: Unpack[OperandMeta],
) -> Parser[T]: ...
@overload
def positional(
    name: str, /, *, nargs: Nargs, default: tuple[str, ...] = ..., **meta: Unpack[OperandMeta]
) -> Parser[tuple[str, ...]]: ...
@overload
def positional(name: str, /, *, default: None, **meta: Unpack[OperandMeta]) -> Parser[str | None]: ...
@overload
def positional(name: str, /, *, default: str = ..., **meta: Unpack[OperandMeta]) -> Parser[str]: ...
def positional(
    name: str,
    type: Callable[[str], Any] = str,  # noqa: A002 - the name that argparse and click use
    /,
    *,
    nargs: Nargs | None = None,
    default: Any = MISSING,
    **meta: Unpack[OperandMeta],
) -> Parser[Any]:
    """Return the parser of an operand, an argument known by its position.

    Args:
        name: under which the value is recorded; also its metavar, in upper case.
        type: as of `option`; a bool is spelled out, as in true or no.
        nargs: a number, "+" for one or more, "*" for any number; the value is then a tuple.
        default: its value when it is not given; without one it is required.
        meta: `help`, `name`, `metavar`, `secret`; see `option`.

    >>> from qicore.cli import parse
    >>> parse(["1", "-2"], positional("numbers", int, nargs="+")).unwrap().value
    (1, -2)
    """
    if isinstance(nargs, int) and nargs < 1:
        raise ValueError(f"{name}: nargs must be at least 1")
    if nargs == "*" and default is MISSING:
        default = ()
    return _leaf(name, (), "value", type, default, meta, required=default is MISSING, nargs=nargs)


def _check_flags(flags: tuple[str, ...]) -> None:
    for flag in flags:
        body = flag[2:] if flag.startswith("--") else flag[1:]
        long = flag.startswith("--") and len(flag) > 2
        short = flag.startswith("-") and not flag.startswith("--") and len(flag) == 2
        if (
            not (long or short)
            or "=" in flag
            or body.startswith("-")
            or not flag.isprintable()
            or " " in flag
        ):
            raise ValueError(f"{flag!r} is no name for an option: use --long-name or -s")
    if len(set(flags)) != len(flags):
        raise ValueError(f"{flags[0]} is named the same twice")


def _leaf(
    named: str,
    flags: tuple[str, ...],
    shape: Shape,
    spec: Callable[[str], Any],
    default: Any,
    meta: OptionMeta | OperandMeta,
    *,
    required: bool = False,
    multiple: bool = False,
    nargs: Nargs | None = None,
    negations: tuple[str, ...] = (),
) -> Leaf[Any]:
    unknown = set(meta).difference(OptionMeta.__annotations__ if flags else OperandMeta.__annotations__)
    if unknown:
        raise TypeError(f"{flags[0] if flags else named} has no {', '.join(sorted(unknown))}")
    name = meta.get("name", named.replace("-", "_"))
    if not name.isidentifier():
        raise ValueError(f"{name!r} is no name for a value: give an identifier as name=")
    kind = to_value_type(spec)
    return Leaf(
        name=name,
        flags=flags,
        shape=shape,
        kind=kind,
        default=default,
        required=required,
        multiple=multiple,
        nargs=nargs,
        negations=negations,
        metavar=meta.get("metavar") or (kind.metavar if flags else named.replace("_", "-").upper()),
        help=meta.get("help", ""),
        env=meta.get("env", ""),
        config=meta.get("config", ""),
        hidden=meta.get("hidden", False),
        secret=meta.get("secret", False),
        heading="",
    )
