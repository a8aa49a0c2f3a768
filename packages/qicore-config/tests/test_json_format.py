import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import QiError
from qicore.base.testing import assert_failure, assert_success
from qicore.base.testing.strategies import json_values
from qicore.config import ConfigLimits, Configuration


def fail(text: str, code: str = "CONFIG_PARSE_ERROR", **limits: int) -> QiError:
    return assert_failure(Configuration.from_string(text, "json", limits=ConfigLimits(**limits)), code)


@given(st.dictionaries(st.text(), json_values()), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_it_reads_what_the_standard_library_writes(
    data: dict[str, Any], indent: Any, ascii_only: bool
) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
    assert repr(assert_success(Configuration.from_string(text, "json")).to_dict()) == repr(data)


@given(
    st.text(st.sampled_from('{}[]":,0123456789-+.eEtrufalsn \\\n'), max_size=30).map(
        lambda text: '{"a":' + text
    )
)
def test_it_takes_no_more_and_no_less_than_the_standard_library(text: str) -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError
        return dict(pairs)

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        expected = json.loads(text, object_pairs_hook=once, parse_constant=refuse)
        finite = "inf" not in repr(expected)
    except ValueError:
        finite = False
    assert Configuration.from_string(text, "json").is_success is finite


def test_every_line_is_known() -> None:
    text = '{\n  "a": 1,\n  "b": {"c": [\n    1,\n    {"d": 2}\n  ]},\n\n  "e":\n    5\n}\n'
    config = assert_success(Configuration.from_string(text, "json"))
    lines = {
        key: assert_success(config.source(key)).line for key in ("a", "b", "b.c", "b.c.0", "b.c.1.d", "e")
    }
    assert lines == {"a": 2, "b": 3, "b.c": 3, "b.c.0": 4, "b.c.1.d": 5, "e": 8}


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("", 1, 1, "empty"),
        (" \n ", 1, 1, "empty"),
        ('{"a": 1,\n "a": 2}', 2, 2, "the key 'a' is there twice, first on line 1"),
        ('{"a": NaN}', 1, 7, "JSON has no NaN"),
        ('{"a": Infinity}', 1, 7, "JSON has no Infinity"),
        ('{"a": -Infinity}', 1, 7, "a value"),
        ('{"a": 1e999}', 1, 7, "beyond what a float holds"),
        ('{"a": ' + "1" * 5000 + "}", 1, 7, "too long"),
        ('{"a": 01}', 1, 8, "a comma"),
        ('{"a": 1,}', 1, 9, "one too many"),
        ('{"a": [1,]}', 1, 10, "one too many"),
        ("{'a': 1}", 1, 2, "double quotes"),
        ('{"a" 1}', 1, 6, "colon"),
        ('{"a": "x\ny"}', 1, 9, "control character"),
        ('{"a": "\\ud800"}', 1, 7, "lone surrogate"),
        ('{"a": "open', 1, 7, "unterminated"),
        ('{"a": "\\x"}', 1, 8, "escape"),
        ('{"a": 1', 1, 8, "in the middle"),
        ('{"a": ', 1, 7, "in the middle"),
        ("{", 1, 2, "in the middle"),
        ('{"a": 1} x', 1, 10, "more text"),
        ('{"a": tru}', 1, 7, "a value"),
        ('{"a": 1} // c', 1, 10, "more text"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, line: int, column: int, says: str) -> None:
    error = fail(text)
    assert says in error.message
    assert (error.context["line"], error.context["column"]) == (line, column)


@pytest.mark.parametrize("text", ["[]", "1", "null", '"x"'])
def test_the_top_level_is_an_object(text: str) -> None:
    assert "the top level must be an object" in fail(text).message


def test_no_error_holds_the_text() -> None:
    error = fail('{"password": "hunter2')
    assert "hunter2" not in str(error.to_structured_data())
    assert error.__cause__ is None
    assert error.__context__ is None


def test_bounds() -> None:
    fail('{"a":' * 100_000, "CONFIG_TOO_DEEP")
    fail('{"a":' + "[" * 100_000, "CONFIG_TOO_DEEP")
    fail('{"a": [' + "1," * 200_000 + "1]}", "CONFIG_TOO_LARGE")
    fail('{"a": "' + "x" * 2_000_000 + '"}', "CONFIG_TOO_LARGE")
    assert Configuration.from_string('{"a": {"b": 1}}', "json", limits=ConfigLimits(max_depth=2)).is_success
    fail('{"a": {"b": []}}', "CONFIG_TOO_DEEP", max_depth=2)
    assert Configuration.from_string('{"a": [1, 2]}', "json", limits=ConfigLimits(max_values=4)).is_success
    fail('{"a": [1, 2]}', "CONFIG_TOO_LARGE", max_values=3)
