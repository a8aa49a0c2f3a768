"""Values come back as they were; what was not written so is never executed."""

import copy
import math
import os
import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.cache import JSONSerializer, MessagePackSerializer, PickleSerializer, Serializer

KEY = bytes(range(32))
OLD_KEY = b"an old secret of more than 64 bytes, which is longer than BLAKE2b itself takes"
PLACE = "qicore:user:7"

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
DATA = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)
JSON_DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@dataclass
class User:
    name: str
    born: datetime


def returns(serializer: Serializer, value: Any) -> Any:
    return serializer.loads(serializer.dumps(value, key=PLACE), key=PLACE)


@given(DATA)
def test_message_pack_gives_back_what_it_was_given(value: Any) -> None:
    assert returns(MessagePackSerializer(), value) == value


@given(JSON_DATA)
def test_json_gives_back_what_it_was_given(value: Any) -> None:
    assert returns(JSONSerializer(), value) == value


@given(DATA)
def test_pickle_gives_back_what_it_was_given(value: Any) -> None:
    assert returns(PickleSerializer(KEY), value) == value


@pytest.mark.parametrize("make", [MessagePackSerializer, JSONSerializer])
def test_with_a_type_values_of_it_come_back(make: Callable[[Any], Serializer]) -> None:
    user = User("Ada", datetime(1815, 12, 10, tzinfo=UTC))
    assert returns(make(User), user) == user
    assert returns(make(Any), user) != user
    with pytest.raises(ValueError, match="Expected `int`"):
        make(int).loads(make(Any).dumps("text", key=PLACE), key=PLACE)


def test_what_they_can_not_write_they_refuse() -> None:
    for serializer in (MessagePackSerializer(), JSONSerializer()):
        with pytest.raises(TypeError):
            serializer.dumps(object(), key=PLACE)
    with pytest.raises(OverflowError):
        MessagePackSerializer().dumps(2**64, key=PLACE)
    assert returns(JSONSerializer(), math.nan) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_an_exception(data: bytes) -> None:
    for serializer in (MessagePackSerializer(), JSONSerializer(), MessagePackSerializer(User)):
        with suppress(Exception):  # any will do, and no exit
            serializer.loads(data, key=PLACE)
    with pytest.raises(ValueError, match="not signed"):
        PickleSerializer(KEY).loads(data, key=PLACE)


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa0", b"["])
def test_nesting_without_end_is_an_exception(opening: bytes) -> None:
    for serializer in (MessagePackSerializer(), JSONSerializer()):
        with pytest.raises((RecursionError, ValueError)):
            serializer.loads(opening * 100_000, key=PLACE)


class Creates:
    """Unpickled, it makes a file: the harmless form of every attack by pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (os.mkdir, (str(self.path),))


class TestPickle:
    @given(data=st.data())
    def test_one_changed_bit_is_refused(self, data: st.DataObject) -> None:
        serializer = PickleSerializer(KEY)
        signed = bytearray(serializer.dumps({"a": [1, 2]}, key=PLACE))
        at = data.draw(st.integers(0, len(signed) * 8 - 1))
        signed[at // 8] ^= 1 << at % 8
        with pytest.raises(ValueError, match="not signed"):
            serializer.loads(bytes(signed), key=PLACE)

    def test_every_truncation_and_any_addition_is_refused(self) -> None:
        serializer = PickleSerializer(KEY)
        signed = serializer.dumps({"a": [1, 2]}, key=PLACE)
        for end in range(len(signed)):
            with pytest.raises(ValueError, match="not signed"):
                serializer.loads(signed[:end], key=PLACE)
        with pytest.raises(ValueError, match="not signed"):
            serializer.loads(signed + b"\0", key=PLACE)

    @given(TEXTS, TEXTS, st.binary(min_size=1))
    def test_what_was_signed_for_one_place_is_refused_at_another(
        self, place: str, other: str, value: bytes
    ) -> None:
        serializer = PickleSerializer(KEY)
        signed = serializer.dumps(value, key=place)
        assert serializer.loads(signed, key=place) == value
        if other != place:
            with pytest.raises(ValueError, match="not signed"):
                serializer.loads(signed, key=other)

    def test_the_place_does_not_run_into_the_value(self) -> None:
        serializer = PickleSerializer(KEY)
        signed = serializer.dumps("value", key="ab")
        with pytest.raises(ValueError, match="not signed"):
            serializer.loads(signed[:33] + b"b" + signed[33:], key="a")

    def test_a_malicious_value_is_never_unpickled(self, tmp_path: Path) -> None:
        made = tmp_path / "made"
        attack = pickle.dumps(Creates(made))
        serializer = PickleSerializer(KEY)
        signed = serializer.dumps("harmless", key=PLACE)
        mac = blake2b(attack, key=b"guessed", digest_size=32).digest()
        for data in (
            attack,
            b"\x01" + attack,
            signed[:33] + attack,
            b"\x01" + bytes(32) + attack,
            b"\x01" + mac + attack,
            b"\x00" + signed[1:],
            PickleSerializer(bytes(32)).dumps(Creates(made), key=PLACE),
            serializer.dumps(Creates(made), key="another place"),
            attack + signed,
        ):
            with pytest.raises(ValueError, match="not signed"):
                serializer.loads(data, key=PLACE)
        assert not made.exists()
        # The attack is one: signed for its place it would have been carried out.
        serializer.loads(serializer.dumps(Creates(made), key=PLACE), key=PLACE)
        assert made.exists()

    def test_an_old_key_still_reads_and_the_new_one_writes(self) -> None:
        old, new, both = PickleSerializer(OLD_KEY), PickleSerializer(KEY), PickleSerializer(KEY, (OLD_KEY,))
        assert both.loads(old.dumps({1}, key=PLACE), key=PLACE) == {1}
        assert new.loads(both.dumps({1}, key=PLACE), key=PLACE) == {1}
        with pytest.raises(ValueError, match="not signed"):
            new.loads(old.dumps({1}, key=PLACE), key=PLACE)

    @pytest.mark.parametrize("key", [b"", b"x" * 31, "x" * 32, None, 32])
    def test_a_short_key_is_a_mistake(self, key: Any) -> None:
        with pytest.raises(ValueError, match="at least 32 bytes"):
            PickleSerializer(key)
        with pytest.raises(ValueError, match="at least 32 bytes"):
            PickleSerializer(KEY, (key,))

    def test_the_key_is_not_shown_and_does_not_travel(self) -> None:
        key = b"0123456789abcdefghijklmnopqrstuvwxyz"
        serializer = PickleSerializer(key)
        assert "abcdef" not in repr(serializer)
        for travel in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError):
                travel(serializer)
        with pytest.raises(ValueError, match="not signed") as raised:
            serializer.loads(b"foreign", key=PLACE)
        assert "abcdef" not in str(raised.value)
