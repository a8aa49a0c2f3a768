import pytest
from qicore.base import ErrorCategory, QiError
from qicore.resilience import is_ill, is_transient


def error(category: ErrorCategory, code: str = "CODE", **context: object) -> QiError:
    return QiError.create(code, "what happened", category, context)


@pytest.mark.parametrize("category", ErrorCategory)
def test_the_category_says_whether_the_service_is_ill(category: ErrorCategory) -> None:
    ill = {ErrorCategory.NETWORK, ErrorCategory.TIMEOUT, ErrorCategory.UNKNOWN}
    assert is_ill(error(category)) is (category in ill)


@pytest.mark.parametrize("category", ErrorCategory)
def test_the_category_says_whether_the_same_call_may_succeed(category: ErrorCategory) -> None:
    assert is_transient(error(category)) is category.is_retryable


@pytest.mark.parametrize(
    ("status", "ill", "transient"),
    [
        (301, False, False),
        (400, False, False),
        (404, False, False),
        (408, False, True),
        (425, False, True),
        (429, False, True),
        (499, False, False),
        (500, True, True),
        (501, True, False),
        (503, True, True),
        (504, True, True),
        (505, True, False),
    ],
)
def test_a_status_knows_better_than_the_category(status: int, ill: bool, transient: bool) -> None:
    answer = error(ErrorCategory.NETWORK, "HTTP_ERROR", status=status)
    assert (is_ill(answer), is_transient(answer)) == (ill, transient)


@pytest.mark.parametrize("status", ["404", None, 404.5, (404,)])
def test_a_status_that_is_no_number_says_nothing(status: object) -> None:
    answer = error(ErrorCategory.NETWORK, "HTTP_ERROR", status=status)
    assert (is_ill(answer), is_transient(answer)) == (True, True)


@pytest.mark.parametrize(
    ("code", "category", "transient"),
    [
        ("CIRCUIT_OPEN", ErrorCategory.NETWORK, False),
        ("BULKHEAD_FULL", ErrorCategory.TIMEOUT, True),
        ("RATE_LIMITED", ErrorCategory.TIMEOUT, True),
    ],
)
def test_a_call_that_was_turned_away_tells_nothing_about_the_service(
    code: str, category: ErrorCategory, transient: bool
) -> None:
    assert not is_ill(error(category, code))
    assert is_transient(error(category, code)) is transient


def test_a_missing_key_is_no_more_there_the_next_moment() -> None:
    assert not is_transient(error(ErrorCategory.CACHE, "KEY_NOT_FOUND"))
    assert is_transient(error(ErrorCategory.CACHE, "CACHE_WRITE_FAILED"))
