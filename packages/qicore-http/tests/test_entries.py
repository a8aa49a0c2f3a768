import hashlib
import struct

from hypothesis import given
from hypothesis import strategies as st
from qicore.http.entries import Entry, pack, unpack, vary_choice

entries = st.builds(
    Entry,
    method=st.sampled_from(["GET", "HEAD"]),
    status=st.integers(200, 599),
    fields=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5))).map(tuple),
    body=st.binary(max_size=50),
    born=st.floats(0, 2e9),
    lifetime=st.floats(0, 1e9),
    choice=st.none() | st.text(max_size=5),
)


@given(st.lists(entries, max_size=4))
def test_what_was_stored_comes_back(stored: list[Entry]) -> None:
    assert unpack(pack(stored)) == stored


@given(st.lists(entries, min_size=1, max_size=2), st.data())
def test_a_damaged_value_is_none(stored: list[Entry], data: st.DataObject) -> None:
    value = pack(stored)
    place = data.draw(st.integers(0, len(value) - 1))
    damaged = bytearray(value)
    damaged[place] ^= data.draw(st.integers(1, 255))
    assert unpack(bytes(damaged)) is None
    assert unpack(value[:place]) is None
    assert unpack(value + b"x") is None


@given(st.binary() | st.text() | st.none() | st.integers())
def test_a_foreign_value_is_none(value: object) -> None:
    assert unpack(value) is None


def test_a_value_of_another_version_is_none() -> None:
    descriptions = (b"[[1]]", b"{}x", b'{"a": 1}', b"[1]", b'[["GET","x",[],0,0,0,null]]', b"\xff")
    for content in (b"", b"\0", *(struct.pack(">I", len(text)) + text for text in descriptions)):
        digest = hashlib.blake2b(content, digest_size=16).digest()
        assert unpack(b"QHC1" + digest + content) is None


def test_a_choice_is_what_the_named_fields_say() -> None:
    varies = (("vary", "Accept, x-a"), ("vary", "X-B"))
    one = (("accept", "text/html,  text/plain"), ("x-b", "1"), ("other", "o"))
    same = (("x-b", "1"), ("accept", "text/html"), ("accept", "text/plain"))
    assert vary_choice(varies, one) == vary_choice(varies, same)
    assert vary_choice(varies, one) != vary_choice(varies, (*one, ("x-a", "")))
    assert vary_choice((("vary", "accept, *"),), one) is None
    assert vary_choice((), one) == vary_choice((), ())
    assert "token" not in str(vary_choice((("vary", "authorization"),), (("authorization", "token"),)))
