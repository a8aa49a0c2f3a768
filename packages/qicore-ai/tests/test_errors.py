from qicore.ai.errors import to_error
from qicore.base import ErrorCategory


def test_a_timeout_has_its_code() -> None:
    error = to_error(TimeoutError(), operation="read")
    assert (error.get_category(), error.code) == (ErrorCategory.TIMEOUT, "AI_TIMEOUT")
    assert error.context["operation"] == "read"


def test_what_nobody_foresaw_is_unknown_and_kept() -> None:
    cause = RuntimeError("boom")
    error = to_error(cause)
    assert error.get_category() is ErrorCategory.UNKNOWN
    assert error.__cause__ is cause
