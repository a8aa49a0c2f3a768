import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.http.freshness import Directives, Fields, freshness, http_date, initial_age

DATE = "Mon, 23 Nov 2026 10:00:00 GMT"
NOW = 1795428000.0


def test_a_date_is_gmt() -> None:
    assert http_date(DATE) == NOW
    assert http_date("Monday, 23-Nov-26 10:00:00 GMT") == NOW
    assert http_date("Mon Nov 23 10:00:00 2026") == NOW
    for text in ("0", "-1", "", None, "x" * 1000, "Mon, 99 Nov", "Mon, 23 Nov 99999999999 10:00:00 GMT"):
        assert http_date(text) is None


@pytest.mark.parametrize(
    ("fields", "shared", "expected"),
    [
        ({"cache-control": "max-age=60"}, False, 60.0),
        ({"cache-control": "s-maxage=90, max-age=60"}, True, 90.0),
        ({"cache-control": "s-maxage=90, max-age=60"}, False, 60.0),
        ({"cache-control": "max-age=60", "expires": "0"}, False, 60.0),
        ({"cache-control": "max-age=never"}, False, 0.0),
        ({"cache-control": "max-age=-1"}, False, 0.0),
        ({"cache-control": "max-age=" + "9" * 5000}, False, float(2**31)),
        ({"expires": "Mon, 23 Nov 2026 10:01:00 GMT", "date": DATE}, False, 60.0),
        ({"expires": "Mon, 23 Nov 2026 10:01:00 GMT"}, False, 60.0),
        ({"expires": "0", "date": DATE}, False, 0.0),
        ({"last-modified": "Mon, 23 Nov 2026 09:00:00 GMT", "date": DATE}, False, 360.0),
        ({"last-modified": "Mon, 23 Nov 1996 09:00:00 GMT", "date": DATE}, False, 86400.0),
        ({"last-modified": "Mon, 23 Nov 2027 09:00:00 GMT", "date": DATE}, False, None),
        ({}, False, None),
    ],
)
def test_how_long_a_response_is_fresh(fields: dict[str, str], shared: bool, expected: float | None) -> None:
    assert freshness(200, tuple(fields.items()), received=NOW, shared=shared) == expected


def test_only_some_responses_are_fresh_by_guessing() -> None:
    fields: Fields = (("last-modified", "Mon, 23 Nov 2026 09:00:00 GMT"), ("date", DATE))
    assert freshness(404, fields, received=NOW, shared=False) == 360.0
    assert freshness(302, fields, received=NOW, shared=False) is None


def test_how_old_a_response_is_when_it_arrives() -> None:
    assert initial_age((), asked=NOW, received=NOW + 2) == 2.0
    assert initial_age((("age", "100"),), asked=NOW, received=NOW + 2) == 102.0
    assert initial_age((("date", DATE),), asked=NOW + 50, received=NOW + 51) == 51.0
    assert initial_age((("date", DATE), ("age", "10")), asked=NOW + 50, received=NOW + 51) == 51.0
    assert initial_age((("date", DATE),), asked=NOW - 100, received=NOW - 99) == 1.0
    assert initial_age((("age", "old"),), asked=NOW, received=NOW) == 0.0


def test_directives_are_read_leniently() -> None:
    directives = Directives.parse('Max-Age = "5" , private="x, y", ,, no-store;, ext=a"b')
    assert directives.seconds("max-age") == 5.0
    assert directives.values["private"] == "x, y"
    assert not directives.has("private")
    assert directives.has("no-store")
    assert Directives.parse("max-age=1, max-age=2").seconds("max-age") == 1.0
    assert Directives.parse(None).values == {}


@given(st.text(), st.text())
def test_any_field_is_read(control: str, date: str) -> None:
    fields: Fields = (("cache-control", control), ("date", date), ("expires", date), ("age", control))
    lifetime = freshness(200, fields, received=NOW, shared=True)
    assert lifetime is None or 0 <= lifetime <= 2**38
    assert initial_age(fields, asked=NOW, received=NOW) >= 0
