from hypothesis import given
from hypothesis import strategies as st
from qicore.base import ErrorCategory, QiError
from qicore.resilience.errors import circuit_open, not_a_result, to_error, with_causes


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


def codes(error: QiError | None) -> list[str]:
    found: list[str] = []
    while error is not None:
        found.append(error.code)
        error = error.cause
    return found


@st.composite
def families(draw: st.DrawFn) -> list[QiError]:
    """Errors that stand behind each other, and share what is behind them."""
    errors: list[QiError] = []
    for n in range(draw(st.integers(1, 15))):
        error = QiError.network(f"E{draw(st.integers(0, n))}", "x")
        cause = draw(st.sampled_from([None, *errors]))
        if cause is not None and len(codes(cause)) <= 10:
            error = error.with_cause(cause)
        errors.append(error)
    return errors


@given(families(), st.data())
def test_any_causes_go_behind_any_error(errors: list[QiError], data: st.DataObject) -> None:
    error = data.draw(st.sampled_from(errors))
    causes = data.draw(st.lists(st.sampled_from(errors), max_size=15))
    told = with_causes(error, causes)
    assert (told.code, told.message, told.context) == (error.code, error.message, error.context)
    assert QiError.from_structured_data(told.to_structured_data()) == told, (
        "no chain is too long for a reader"
    )
    assert all(code in codes(told) for code in codes(error)), "its own causes stay"
    if len(codes(told)) < 11:
        assert all(cause.code in codes(told) for cause in causes)


def test_causes_stand_in_the_order_in_which_they_came_the_last_next_to_the_error() -> None:
    first, second, last = (QiError.network(code, "x") for code in ("FIRST", "SECOND", "LAST"))
    assert codes(with_causes(last, [first, second])) == ["LAST", "SECOND", "FIRST"]
    assert codes(with_causes(last, [first, first, last])) == ["LAST", "FIRST"]
    assert with_causes(last, []) is last
