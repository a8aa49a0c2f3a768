import sqlite3

import pytest
from qicore.base import ErrorCategory
from qicore.cache.errors import from_file, from_redis
from redis import exceptions


@pytest.mark.parametrize(
    ("exception", "code", "category"),
    [
        (ConnectionRefusedError(111, "refused"), "REDIS_UNREACHABLE", ErrorCategory.NETWORK),
        (exceptions.ConnectionError("reset"), "REDIS_UNREACHABLE", ErrorCategory.NETWORK),
        (exceptions.ReadOnlyError("a replica"), "REDIS_UNREACHABLE", ErrorCategory.NETWORK),
        (TimeoutError(), "REDIS_TIMEOUT", ErrorCategory.TIMEOUT),
        (exceptions.TimeoutError("slow"), "REDIS_TIMEOUT", ErrorCategory.TIMEOUT),
        (exceptions.AuthenticationError("no"), "REDIS_DENIED", ErrorCategory.PERMISSION),
        (exceptions.ResponseError("OOM command not allowed"), "REDIS_REFUSED", ErrorCategory.CACHE),
        (RuntimeError("boom"), "CACHE_UNFORESEEN", ErrorCategory.UNKNOWN),
    ],
)
def test_what_redis_py_raises_has_a_code(exception: Exception, code: str, category: ErrorCategory) -> None:
    error = from_redis(exception)
    assert (error.code, error.category) == (code, category)


def test_what_redis_says_may_quote_a_value_and_is_not_repeated() -> None:
    error = from_redis(exceptions.ResponseError("WRONGTYPE hunter2"))
    assert error.context["redis"] == "WRONGTYPE"
    assert "hunter2" not in str(error.to_structured_data())
    assert error.__cause__ is None


def test_what_nobody_foresaw_is_kept() -> None:
    cause = RuntimeError("boom")
    assert from_redis(cause).__cause__ is cause
    assert from_file(cause).__cause__ is cause


def test_what_sqlite_raises_has_a_code_by_its_result() -> None:
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect("file:/no/such/folder/cache.db?mode=ro", uri=True)
    error = from_file(caught.value)
    assert (error.code, error.category) == ("FILE_UNREADABLE", ErrorCategory.FILESYSTEM)
