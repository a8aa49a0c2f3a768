"""What PostgreSQL says, as a QiError: one table from SQLSTATE codes, by code or by class.

Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html. Messages of class 22 hold the value
that did not fit, and details of class 23 the row, so these are told by the names of the error and of the
constraint.
"""

import re
from typing import Final

from psycopg import errors, pq
from qicore.base import ErrorCategory, QiError
from qicore.database.errors import (
    BAD_QUERY,
    BUSY,
    CONNECT_FAILED,
    CONSTRAINT,
    READ_ONLY,
    TIMEOUT,
    bad_query,
    connect_failed,
)
from qicore.database.scan import mask_literals

__all__ = [
    "connect_error",
    "is_misfit",
    "is_stale",
    "lost",
    "stale",
    "translate_result",
    "unforeseen",
    "was_interrupted",
]

FORBIDDEN: Final = ("DB_FORBIDDEN", ErrorCategory.PERMISSION)
UNFORESEEN: Final = ("DB_UNFORESEEN", ErrorCategory.UNKNOWN)

_CODES: Final[dict[str, tuple[str, ErrorCategory]]] = {
    "25006": READ_ONLY,
    "25P03": TIMEOUT,
    "25P04": TIMEOUT,
    "42501": FORBIDDEN,
    "55P03": BUSY,
    "53400": BAD_QUERY,
    "55006": BUSY,
    "57014": TIMEOUT,
    "57P01": CONNECT_FAILED,
    "57P02": CONNECT_FAILED,
    "57P03": CONNECT_FAILED,
    "57P05": CONNECT_FAILED,
}
_CLASSES: Final[dict[str, tuple[str, ErrorCategory]]] = {
    "08": CONNECT_FAILED,
    "23": CONSTRAINT,
    "28": CONNECT_FAILED,
    "40": BUSY,
    "53": CONNECT_FAILED,
    "54": BAD_QUERY,
    "55": BAD_QUERY,
    "57": CONNECT_FAILED,
    "58": CONNECT_FAILED,
    "XX": UNFORESEEN,
    "F0": UNFORESEEN,
    "P0": BAD_QUERY,
}
_OWN_WORDS: Final = {
    "57014": "the statement was interrupted, by the statement timeout or by somebody at the server",
    "55P03": "somebody else's lock was not given up in time",
    "25P02": "the transaction was rolled back when a statement in it failed",
}


_LITERAL: Final = re.compile("'(?:[^']|'')*'")
"""What a complaint about the syntax may quote."""


_MISFITS: Final = frozenset((b"42804", b"22003", b"22P02"))
"""A wrong type, a number out of its range, a text that can't be read as what it should be."""


def is_stale(result: "pq.abc.PGresult") -> bool:
    """Whether a prepared statement is of no use any more: its tables changed, or the server forgot it."""
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    if state == b"0A000":
        # https://github.com/postgres/postgres/blob/master/src/backend/utils/cache/plancache.c
        return result.error_field(pq.DiagnosticField.SOURCE_FUNCTION) == b"RevalidateCachedQuery"
    return state == b"26000"


def is_misfit(result: "pq.abc.PGresult") -> bool:
    """Whether a value, or its type, is none for where it goes: it may have been, before a column changed."""
    return result.error_field(pq.DiagnosticField.SQLSTATE) in _MISFITS


def was_interrupted(result: "pq.abc.PGresult") -> bool:
    """Whether a statement was interrupted, by a timeout or by a request to do so."""
    return result.error_field(pq.DiagnosticField.SQLSTATE) == b"57014"


def stale(result: "pq.abc.PGresult") -> QiError:
    """DB_BUSY: a table was changed under a transaction, which may succeed when it is run again."""
    error = translate_result(result, None)
    return QiError.create(BUSY[0], "a table was changed meanwhile", BUSY[1], error.context)


def translate_result(result: "pq.abc.PGresult", sql: str | None) -> QiError:
    """Return the error for a result that is one. No value enters it."""

    def field(name: pq.DiagnosticField) -> str | None:
        value = result.error_field(name)
        return None if value is None else value.decode("utf-8", "replace")

    state = field(pq.DiagnosticField.SQLSTATE) or ""
    primary = field(pq.DiagnosticField.MESSAGE_PRIMARY) or "the server gives no reason"
    code, category = _CODES.get(state) or _CLASSES.get(state[:2], BAD_QUERY)
    context: dict[str, object] = {"sqlstate": state}
    for name, part in (
        ("constraint", pq.DiagnosticField.CONSTRAINT_NAME),
        ("table", pq.DiagnosticField.TABLE_NAME),
        ("column", pq.DiagnosticField.COLUMN_NAME),
    ):
        value = field(part)
        if value is not None:
            context[name] = value
    if sql is not None:
        context["sql"] = mask_literals(sql)[:500]
    if state[:2] in ("22", "P0"):
        primary = f"the server refuses a value: {_name(state)}"
    elif state == "42601":
        primary = _LITERAL.sub("'…'", primary)
    return QiError.create(code, _OWN_WORDS.get(state, primary), category, context)


def _name(state: str) -> str:
    try:
        return errors.lookup(state).__name__
    except KeyError:
        return state


def lost(reason: str = "the connection to the server was lost before the answer came") -> QiError:
    """DB_CONNECT_FAILED: whether the statement was carried out, nobody knows."""
    return connect_failed(reason, sqlstate="08006")


def connect_error(exception: BaseException) -> QiError:
    """DB_CONNECT_FAILED for an attempt to connect; the text of libpq is kept without what a URL holds."""
    state = getattr(exception, "sqlstate", None) or "08001"
    if isinstance(exception, TimeoutError | errors.ConnectionTimeout):
        return connect_failed("the server did not answer in time", sqlstate=state)
    told = str(exception).lower()
    for words, reason in (
        ("password authentication failed", "the server refuses the user or the password"),
        ("no password supplied", "the server wants a password"),
        ("does not exist", "the server has no such database or user"),
        ("too many", "the server has no connection left"),
        ("starting up", "the server is starting up"),
        ("shutting down", "the server is shutting down"),
        ("recovery", "the server is in recovery"),
        ("certificate", "the certificate of the server is not trusted"),
        ("ssl", "server and client do not agree on TLS"),
        ("could not translate host name", "the name of the server is not known"),
        ("refused", "nobody listens there"),
    ):
        if words in told:
            return connect_failed(reason, sqlstate=state)
    return connect_failed("the server can't be reached", sqlstate=state)


def unforeseen(exception: Exception) -> QiError:
    """What the driver raised, and no server said."""
    if isinstance(exception, QiError):
        return exception.with_traceback(None)
    if isinstance(exception, errors.Error):
        if exception.pgresult is not None:
            return translate_result(exception.pgresult, None)
        if isinstance(exception, errors.OperationalError):
            return lost()
        return bad_query(f"a value can't be sent or read: {type(exception).__name__}")
    if isinstance(exception, UnicodeError | TypeError | ValueError | OverflowError):
        return bad_query(f"a value can't be sent or read: {type(exception).__name__}")
    return QiError.from_exception(exception, code="DB_UNFORESEEN")
