import contextlib
import copy
import json
import math
import pickle
import traceback
import uuid
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.base import ErrorCategory, QiError
from qicore.base.testing import check_monoid_laws
from qicore.base.testing.strategies import contexts, errors

ERROR = QiError.network("REFUSED", "connection refused", host="example.org")


def chain(length: int) -> QiError:
    error = QiError.unknown("BOTTOM", "0")
    for number in range(1, length):
        error = QiError.create("LINK", str(number), ErrorCategory.UNKNOWN, None, error)
    return error


def raise_in_another_process() -> None:
    ERROR.add_note("far away")
    raise ERROR


class TestCreation:
    @pytest.mark.parametrize("code", ["", None, 5, b"CODE"])
    def test_a_code_is_a_text_that_says_something(self, code: Any) -> None:
        with pytest.raises(ValueError, match="code"):
            QiError.create(code, "message", ErrorCategory.CACHE)

    @pytest.mark.parametrize("category", ["NETWORK", "", None, 5, ErrorCategory])
    def test_a_category_is_an_error_category(self, category: Any) -> None:
        with pytest.raises(ValueError, match="category"):
            QiError.create("CODE", "message", category)

    def test_ten_causes_and_no_more(self) -> None:
        deepest = QiError.create("TOP", "ten below", ErrorCategory.UNKNOWN, None, chain(10))
        assert len(str(deepest.to_structured_data()).split("'code'")) == 12
        with pytest.raises(ValueError, match="at most 10"):
            QiError.create("TOP", "eleven below", ErrorCategory.UNKNOWN, None, chain(11))
        with pytest.raises(ValueError, match="at most 10"):
            deepest.with_cause(ERROR)

    def test_a_cycle_is_refused(self) -> None:
        inner = QiError.unknown("INNER", "inner")
        outer = inner.with_cause(chain(2))
        # Only by force can an immutable error become its own cause.
        type(outer).cause.__set__(inner, outer)  # type: ignore[attr-defined]  # a slot descriptor at run time
        type(outer).cause.__set__(outer, inner)  # type: ignore[attr-defined]  # a slot descriptor at run time
        with pytest.raises(ValueError, match="circular"):
            QiError.create("CODE", "message", ErrorCategory.UNKNOWN, None, inner)

    def test_an_error_is_not_its_own_cause(self) -> None:
        with pytest.raises(ValueError, match="its own cause"):
            ERROR.with_cause(ERROR)

    def test_a_cause_is_an_error(self) -> None:
        wrong: Any = ValueError("no")
        with pytest.raises(ValueError, match="must be a QiError"):
            QiError.create("CODE", "message", ErrorCategory.UNKNOWN, None, wrong)

    @pytest.mark.parametrize("category", ErrorCategory, ids=str)
    def test_one_constructor_for_each_category(self, category: ErrorCategory) -> None:
        error = getattr(QiError, category.lower())("CODE", "message", code="free", message="free")
        assert error.category is error.get_category() is category
        assert error.context == {"code": "free", "message": "free"}
        assert error == QiError.create("CODE", "message", category, {"code": "free", "message": "free"})
        assert error.to_string() == f"{category.value}/CODE: message"

    def test_the_time_is_now_in_milliseconds_and_no_part_of_equality(self) -> None:
        early = QiError.from_structured_data({**ERROR.to_structured_data(), "timestamp": 5})
        assert abs(ERROR.timestamp - datetime.now(UTC).timestamp() * 1000) < 86_400_000
        assert early.timestamp == 5
        assert early == ERROR
        assert hash(early) == hash(ERROR)

    @pytest.mark.parametrize("name", ["code", "message", "category", "context", "cause", "timestamp", "new"])
    def test_immutable(self, name: str) -> None:
        with pytest.raises(AttributeError, match="immutable"):
            setattr(ERROR, name, "other")
        with pytest.raises(AttributeError, match="immutable"):
            delattr(ERROR, name)

    def test_the_context_is_a_deep_frozen_copy(self) -> None:
        given: dict[str, Any] = {"list": [1, {"a": 1}]}
        error = QiError.cache("CODE", "message", **given)
        given["list"].append(2)
        assert error.context == {"list": (1, {"a": 1})}
        with pytest.raises(TypeError):
            error.context["list"] = 1  # type: ignore[index]  # that is what is tested

    def test_inequality(self) -> None:
        assert QiError.network("REFUSED", "connection refused") != ERROR
        assert QiError.network("REFUSED", "other", host="example.org") != ERROR
        assert QiError.cache("REFUSED", "connection refused", host="example.org") != ERROR
        assert ERROR.with_cause(chain(1)) != ERROR
        assert ERROR != "NETWORK/REFUSED: connection refused"


