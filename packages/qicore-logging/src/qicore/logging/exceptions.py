"""Render what went wrong: a QiError as its structure, any other exception with its traceback."""

import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Final

from qicore.base import QiError

__all__ = ["expand_exception"]

_MAX_TRACEBACK: Final = 32_000  # characters: some frames at the top, and the bottom, where it was raised
_HEAD: Final = 8_000
_NO_EXCEPTION: Final = (None, None, None)  # sys.exc_info() where there is none


def expand_exception(event: MutableMapping[str, Any]) -> None:
    """Put an exception from `exc_info` into `error`, and the traceback of the one there into `exception`."""
    error = event.get("error")
    if "exc_info" in event:
        raised = _raised(event["exc_info"])
        if raised is not None or event["exc_info"] in (True, False, None, _NO_EXCEPTION):
            del event["exc_info"]
        if error is None and raised is not None:
            event["error"] = error = raised
    if isinstance(error, BaseException) and "exception" not in event:
        text = _traceback(error)
        if text:
            event["exception"] = text


def _raised(exc_info: object) -> BaseException | None:
    """Return the exception that an `exc_info` in any of the standard library's forms means."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        found: object = exc_info[1] if len(exc_info) == 3 else None  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # a tuple of anything
        return found if isinstance(found, BaseException) else None
    return sys.exception() if exc_info is True else None


def _traceback(error: BaseException) -> str:
    behind: BaseException | None = error
    while isinstance(behind, QiError):  # its structure says it all, but for a foreign exception behind it
        behind = behind.__cause__
    if behind is None or not (behind.__traceback__ or behind.__cause__ or behind.__context__):
        return ""
    try:
        text = "".join(traceback.format_exception(behind)).rstrip("\n")
    except Exception as problem:  # noqa: BLE001 - a broken exception must not take its line with it
        return f"<{type(behind).__name__}: its traceback can't be rendered: {type(problem).__name__}>"
    if len(text) <= _MAX_TRACEBACK:
        return text
    cut = len(text) - _MAX_TRACEBACK
    return f"{text[:_HEAD]}\n… {cut} characters left out …\n{text[_HEAD + cut :]}"
