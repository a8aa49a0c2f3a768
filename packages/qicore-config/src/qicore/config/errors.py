"""The one place where what goes wrong below becomes a QiError.

No exception of a parser is kept as a cause: each of them carries the text that it read, secrets included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.config.config import ConfigLimits
from qicore.config.paths import Path, show_path

__all__ = ["Refused", "from_os_error", "from_refused", "guarded", "unforeseen"]

T = TypeVar("T")

_CATEGORIES: Final[Mapping[str, ErrorCategory]] = {
    "CONFIG_CONFLICT": ErrorCategory.CONFIGURATION,
    "CONFIG_NOT_FOUND": ErrorCategory.FILESYSTEM,
    "CONFIG_PARSE_ERROR": ErrorCategory.CONFIGURATION,
    "CONFIG_TOO_DEEP": ErrorCategory.CONFIGURATION,
    "CONFIG_TOO_LARGE": ErrorCategory.CONFIGURATION,
    "CONFIG_UNKNOWN_FORMAT": ErrorCategory.VALIDATION,
    "CONFIG_UNREADABLE": ErrorCategory.FILESYSTEM,
    "CONFIG_UNWRITABLE": ErrorCategory.VALIDATION,
    "INVALID_CONFIG": ErrorCategory.VALIDATION,
}


class Refused(Exception):  # noqa: N818 - a word for what happened, as Failure is
    """What a reader or writer inside this package raises; it never leaves the package.

    Lines and columns count from 1; 0 is an unknown one.
    """

    def __init__(
        self, code: str, problem: str, *, line: int = 0, column: int = 0, key: Path = (), origin: str = ""
    ) -> None:
        super().__init__(code, problem)
        self.code = code
        self.problem = problem
        self.line = line
        self.column = column
        self.key = key
        self.origin = origin


def from_refused(refused: Refused, origin: str = "") -> QiError:
    """Return the error for `refused`; `origin` is the file or layer that was read.

    >>> str(from_refused(Refused("CONFIG_PARSE_ERROR", "the key is there already", line=3), "app.yaml"))
    'CONFIGURATION/CONFIG_PARSE_ERROR: app.yaml:3: the key is there already'
    """
    origin = refused.origin or origin
    facts: dict[str, object] = {"origin": origin} if origin else {}
    place = origin
    if refused.line:
        facts["line"] = refused.line
        place += f":{refused.line}" if place else f"line {refused.line}"
        if refused.column:
            facts["column"] = refused.column
            place += f":{refused.column}" if origin else f", column {refused.column}"
    problem = refused.problem
    if refused.key:
        facts["key"] = show_path(refused.key)
        problem = f"{show_path(refused.key)}: {problem}"
    message = f"{place}: {problem}" if place else problem
    return QiError(refused.code, message, _CATEGORIES[refused.code], facts)


def from_os_error(error: OSError, file: str) -> QiError:
    """Return the error for a file that can't be read; the exception, which names only the file, is kept."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        code, problem = "CONFIG_NOT_FOUND", "there is no such file"
    else:
        code, problem = "CONFIG_UNREADABLE", f"it can't be read: {error.strerror}"
    failure = QiError(code, f"{file}: {problem}", _CATEGORIES[code], {"origin": file})
    failure.__cause__ = error
    return failure


def unforeseen(code: str, doing: str, exception: Exception) -> QiError:
    """Return UNKNOWN for an exception that nobody foresaw: kept for the traceback, its text in no message."""
    error = QiError.unknown(code, f"{doing} raised {type(exception).__name__}")
    error.__cause__ = exception
    return error


def guarded(work: Callable[[], T], limits: ConfigLimits, origin: str) -> Result[T]:
    """Return what `work` gives, or the error for what it raises: the one place where exceptions end."""
    checked = limits.check()
    if checked.error is not None:
        return Failure(checked.error)
    try:
        return Success(work())
    except Refused as refused:
        return Failure(from_refused(refused, origin))
    except OSError as error:
        return Failure(from_os_error(error, origin))
    except Exception as error:  # noqa: BLE001 - the unforeseen is UNKNOWN, never a crash
        return Failure(unforeseen("CONFIG_UNEXPECTED", f"reading {origin}", error))
