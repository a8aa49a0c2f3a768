from __future__ import annotations

import dataclasses
import enum
import io
import uuid
from collections import UserDict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, NoReturn

import attrs
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import QiError
from qicore.logging import LogConfig, Logger
from qicore.logging.testing import MemoryDestination as Memory


class Color(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Number(enum.IntEnum):
    ONE = 1


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("not through me")

    def __repr__(self) -> str:
        raise RuntimeError("nor me")


class BrokenRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class LyingRepr:
    def __repr__(self) -> str:
        return "line\nbreak"


class BrokenDict(dict[str, int]):
    def items(self) -> NoReturn:
        raise RuntimeError("no items")


@dataclasses.dataclass
class Login:
    user: str
    password: str
    salt: str = dataclasses.field(default="s", repr=False)
    unset: int = dataclasses.field(init=False)


@attrs.define
class Card:
    holder: str
    pin: str = attrs.field(repr=False)


class Model(pydantic.BaseModel):
    name: str
    key: pydantic.SecretStr
    token: str
    hidden: str = pydantic.Field(default="h", repr=False)
    inner: dict[str, int] = {}


class OwnForm:
    def __structlog__(self) -> dict[str, int]:
        return {"a": 1}


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (2**64 - 1, 2**64 - 1),
        (2**64, str(2**64)),
        (-(2**63), -(2**63)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (10**6000, hex(10**6000)),
        (True, True),
        (None, None),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        ([float("nan")], ["nan"]),
        (Number.ONE, 1),
        (Color.RED, "red"),
        (Color.PAIR, [1, 2]),
        (Text("text"), "text"),
        (b"bytes", "bytes"),
        (b"\xff\x00", "\\xff\x00"),
        (bytearray(b"b"), "b"),
        (memoryview(b"m"), "m"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02T03:04:05.000006+00:00"),
        (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T00:00:00+02:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(1, 2, tzinfo=UTC), "01:02:00+00:00"),
        (timedelta(days=1), "1 day, 0:00:00"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.10"), "1.10"),
        (PurePosixPath("/a/b"), "/a/b"),
        (1 + 2j, "(1+2j)"),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset[int](), []),
        (deque([1]), [1]),
        ((1, (2,)), [1, [2]]),
        (Point(1, 2), [1, 2]),
        (UserDict({"a": 1}), {"a": 1}),
        ({1: "a", "1": "b", None: "c", (1, 2): "d"}, {"1": "a", "1_": "b", "None": "c", "[1, 2]": "d"}),
        (int, "<class 'int'>"),
        (Login("ann", "p"), {"user": "ann", "password": "[REDACTED]", "salt": "[REDACTED]"}),
        (Card("ann", "1"), {"holder": "ann", "pin": "[REDACTED]"}),
        (
            Model(name="n", key=pydantic.SecretStr("k"), token="t", inner={"a": 1}),
            {
                "name": "n", "key": "SecretStr('**********')", "token": "[REDACTED]", "hidden": "[REDACTED]",
                "inner": {"a": 1},
            },
        ),
        (OwnForm(), {"a": 1}),
        (BrokenRepr(), "<BrokenRepr: rendering it raised RuntimeError>"),
        (BrokenDict(a=1), "<BrokenDict: rendering it raised RuntimeError>"),
        (LyingRepr(), "line\nbreak"),
        (ValueError("v"), {"type": "ValueError", "message": "v"}),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_any_value_is_rendered(value: object, shown: object, log: Logger, memory: Memory) -> None:
    log.info("x", value=value, nested=[{"value": value}])
    log.info("x", value=value)
    log.with_context(value=value).info("x")
    for line in memory.lines():
        assert line["value"] == shown
    assert memory.lines()[0]["nested"] == [{"value": shown}]
    assert log.stats.failures == 0


def test_an_error_in_the_context_is_its_structure(log: Logger, memory: Memory) -> None:
    log.info("x", problem=QiError.cache("A", "b", token="t"))
    assert memory.lines()[0]["problem"]["context"] == {"token": "[REDACTED]"}


def test_an_iterator_is_not_used_up(log: Logger, memory: Memory) -> None:
    items = iter([1, 2])
    log.info("x", items=items)
    assert list(items) == [1, 2]
    assert "iterator" in memory.lines()[0]["items"]


def test_cycles_end(log: Logger, memory: Memory) -> None:
    items: list[Any] = [1]
    items.append(items)
    loop: dict[str, Any] = {"items": items}
    loop["self"] = [loop, loop]
    log.info("x", loop=loop)
    assert memory.lines()[0]["loop"] == {
        "items": [1, "<cycle: list>"], "self": ["<cycle: dict>", "<cycle: dict>"],
    }  # fmt: skip


def test_shared_objects_are_no_cycle(log: Logger, memory: Memory) -> None:
    shared = {"a": 1}
    log.info("x", one=shared, two=[shared, shared])
    assert memory.lines()[0]["two"] == [{"a": 1}, {"a": 1}]


def test_depth_ends(log: Logger, memory: Memory) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    log.info("x", deep=deep)
    assert "<nested too deeply>" in memory.getvalue().decode()
    while deep:  # one by one: the interpreter itself frees such a list by recursion
        deep = deep[0]


def test_a_few_objects_that_stand_for_billions_end(log: Logger, memory: Memory) -> None:
    bomb: list[Any] = ["x"]
    for _ in range(40):
        bomb = [bomb, bomb]
    log.info("x", bomb=bomb)
    assert len(memory.getvalue()) < 10_000_000
    assert "<too many values>" in memory.getvalue().decode()


def test_a_long_repr_is_cut_and_says_so(log: Logger, memory: Memory) -> None:
    class Long:
        def __repr__(self) -> str:
            return "x" * 1_000_000

    log.info("x", value=Long())
    value = memory.lines()[0]["value"]
    assert len(value) < 11_000
    assert value.endswith("… (1000000 characters)")


def test_a_dict_that_changes_meanwhile_is_rendered(log: Logger, memory: Memory) -> None:
    data: dict[str, object] = {}

    class Growing:
        def __repr__(self) -> str:
            data[str(len(data))] = 1
            return "grown"

    data["g"] = Growing()
    log.info("x", data=data)
    assert memory.lines()[0]["data"] == {"g": "grown"}


def test_control_flow_is_never_swallowed(log: Logger) -> None:
    class Interrupt:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        log.info("x", value=Interrupt())


@given(st.dictionaries(st.text(max_size=8), st.integers(), min_size=1, max_size=40))
def test_no_key_is_lost(context: dict[str, int]) -> None:
    memory = Memory()
    log = Logger.create(LogConfig(destination=memory, format="json", redact=())).unwrap()
    log.info("x", **context)
    line = memory.lines()[0]
    assert len(line) == 3 + len(context)


def test_keys_that_are_data_do_not_fill_the_memory() -> None:
    log = Logger.create(LogConfig(destination=io.BytesIO(), format="json")).unwrap()
    for number in range(10_000):
        log.info("x", **{f"key{number}": 1})
    assert len(log.pipeline.cleaner.safe) <= 4097


def test_paths_of_files_are_text(log: Logger, memory: Memory, tmp_path: Path) -> None:
    log.info("x", path=tmp_path)
    assert memory.lines()[0]["path"] == str(tmp_path)
