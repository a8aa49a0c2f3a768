"""What a value on the command line can be: converters that say what they expect and offer completions."""

from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar

from qicore.base import Failure, Result, Success

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Spec",
    "ValueType",
    "checked",
    "float_range",
    "int_range",
    "one_of",
    "path",
    "to_bool",
    "to_value_type",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Spec: TypeAlias = type[T] | Callable[[str], T]
"""What can stand where a type is asked for: a type, a ValueType, or any function of the text."""

Complete: TypeAlias = Callable[[str], Iterable[str]]

_YES: Final = frozenset(("1", "true", "yes", "on", "y", "t"))
_NO: Final = frozenset(("0", "false", "no", "off", "n", "f"))


class ValueType(Generic[T_co]):
    """A converter from text with what help and completion need to know about it.

    Attributes:
        convert: makes the value of the text; raises ValueError, whose message is shown, when it can't.
        metavar: stands for the value in help.
        choices: the texts it takes, when they are few; offered by help, completion and suggestions.
        shell: "file" or "directory" when the shell shall complete names of files.
        complete: gives completions for the text typed so far.

    >>> port = ValueType(int, "PORT")
    >>> port("80")
    80
    """

    __slots__ = ("choices", "complete", "convert", "metavar", "plain", "shell")

    def __init__(
        self,
        convert: Callable[[str], T_co],
        metavar: str = "VALUE",
        *,
        choices: Iterable[str] = (),
        shell: Literal["", "file", "directory"] = "",
        complete: Complete | None = None,
    ) -> None:
        self.convert = convert
        self.metavar = metavar
        self.choices = tuple(choices)
        self.shell: Literal["", "file", "directory"] = shell
        self.complete = complete
        self.plain = convert is str  # nothing to convert: the text is the value

    def __call__(self, text: str) -> T_co:
        """Return `convert(text)`, so that a ValueType can stand where a function can."""
        return self.convert(text)

    def __repr__(self) -> str:
        return f"ValueType({self.metavar})"


def _whole(text: str) -> int:
    # int() also takes blanks, underscores and the digits of other scripts, which look like something else.
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError("a whole number is expected")
    if len(digits) > 4000:  # far below the interpreter's own limit, whose message is about something else
        raise ValueError("the number has too many digits")
    return int(text)


def _number(text: str) -> float:
    if not text.isascii() or "_" in text or text != text.strip():
        raise ValueError("a number is expected")
    try:
        number = float(text)
    except ValueError:
        raise ValueError("a number is expected") from None
    if number - number != 0:  # NaN passes every range check, and infinity is a typo more often than a wish
        raise ValueError("a finite number is expected")
    return number


def to_bool(text: str) -> bool:
    """Return what a text says, in an environment variable or a configuration.

    >>> to_bool("yes"), to_bool("OFF")
    (True, False)
    """
    word = text.strip().lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise ValueError("true or false is expected")


def int_range(minimum: int | None = None, maximum: int | None = None) -> ValueType[int]:
    """Return the type of whole numbers from `minimum` to `maximum`, both included.

    >>> int_range(1, 65535)("8080")
    8080
    """
    return _ranged(_whole, "INT", minimum, maximum)


def float_range(minimum: float | None = None, maximum: float | None = None) -> ValueType[float]:
    """Return the type of finite numbers from `minimum` to `maximum`, both included."""
    return _ranged(_number, "NUMBER", minimum, maximum)


def _ranged(
    convert: Callable[[str], Any], metavar: str, low: float | None, high: float | None
) -> ValueType[Any]:
    if low is not None and high is not None and low > high:
        raise ValueError(f"there is no number from {low} to {high}")
    if low is None and high is None:
        return ValueType(convert, metavar)
    wanted = (
        f"{low} to {high}"
        if None not in (low, high)
        else f"{low} or more"
        if high is None
        else f"at most {high}"
    )

    def within(text: str) -> Any:
        number = convert(text)
        if (low is not None and number < low) or (high is not None and number > high):
            raise ValueError(f"it must be {wanted}")
        return number

    return ValueType(within, metavar)


