import math
from dataclasses import dataclass

import pytest
from qicore.base import Failure, QiError, Success
from qicore.base.options import Checks, is_number

NO_NUMBERS: list[object] = [None, "1", True, math.nan, math.inf, -math.inf, 10**400, [], 1j]


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, 0.0, -1, -0.5])
def test_seconds_are_above_0(value: object) -> None:
    assert Checks().seconds("wait", value).wrong == ["wait must be a number of seconds above 0"]


@pytest.mark.parametrize("value", [1, 0.001, 1e12])
def test_seconds(value: object) -> None:
    assert Checks().seconds("wait", value).wrong == []


def test_seconds_from_a_bound_on() -> None:
    assert Checks().seconds("wait", 0, least=0).wrong == []
    assert Checks().seconds("wait", -1, least=0).wrong == ["wait must be a number of seconds from 0 on"]


@pytest.mark.parametrize("value", [None, "1", True, math.nan, math.inf, [], 0, 1.0, -1])
def test_a_whole_number_is_no_float_and_no_bool(value: object) -> None:
    assert Checks().whole("count", value).wrong == ["count must be a whole number of at least 1"]


def test_a_whole_number_within_bounds() -> None:
    assert Checks().whole("count", 3, least=0, most=3).whole("none", None, none=True).wrong == []
    assert Checks().whole("count", 4, least=0, most=3).wrong == ["count must be a whole number from 0 to 3"]


@pytest.mark.parametrize("value", [*NO_NUMBERS, -0.1, 2.1])
def test_a_number_within_bounds(value: object) -> None:
    assert Checks().number("heat", value, least=0, most=2).wrong == ["heat must be a number from 0 to 2"]
    assert Checks().number("heat", 2, least=0, most=2).wrong == []


def test_a_text() -> None:
    assert Checks().text("name", "x").text("name", "", empty=True).text("name", None, none=True).wrong == []
    assert Checks().text("name", " ").text("other", 5, empty=True).wrong == [
        "name must be a text that is not empty",
        "other must be a text",
    ]


def test_one_of_several() -> None:
    assert Checks().one_of("engine", "a", ["a", "b"]).wrong == []
    assert Checks().one_of("engine", [], ("a", "b"), none=True).wrong == [
        "engine must be one of a, b, or None"
    ]


def test_none_is_only_right_where_it_is_said() -> None:
    assert Checks().seconds("wait", None, none=True).number("n", None, least=0, most=1, none=True).wrong == []
    assert Checks().text("name", None).wrong == ["name must be a text that is not empty"]


def test_options_in_options() -> None:
    wrong = Failure(QiError.validation("INVALID_RETRY", "attempts must be more"))
    assert Checks().nested("retry", Success(1)).nested("retry", wrong).wrong == [
        "retry: attempts must be more"
    ]


def test_the_answer_names_all_that_is_wrong_under_the_code() -> None:
    @dataclass
    class Options:
        timeout: float

    options = Options(1.0)
    assert Checks().seconds("timeout", options.timeout).answer(options, "INVALID_X_CONFIG").data is options
    error = (
        Checks().that(False, "first").that(True, "second").that(False, "third").answer(None, "WRONG").error
    )
    assert error == QiError.validation("WRONG", "first; third")


def test_what_a_number_is() -> None:
    assert [is_number(value) for value in NO_NUMBERS] == [False] * len(NO_NUMBERS)
    assert is_number(0)
    assert is_number(-1.5)
