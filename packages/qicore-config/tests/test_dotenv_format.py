import io
from collections.abc import Mapping
from typing import Any

import dotenv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import QiError
from qicore.base.testing import assert_failure, assert_success
from qicore.config import ConfigLimits, Configuration
from qicore.config.dotenv_format import read_dotenv
from qicore.config.errors import Refused


def read(text: str, environ: Mapping[str, str] | None = None, *, environ_wins: bool = True) -> dict[str, str]:
    bindings = read_dotenv(text, environ or {}, ConfigLimits(), environ_wins=environ_wins)
    return {binding.name: binding.value for binding in bindings}


def fail(text: str, code: str = "CONFIG_PARSE_ERROR", **limits: int) -> QiError:
    return assert_failure(Configuration.from_string(text, "env", limits=ConfigLimits(**limits)), code)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b", "b"), ("export A=b", "b"), ("  A = b  ", "b"), ("A=", ""), ("A=''", ""), ("A=b # c", "b"),
        ("A=b#c", "b#c"), ("A=#c", "#c"), ("A= # c", ""), ("A='b # c' # d", "b # c"), ('A="b\\nc"', "b\nc"),
        ("A='b\\nc'", "b\\nc"), ('A="b\nc"', "b\nc"), ("A='b\\'c'", "b'c"),
        ('A="b\\"c"', 'b"c'), ("'A'=b", "b"),
        ("A=b c  d", "b c  d"), ("A=b=c", "b=c"), ("A=b\r\n", "b"), ("\n\n# x\nA=b", "b"), ("A=é", "é"),
        ("A='$B'", "$B"),
        ("A=$B", "$B"), ("A=${", "${"), ("A=${B", "${B"), ("A=${1}", "${1}"), ("A=${B:-x}", "x"),
        ("A=${B:-}", ""),
        ("A='${B}'", "${B}"), ("A=${B:-x", "${B:-x"),
    ],
)  # fmt: skip
def test_values(text: str, value: str) -> None:
    assert read(text) == {"A": value}


def test_every_line_is_known() -> None:
    text = "# one\nA=1\n\n  \nB='x\ny'\r\nexport C=\"z\" # c\r\n\n\nD=1"
    found = [(name, line) for name, _, line in read_dotenv(text, {}, ConfigLimits())]
    assert found == [("A", 2), ("B", 5), ("C", 7), ("D", 10)]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("A=1\nB='open\nC=2\n", 2, "the quote that opens the value of B is never closed"),
        ('A="open\\"\n', 1, "never closed"),
        ("A='x' y\n", 1, "more after the closing quote"),
        ("\nA\n", 2, "here must be NAME=value; write NAME= for an empty one"),
        ("export A\n", 1, "NAME=value"),
        ("=x\n", 1, "here must be NAME=value"),
        ("A=1\nB=2\nA=1\n", 3, "A is there twice, first on line 1"),
        ("A=${NO_SUCH_VARIABLE}\n", 1, "NO_SUCH_VARIABLE, which is not set"),
        ("A=1\nsome words here\n", 2, "NAME=value"),
        ('"A"=1\n', 1, "NAME=value"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, says: str) -> None:
    error = fail(text)
    assert says in error.message
    assert error.context["line"] == line


def test_no_error_holds_a_value() -> None:
    for text in (
        "PASSWORD='hunter2",
        "PASSWORD='hunter2' x",
        "PASSWORD=hunter2\nPASSWORD=hunter2",
        "KEY=a\nhunter2\n",
    ):
        assert "hunter2" not in str(fail(text).to_structured_data())


def test_references() -> None:
    text = "A=1\nB=${A}2\nC=\"${B}3\"\nD='${A}'\nE=${HOST:-x}-${NONE:-y}\n"
    assert read(text, {"A": "9", "HOST": "h"}) == {"A": "1", "B": "92", "C": "923", "D": "${A}", "E": "h-y"}
    assert read(text, {"A": "9"}, environ_wins=False) == {
        "A": "1",
        "B": "12",
        "C": "123",
        "D": "${A}",
        "E": "x-y",
    }


def test_growing_by_references_is_refused() -> None:
    lines = ["A0=" + "x" * 10, *(f"A{n}=" + f"${{A{n - 1}}}" * 10 for n in range(1, 30))]
    assert fail("\n".join(lines), "CONFIG_TOO_LARGE").context["line"] == 6


HOSTILE = [
    "A=x" + " " * 1_000_000 + "y",
    "A='" + "\\" * 1_000_001,
    "A=" + "${" * 500_000,
    "A=" + "${A:-" * 200_000,
    "A=" + "${A:-" * 200_000 + "}",
    "A=" + " #" * 500_000,
    " " * 1_000_000 + "\x00",
    "\n" * 1_000_000,
    "#" * 1_000_000,
    "A" * 1_000_000,
    "export " * 140_000,
    "'" * 1_000_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_megabyte_of_anything_is_read_or_refused(text: str) -> None:
    outcome = Configuration.from_string(text, "env")
    assert outcome.is_success or outcome.error is not None
    assert outcome.error is None or outcome.error.code == "CONFIG_PARSE_ERROR"


def test_bounds() -> None:
    fail("A=" + "x" * 2_000_000, "CONFIG_TOO_LARGE")
    fail("A=1\nB=2\n", "CONFIG_TOO_LARGE", max_values=1)
    fail("A__B__C=1", "CONFIG_TOO_DEEP", max_depth=2)
    fail("__".join(["A"] * 1000) + "=1", "CONFIG_TOO_DEEP")


LINES = st.lists(
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(["", "export ", "  "]),
        st.sampled_from("ABCDEFGH"),
        st.sampled_from(["=", " = ", "= "]),
        st.sampled_from(
            [
                "",
                "x",
                "x y",
                "'x # y'",
                '"x\\ty\\\\"',
                "'a\\'b\\n'",
                "x#y",
                '"\n"',
                "é",
                "$x",
                "a=b",
                "\\n",
                "#",
            ]
        ),
        st.sampled_from(["", " # comment", "  "]),
    )
    | st.sampled_from(["", "# comment", "   ", "\t"]),
    max_size=8,
)


@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]))
def test_it_reads_what_python_dotenv_reads(lines: list[str], newline: str) -> None:
    text = newline.join(lines)
    names = [line.removeprefix("export ").lstrip()[:1] for line in lines if "=" in line]
    expected: dict[str, Any] = dotenv.dotenv_values(stream=io.StringIO(text, newline=""), interpolate=False)
    if len(set(names)) < len(names):
        with pytest.raises(Refused):
            read(text)
    else:
        assert read(text) == expected


def test_names_become_keys() -> None:
    config = assert_success(Configuration.from_string("DB__MAX_SIZE=1\nname=x\nB__=2\n__C=3\n", "env"))
    assert config.to_dict() == {"db": {"max_size": "1"}, "name": "x", "b__": "2", "__c": "3"}
    assert str(assert_success(config.source("db.max_size"))) == "string:1 (DB__MAX_SIZE)"
