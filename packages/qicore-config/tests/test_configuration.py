"""Objects in and out, look-ups, immutability."""

import re
import threading
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from ipaddress import ip_address
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, SecretStr
from qicore.base import QiError
from qicore.base.testing import assert_failure, assert_success
from qicore.config import ConfigLimits, Configuration, Source


class Color(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Name(StrEnum):
    A = "a"


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")

    host: str = "x"
    password: SecretStr = SecretStr("hunter2")
    url: AnyUrl = AnyUrl("http://h/")
    size: int = Field(1, alias="maxSize")


@dataclass
class Plain:
    path: PurePosixPath
    model: Model


def fail(values: Any, code: str = "INVALID_CONFIG", **limits: int) -> QiError:
    return assert_failure(Configuration.from_object(values, limits=ConfigLimits(**limits)), code)


def test_objects_become_what_files_hold() -> None:
    data: dict[Any, Any] = {
        "none": None, "int": Level.LOW, "enum": Color.RED, "path": PurePosixPath("/a"), "tuple": (1, (2,)),
        "set": {3, 1, 2}, "date": date(2024, 1, 1), "time": time(1), "datetime": datetime(2024, 1, 1, 1),
        "uuid": UUID(int=1), "decimal": Decimal("1.10"), "ip": ip_address("::1"), Name.A: Name.A,
        "mapping": MappingProxyType({"a": dict[str, int]()}), "secret": SecretStr("x"), "inf": float("inf"),
    }  # fmt: skip
    config = assert_success(Configuration.from_object(data))
    assert config.to_dict() == {
        "none": None, "int": 1, "enum": "red", "path": "/a", "tuple": [1, [2]], "set": [1, 2, 3],
        "date": date(2024, 1, 1), "time": time(1), "datetime": datetime(2024, 1, 1, 1),
        "uuid": "00000000-0000-0000-0000-000000000001", "decimal": "1.10", "ip": "::1", "a": "a",
        "mapping": {"a": {}}, "secret": "x", "inf": float("inf"),
    }  # fmt: skip
    assert [type(config.get_or(key, 0)) for key in ("int", "a")] == [int, str]


def test_models_and_dataclasses_keep_their_secrets_and_aliases() -> None:
    plain = Plain(PurePosixPath("a"), Model.model_validate({"extra": [1]}))
    config = assert_success(Configuration.from_object(plain, layer="defaults"))
    inner = {"host": "x", "password": "hunter2", "url": "http://h/", "maxSize": 1, "extra": [1]}
    assert config.to_dict() == {"path": "a", "model": inner}
    assert assert_success(assert_success(config.section("model")).validate(Model)) == plain.model
    assert assert_success(config.source("model.host")) == Source(layer="defaults")
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (None, "a configuration is a mapping, not None"),
        ([1], "a configuration is a mapping, not a value of type list"),
        (Model, "a configuration is a mapping, not a value of type ModelMetaclass"),
        ({1: 2}, "a key must be text, not a value of type int"),
        ({"a": {None: 2}}, "a: a key must be text, not None"),
        ({"a": [1, object()]}, "a.1: a value of type object"),
        ({"a": b"hunter2"}, "a: bytes"),
        ({"a": {"b": float("nan")}}, "a.b: NaN"),
        ({"a": 1 << 100_000}, "a: the number is too long"),
        ({"a": "\ud800"}, "a: the text has a lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        ({"a": Color}, "a: a value of type Enum"),
        ({"a": 1j}, "a: a value of type complex"),
        ({Name.A: 1, "b": {Color.RED: 1, "red": 2}}, "b.red: the key is there twice"),
    ],
)
def test_what_no_configuration_holds(values: Any, says: str) -> None:
    error = fail(values)
    assert says in error.message
    assert "hunter2" not in str(error.to_structured_data())
    with pytest.raises(ValueError, match=re.escape(says)):
        Configuration(values)


def test_bounds() -> None:
    loop: dict[str, Any] = {}
    loop["a"] = [loop]
    fail(loop, "CONFIG_TOO_DEEP")
    wide: list[Any] = []
    for _ in range(30):
        wide = [wide, wide, wide]
    fail({"a": wide}, "CONFIG_TOO_LARGE")
    fail({"a": range(3)})
    fail({"a": [1, 2, 3]}, "CONFIG_TOO_LARGE", max_values=3)
    fail({"a": {"b": {}}}, "CONFIG_TOO_DEEP", max_depth=2)
    assert Configuration.from_object(
        {"a": {"b": 1}}, limits=ConfigLimits(max_depth=2, max_values=2)
    ).is_success