class TestText:
    def test_to_string(self) -> None:
        assert str(ERROR) == ERROR.to_string() == "NETWORK/REFUSED: connection refused"
        assert repr(ERROR) == "<QiError NETWORK/REFUSED: connection refused>"

    def test_one_line_whatever_the_message(self) -> None:
        hostile = QiError.unknown("CODE", "a\r\nb\x1b[31mc\u2028d\u202ee\x7ff\ud800g é")
        assert str(hostile) == r"UNKNOWN/CODE: a\r\nb\x1b[31mc\u2028d\u202ee\x7ff\ud800g é"

    def test_the_context_is_not_shown(self) -> None:
        assert "hunter2" not in str(QiError.permission("LOGIN", "wrong password", password="hunter2"))

    @given(errors())
    def test_always_one_printable_line(self, error: QiError) -> None:
        assert str(error).isprintable()


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@dataclass
class Point:
    x: int


def endless() -> list[object]:
    items: list[object] = []
    items.append(items)
    return items


class TestStructuredData:
    @given(errors(max_causes=3))
    def test_round_trip(self, error: QiError) -> None:
        data = error.to_structured_data()
        assert QiError.from_structured_data(data) == error
        over_the_wire = json.loads(json.dumps(data, allow_nan=False))
        assert over_the_wire == data
        back = QiError.from_structured_data(over_the_wire)
        assert back == error
        assert back.timestamp == error.timestamp

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
            (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
            (Path("a/b"), "a/b"),
            (Colour.RED, "Colour.RED"),
            (Level.HIGH, 3),
            (Text("text"), "text"),
            (b"\x00\xff", "<2 bytes>"),
            ({3, 1, 2}, [1, 2, 3]),
            ((1, (2,)), [1, [2]]),
            ({1: "one", None: "none"}, {"1": "one", "None": "none"}),
            (MappingProxyType({"a": 1}), {"a": 1}),
            (math.nan, "nan"),
            (-math.inf, "-inf"),
            (ValueError("no"), "ValueError: no"),
            (Point, "test_error.Point"),
            (Point(1), "Point(x=1)"),
            (Broken(), "<Broken: rendering it raised RuntimeError>"),
            ("\ud800", "\\ud800"),
            ({"\ud800": 1}, {"\\ud800": 1}),
            pytest.param(10**5000, hex(10**5000), id="huge"),
        ],
    )
    def test_any_context_becomes_plain_json(self, value: object, shown: object) -> None:
        error = QiError.unknown("CODE", "message", value=value)
        data = error.to_structured_data()
        context: Any = data["context"]
        got = context["value"]
        assert got == shown or (isinstance(shown, str) and str(got).endswith(shown))
        text = json.dumps(data, allow_nan=False)
        text.encode()
        assert QiError.from_structured_data(json.loads(text)) == error

    def test_what_has_no_end_is_cut(self) -> None:
        error = QiError.unknown(
            "CODE", "message", value=endless(), text=Point(10**600), deep=json_depth(5000)
        )
        text = json.dumps(error.to_structured_data())
        assert "nested too deeply" in text
        assert len(text) < 5000

    def test_every_call_gives_new_containers(self) -> None:
        error = QiError.unknown("CODE", "message", items=[1])
        first: Any = error.to_structured_data()
        first["context"]["items"].append(2)
        assert error.to_structured_data()["context"] == {"items": [1]}

    @pytest.mark.parametrize(
        "data",
        [
            {},
            {"code": "", "message": "m", "category": "CACHE"},
            {"code": "C", "message": 1, "category": "CACHE"},
            {"code": "C", "message": "m", "category": "OTHER"},
            {"code": "C", "message": "m"},
            {"code": "C", "message": "m", "category": "CACHE", "context": []},
            {"code": "C", "message": "m", "category": "CACHE", "timestamp": "now"},
            {"code": "C", "message": "m", "category": "CACHE", "timestamp": True},
            {"code": "C", "message": "m", "category": "CACHE", "cause": "text"},
            {"code": "C", "message": "m", "category": "CACHE", "cause": {}},
            [],
            None,
        ],
    )
    def test_what_is_no_error_is_refused(self, data: Any) -> None:
        with pytest.raises(ValueError, match=r"error|category|cause|code|Category"):
            QiError.from_structured_data(data)

    def test_an_endless_chain_is_refused(self) -> None:
        data: dict[str, Any] = {"code": "C", "message": "m", "category": "CACHE"}
        data["cause"] = data
        with pytest.raises(ValueError, match="at most 10"):
            QiError.from_structured_data(data)

    def test_optional_fields_may_be_left_out(self) -> None:
        error = QiError.from_structured_data({"code": "C", "message": "m", "category": "CACHE"})
        assert error == QiError.cache("C", "m")


