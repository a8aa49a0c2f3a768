"""The bounds within which configuration is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qicore.base import Failure, QiError, Result, Success

__all__ = ["ConfigLimits"]

# Reading, merging and comparing recurse once per level, and the interpreter gives 1000 frames in all.
_MOST_LEVELS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigLimits:
    """How much configuration is taken in; what goes beyond is refused in bounded time and memory.

    Attributes:
        max_bytes: bytes of one file or text, in UTF-8. The default, 1 MiB, is the most that a Kubernetes
            ConfigMap holds.
        max_depth: levels of mappings and lists, at most 200.
        max_values: mappings, lists and scalars, those included that an alias or a merge key repeats.
    """

    max_bytes: int = 1_048_576
    max_depth: int = 64
    max_values: int = 100_000

    def check(self) -> Result[ConfigLimits]:
        """Return these limits, or what is wrong with them: INVALID_CONFIG [VALIDATION].

        >>> str(ConfigLimits(max_depth=0).check().error)
        'VALIDATION/INVALID_CONFIG: max_depth must be from 1 to 200'
        """
        if not 1 <= self.max_depth <= _MOST_LEVELS:
            problem = f"max_depth must be from 1 to {_MOST_LEVELS}"
        elif self.max_bytes < 1:
            problem = "max_bytes must be at least 1"
        elif self.max_values < 1:
            problem = "max_values must be at least 1"
        else:
            return Success(self)
        return Failure(QiError.validation("INVALID_CONFIG", problem))