def test_nothing_can_be_changed() -> None:
    data = {"a": {"b": [1, {"c": 2}]}}
    config: Any = Configuration(data)
    data["a"]["b"].append(3)
    assert config.to_dict() == {"a": {"b": [1, {"c": 2}]}}
    config.to_dict()["a"]["b"].append(3)
    assert config.to_dict() == {"a": {"b": [1, {"c": 2}]}}
    for change in (
        lambda: setattr(config, "x", 1),
        lambda: setattr(config, "_values", {}),
        lambda: delattr(config, "_values"),
        lambda: config.get("a").unwrap().__setitem__("x", 1),
        lambda: config.get("a.b").unwrap().append(1),
        lambda: config.get("a.b.1").unwrap().update(x=1),
        lambda: config.__dict__,
    ):
        with pytest.raises((AttributeError, TypeError)):
            change()


def test_look_ups() -> None:
    config = Configuration({"a": {"b": [{"c": 1}, None]}, "x.y": 2, "": {"": 3}, "0": 4})
    for key, value in {
        "a.b.0.c": 1,
        ("x.y",): 2,
        "a.b.1": None,
        ".": 3,
        "0": 4,
        ("a", "b", 0, "c"): 1,
    }.items():
        assert assert_success(config.get(key)) == value  # type: ignore[arg-type]
        assert config.has(key)  # type: ignore[arg-type]
        assert config.get_or(key, "none") == value  # type: ignore[arg-type]
        assert config.source(key).is_success  # type: ignore[arg-type]
    missing = [
        "b",
        "a.c",
        "a.b.2",
        "a.b.-1",
        "a.b.x",
        "a.b.0.c.d",
        "x.y",
        "a.b.٣",
        "a.b." + "1" * 5000,
        "...",
    ]
    for key in missing:
        assert not config.has(key)
        assert config.get_or(key, "none") == "none"
        error = assert_failure(config.get(key), "CONFIG_KEY_NOT_FOUND")
        assert assert_failure(config.source(key)) == error
        assert assert_failure(config.section(key)) == error
    assert not config.has(("a", "b", -1))
    assert assert_success(config.section(())) == config


def test_sections() -> None:
    config = Configuration({"db": {"host": "x"}}, layer="a") | Configuration({"db": {"port": 1}}, layer="b")
    section = assert_success(config.section("db"))
    assert section == Configuration({"host": "x", "port": 1})
    assert [str(row) for row in section.explain()] == ["host = x  (a)", "port = 1  (b)"]
    assert (
        "db.host is no section (a)"
        in assert_failure(config.section("db.host"), "CONFIG_TYPE_MISMATCH").message
    )
    assert str(assert_success(config.source("db"))) == "b"


def test_equality_is_about_values() -> None:
    assert Configuration({"a": 1, "b": 2}, layer="x") == Configuration({"b": 2, "a": 1}, layer="y")
    assert Configuration({"a": 1}) != Configuration({"a": 2})
    assert Configuration({"a": [1]}) != Configuration({"a": 1})
    assert Configuration({}) != {}
    assert hash(Configuration({"a": 1, "b": [2]})) == hash(Configuration({"b": [2], "a": 1.0}))


def test_merging_with_something_else_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        Configuration({}) | {}  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]  # the point of the test


def test_writing_names_every_value_that_the_format_can_not_hold() -> None:
    config = Configuration({
        "a": None, "b": [date(2024, 1, 1)], "c": float("inf"), "d": {"e": "x", "F": "y"}, "g": {}, "h__i":
        "x",
    })  # fmt: skip

    def refused(name: str) -> str:
        return assert_failure(config.to_string(name), "CONFIG_UNWRITABLE").message

    assert refused("json") == "JSON can't hold b.0 (a date), c (infinity)"
    assert refused("yaml") == "YAML can't hold b.0 (a date)"
    assert refused("toml") == "TOML can't hold a (null)"
    for key in ("a (null", "b (a list", "c (a float", "d.F (a key", "g (an empty section", "h__i (a key"):
        assert key in refused("env")
    assert (
        "and 5 more"
        in assert_failure(Configuration({f"k{n}": None for n in range(15)}).to_string("toml")).message
    )


def test_a_configuration_is_read_by_many_threads() -> None:
    config = Configuration({f"k{n}": {"a": n} for n in range(50)})
    problems: list[object] = []

    def work() -> None:
        for n in range(50):
            merged = config | Configuration({f"k{n}": {"b": 1}})
            if merged.get_or(f"k{n}.a", None) != n or len(config.explain()) != 50:
                problems.append(n)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_repr_shows_names_only() -> None:
    assert repr(Configuration({"db": {"password": "hunter2"}, "x": 1})) == "<Configuration: db, x>"
    assert len(repr(Configuration({f"key{n}": n for n in range(100)}))) < 100
