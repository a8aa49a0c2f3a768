from hypothesis import given
from hypothesis import strategies as st
from qicore.web.ranges import multipart, ranges_of

SIZES = st.integers(1, 3000)
SPECS = st.one_of(
    st.builds("{}-{}".format, st.integers(0, 4000), st.integers(0, 4000)),
    st.builds("{}-".format, st.integers(0, 4000)),
    st.builds("-{}".format, st.integers(0, 4000)),
)


def asked(spec: str, size: int) -> set[int]:
    """The offsets that one range asks for, by the words of RFC 9110."""
    first, last = spec.split("-")
    if not first:
        return set(range(max(0, size - int(last)), size))
    return {place for place in range(size) if int(first) <= place <= int(last or size)}


@given(st.lists(SPECS, min_size=1, max_size=32), SIZES)
def test_what_is_asked_for_is_sent_once(specs: list[str], size: int) -> None:
    ranges = ranges_of("bytes=" + ", ".join(specs), size)
    backwards = any(all(ends) and int(ends[0]) > int(ends[1]) for ends in (spec.split("-") for spec in specs))
    if backwards:
        assert ranges is None
        return
    assert ranges is not None
    sent = [place for start, end in ranges for place in range(start, end)]
    assert len(sent) == len(set(sent)), "no byte twice"
    wanted = set[int]().union(*(asked(spec, size) for spec in specs))
    assert wanted <= set(sent)
    assert len(sent) - len(wanted) <= 80 * (len(specs) - 1), "only small gaps are filled"


@given(st.lists(SPECS, min_size=1, max_size=8), SIZES)
def test_ranges_that_do_not_touch_keep_their_order(specs: list[str], size: int) -> None:
    ranges = ranges_of("bytes=" + ",".join(specs), size)
    alone = [ranges_of(f"bytes={spec}", size) for spec in specs]
    if ranges is not None and len(ranges) == len(specs):
        assert [[piece] for piece in ranges] == alone


def test_small_gaps_are_filled_in_either_order() -> None:
    assert ranges_of("bytes=0-0,50-50", 1000) == [(0, 51)]
    assert ranges_of("bytes=50-50,0-0", 1000) == [(0, 51)]
    assert ranges_of("bytes=0-0,500-500,60-60", 1000) == [(0, 61), (500, 501)]
    assert ranges_of("bytes=0-0,500-500", 1000) == [(0, 1), (500, 501)]


@given(st.text(), st.integers(0, 100))
def test_any_field_is_heard_or_not_but_never_fails(field: str, size: int) -> None:
    for start, end in ranges_of(field, size) or []:
        assert 0 <= start < end <= size


@given(st.text("0123456789-, =bytes\t", max_size=40), st.integers(0, 100))
def test_fields_that_look_right_never_fail(specs: str, size: int) -> None:
    for start, end in ranges_of(f"bytes={specs}", size) or []:
        assert 0 <= start < end <= size


def test_endless_numbers_are_only_large() -> None:
    endless = "9" * 10_000
    assert ranges_of(f"bytes=0-{endless}", 100) == [(0, 100)]
    assert ranges_of(f"bytes=-{endless}", 100) == [(0, 100)]
    assert ranges_of(f"bytes={endless}-", 100) == []
    assert ranges_of(f"bytes=00000000000000000000000000000001-{'0' * 5000}2", 100) == [(1, 3)]


@given(st.lists(st.integers(0, 999), min_size=2, max_size=6, unique=True))
def test_a_multipart_body_is_as_long_as_its_parts(places: list[int]) -> None:
    ranges = [(place, place + 1) for place in places]
    kind, parts, tail = multipart(ranges, 1000, "text/plain")
    boundary = kind.partition("boundary=")[2].encode()
    body = b"".join(part.head + b"x" * (part.end - part.start) for part in parts) + tail
    assert len(body) == sum(part.size for part in parts) + len(tail)
    assert body.split(b"--" + boundary)[-1] == b"--\r\n"
    assert body.count(boundary) == len(places) + 1
