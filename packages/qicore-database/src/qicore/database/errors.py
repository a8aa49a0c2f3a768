"""Every way a database can fail, as a QiError: one table from SQLite's result codes, one place that reads it.

DB_CONNECT_FAILED [NETWORK]: the database can't be opened, or has become unusable (corrupt, full disk,
closed). DB_CONSTRAINT, DB_BAD_QUERY, DB_ROW_NOT_FOUND, DB_MIGRATION_MISMATCH [VALIDATION]: the caller asked
for what can't be. DB_READ_ONLY [PERMISSION]: the file, its folder or the connection may not be written.
DB_BUSY, DB_TIMEOUT, DB_POOL_EXHAUSTED [TIMEOUT]: it took too long; trying again may help.
"""

import sqlite3
from typing import Final

from qicore.base import ErrorCategory, QiError
from qicore.database.scan import mask_literals

__all__ = [
    "BUSY",
    "CONFLICTS",
    "bad_query",
    "closed",
    "connect_failed",
    "invalid_row",
    "is_unavailable",
    "migration_mismatch",
    "pool_exhausted",
    "row_not_found",
    "timed_out",
    "translate",
]

CONNECT_FAILED: Final = ("DB_CONNECT_FAILED", ErrorCategory.NETWORK)
CONSTRAINT: Final = ("DB_CONSTRAINT", ErrorCategory.VALIDATION)
BAD_QUERY: Final = ("DB_BAD_QUERY", ErrorCategory.VALIDATION)
READ_ONLY: Final = ("DB_READ_ONLY", ErrorCategory.PERMISSION)
BUSY: Final = ("DB_BUSY", ErrorCategory.TIMEOUT)
TIMEOUT: Final = ("DB_TIMEOUT", ErrorCategory.TIMEOUT)

# Primary result codes: https://sqlite.org/rescode.html. An extended code holds its primary one in the low
# byte.
_CODES: Final[dict[int, tuple[str, ErrorCategory]]] = {
    sqlite3.SQLITE_ERROR: BAD_QUERY,
    sqlite3.SQLITE_PERM: CONNECT_FAILED,
    sqlite3.SQLITE_ABORT: BAD_QUERY,
    sqlite3.SQLITE_BUSY: BUSY,
    sqlite3.SQLITE_LOCKED: BUSY,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_INTERRUPT: TIMEOUT,
    sqlite3.SQLITE_IOERR: CONNECT_FAILED,
    sqlite3.SQLITE_CORRUPT: CONNECT_FAILED,
    sqlite3.SQLITE_FULL: CONNECT_FAILED,
    sqlite3.SQLITE_CANTOPEN: CONNECT_FAILED,
    sqlite3.SQLITE_PROTOCOL: BUSY,
    sqlite3.SQLITE_SCHEMA: BAD_QUERY,
    sqlite3.SQLITE_TOOBIG: BAD_QUERY,
    sqlite3.SQLITE_CONSTRAINT: CONSTRAINT,
    sqlite3.SQLITE_MISMATCH: BAD_QUERY,
    sqlite3.SQLITE_MISUSE: BAD_QUERY,
    sqlite3.SQLITE_NOLFS: CONNECT_FAILED,
    sqlite3.SQLITE_AUTH: BAD_QUERY,
    sqlite3.SQLITE_RANGE: BAD_QUERY,
    sqlite3.SQLITE_NOTADB: CONNECT_FAILED,
}

# What the sqlite3 module raises by itself, without a result code: wrong number of parameters, a value of a
# type SQLite does not know, an int beyond 64 bits, a lone surrogate, a NUL in the statement, a text that is
# not UTF-8.
_CALLER_ERRORS: Final = (
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    sqlite3.DataError,
    sqlite3.NotSupportedError,
    sqlite3.OperationalError,
    sqlite3.Warning,
    OverflowError,
    UnicodeError,
    ValueError,
    TypeError,
)


