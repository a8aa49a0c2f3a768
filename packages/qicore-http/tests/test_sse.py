import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.http.sse import EventParser, ServerSentEvent, TooLongError


def parse(*chunks: bytes) -> list[ServerSentEvent]:
    parser = EventParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        # The examples of the standard, section 9.2.6.
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("YHOO\n+2\n10", "message", "")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n",
            [("first event", "message", "1"), ("second event", "message", "")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("", "message", ""), ("\n", "message", "")]),
        (b"data:test\n\ndata: test\n\n", [("test", "message", ""), ("test", "message", "")]),
        # Its rules.
        (b"event: add\ndata: 1\n\ndata: 2\n\n", [("1", "add", ""), ("2", "message", "")]),
        (b"event: add\n\ndata: 1\n\n", [("1", "message", "")]),
        (b"id: a\0b\ndata: 1\n\n", [("1", "message", "")]),
        (b"id: 5\n\ndata: 1\n\n", [("1", "message", "5")]),
        (b"data: a:b: c\nunknown: x\nDATA: y\n\n", [("a:b: c", "message", "")]),
        (b"\xef\xbb\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n", [("1", "message", "")]),
        ("data: tää\n\n".encode(), [("tää", "message", "")]),
        (b"data: \xff\n\n", [("\ufffd", "message", "")]),
        (b"data: 1\r\rdata: 2\r\n\r\ndata: 3\n\n", [(n, "message", "") for n in "123"]),
        (b"", []),
    ],
)
def test_streams(stream: bytes, events: list[tuple[str, str, str]]) -> None:
    assert [(e.data, e.event, e.id) for e in parse(stream)] == events
    assert [
        (e.data, e.event, e.id) for e in parse(*(stream[n : n + 1] for n in range(len(stream))))
    ] == events


def test_retry_counts_only_as_a_whole_number_and_is_bounded() -> None:
    parser = EventParser()
    parser.feed(b"retry: 1500\n")
    assert parser.retry == 1.5
    parser.feed("retry: -1\nretry: 2.5\nretry:\nretry: x\nretry: \u0663\n".encode())
    assert parser.retry == 1.5
    (event,) = parser.feed(b"data: 1\n\n")
    assert event.retry == 1.5
    parser.feed(b"retry: " + b"9" * 1000 + b"\n")
    assert parser.retry == 86_400.0


_LINE = st.sampled_from(
    [
        b"data: x",
        b"data",
        b"data:\xc3\xa4 b",
        b"id: 1",
        b"id",
        b"event: e",
        b"retry: 10",
        b": c",
        b"",
        b"",
        b"\xff",
    ]
)


@given(
    st.lists(st.tuples(_LINE, st.sampled_from([b"\n", b"\r", b"\r\n"]))),
    st.booleans(),
    st.lists(st.integers(1, 6)),
)
def test_it_does_not_matter_how_a_stream_is_cut(
    lines: list[tuple[bytes, bytes]], bom: bool, sizes: list[int]
) -> None:
    stream = (b"\xef\xbb\xbf" if bom else b"") + b"".join(line + end for line, end in lines)
    chunks: list[bytes] = []
    rest = stream
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    whole, cut = EventParser(), EventParser()
    events = whole.feed(stream)
    assert [event for chunk in [*chunks, rest] for event in cut.feed(chunk)] == events
    assert (cut.last_id, cut.retry) == (whole.last_id, whole.retry)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_any_bytes_are_read(chunks: list[bytes]) -> None:
    assert parse(*chunks) == parse(b"".join(chunks))


def test_neither_a_line_nor_an_event_grows_for_ever() -> None:
    parser = EventParser(max_size=1000)
    with pytest.raises(TooLongError):
        for _ in range(100):
            parser.feed(b"data: " + b"x" * 100)
    parser = EventParser(max_size=1000)
    with pytest.raises(TooLongError):
        for _ in range(100):
            parser.feed(b"data: " + b"x" * 100 + b"\n")
    parser = EventParser(max_size=1000)
    for _ in range(100):
        assert len(parser.feed(b"data: " + b"x" * 100 + b"\n\n")) == 1


def test_data_is_read_as_json() -> None:
    assert ServerSentEvent('{"a": [1]}').json().unwrap() == {"a": [1]}
    for data in ("[DONE]", "[" * 100_000):
        error = ServerSentEvent(data).json().error
        assert error is not None
        assert error.code == "PARSE_ERROR"