def one_of(*choices: str) -> ValueType[str]:
    """Return the type of exactly these texts.

    >>> one_of("json", "text")("json")
    'json'
    """
    return _among({choice: choice for choice in choices})


def _among(members: dict[str, T]) -> ValueType[T]:
    if not members:
        raise ValueError("there is nothing to choose from")

    def pick(text: str) -> T:
        try:
            return members[text]
        except KeyError:
            pass
        from qicore.cli.suggest import did_you_mean

        raise ValueError(f"choose from {', '.join(members)}{did_you_mean(text, members)}")

    return ValueType(pick, "|".join(members) if len(members) <= 5 else "CHOICE", choices=members)


def path(
    *, exists: bool = False, kind: Literal["any", "file", "directory"] = "any", metavar: str = ""
) -> "ValueType[Path]":
    """Return the type of paths; with `exists` there must be one of this kind now.

    What is checked here can be gone when the path is used: the check is for a good message, not for safety.
    """

    def convert(text: str) -> "Path":
        from pathlib import Path  # dear to import; a parser that is never given a path doesn't need it

        if not text:
            raise ValueError("a path is expected, not an empty text")
        if "\0" in text:
            raise ValueError("no path holds a NUL character")
        found = Path(text)
        if exists:
            _look(found, kind)
        return found

    shown = metavar or {"any": "PATH", "file": "FILE", "directory": "DIRECTORY"}[kind]
    return ValueType(convert, shown, shell="directory" if kind == "directory" else "file")


def _look(found: "Path", kind: str) -> None:
    try:
        if not found.exists():
            raise ValueError("it does not exist")
        if kind == "file" and found.is_dir():
            raise ValueError("it is a directory, and a file is expected")
        if kind == "directory" and not found.is_dir():
            raise ValueError("it is no directory")
    except OSError as error:
        raise ValueError(error.strerror or "it can't be looked at") from None


def checked(convert: Callable[[str], Result[T]], metavar: str = "VALUE") -> ValueType[T]:
    """Return the type of what a Result-giving function makes of the text; a Failure's message is shown.

    >>> from qicore.base import QiError
    >>> odd = QiError.validation("ODD", "it is odd")
    >>> even = checked(lambda text: Success(text) if text in "02468" else Failure(odd))
    >>> even("4")
    '4'
    """

    def unwrapped(text: str) -> T:
        match convert(text).variant:
            case Success(value):
                return value
            case Failure(error):
                raise ValueError(error.message)

    return ValueType(unwrapped, metavar)


_KNOWN: Final[dict[object, ValueType[Any]]] = {
    str: ValueType(str, "TEXT"),
    int: ValueType(_whole, "INT"),
    float: ValueType(_number, "NUMBER"),
    bool: ValueType(to_bool, "BOOL"),
}
_PATH: Final = path()


def to_value_type(spec: Any) -> ValueType[Any]:
    """Return the ValueType for what was given as a type; raise TypeError when it can't be one."""
    if isinstance(spec, ValueType):
        return spec  # pyright: ignore[reportUnknownVariableType]  # of any T
    known = _KNOWN.get(spec)
    if known is not None:
        return known
    if getattr(spec, "__module__", "").partition(".")[0] == "pathlib":
        return _PATH
    members = _enum(spec)
    if members is not None:
        return _among({_spelling(member): member for member in members})
    if not callable(spec):
        raise TypeError(f"a type, a ValueType or a function of the text is expected, not {spec!r}")
    return ValueType(spec, getattr(spec, "__name__", "value").strip("_<>").upper())


def _enum(spec: object) -> type[Enum] | None:
    return spec if isinstance(spec, type) and issubclass(spec, Enum) else None


def _spelling(member: Enum) -> str:
    return member.value if isinstance(member.value, str) else member.name
