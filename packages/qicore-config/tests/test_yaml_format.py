from typing import Any

import pytest
from qicore.base import QiError
from qicore.base.testing import assert_failure, assert_success
from qicore.config import ConfigLimits, Configuration

pytestmark = pytest.mark.usefixtures("parser")


def read(text: str, **limits: int) -> Configuration:
    return assert_success(Configuration.from_string(text, "yaml", limits=ConfigLimits(**limits)))


def fail(text: str, code: str = "CONFIG_PARSE_ERROR", **limits: int) -> QiError:
    return assert_failure(Configuration.from_string(text, "yaml", limits=ConfigLimits(**limits)), code)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("No", "No"), ("off", "off"), ("on", "on"), ("yes", "yes"), ("y", "y"), ("true", True),
        ("FALSE", False), ("tRUE", "tRUE"), ("~", None), ("", None), ("Null", None), ("nULL", "nULL"),
        ("12:30:00", "12:30:00"), ("1:30", "1:30"), ("0777", 777), ("0o777", 511), ("0x1F", 31),
        ("0b11", "0b11"),
        ("-0x1F", "-0x1F"), ("1_000", "1_000"), ("1e3", 1000.0), ("1E+3", 1000.0), (".5", 0.5), ("1.", 1.0),
        ("-.5e-1", -0.05), ("+12", 12), (".inf", float("inf")), ("-.INF", float("-inf")), (".iNf", ".iNf"),
        ("2024-01-01", "2024-01-01"), ("=", "="), ("'1'", "1"), ('"true"', "true"), ("!!str 1", "1"),
        ("!!float 1", 1.0), ("!!int '7'", 7), ("! 7", "7"), ("1.2.3", "1.2.3"), ("+", "+"), (".", "."),
        ("-", [None]), ("e3", "e3"), ("|\n  a\n  b\n", "a\nb\n"), (">-\n  a\n  b\n", "a b"),
        ("[a, 1]", ["a", 1]), ("{b: }", {"b": None}),
    ],
)  # fmt: skip
def test_scalars_are_what_yaml_1_2_says(text: str, value: Any) -> None:
    found = read(f"a: {text}" if text != "-" else "a:\n  -").to_dict()["a"]
    assert (type(found), found) == (type(value), value)


def test_keys_are_text_as_it_is_written() -> None:
    config = read("80: a\nno: b\ntrue: c\n~: d\n1e3: e\n'x': f\n0x10: g\n16: h\n")
    assert config.to_dict() == {
        "80": "a", "no": "b", "true": "c", "~": "d", "1e3": "e", "x": "f", "0x10": "g", "16": "h",
    }  # fmt: skip


def test_every_line_is_known() -> None:
    config = read("# first\na: 1\nb:\n  c: x\n\n  d:\n    - e\n    - f: 1\n      g: 2\nh: |\n  text\n")
    lines = {
        key: assert_success(config.source(key)).line
        for key in ("a", "b", "b.c", "b.d", "b.d.0", "b.d.1.g", "h")
    }
    assert lines == {"a": 2, "b": 3, "b.c": 4, "b.d": 6, "b.d.0": 7, "b.d.1.g": 9, "h": 10}


def test_an_alias_is_where_it_stands_and_its_content_where_that_is() -> None:
    config = read("a: &a\n  x: 1\nb: *a\nc: &c 5\nd: *c\ne: {<<: *a, y: 2}\n")
    assert config.to_dict() == {"a": {"x": 1}, "b": {"x": 1}, "c": 5, "d": 5, "e": {"x": 1, "y": 2}}
    lines = {key: assert_success(config.source(key)).line for key in ("b.x", "d", "e.x", "e.y")}
    assert lines == {"b.x": 2, "d": 5, "e.x": 2, "e.y": 6}


def test_merge_keys() -> None:
    text = "base: &b {x: 1, y: 1}\nmore: &m {y: 2, z: 2}\nall:\n  y: 3\n  <<: [*b, *m]\nquoted: {'<<': 1}\n"
    config = read(text)
    # What is written in the mapping wins, then the first of the list.
    assert config.section("all").unwrap().to_dict() == {"x": 1, "y": 3, "z": 2}
    assert read("base: &b {x: 1, y: 1}\nmore: &m {y: 2}\nall: {<<: [*b, *m]}").get("all.y").unwrap() == 1
    assert config.section("quoted").unwrap().to_dict() == {"<<": 1}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "--- ~\n", "null", "\ufeff", "{}"])
