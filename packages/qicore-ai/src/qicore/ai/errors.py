"""The one place where exceptions become errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from qicore.base import QiError

# The first class that fits decides; the category follows from the exception (see `QiError.from_exception`).
_CODES: Final[Mapping[type[Exception], str]] = {
    TimeoutError: "AI_TIMEOUT",
}


def to_error(exception: Exception, /, **context: object) -> QiError:
    """Return the error for an exception from below; an unforeseen one is UNKNOWN and keeps it.

    >>> str(to_error(TimeoutError("no answer"), operation="read"))
    'TIMEOUT/AI_TIMEOUT: no answer'
    """
    code = next((code for kind, code in _CODES.items() if isinstance(exception, kind)), None)
    return QiError.from_exception(exception, code=code, **context)
