"""Merging is a monoid, and what is written reads back: for any configuration."""

import copy
import pickle
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from qicore.base.testing import assert_success, check_monoid_laws
from qicore.config import Configuration

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# What one version of YAML or another takes for something else than text.
TRICKY = st.sampled_from([
    "", " ", "no", "NO", "off", "On", "yes", "y", "true", "null", "~", "0777", "0o17", "0x1F", "12:30:00",
    "1e3", "1_000", "+1", "-0", ".5", "1.", ".inf", ".nan", "<<", "=", "2024-01-01",
    "2024-01-01T10:00:00Z", "- a", "a: b", "#c", "a #c", "@x", "`x", "%x", "!x", "&x", "*x", "|", ">",
    "{", "[", "'", '"', "\\", "\n", "a\nb\n", "\r", "a\r\nb", "\t", "\x00", "\x7f", "\x85", "\u2028",
    "\ufeff", "\ufffe", "\U0001f600", "${HOME}", "$x", "a'b", "\\'", "0b1", "1__0", "+.inf", "0.", "1e",
    "e1", "--- a", "...", "---",
])  # fmt: skip
KEYS = TRICKY | TEXTS | st.sampled_from(["a", "b", "c", "a.b"])
SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TRICKY
    | TEXTS
)


def trees(
    scalars: st.SearchStrategy[Any], keys: st.SearchStrategy[str] = KEYS
) -> st.SearchStrategy[dict[str, Any]]:
    values = st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=8,
    )
    return st.dictionaries(keys, values, max_size=4)


# Few keys and few shapes, so that layers really meet: a mapping over a scalar, a scalar over a mapping.
COLLIDING = st.recursive(
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 2) | st.just([1]), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("ab"), inner | st.none(), max_size=2),
    max_leaves=5,
)


