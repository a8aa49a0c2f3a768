"""Which code and category stand for an exception that is none of ours."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from qicore.base.category import ErrorCategory

__all__ = ["classify"]

# The first class in an exception's method resolution order that is named here decides.
_BUILTIN_CATEGORIES: Final[Mapping[type, ErrorCategory]] = {
    TimeoutError: ErrorCategory.TIMEOUT,
    PermissionError: ErrorCategory.PERMISSION,
    ConnectionError: ErrorCategory.NETWORK,
    OSError: ErrorCategory.FILESYSTEM,
}


@lru_cache(maxsize=256)
def classify(kind: type[BaseException]) -> tuple[str, ErrorCategory]:
    """Return the class's name in upper snake case, and the category that Python's own hierarchy gives it."""
    categories = (_BUILTIN_CATEGORIES[base] for base in kind.__mro__ if base in _BUILTIN_CATEGORIES)
    return _upper_snake(kind.__name__), next(categories, ErrorCategory.UNKNOWN)


def _upper_snake(name: str) -> str:
    return "".join(
        "_" + character
        if index and character.isupper() and not name[index - 1].isupper() and name[index - 1] != "_"
        else character
        for index, character in enumerate(name)
    ).upper()
