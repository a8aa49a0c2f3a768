"""How long values live."""

from __future__ import annotations

import random
from typing import Final, TypeGuard

from qicore.base import QiError

__all__ = ["invalid_ttl", "is_seconds", "jittered", "ttl_is_wrong"]

# Some 30,000 years. Beyond, clocks, Redis and what is stored overflow, each at a point of its own.
_LONGEST: Final = 1e12


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether this is a number of seconds, 0 or more, that can be reckoned with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LONGEST


def ttl_is_wrong(ttl: object) -> bool:
    """Whether this is no number of seconds above 0."""
    return not is_seconds(ttl) or ttl == 0


def invalid_ttl(ttl: object) -> QiError:
    """Return INVALID_TTL [VALIDATION]."""
    return QiError.validation(
        "INVALID_TTL", "ttl must be a number of seconds above 0 and up to 1e12", ttl=_shown(ttl)
    )


def _shown(ttl: object) -> str:
    try:
        return repr(ttl)[:100]
    except ValueError:  # CPython spells no integer of more than 4300 digits
        return type(ttl).__name__


def jittered(ttl: float, share: float) -> float:
    """Return the time to live, shortened at random by up to `share` of it, in seconds."""
    # Not for secrets: it only spreads the ends.
    return ttl * (1.0 - share * random.random()) if share else ttl  # noqa: S311