def typed(value: Any) -> Any:
    """Return the value with every type in it, as `1 == 1.0 == True`, and without the order of keys."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return list(map(typed, cast("Iterable[Any]", value)))
    if isinstance(value, datetime | time):
        value = value.replace(fold=0)
    return (type(value), repr(value))


def layer(data: dict[str, Any], name: str) -> Configuration:
    return assert_success(Configuration.from_object(data, layer=name))


def whole(config: Configuration) -> object:
    return config, config.explain()


@given(COLLIDING, COLLIDING, COLLIDING)
def test_merging_is_a_monoid_provenance_included(a: Any, b: Any, c: Any) -> None:
    check_monoid_laws(
        layer(a, "a"),
        layer(b, "b"),
        layer(c, "c"),
        empty=Configuration.empty(),
        combine=Configuration.merge,
        equal=lambda left, right: whole(left) == whole(right),
    )


@given(COLLIDING, COLLIDING, COLLIDING, COLLIDING)
def test_any_grouping_of_layers_goes_on_alike(a: Any, b: Any, c: Any, d: Any) -> None:
    one, two, three, four = layer(a, "a"), layer(b, "b"), layer(c, "c"), layer(d, "d")
    assert whole(one | (two | (three | four))) == whole(((one | two) | three) | four)
    assert whole((one | two) | (three | four)) == whole(Configuration.merge_all([one, two, three, four]))


def model(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """Return what merging two layers means, said in the simplest way."""
    merged = dict(low)
    for key, item in high.items():
        both = isinstance(item, dict) and isinstance(low.get(key), dict)
        merged[key] = model(low[key], cast("dict[str, Any]", item)) if both else item
    return merged


@given(trees(SCALARS), trees(SCALARS))
def test_merging_does_what_it_says(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert typed((layer(a, "a") | layer(b, "b")).to_dict()) == typed(model(a, b))


@given(COLLIDING, COLLIDING)
def test_every_value_comes_from_the_layer_that_set_it(a: Any, b: Any) -> None:
    high = layer(b, "b")
    for row in (layer(a, "a") | high).explain():
        place = high.get(row.key)
        if row.source.layer == "b":
            assert place.is_success
        else:
            assert row.source.layer == "a"
            assert place.is_failure


@given(trees(SCALARS))
def test_a_configuration_is_a_value(data: dict[str, Any]) -> None:
    config = layer(data, "a")
    assert typed(config.to_dict()) == typed(data)
    same = layer(copy.deepcopy(data), "elsewhere")
    assert config == same
    assert hash(config) == hash(same)
    assert {config: 1}[same] == 1
    again = pickle.loads(pickle.dumps(config))
    assert whole(again) == whole(config)
    assert copy.copy(config) is config
    assert copy.deepcopy(config) is config


@given(trees(SCALARS))
def test_json_reads_back(data: dict[str, Any]) -> None:
    text = assert_success(layer(data, "a").to_string("json"))
    assert typed(assert_success(Configuration.from_string(text, "json")).to_dict()) == typed(data)


@given(trees(SCALARS | st.sampled_from([float("inf"), float("-inf")])))
def test_yaml_reads_back(data: dict[str, Any]) -> None:
    text = assert_success(layer(data, "a").to_string("yaml"))
    assert typed(assert_success(Configuration.from_string(text, "yaml")).to_dict()) == typed(data)


@given(trees(SCALARS))
def test_yaml_reads_back_without_libyaml(data: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "__with_libyaml__", False)
        text = assert_success(layer(data, "a").to_string("yaml"))
        assert typed(assert_success(Configuration.from_string(text, "yaml")).to_dict()) == typed(data)


DATES: st.SearchStrategy[Any] = (
    st.dates(date(1000, 1, 1))
    | st.datetimes(datetime(1000, 1, 1))
    | st.datetimes(datetime(1000, 1, 2), timezones=st.just(UTC))
    | st.times()
)


@given(trees(SCALARS.filter(lambda value: value is not None) | DATES | st.just(float("inf"))))
def test_toml_reads_back(data: dict[str, Any]) -> None:
    text = assert_success(layer(data, "a").to_string("toml"))
    assert typed(assert_success(Configuration.from_string(text, "toml")).to_dict()) == typed(data)


NAMES = st.from_regex(r"[a-z][a-z0-9]{0,3}(_[a-z0-9]{1,3}){0,2}", fullmatch=True)
SECTIONS = st.recursive(
    st.dictionaries(NAMES, TRICKY | TEXTS, min_size=1, max_size=3),
    lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3),
    max_leaves=4,
)


@given(SECTIONS)
def test_dotenv_reads_back(data: dict[str, Any]) -> None:
    text = assert_success(layer(data, "a").to_string("env"))
    assert typed(assert_success(Configuration.from_string(text, "env")).to_dict()) == typed(data)


@given(trees(SCALARS | DATES), st.sampled_from(["json", "yaml", "toml", "env"]))
def test_what_is_written_always_reads_back(data: dict[str, Any], name: str) -> None:
    config = layer(data, "a")
    written = config.to_string(name)
    if written.data is None:
        assert written.error is not None
        assert written.error.code == "CONFIG_UNWRITABLE"
    else:
        assert typed(assert_success(Configuration.from_string(written.data, name)).to_dict()) == typed(data)


def test_a_mapping_that_replaced_a_scalar_goes_on_replacing() -> None:
    low, scalar, high = (
        Configuration({"x": {"p": 1}}),
        Configuration({"x": 5}),
        Configuration({"x": {"q": 2}}),
    )
    assert low | (scalar | high) == (low | scalar) | high == Configuration({"x": {"q": 2}})
    assert assert_success(Configuration({"y": 0}).merge(low | scalar | high).section("x")) == Configuration(
        {"q": 2}
    )


def test_time_with_an_offset_is_refused_by_toml() -> None:
    assert time(1, tzinfo=UTC).tzinfo is not None
    assert Configuration({"t": time(1, tzinfo=UTC)}).to_string("toml").is_failure
