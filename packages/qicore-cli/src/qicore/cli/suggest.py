"""Suggestions for typos."""

from collections.abc import Iterable
from typing import Final

__all__ = ["closest", "did_you_mean"]

_LONGEST: Final = 64  # the comparison is quadratic, and nobody mistypes a longer name


def closest(typed: str, names: Iterable[str], most: int = 3) -> list[str]:
    """Return the names most like what was typed, the likest first.

    >>> closest("stauts", ["status", "start", "deploy"])
    ['status', 'start']
    """
    if len(typed) > _LONGEST:
        return []
    from difflib import get_close_matches  # only somebody who mistyped pays for it

    known = sorted(set(names))
    folded = {name.casefold(): name for name in reversed(known)}
    found = get_close_matches(typed.casefold(), list(folded), n=most, cutoff=0.6)
    return [folded[name] for name in found]


def did_you_mean(typed: str, names: Iterable[str]) -> str:
    """Return "; did you mean …?", or nothing."""
    found = closest(typed, names)
    return f"; did you mean {' or '.join(found)}?" if found else ""
