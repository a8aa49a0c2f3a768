"""Every way a policy can fail, as a QiError.

CIRCUIT_OPEN [NETWORK]: the circuit breaker did not let the call through. TIMEOUT_ERROR [TIMEOUT]: the
operation took longer than its `Timeout`. BULKHEAD_FULL, RATE_LIMITED [TIMEOUT]: there was no room for the
call, or no turn, in time. INVALID_RESILIENCE_CONFIG [VALIDATION]: the options are wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from qicore.base import ErrorCategory, QiError

__all__ = [
    "NEVER_CALLED",
    "bulkhead_full",
    "circuit_open",
    "invalid_config",
    "not_a_result",
    "rate_limited",
    "timed_out",
    "to_error",
]

NEVER_CALLED: Final = frozenset(("CIRCUIT_OPEN", "BULKHEAD_FULL", "RATE_LIMITED"))
"""The codes of calls that a policy turned away: they tell nothing about the service behind it."""


def to_error(exception: Exception, /) -> QiError:
    """Return the error for what an operation raised; an unforeseen exception is UNKNOWN and is kept.

    >>> to_error(KeyError("user")).category.value
    'UNKNOWN'
    """
    return QiError.from_exception(exception)


def not_a_result(value: object, /) -> QiError:
    """UNKNOWN: the operation broke its promise to answer a Result."""
    return to_error(TypeError(f"the operation must answer a Result, not {type(value).__name__}"))


def circuit_open(name: str, retry_after: float | None, why: str) -> QiError:
    """CIRCUIT_OPEN: the call was turned away. `retry_after` is in seconds, absent when nobody can know it."""
    context: dict[str, object] = {"name": name}
    if retry_after is not None:
        context["retry_after"] = retry_after
    return QiError("CIRCUIT_OPEN", f"circuit {name!r} {why}", ErrorCategory.NETWORK, context)


def timed_out(seconds: float) -> QiError:
    """TIMEOUT_ERROR: the operation took longer than it may."""
    return QiError.timeout("TIMEOUT_ERROR", f"no answer within {seconds:g} s", timeout=seconds)


def bulkhead_full(max_concurrent: int) -> QiError:
    """BULKHEAD_FULL: the call was turned away, for too many run and wait."""
    message = f"{max_concurrent} calls run already"
    return QiError.timeout("BULKHEAD_FULL", message, max_concurrent=max_concurrent)


def rate_limited(retry_after: float) -> QiError:
    """RATE_LIMITED: the call was turned away, for its turn comes only in `retry_after` seconds."""
    return QiError.timeout("RATE_LIMITED", f"its turn comes in {retry_after:.3g} s", retry_after=retry_after)


def invalid_config(wrong: Iterable[str]) -> QiError:
    """INVALID_RESILIENCE_CONFIG: all that is wrong with some options, in one error."""
    return QiError.validation("INVALID_RESILIENCE_CONFIG", "; ".join(wrong))
