"""The options of qicore-ai."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from qicore.base import Failure, QiError, Result, Success


@dataclass(frozen=True, kw_only=True, slots=True)
class AiConfig:
    """How a client behaves; the defaults are right for production.

    Attributes:
        timeout: Seconds that one operation may take.
    """

    timeout: float = 30.0

    def check(self) -> Result[Self]:
        """Return these options, or what is wrong with them: INVALID_AI_CONFIG [VALIDATION].

        >>> AiConfig(timeout=0).check().is_failure
        True
        """
        if not self.timeout > 0:
            return Failure(
                QiError.validation(
                    "INVALID_AI_CONFIG", "timeout must be above 0 seconds", timeout=self.timeout
                )
            )
        return Success(self)