CONFLICTS: Final = frozenset({"40001", "40P01", "0A000", "26000"})
"""SQLSTATE of a serialization failure, of a deadlock and, where it is DB_BUSY, of a table that was changed
under a prepared statement: the server is well, a new try may succeed."""

_FULL: Final = frozenset({"SQLITE_FULL", "53100"})


def translate(exception: Exception, sql: str | None = None) -> QiError:
    """Return the QiError for what a statement raised. No value enters it: parameters are left out."""
    if isinstance(exception, QiError):
        return exception.with_traceback(None)
    code: int | None = getattr(exception, "sqlite_errorcode", None)
    known = _CODES.get(code & 0xFF) if code is not None else None
    if known is None and isinstance(exception, _CALLER_ERRORS):
        known = BAD_QUERY
    context: dict[str, object] = {}
    if code is not None:
        context["sqlite"] = getattr(exception, "sqlite_errorname", str(code))
    if sql is not None:
        context["sql"] = mask_literals(sql)[:500]
    if known is None:
        return QiError.from_exception(exception, code="DB_UNFORESEEN", **context)
    message = str(exception)
    if isinstance(exception, UnicodeError):
        # Its own text would show the value.
        message = "a text is not valid Unicode"
    error = QiError.create(known[0], message or type(exception).__name__, known[1], context)
    # Without its traceback, whose frames would keep the parameters alive.
    error.__cause__ = exception.with_traceback(None)
    return error


def is_unavailable(error: QiError) -> bool | None:
    """Whether an error says that the database is busy, out of reach or broken: what a circuit breaker counts.

    None when it says nothing of the database, which was not asked then: the connections are all taken, or the
    database was closed. A full disk does not count either way but as an answer: reads go on.

    >>> is_unavailable(timed_out(30, None))
    True
    >>> is_unavailable(translate(sqlite3.IntegrityError("UNIQUE constraint failed: users.name"))) is None
    True
    """
    if error.code == TIMEOUT[0]:
        return True
    said = error.context.get("sqlite") or error.context.get("sqlstate")
    if said is None or said in CONFLICTS:
        return None
    ill = error.code in (BUSY[0], CONNECT_FAILED[0]) or error.category is ErrorCategory.UNKNOWN
    return ill and said not in _FULL


def bad_query(message: str, **context: object) -> QiError:
    """DB_BAD_QUERY: the statement, a name or a value can't be used."""
    return QiError.validation("DB_BAD_QUERY", message, **context)


def invalid_row(message: str, **context: object) -> QiError:
    """DB_BAD_QUERY: the rows that a query gives don't fit the class that was asked for."""
    return QiError.validation("DB_BAD_QUERY", message, **context)


def row_not_found(message: str, **context: object) -> QiError:
    """DB_ROW_NOT_FOUND: one row was demanded and there is none."""
    return QiError.validation("DB_ROW_NOT_FOUND", message, **context)


def migration_mismatch(message: str, **context: object) -> QiError:
    """DB_MIGRATION_MISMATCH: the directory and the database tell different histories."""
    return QiError.validation("DB_MIGRATION_MISMATCH", message, **context)


def connect_failed(message: str, **context: object) -> QiError:
    """DB_CONNECT_FAILED: there is no usable database behind this."""
    return QiError.network("DB_CONNECT_FAILED", message, **context)


def closed() -> QiError:
    """DB_CONNECT_FAILED: the database was closed."""
    return connect_failed("the database is closed")


def pool_exhausted(seconds: float, what: str) -> QiError:
    """DB_POOL_EXHAUSTED: every connection of the kind was taken for too long."""
    return QiError.timeout("DB_POOL_EXHAUSTED", f"{what} for {seconds:g} s", timeout=seconds)


def timed_out(seconds: float, sql: str | None) -> QiError:
    """DB_TIMEOUT: a statement ran for too long and was interrupted."""
    context = {} if sql is None else {"sql": mask_literals(sql)[:500]}
    return QiError.timeout(
        "DB_TIMEOUT", f"the statement was interrupted after {seconds:g} s", timeout=seconds, **context
    )
