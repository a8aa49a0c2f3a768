import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import QiError
from qicore.base.testing import assert_failure, assert_success
from qicore.config import ConfigLimits, Configuration

TEXT = '''\
title = "x" # a comment with ] and "
[server] # another
host = "a"
ports = [
  1, # first ]
  2,
]
tls.cert = 'C:\\path'
tls."dotted.key" = """
three
lines \\" and ""two"" quotes"""

[[users]]
name = "ann"
[users.home]
dir = '/a'

[[users]]
name = "bob"
tags = [{a = 1}, {a = [
  2]}]
[[users.keys]]
id = 2024-01-01 10:00:00
[a.b.c]
d = inf
'''


def read(text: str) -> Configuration:
    return assert_success(Configuration.from_string(text, "toml"))


def fail(text: str, code: str = "CONFIG_PARSE_ERROR", **limits: int) -> QiError:
    return assert_failure(Configuration.from_string(text, "toml", limits=ConfigLimits(**limits)), code)


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\n", "\r\n")])
def test_every_line_is_known(text: str) -> None:
    config = read(text)
    assert config.to_dict() == tomllib.loads(text)
    lines = {
        "title": 1, "server": 2, "server.host": 3, "server.ports": 4, "server.ports.0": 5, "server.ports.1":
        6, "server.tls": 8, "server.tls.cert": 8, "users": 13, "users.0": 13, "users.0.name": 14,
        "users.0.home": 15, "users.0.home.dir": 16, "users.1": 18, "users.1.name": 19, "users.1.tags.1.a":
        20, "users.1.tags.1.a.0": 21, "users.1.keys.0.id": 23, "a.b.c": 24, "a.b": 24, "a.b.c.d": 25,
    }  # fmt: skip
    assert {key: assert_success(config.source(key)).line for key in lines} == lines
    assert assert_success(config.source(("server", "tls", "dotted.key"))).line == 9


TEXTS = st.text(st.characters(codec="utf-8"))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.booleans())
def test_each_key_stands_on_the_line_it_is_said_to(data: dict[str, Any], multiline: bool) -> None:
    text = tomli_w.dumps(data, multiline_strings=multiline)
    lines = text.split("\n")
    config = read(text)
    assert repr(sorted(config.to_dict())) == repr(sorted(data))
    for key in data:
        line = assert_success(config.source((key,))).line
        assert line is not None
        names = tomllib.loads(key_of(lines[line - 1]) + " = 1")
        assert list(names) == [key]


def key_of(line: str) -> str:
    """Return the first key of a line `key = …`, `[key…]` or `[[key…]]`."""
    line = line.lstrip("[")
    if line[0] in "\"'":
        end = 1
        while line[end] != line[0]:
            end += 2 if line[end] == "\\" and line[0] == '"' else 1
        return line[: end + 1]
    return line.split(" ")[0].split(".")[0].split("]")[0]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a = 1\na = 2\n", 2, "overwrite"),
        ("[a]\n[b]\n[a]\n", 3, "twice"),
        ("a = \n", 1, "invalid value"),
        ("a = [1,\n", 2, ""),
        ("\n\na = nan\n", 3, "NaN"),
        ("a = [1, {b = 1e999}]\n", 1, "beyond what a float holds"),
        ("a = 'x", 1, ""),
        ('a = "\\ud800"\n', 1, ""),
        ("a = 1\n= 2", 2, ""),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, says: str) -> None:
    error = fail(text)
    assert says in error.message
    assert error.context["line"] == line


def test_a_number_of_any_length_is_refused() -> None:
    assert "too long" in fail("a = " + "1" * 5000).message
    assert "too long" in fail("a = 0x" + "f" * 5000).message


def test_no_error_holds_the_text() -> None:
    error = fail("password = 'hunter2")
    assert "hunter2" not in str(error.to_structured_data())
    assert error.__cause__ is None
    assert error.__context__ is None


def test_bounds() -> None:
    for text in ("a = " + "[" * 100_000, "a = " + "{x = " * 100_000, "a" + ".a" * 100_000 + " = 1"):
        fail(text, "CONFIG_TOO_DEEP")
    fail("[a" + ".a" * 100_000 + "]", "CONFIG_TOO_DEEP")
    fail("a = [" + "1," * 200_000 + "]", "CONFIG_TOO_LARGE")
    fail("a = '" + "x" * 2_000_000 + "'", "CONFIG_TOO_LARGE")
    fail("[[a]]\n" * 150_000, "CONFIG_TOO_LARGE")
    limits = ConfigLimits(max_depth=3)
    assert Configuration.from_string("a = [{b = 1}]", "toml", limits=limits).is_success
    assert Configuration.from_string("[[a]]\nb = 1", "toml", limits=limits).is_success
    assert Configuration.from_string("[a.b]\nc = 1", "toml", limits=limits).is_success
    for text in ("a = [{b = []}]", "[[a]]\nb.c = 1", "[a.b]\nc = []", "a.b.c.d = 1", "a = {b = {c = {}}}"):
        fail(text, "CONFIG_TOO_DEEP", max_depth=3)
