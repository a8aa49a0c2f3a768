"""What evaluating a tree of parsers works with: the values found, and the errors noted on the way."""

from typing import TYPE_CHECKING, Any, Final

from qicore.base import QiError
from qicore.cli.errors import CLI_BAD_VALUE, CLI_UNEXPECTED, Errors, mistake

if TYPE_CHECKING:
    from qicore.cli.parser import Parser

__all__ = ["FAILED", "Evaluation", "Sentinel"]


class Sentinel:
    """An object that stands for the lack of a value, and is like nothing else."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


FAILED: Final[Any] = Sentinel("FAILED")
"""Stands for a value that could not be made: its error is already noted."""


class Evaluation:
    """The values found by name, the alternatives taken in order, and the errors noted."""

    __slots__ = ("_position", "errors", "path", "secrets", "taken", "values")

    def __init__(
        self,
        values: dict[str, Any],
        taken: list["Parser[Any]"],
        errors: Errors,
        path: tuple[str, ...],
        secrets: frozenset[str],
    ) -> None:
        self.values = values
        self.taken = taken
        self.errors = errors
        self.path = path
        self.secrets = secrets
        self._position = 0

    @property
    def remaining(self) -> bool:
        """Whether another alternative was taken."""
        return self._position < len(self.taken)

    def take(self) -> "Parser[Any] | None":
        """Return the next alternative that was taken, or None after the last."""
        if self._position == len(self.taken):
            return None
        self._position += 1
        return self.taken[self._position - 1]

    def refuse(self, error: Exception, parser: "Parser[Any]") -> Any:
        """Note that a function of the program refused a value; return FAILED."""
        hidden = not self.secrets.isdisjoint(parser.names)
        about = parser.label or ""
        prefix = f"{about}: " if about else ""
        if isinstance(error, QiError):
            self.errors.add(error)
        elif isinstance(error, ValueError):
            reason = "its value is not valid" if hidden else str(error) or type(error).__name__
            self.errors.add(mistake(CLI_BAD_VALUE, prefix + reason, self.path, name=about))
        else:
            # With a secret in reach, neither the message nor the traceback's exception may be kept.
            self.errors.add(
                QiError.unknown(CLI_UNEXPECTED, f"{prefix}{type(error).__name__} while making the value")
                if hidden
                else QiError.from_exception(error, code=CLI_UNEXPECTED, name=about)
            )
        return FAILED