def json_depth(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = {"deeper": value}
    return value


class TestContextAndCause:
    @given(errors(), contexts(), contexts())
    def test_contexts_merge_right_biased(self, error: QiError, a: Any, b: Any) -> None:
        assert error.with_context({}) is error
        assert error.with_context(a).with_context(b) == error.with_context({**a, **b})
        merged = error.with_context(a)
        assert (merged.code, merged.category, merged.cause) == (error.code, error.category, error.cause)
        assert merged.timestamp == error.timestamp

    @given(contexts(), contexts(), contexts())
    def test_contexts_are_a_monoid(self, a: Any, b: Any, c: Any) -> None:
        def merge(left: Any, right: Any) -> Any:
            return dict(QiError.cache("C", "m").with_context(left).with_context(right).context)

        frozen = [merge({}, item) for item in (a, b, c)]
        check_monoid_laws(*frozen, empty={}, combine=merge)

    @given(errors(max_causes=2), errors(max_causes=2))
    def test_a_cause_goes_behind_and_the_chain_is_kept(self, error: QiError, cause: QiError) -> None:
        joined = error.with_cause(cause)
        assert joined.category is error.category
        expected = [*codes(error)[:1], *codes(cause), *codes(error)[1:]]
        assert codes(joined) == expected
        if error.cause is None:
            assert joined.cause == cause

    def test_the_traceback_shows_the_chain(self) -> None:
        shown = "".join(traceback.format_exception(QiError.cache("TOP", "top").with_cause(ERROR)))
        assert "NETWORK/REFUSED" in shown
        assert "direct cause" in shown

    def test_a_foreign_exception_behind_an_error_stays_there(self) -> None:
        error = QiError.from_exception(KeyError("k")).with_context({"a": 1})
        assert isinstance(error.__cause__, KeyError)
        behind = error.with_cause(QiError.cache("TOP", "top").with_cause(ERROR))
        assert behind.cause is not None
        assert behind.cause.cause is not None
        assert isinstance(behind.cause.cause.__cause__, KeyError)


def codes(error: QiError | None) -> list[str]:
    found: list[str] = []
    while error is not None:
        found.append(error.code)
        error = error.cause
    return found


class TestAsAnException:
    def test_it_travels_through_context_managers(self) -> None:
        @contextlib.contextmanager
        def manager() -> Any:
            yield

        with pytest.raises(QiError) as raised, contextlib.ExitStack() as stack, manager():
            stack.enter_context(manager())
            raise ERROR
        assert raised.value is ERROR

    def test_notes_are_kept_by_pickle_copy_and_change(self) -> None:
        error = QiError.cache("CODE", "message")
        error.add_note("remember")
        for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error), error.with_context({"a": 1})):
            assert twin.__notes__ == ["remember"]

    def test_it_crosses_processes(self) -> None:
        with ProcessPoolExecutor(1) as pool, pytest.raises(QiError) as raised:
            pool.submit(raise_in_another_process).result()
        assert raised.value == ERROR
        assert raised.value.__notes__ == ["far away"]

    def test_in_an_exception_group(self) -> None:
        with pytest.raises(ExceptionGroup) as raised:
            raise ExceptionGroup("both", [ERROR, ValueError("no")])
        assert raised.value.subgroup(QiError) is not None

    def test_raise_from(self) -> None:
        with pytest.raises(QiError) as raised:
            try:
                raise KeyError("k")
            except KeyError as missing:
                raise QiError.unknown("CODE", "message") from missing
        assert isinstance(raised.value.__cause__, KeyError)


