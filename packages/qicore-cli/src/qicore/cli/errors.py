"""The errors of a command line, in one table of codes, and how they name what was typed.

What people typed is shown quoted and shortened; the value of a secret option is never shown.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from qicore.base import QiError

__all__ = [
    "CLI_ARGV",
    "CLI_BAD_VALUE",
    "CLI_CONFLICT",
    "CLI_HELP",
    "CLI_MISSING_ARGUMENT",
    "CLI_RULE_BROKEN",
    "CLI_SYNTAX",
    "CLI_UNEXPECTED",
    "CLI_UNEXPECTED_ARGUMENT",
    "CLI_UNKNOWN_COMMAND",
    "CLI_UNKNOWN_OPTION",
    "CLI_UNSUPPORTED",
    "CLI_VERSION",
    "Errors",
    "mistake",
    "quoted",
]

CLI_ARGV: Final = "CLI_ARGV"
CLI_BAD_VALUE: Final = "CLI_BAD_VALUE"
CLI_CONFLICT: Final = "CLI_CONFLICT"
CLI_HELP: Final = "CLI_HELP"
CLI_MISSING_ARGUMENT: Final = "CLI_MISSING_ARGUMENT"
CLI_RULE_BROKEN: Final = "CLI_RULE_BROKEN"
CLI_SYNTAX: Final = "CLI_SYNTAX"
CLI_UNEXPECTED: Final = "CLI_UNEXPECTED"
CLI_UNEXPECTED_ARGUMENT: Final = "CLI_UNEXPECTED_ARGUMENT"
CLI_UNKNOWN_COMMAND: Final = "CLI_UNKNOWN_COMMAND"
CLI_UNKNOWN_OPTION: Final = "CLI_UNKNOWN_OPTION"
CLI_UNSUPPORTED: Final = "CLI_UNSUPPORTED"
CLI_VERSION: Final = "CLI_VERSION"

_LONGEST_SHOWN: Final = 60
_MOST_ERRORS: Final = 50  # a hostile line of 100,000 mistakes is still answered in bounded space


def quoted(text: str) -> str:
    r"""Return what was typed in quotes, control characters escaped, shortened to 60 characters.

    >>> quoted("a\n" + "b" * 100)
    "'a\\nbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…'"
    """
    short = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
    return repr(short)


def mistake(code: str, message: str, path: Sequence[str], hint: str = "", **context: object) -> QiError:
    """Return a VALIDATION error about the command at `path`."""
    facts: dict[str, object] = {"command": " ".join(path), **context}
    if hint:
        facts["hint"] = hint
        message = f"{message}: {hint}"
    return QiError.validation(code, message, **facts)


class Errors:
    """The errors of one command line, as many as are worth reading."""

    __slots__ = ("_dropped", "found")

    def __init__(self, found: Iterable[QiError] = ()) -> None:
        self.found = list(found)
        self._dropped = 0

    def __bool__(self) -> bool:
        return bool(self.found)

    @property
    def full(self) -> bool:
        """Whether a further error would only be counted."""
        return len(self.found) >= _MOST_ERRORS

    def add(self, error: QiError) -> None:
        """Keep the error, or count it when there are too many."""
        if self.full:
            self._dropped += 1
        else:
            self.found.append(error)

    def count(self) -> None:
        """Count an error that nobody would read."""
        self._dropped += 1

    def one(self) -> QiError:
        """Return all of them as one error."""
        error = QiError.aggregate(self.found)
        return error.with_context({"not_shown": self._dropped}) if self._dropped else error
