"""Which keys there may be."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import Success
from qicore.base.testing import assert_failure
from qicore.cache.keys import MAX_KEY_LENGTH, check_key, check_keys, check_values

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)


@given(KEYS)
def test_any_text_is_a_key(key: str) -> None:
    assert check_key(key) is None


def test_it_may_be_long_and_not_longer() -> None:
    assert check_key("x" * MAX_KEY_LENGTH) is None
    assert check_key("ü" * MAX_KEY_LENGTH) is None
    assert check_key("x" * (MAX_KEY_LENGTH + 1)) is not None


@pytest.mark.parametrize("key", ["", None, 7, b"a", ["a"], object(), "x" * 5000, "a\udc00b", "\ud83d"])
def test_anything_else_is_none(key: object) -> None:
    error = check_key(key)
    assert error is not None
    assert str(error) == "VALIDATION/INVALID_KEY: a key must be a text of 1 to 4096 characters"
    # However odd the key: the error can be written to a log.
    str(error.to_structured_data()).encode()


@given(st.lists(KEYS))
def test_many_keys_come_once_each_in_their_order(keys: list[str]) -> None:
    assert check_keys(iter(keys)) == Success(list(dict.fromkeys(keys)))


@pytest.mark.parametrize("keys", ["abc", b"abc", ["a", ""], [7]])
def test_what_is_no_collection_of_keys_is_told(keys: Any) -> None:
    assert_failure(check_keys(keys), "INVALID_KEY")


def test_a_collection_that_breaks_is_told() -> None:
    wrong: Any = 7
    assert_failure(check_keys(wrong), "TYPE_ERROR")
    assert_failure(check_values(wrong), "TYPE_ERROR")
    assert_failure(check_values({"": 1}), "INVALID_KEY")


def test_values_are_copied() -> None:
    values = {"a": 1}
    checked = check_values(values)
    values["b"] = 2
    assert checked == Success({"a": 1})
