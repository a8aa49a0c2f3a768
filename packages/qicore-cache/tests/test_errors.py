"""The table of errors: what SQLite and redis-py raise, and what is shown of it."""

import json
import sqlite3
from pathlib import Path

import pytest
from qicore.base import ErrorCategory
from qicore.cache.errors import from_file, from_redis, invalid_key, key_not_found, load_failed, write_failed
from redis import exceptions


@pytest.mark.parametrize(
    ("exception", "code", "category"),
    [
        (exceptions.ConnectionError("refused"), "REDIS_UNREACHABLE", ErrorCategory.NETWORK),
        (ConnectionResetError("reset"), "REDIS_UNREACHABLE", ErrorCategory.NETWORK),
        (exceptions.BusyLoadingError("LOADING"), "REDIS_UNREACHABLE", ErrorCategory.NETWORK),
        (exceptions.ReadOnlyError("a replica"), "REDIS_UNREACHABLE", ErrorCategory.NETWORK),
        (exceptions.ClusterDownError("CLUSTERDOWN"), "REDIS_UNREACHABLE", ErrorCategory.NETWORK),
        (exceptions.TimeoutError("late"), "REDIS_TIMEOUT", ErrorCategory.TIMEOUT),
        (TimeoutError("late"), "REDIS_TIMEOUT", ErrorCategory.TIMEOUT),
        (exceptions.AuthenticationError("wrong"), "REDIS_DENIED", ErrorCategory.PERMISSION),
        (exceptions.NoPermissionError("NOPERM"), "REDIS_DENIED", ErrorCategory.PERMISSION),
        (exceptions.ResponseError("OOM out of memory"), "REDIS_REFUSED", ErrorCategory.CACHE),
        (ZeroDivisionError("nobody foresaw it"), "CACHE_UNFORESEEN", ErrorCategory.UNKNOWN),
    ],
)
def test_what_redis_says(exception: Exception, code: str, category: ErrorCategory) -> None:
    error = from_redis(exception)
    assert (error.code, error.category) == (code, category)


def test_what_redis_says_may_quote_a_value_and_is_not_repeated() -> None:
    error = from_redis(exceptions.ResponseError("WRONGTYPE hunter2"))
    assert error.context["redis"] == "WRONGTYPE"
    assert "hunter2" not in json.dumps(error.to_structured_data())
    assert error.__cause__ is None


def test_what_nobody_foresaw_is_kept() -> None:
    cause = RuntimeError("boom")
    assert from_redis(cause).__cause__ is cause
    assert from_file(cause).__cause__ is cause


def file_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("unable to open /srv/ada/secret.db")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("number", "code", "category"),
    [
        (sqlite3.SQLITE_BUSY, "FILE_BUSY", ErrorCategory.TIMEOUT),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "FILE_BUSY", ErrorCategory.TIMEOUT),
        (sqlite3.SQLITE_FULL, "FILE_FULL", ErrorCategory.FILESYSTEM),
        (sqlite3.SQLITE_READONLY, "FILE_READ_ONLY", ErrorCategory.PERMISSION),
        (sqlite3.SQLITE_CORRUPT, "FILE_DAMAGED", ErrorCategory.FILESYSTEM),
        (sqlite3.SQLITE_NOTADB, "FILE_FOREIGN", ErrorCategory.FILESYSTEM),
        (sqlite3.SQLITE_IOERR_FSYNC, "FILE_UNREADABLE", ErrorCategory.FILESYSTEM),
    ],
)
def test_what_sqlite_says(number: int, code: str, category: ErrorCategory) -> None:
    error = from_file(file_error(number))
    assert (error.code, error.category) == (code, category)
    assert "secret" not in str(error)


def test_real_errors_of_sqlite_are_known(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError) as raised:
        sqlite3.connect("file:/no/such/folder/cache.db?mode=ro", uri=True)
    assert from_file(raised.value).code == "FILE_UNREADABLE"
    (tmp_path / "no.db").write_text("this is no database at all, however long it may be" * 10)
    connection = sqlite3.connect(tmp_path / "no.db")
    with pytest.raises(sqlite3.DatabaseError) as foreign:
        connection.execute("SELECT * FROM sqlite_master")
    connection.close()
    assert from_file(foreign.value).code == "FILE_FOREIGN"


def test_why_it_failed_is_the_cause() -> None:
    cause = from_file(file_error(sqlite3.SQLITE_FULL))
    for error in (load_failed(cause), write_failed(cause)):
        assert error.cause == cause
        assert cause.message in error.message
        assert error.category is ErrorCategory.CACHE


def test_a_key_is_shown_but_not_all_of_a_long_one() -> None:
    assert key_not_found("user:7").context["key"] == "user:7"
    assert key_not_found("x" * 1000).context["key"] == "x" * 200
    assert invalid_key("x" * 1000).context["key"] == "x" * 200
    assert invalid_key(7).context["key"] == "int"
