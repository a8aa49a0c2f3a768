"""Every way a policy can fail, as a QiError.

CIRCUIT_OPEN [NETWORK]: the circuit breaker did not let the call through. TIMEOUT_ERROR [TIMEOUT]: the
operation took longer than its `Timeout`. BULKHEAD_FULL, RATE_LIMITED [TIMEOUT]: there was no room for the
call, or no turn, in time. INVALID_RESILIENCE_CONFIG [VALIDATION]: the options are wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Final

from qicore.base import ErrorCategory, QiError
from qicore.base.error import MAX_CAUSES

__all__ = [
    "INVALID_CONFIG",
    "NEVER_CALLED",
    "bulkhead_full",
    "circuit_open",
    "not_a_result",
    "rate_limited",
    "timed_out",
    "to_error",
    "with_causes",
]

INVALID_CONFIG: Final = "INVALID_RESILIENCE_CONFIG"
"""The code of options that are wrong."""

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
    told = f"the operation must answer a Result, not {type(value).__name__}"
    if inspect.iscoroutine(value):
        value.close()  # nobody will await it
        told += "; an async function belongs into `call`, or is declared with `async def`"
    return to_error(TypeError(told))


def circuit_open(name: str, retry_after: float | None, why: str) -> QiError:
    """CIRCUIT_OPEN: the call was turned away. `retry_after` is in seconds, absent when nobody can know it."""
    context: dict[str, object] = {"name": name}
    if retry_after is not None:
        context["retry_after"] = retry_after
    return QiError("CIRCUIT_OPEN", f"circuit {name!r} {why}", ErrorCategory.NETWORK, context)


def timed_out(seconds: float) -> QiError:
    """TIMEOUT_ERROR: the operation took longer than it may."""
    return QiError.timeout("TIMEOUT_ERROR", f"no answer within {seconds:g} s", timeout=seconds)


def bulkhead_full(name: str, max_concurrent: int) -> QiError:
    """BULKHEAD_FULL: the call was turned away, for too many run and wait."""
    message = f"bulkhead {name!r} is full: {max_concurrent} calls at once"
    return QiError.timeout("BULKHEAD_FULL", message, name=name, max_concurrent=max_concurrent)


def rate_limited(name: str, retry_after: float) -> QiError:
    """RATE_LIMITED: the call was turned away, for its turn comes only in `retry_after` seconds."""
    wait = f"{retry_after:.3g}" if retry_after < 100 else f"{retry_after:.0f}"  # not 1.8e+03
    message = f"rate limiter {name!r} has no turn for {wait} s"
    return QiError.timeout("RATE_LIMITED", message, name=name, retry_after=retry_after)


def with_causes(error: QiError, causes: Iterable[QiError], /) -> QiError:
    """Return `error` with `causes` behind it, the last of them next to it.

    None stands there twice. A chain holds only so many: what is too much is left out, from its far end.

    >>> last, first = QiError.timeout("TIMEOUT_ERROR", "no answer"), QiError.network("NETWORK_ERROR", "reset")
    >>> with_causes(last, [first, last]).cause == first
    True
    """
    known, chosen = list(_chain(error)), list[QiError]()
    for cause in reversed(list(causes)):
        links = list(_chain(cause))
        if cause in known:
            continue
        if error in links or len(known) + len(links) > MAX_CAUSES + 1:
            links = [_alone(cause)]
        if len(known) > MAX_CAUSES:
            break
        known += links
        chosen.append(links[0])
    for cause in reversed(chosen):
        error = error.with_cause(cause)
    return error


def _alone(error: QiError) -> QiError:
    return QiError(error.code, error.message, error.category, error.context, timestamp=error.timestamp)


def _chain(error: QiError | None) -> Iterator[QiError]:
    while error is not None:
        yield error
        error = error.cause
