"""What an error says: that the service is ill, or that the same call may succeed if it is made again."""

from __future__ import annotations

from typing import Final

from qicore.base import ErrorCategory, QiError
from qicore.resilience.errors import NEVER_CALLED

__all__ = ["is_ill", "is_transient"]

_ILL: Final = frozenset((ErrorCategory.NETWORK, ErrorCategory.TIMEOUT, ErrorCategory.UNKNOWN))

# RFC 9110 and RFC 6585: the statuses of a request that the server did not take now, but may take later.
_TRANSIENT_STATUSES: Final = frozenset((408, 425, 429, 500, 502, 503, 504))

# An open circuit is there so that nobody calls, and asking a cache again puts nothing into it.
_FINAL: Final = frozenset(("CIRCUIT_OPEN", "KEY_NOT_FOUND"))


def is_ill(error: QiError) -> bool:
    """Whether `error` says that the service is ill: what a circuit breaker counts, if not told otherwise.

    NETWORK, TIMEOUT and UNKNOWN do. An error whose context has a `status` (of HTTP) below 500 does not: the
    service answered. Nor does a call that some policy turned away, for it never reached the service
    (CIRCUIT_OPEN, BULKHEAD_FULL, RATE_LIMITED).

    >>> is_ill(QiError.network("HTTP_ERROR", "the server is ill", status=503))
    True
    >>> is_ill(QiError.network("HTTP_ERROR", "no such page", status=404))
    False
    """
    if error.category not in _ILL or error.code in NEVER_CALLED:
        return False
    status = error.context.get("status")
    return not (isinstance(status, int) and status < 500)


def is_transient(error: QiError) -> bool:
    """Whether the same call may succeed when it is made again: what a retry repeats, if not told otherwise.

    The category decides (`ErrorCategory.is_retryable`), but a `status` in the context knows better: 408, 425,
    429, 500, 502, 503 and 504 pass, others stay. CIRCUIT_OPEN is not worth a retry: the circuit is open so
    that nobody calls. BULKHEAD_FULL and RATE_LIMITED are: there may be room, or a turn, in a moment.

    >>> is_transient(QiError.timeout("TIMEOUT_ERROR", "no answer"))
    True
    >>> is_transient(QiError.validation("INVALID_URL", "no host"))
    False
    """
    if not error.category.is_retryable or error.code in _FINAL:
        return False
    status = error.context.get("status")
    return not isinstance(status, int) or status in _TRANSIENT_STATUSES
