"""Patterns match as on Redis, and never take long."""

import fnmatch
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base.testing import assert_failure, assert_success
from qicore.cache.patterns import Pattern, parse_pattern
from qicore_testkit.redis_server import RedisServer

LETTERS = "ab-]"
KEYS = st.text(LETTERS, min_size=1, max_size=8)
ITEMS = st.sampled_from(
    [*"ab-*?", r"\*", r"\?", r"\[", r"\a", "[ab]", "[^a]", "[a-b]", "[b-a]", r"[\]a]", "[-]"]
)
PATTERNS = st.lists(ITEMS, max_size=8).map("".join)


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("", [""], ["a"]),
        ("*", ["", "a", "a\nb"], []),
        ("**", ["", "a"], []),
        ("a*", ["a", "ab"], ["ba", "A"]),
        ("*a", ["a", "ba"], ["ab"]),
        ("a*b*a", ["aba", "abba", "abab a"], ["aa", "ab", "abb"]),
        ("ab*ba", ["abba", "ab ba"], ["aba", "ab", "a", ""]),
        ("a?", ["ab", "a\n"], ["a", "abc"]),
        ("[a-c]", ["a", "b", "c"], ["d", "-", "ab"]),
        ("[^a-c]", ["d", "-"], ["a", ""]),
        ("[abc^]", ["^"], ["d"]),
        (r"\*\?\[", ["*?["], ["abc"]),
        (r"a[\]]b", ["a]b"], ["a[b"]),
        ("[a", ["[a"], ["a"]),
        ("[]", ["[]"], [""]),
        ("a.b+", ["a.b+"], ["axbb"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("ü?漢", ["üx漢"], ["u漢"]),
    ],
)
def test_what_matches_and_what_does_not(pattern: str, matches: list[str], others: list[str]) -> None:
    parsed = assert_success(parse_pattern(pattern))
    assert [key for key in matches if not parsed.matches(key)] == []
    assert [key for key in others if parsed.matches(key)] == []


@given(PATTERNS, KEYS)
def test_every_key_that_matches_begins_with_its_beginning(pattern: str, key: str) -> None:
    parsed = Pattern(pattern)
    if parsed.matches(key):
        assert key.startswith(parsed.beginning)


@given(st.text("ab*?", max_size=8), KEYS)
def test_without_sets_it_is_what_a_shell_does(pattern: str, key: str) -> None:
    assert Pattern(pattern).matches(key) is fnmatch.fnmatchcase(key, pattern)


@given(KEYS)
def test_a_key_escaped_matches_itself_alone(key: str) -> None:
    parsed = Pattern(re.sub(r"(.)", r"\\\1", key))
    assert parsed.matches(key)
    assert not parsed.matches(key + "a")
    assert parsed.beginning == key


def test_everything_is_known_as_such() -> None:
    assert Pattern("*").everything
    assert Pattern("***").everything
    assert not Pattern("*a").everything
    assert not Pattern("").everything


def test_a_hostile_pattern_takes_no_time() -> None:
    # With one regular expression for all of it this takes longer than the universe will.
    assert not Pattern("*a" * 1000 + "*b").matches("a" * 4096)
    assert Pattern("?*" * 1000).matches("a" * 4096)


@pytest.mark.parametrize("pattern", [None, 7, b"*", ["*"], "x" * 4097])
def test_what_is_no_pattern_is_told(pattern: Any) -> None:
    assert_failure(parse_pattern(pattern), "INVALID_KEY")


def test_redis_reads_them_the_same_way(redis_server: RedisServer) -> None:
    keys = ["a", "b", "ab", "ba", "a-b", "a]b", "abab", "-", "]", "bbb", "a*", "b?", "*", "[a", "^"]
    for key in keys:
        redis_server.call("SET", key, "1")
    patterns = [
        "*",
        "a*",
        "*b",
        "?",
        "a?b",
        "[ab]",
        "[^a]",
        "[a-b]*",
        r"a\*",
        r"*\?",
        "[b-a]",
        r"a[\]-]b",
        "*a*b*",
    ]
    for pattern in patterns:
        matched = redis_server.call("KEYS", pattern).split()
        assert sorted(filter(Pattern(pattern).matches, keys)) == sorted(matched), pattern
