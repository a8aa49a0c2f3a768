"""How long values live."""

from __future__ import annotations

import math
import random

from qicore.base import QiError

__all__ = ["invalid_ttl", "jittered", "ttl_is_wrong"]


def ttl_is_wrong(ttl: object) -> bool:
    """Whether this is no number of seconds above 0."""
    return not isinstance(ttl, int | float) or isinstance(ttl, bool) or not 0 < ttl < math.inf


def invalid_ttl(ttl: object) -> QiError:
    """Return INVALID_TTL [VALIDATION]."""
    return QiError.validation("INVALID_TTL", "ttl must be a number of seconds above 0", ttl=repr(ttl)[:100])


def jittered(ttl: float, share: float) -> float:
    """Return the time to live, shortened at random by up to `share` of it, in seconds."""
    # Not for secrets: it only spreads the ends.
    return ttl * (1.0 - share * random.random()) if share else ttl  # noqa: S311
