"""The eight error categories, and the one table of what follows from each.

Web answers, process exits and retries all read this table, so that an error means the same everywhere.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

__all__ = ["CategoryPolicy", "ErrorCategory", "RetryAdvice"]


class RetryAdvice(NamedTuple):
    """How to try again: exponential back-off with full jitter, in seconds.

    `max_attempts` counts the first try too. The delay before attempt n + 1 is drawn evenly from
    0 to `min(max_delay, base_delay * 2 ** (n - 1))`, the "full jitter" of the AWS Architecture Blog (2015).
    """

    max_attempts: int
    base_delay: float
    max_delay: float


class CategoryPolicy(NamedTuple):
    """What follows from a category: whether and how to retry, the HTTP status, the process exit code.

    `retry` is None where trying again can't help. Statuses are those of RFC 9110; exit codes are those of
    BSD's sysexits.h, but for VALIDATION, where 2 is what argparse, click and most shells use for bad usage.
    """

    retry: RetryAdvice | None
    http_status: int
    exit_code: int


class ErrorCategory(StrEnum):
    """What kind of thing went wrong, and so what can be done about it.

    >>> ErrorCategory.NETWORK.is_retryable, ErrorCategory.VALIDATION.is_retryable
    (True, False)
    >>> ErrorCategory.PERMISSION.policy.http_status
    403
    """

    VALIDATION = "VALIDATION"
    NETWORK = "NETWORK"
    FILESYSTEM = "FILESYSTEM"
    CONFIGURATION = "CONFIGURATION"
    CACHE = "CACHE"
    TIMEOUT = "TIMEOUT"
    PERMISSION = "PERMISSION"
    UNKNOWN = "UNKNOWN"

    @property
    def policy(self) -> CategoryPolicy:
        """The row of the table for this category."""
        return _POLICIES[self]

    @property
    def is_retryable(self) -> bool:
        """Whether the same call may succeed when it is tried again."""
        return _POLICIES[self].retry is not None


# A network or a service recovers in seconds; a cache is close by and has a fallback, so it is asked once more
# at once. UNKNOWN is never retried: what is not understood may not be safe to repeat.
_POLICIES: Final = {
    ErrorCategory.VALIDATION: CategoryPolicy(None, 422, 2),
    ErrorCategory.NETWORK: CategoryPolicy(RetryAdvice(4, 0.1, 10.0), 502, 69),  # EX_UNAVAILABLE
    ErrorCategory.FILESYSTEM: CategoryPolicy(None, 500, 74),  # EX_IOERR
    ErrorCategory.CONFIGURATION: CategoryPolicy(None, 500, 78),  # EX_CONFIG
    ErrorCategory.CACHE: CategoryPolicy(RetryAdvice(2, 0.01, 0.1), 503, 75),  # EX_TEMPFAIL
    ErrorCategory.TIMEOUT: CategoryPolicy(RetryAdvice(3, 0.2, 10.0), 504, 75),  # EX_TEMPFAIL
    ErrorCategory.PERMISSION: CategoryPolicy(None, 403, 77),  # EX_NOPERM
    ErrorCategory.UNKNOWN: CategoryPolicy(None, 500, 70),  # EX_SOFTWARE
}