class TestFromException:
    @pytest.mark.parametrize(
        ("exception", "code", "category"),
        [
            (TimeoutError("late"), "TIMEOUT_ERROR", ErrorCategory.TIMEOUT),
            (PermissionError(13, "no"), "PERMISSION_ERROR", ErrorCategory.PERMISSION),
            (ConnectionRefusedError(111, "no"), "CONNECTION_REFUSED_ERROR", ErrorCategory.NETWORK),
            (FileNotFoundError(2, "no"), "FILE_NOT_FOUND_ERROR", ErrorCategory.FILESYSTEM),
            (OSError(5, "no"), "OSERROR", ErrorCategory.FILESYSTEM),
            (ValueError("no"), "VALUE_ERROR", ErrorCategory.UNKNOWN),
            (ZeroDivisionError("no"), "ZERO_DIVISION_ERROR", ErrorCategory.UNKNOWN),
        ],
    )
    def test_the_table(self, exception: Exception, code: str, category: ErrorCategory) -> None:
        error = QiError.from_exception(exception, hint="facts")
        assert (error.code, error.category, error.__cause__) == (code, category, exception)
        assert error.context == {"hint": "facts"}

    def test_a_code_can_be_given(self) -> None:
        assert QiError.from_exception(ValueError("no"), code="MINE").code == "MINE"

    def test_an_error_is_itself(self) -> None:
        assert QiError.from_exception(ERROR) is ERROR

    def test_an_exception_without_a_text(self) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        assert QiError.from_exception(ValueError()).message == "ValueError"
        assert QiError.from_exception(Mute()).message == "Mute"


class TestAggregate:
    def test_one_is_itself_and_none_is_refused(self) -> None:
        assert QiError.aggregate([ERROR]) is ERROR
        with pytest.raises(ValueError, match="at least one"):
            QiError.aggregate([])

    def test_equal_errors_of_other_times_make_equal_aggregates(self) -> None:
        later = QiError.from_structured_data({**ERROR.to_structured_data(), "timestamp": 5}).with_cause(
            chain(1)
        )
        assert QiError.aggregate([later, ERROR]) == QiError.aggregate([ERROR.with_cause(chain(1)), ERROR])

    @given(st.lists(errors(), min_size=2, max_size=4))
    def test_all_are_in_the_context(self, found: list[QiError]) -> None:
        together = QiError.aggregate(iter(found))
        assert together.code == "MULTIPLE_ERRORS"
        same = len({error.category for error in found}) == 1
        assert together.category is (found[0].category if same else ErrorCategory.UNKNOWN)
        held: Any = together.to_structured_data()["context"]
        assert [QiError.from_structured_data(item) for item in held["errors"]] == found
