from qicore.base import ErrorCategory
from qicore.resilience.errors import circuit_open, not_a_result, to_error


def test_a_rejection_says_whose_and_when_to_come_again() -> None:
    error = circuit_open("geocoder", 2.5, "is open")
    assert (error.get_category(), error.code) == (ErrorCategory.NETWORK, "CIRCUIT_OPEN")
    assert dict(error.context) == {"name": "geocoder", "retry_after": 2.5}


def test_when_is_left_out_where_nobody_knows() -> None:
    assert dict(circuit_open("geocoder", None, "was opened by hand").context) == {"name": "geocoder"}


def test_what_nobody_foresaw_is_unknown_and_kept() -> None:
    cause = RuntimeError("boom")
    error = to_error(cause)
    assert error.get_category() is ErrorCategory.UNKNOWN
    assert error.__cause__ is cause


def test_an_answer_that_is_no_result_is_told_by_its_type_alone() -> None:
    error = not_a_result({"password": "hunter2"})
    assert str(error) == "UNKNOWN/TYPE_ERROR: the operation must answer a Result, not dict"
