"""The one place where exceptions become errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from qicore.base import ErrorCategory, QiError

_SAFE_KEY: Final = 200  # characters of a key that an error shows


def key_not_found(key: str) -> QiError:
    """Return KEY_NOT_FOUND [CACHE]: there is no value, or none any more, or none that can be read."""
    # Not by `QiError.cache`, which takes a fifth longer: misses are many.
    context = {"key": key[:_SAFE_KEY]}
    return QiError("KEY_NOT_FOUND", "there is no value at this key", ErrorCategory.CACHE, context)


def invalid_key(key: object) -> QiError:
    """Return INVALID_KEY [VALIDATION]."""
    shown = key[:_SAFE_KEY] if isinstance(key, str) else type(key).__name__
    return QiError.validation("INVALID_KEY", "a key must be a text of 1 to 4096 characters", key=shown)


def load_failed(cause: QiError) -> QiError:
    """Return CACHE_LOAD_FAILED [CACHE]: the file or Redis can't be read, and why."""
    return QiError.cache("CACHE_LOAD_FAILED", f"the cache can't be read: {cause.message}").with_cause(cause)


def write_failed(cause: QiError) -> QiError:
    """Return CACHE_WRITE_FAILED [CACHE]: a value can't be written, and why."""
    return QiError.cache("CACHE_WRITE_FAILED", f"the value can't be written: {cause.message}").with_cause(
        cause
    )


def closed() -> QiError:
    """Return CACHE_CLOSED [CACHE]."""
    return QiError.cache("CACHE_CLOSED", "the cache is closed")


# ---- Redis ----------------------------------------------------------------------------------------------

_DENIED: Final = ("REDIS_DENIED", ErrorCategory.PERMISSION, "Redis refuses the login, or what it may do")
_TIMED_OUT: Final = ("REDIS_TIMEOUT", ErrorCategory.TIMEOUT, "Redis did not answer in time")
_UNREACHABLE: Final = (
    "REDIS_UNREACHABLE",
    ErrorCategory.NETWORK,
    "Redis can't be reached, or not be used now",
)
_REFUSED: Final = ("REDIS_REFUSED", ErrorCategory.CACHE, "Redis refused the command")

# Why Redis gave no answer: the cause behind CACHE_LOAD_FAILED and CACHE_WRITE_FAILED. By name, since to
# import redis-py takes a while and only who uses it should. The first class in an exception's method
# resolution order that is named here decides; NETWORK and TIMEOUT count for the breaker.
_REDIS: Final[Mapping[str, tuple[str, ErrorCategory, str]]] = {
    "builtins.OSError": _UNREACHABLE,
    "builtins.TimeoutError": _TIMED_OUT,
    "builtins.UnicodeError": ("INVALID_KEY", ErrorCategory.VALIDATION, "a key is not valid Unicode"),
    "redis.exceptions.AuthenticationError": _DENIED,
    "redis.exceptions.AuthorizationError": _DENIED,
    "redis.exceptions.ClusterError": _UNREACHABLE,
    "redis.exceptions.ConnectionError": _UNREACHABLE,
    "redis.exceptions.NoPermissionError": _DENIED,
    "redis.exceptions.ReadOnlyError": _UNREACHABLE,
    "redis.exceptions.RedisClusterException": _UNREACHABLE,
    "redis.exceptions.ResponseError": _REFUSED,
    "redis.exceptions.TimeoutError": _TIMED_OUT,
}


def from_redis(exception: Exception) -> QiError:
    """Return the error for what redis-py raised.

    Of the message only the leading code of Redis (OOM, WRONGTYPE) gets into it: the rest may quote a value.
    """
    names = (f"{kind.__module__}.{kind.__name__}" for kind in type(exception).__mro__)
    known = next((_REDIS[name] for name in names if name in _REDIS), None)
    if known is None:
        return QiError.from_exception(exception, code="CACHE_UNFORESEEN")
    code, category, message = known
    status = getattr(exception, "status_code", None) or str(exception).partition(" ")[0]
    context = (
        {"redis": status} if known in (_REFUSED, _DENIED) and status.isalpha() and status.isupper() else {}
    )
    error = QiError.create(code, message, category, context)
    if known is not _REFUSED:
        error.__cause__ = exception.with_traceback(None)
    return error


# ---- the embedded file ----------------------------------------------------------------------------------

# Why the file gave no answer, by SQLite's primary result code (https://www.sqlite.org/rescode.html): the
# cause behind CACHE_LOAD_FAILED and CACHE_WRITE_FAILED.
_FILE: Final[Mapping[int, tuple[str, ErrorCategory, str]]] = {
    sqlite3.SQLITE_BUSY: ("FILE_BUSY", ErrorCategory.TIMEOUT, "another process keeps the file locked"),
    sqlite3.SQLITE_LOCKED: ("FILE_BUSY", ErrorCategory.TIMEOUT, "another process keeps the file locked"),
    sqlite3.SQLITE_FULL: ("FILE_FULL", ErrorCategory.FILESYSTEM, "there is no room left on the disk"),
    sqlite3.SQLITE_READONLY: ("FILE_READ_ONLY", ErrorCategory.PERMISSION, "the file can't be written"),
    sqlite3.SQLITE_CANTOPEN: ("FILE_UNREADABLE", ErrorCategory.FILESYSTEM, "the file can't be opened"),
    sqlite3.SQLITE_PERM: ("FILE_UNREADABLE", ErrorCategory.PERMISSION, "the file can't be opened"),
    sqlite3.SQLITE_IOERR: ("FILE_UNREADABLE", ErrorCategory.FILESYSTEM, "the disk gave an error"),
    sqlite3.SQLITE_CORRUPT: ("FILE_DAMAGED", ErrorCategory.FILESYSTEM, "the file is damaged"),
    sqlite3.SQLITE_NOTADB: ("FILE_FOREIGN", ErrorCategory.FILESYSTEM, "the file is no cache"),
}


class ForeignFileError(Exception):
    """The file is a database, but no cache of ours, or one of a later version."""


def from_file(exception: Exception) -> QiError:
    """Return the error for what SQLite raised, or the system when the file was opened."""
    if isinstance(exception, ForeignFileError):
        return QiError.filesystem("FILE_FOREIGN", str(exception))
    if isinstance(exception, OSError | ValueError):  # its directory can't be made; its path is none
        return QiError.from_exception(exception, code="FILE_UNREADABLE")
    known = _FILE.get(getattr(exception, "sqlite_errorcode", 0) & 0xFF)
    if known is None:
        return QiError.from_exception(exception, code="CACHE_UNFORESEEN")
    code, category, message = known
    error = QiError.create(code, message, category)
    error.__cause__ = exception.with_traceback(None)
    return error