def test_an_empty_document_is_an_empty_configuration(text: str) -> None:
    assert read(text) == Configuration.empty()


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("port: 1\nhost: x\nport: 2\n", 3, "the key 'port' is there twice, first on line 1"),
        ("a: {b: 1, b: 2}", 1, "twice"),
        ("a: 1\n'a': 2", 2, "twice"),
        ("a: &a {}\nb: {<<: *a, <<: *a}", 2, "the merge key << is there twice"),
        ("a: 1\n---\nb: 2\n", 2, "more than one document"),
        ("- 1\n- 2\n", 1, "the top level must be a mapping"),
        ("text", 1, "the top level must be a mapping"),
        ("a: [1\nb: 2\n", 2, ""),
        ("a: b: c\n", 1, "mapping values are not allowed"),
        ("a: *nothing\n", 1, "names no anchor before it"),
        ("a: &a [*a]\n", 1, "names no anchor before it"),
        ("a: &a 1\n*a : 2\n", 2, "an alias can't be a key"),
        ("? [a]\n: 1\n", 1, "a key must be text"),
        ("a: !!python/object:os.system {}\n", 1, "tag"),
        ("a: !!python/name:os.system ''\n", 1, "tag"),
        ("a: !mine 1\n", 1, "text that starts with ! needs quotes"),
        ("a: !!timestamp 2024-01-01\n", 1, "the tag !!timestamp is not known here"),
        ("a: !!int x\n", 1, "not what its tag"),
        ("a: !!set {x}\n", 1, "tag"),
        ("a: {<<: 1}\n", 1, "takes a mapping"),
        ("a: .nan\n", 1, "NaN"),
        ("a: 1e999\n", 1, "beyond what a float holds"),
        ("a: " + "9" * 5000, 1, "too long"),
        ("a: 0x" + "f" * 5000, 1, "too long"),
        ("a: \x01\n", 1, "a character that YAML does not allow"),
        ("\ta: 1\n", 1, ""),
        ("a: 'open\n", 0, ""),
        ("%YAML 3.0\n---\na: 1\n", 1, ""),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, line: int, says: str) -> None:
    error = fail(text)
    assert says in error.message
    if line:
        assert error.context["line"] == line
    assert error.category.value == "CONFIGURATION"


def test_no_message_shows_the_text() -> None:
    for text in (
        "password: 'hunter2\n",
        "password: hunter2\n  bad: [",
        "a: [hunter2, }\n",
        "password: @hunter2\n",
        "password: *hunter2\n",
        "password: !hunter2\n",
        "password: !hunter2!x y\n",
        "password: !<hunter2> y\n",
        "password: %hunter2\n",
        "%hunter2 x\n",
        "password: &hunter2 x\nb: *c\n",
    ):
        error = fail(text)
        assert "hunter2" not in str(error.to_structured_data())
        assert error.__cause__ is None
        assert error.__context__ is None


def alias_bomb(levels: int, fan: int = 9) -> str:
    first = "a0: &a0 [" + ", ".join(["lol"] * fan) + "]"
    more = (f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * fan) + "]" for n in range(1, levels))
    return "\n".join([first, *more])


def merge_bomb(levels: int, fan: int = 9) -> str:
    lines = ["a0: &a0 {" + ", ".join(f"k{i}: 1" for i in range(fan)) + "}"]
    for level in range(1, levels):
        again = ", ".join([f"*a{level - 1}"] * fan)
        lines.append(f"a{level}: &a{level} {{<<: [{again}], m{level}: 1}}")
    return "\n".join(lines)


@pytest.mark.parametrize("levels", [6, 40])
@pytest.mark.parametrize("bomb", [alias_bomb, merge_bomb])
def test_bombs_are_refused(bomb: Any, levels: int) -> None:
    assert fail(bomb(levels), "CONFIG_TOO_LARGE").context["line"] <= 6  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # it is a number


def test_aliases_count_as_often_as_they_repeat() -> None:
    text = "a: &a [1, 2, 3]\nb: *a\nc: *a\n"  # 1 + 3 * 4
    assert read(text, max_values=13).get("c.2").unwrap() == 3
    fail(text, "CONFIG_TOO_LARGE", max_values=12)
    merged = "a: &a {x: 1, y: 2}\nb: {<<: *a}\n"  # 1 + 3 + 1 + 3
    assert read(merged, max_values=8).get("b.y").unwrap() == 2
    fail(merged, "CONFIG_TOO_LARGE", max_values=7)


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 100_000,
        "a: " + "{x: " * 100_000,
        "- " * 100_000,
        "a: " + "[" * 100 + "]" * 100,
    ],
)
def test_deep_nesting_is_refused(text: str) -> None:
    fail(text, "CONFIG_TOO_DEEP")


def test_depth_counts_through_aliases() -> None:
    lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{x: *a{n - 1}}}" for n in range(1, 100))]
    error = fail("\n".join(lines), "CONFIG_TOO_DEEP", max_values=1_000_000)
    assert error.context["line"] == 64
    assert read("a: {b: {c: 1}}", max_depth=3).has("a.b.c")
    fail("a: {b: {c: {}}}", "CONFIG_TOO_DEEP", max_depth=3)


def test_huge_texts_are_refused() -> None:
    fail("a: " + "x" * 2_000_000, "CONFIG_TOO_LARGE")
    fail("a: [" + "1," * 200_000 + "]", "CONFIG_TOO_LARGE")
    assert len(str(read("a: " + "x" * 1_000_000).get("a").unwrap())) == 1_000_000
