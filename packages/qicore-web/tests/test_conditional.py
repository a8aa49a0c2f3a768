import os
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.web.conditional import Answer, Validators, judge, range_applies, validators_of
from starlette.datastructures import Headers

NOW = 1_700_000_000
STRONG = Validators('"a,b"', NOW)


def headers(*fields: tuple[str, str]) -> Headers:
    return Headers(raw=[(name.encode(), value.encode("latin-1")) for name, value in fields])


@pytest.mark.parametrize(
    ("field", "same"),
    [
        ('"a,b"', True),
        ('W/"a,b"', True),
        ('"x", "a,b"', True),
        ('"x" ,, "a,b",', True),
        ("*", True),
        ('"a", "b"', False),
        ("a,b", False),
        ('"a,b', False),
        ("", False),
        ('"x" "a,b"', True),
        ('w/"a,b"', False),
    ],
)
def test_tags_are_found_in_a_list(field: str, same: bool) -> None:
    found = judge(headers(("if-none-match", field)), STRONG)
    assert found is (Answer.NOT_MODIFIED if same else Answer.PERFORM)


def test_lines_of_one_field_are_one_list() -> None:
    assert judge(headers(("if-none-match", '"x"'), ("if-none-match", '"a,b"')), STRONG) is Answer.NOT_MODIFIED


def test_a_weak_tag_matches_no_strong_comparison() -> None:
    weak = Validators('W/"7"', NOW)
    assert judge(headers(("if-match", 'W/"7"')), weak) is Answer.FAILED
    assert judge(headers(("if-match", "*")), weak) is Answer.PERFORM
    assert not range_applies(headers(("if-range", weak.last_modified)), weak)


@pytest.mark.parametrize(
    "date", ["", "now", "Fri, 99 Nov 2099 99:99:99 GMT", "0", "\x00", "Mon, 01 Jan 99999 00:00:00 GMT"]
)
def test_what_is_no_date_counts_as_not_sent(date: str) -> None:
    for name in ("if-modified-since", "if-unmodified-since"):
        assert judge(headers((name, date)), STRONG) is Answer.PERFORM


@given(st.integers(0, 2 * NOW))
def test_dates_compare_by_the_second(then: int) -> None:
    date = formatdate(then, usegmt=True)
    since = judge(headers(("if-modified-since", date)), STRONG)
    until = judge(headers(("if-unmodified-since", date)), STRONG)
    assert since is (Answer.NOT_MODIFIED if then >= NOW else Answer.PERFORM)
    assert until is (Answer.PERFORM if then >= NOW else Answer.FAILED)


NAMES = st.sampled_from(["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"])


@given(st.lists(st.tuples(NAMES, st.text(st.characters(max_codepoint=255)))))
def test_no_field_fails(fields: list[tuple[str, str]]) -> None:
    assert judge(headers(*fields), STRONG) in Answer
    assert range_applies(headers(*fields), STRONG) in (True, False)


def test_tags_follow_size_and_times(tmp_path: Path) -> None:
    file = tmp_path / "file"
    seen = set[str]()
    for content, time in ((b"a", 1), (b"bb", 1), (b"bb", 2)):
        file.write_bytes(content)
        os.utime(file, (time, time))
        seen.add(validators_of(file.stat(), 9e9).etag)
    assert len(seen) == 3


def test_a_time_before_the_epoch_is_the_epoch(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", (-5, -5))
    found = validators_of((tmp_path / "file").stat(), 9e9)
    assert found.last_modified == "Thu, 01 Jan 1970 00:00:00 GMT"
