"""What goes wrong with a server, as QiErrors: the one place where exceptions are translated."""

from __future__ import annotations

import errno
import os

from qicore.base import ErrorCategory, QiError

__all__ = [
    "app_not_found",
    "bind_failed",
    "drain_timed_out",
    "lifespan_failed",
    "reload_failed",
    "spawn_failed",
    "start_timed_out",
    "tls_failed",
    "worker_died",
    "wrong_state",
]


def bind_failed(place: str, cause: Exception) -> QiError:
    """Return ASGI_BIND_FAILED: NETWORK, or PERMISSION where the system does not allow the place."""
    reasons = {
        errno.EADDRINUSE: "it is in use: choose another, or stop what listens there",
        errno.EADDRNOTAVAIL: "this machine has no such address",
        errno.EACCES: "this user may not listen there",
        errno.EPERM: "this user may not listen there",
        errno.ENOENT: "its directory does not exist",
    }
    number = (cause.errno or 0) if isinstance(cause, OSError) else 0
    reason = reasons.get(number, os.strerror(number) if number > 0 else "the address can't be resolved")
    category = ErrorCategory.PERMISSION if isinstance(cause, PermissionError) else ErrorCategory.NETWORK
    error = QiError.create(
        "ASGI_BIND_FAILED", f"can't listen at {place}: {reason}", category, {"place": place}
    )
    error.__cause__ = cause
    return error


def app_not_found(name: str, reason: str, cause: BaseException | None = None) -> QiError:
    """Return ASGI_APP_NOT_FOUND [CONFIGURATION]: the application can't be imported, or is none."""
    error = QiError.configuration(
        "ASGI_APP_NOT_FOUND", f"there is no application {name!r}: {reason}", app=name
    )
    error.__cause__ = cause
    return error


def lifespan_failed(reason: str) -> QiError:
    """Return ASGI_LIFESPAN_FAILED [CONFIGURATION]: the application said that it can't start."""
    last = reason.strip().splitlines()[-1] if reason.strip() else "it gave no reason"
    return QiError.configuration("ASGI_LIFESPAN_FAILED", f"the application did not start: {last}")


def start_timed_out(seconds: float) -> QiError:
    """Return ASGI_START_TIMEOUT [TIMEOUT]."""
    return QiError.timeout(
        "ASGI_START_TIMEOUT", f"the application did not start within {seconds:g} seconds", seconds=seconds
    )


def tls_failed(cause: Exception) -> QiError:
    """Return ASGI_TLS_FAILED [CONFIGURATION]: certificate or key can't be read, or do not fit."""
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__
    error = QiError.configuration("ASGI_TLS_FAILED", f"certificate and key can't be used: {reason}")
    error.__cause__ = cause
    return error


def drain_timed_out(cut: int, seconds: float) -> QiError:
    """Return ASGI_DRAIN_TIMEOUT [TIMEOUT]: the server stopped, but `cut` requests were ended early."""
    return QiError.timeout(
        "ASGI_DRAIN_TIMEOUT",
        f"{cut} requests were still running after {seconds:g} seconds, and were cancelled",
        cancelled=cut,
        seconds=seconds,
    )


def spawn_failed(cause: OSError) -> QiError:
    """Return ASGI_WORKER_DIED [UNKNOWN]: the system starts no further process."""
    reason = cause.strerror or type(cause).__name__
    error = QiError.unknown("ASGI_WORKER_DIED", f"a worker can't be started: {reason}")
    error.__cause__ = cause
    return error


def worker_died(pid: int, status: int | None, before: str) -> QiError:
    """Return ASGI_WORKER_DIED [UNKNOWN]: a worker's process ended too early, by itself or by a signal."""
    how = f"by signal {-status}" if status is not None and status < 0 else f"with status {status}"
    return QiError.unknown(
        "ASGI_WORKER_DIED",
        f"worker {pid} ended {how} before it was {before}: its output may tell why",
        pid=pid,
        status=status,
    )


def reload_failed(cause: QiError, replaced: int, workers: int) -> QiError:
    """Return ASGI_RELOAD_FAILED [CONFIGURATION]: a new worker did not start, and the old ones go on."""
    old = "the old workers go on" if replaced == 0 else f"{workers - replaced} old workers go on"
    error = QiError.configuration(
        "ASGI_RELOAD_FAILED", f"{old}: {cause.message}", replaced=replaced, workers=workers
    )
    return error.with_cause(cause)


def wrong_state(operation: str, state: str, allowed: str) -> QiError:
    """Return ASGI_WRONG_STATE [VALIDATION]: the operation has no meaning in this part of a server's life."""
    return QiError.validation(
        "ASGI_WRONG_STATE",
        f"{operation} needs a server that is {allowed}; this one is {state}",
        operation=operation,
        state=state,
    )
