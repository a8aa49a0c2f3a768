from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.ai import LLMClient, LLMConfig
from qicore.base.testing import assert_failure, assert_success


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""), ("model", 5), ("embedding_model", None), ("base_url", "localhost:11434"),
        ("base_url", ""), ("base_url", "ftp://example.org"), ("base_url", 5),
        ("base_url", "http://localhost:99999"), ("base_url", "http://localhost:x"), ("base_url", "http://[::"),
        ("api_key", ""), ("api_key", "line\n"), ("api_key", "two parts"), ("api_key", "schlüssel"),
        ("headers", {"A": "b\r\nC: d"}), ("headers", [("A", "b")]), ("headers", {"A": 1}),
        ("headers", {"A b": "c"}), ("headers", {"": "c"}), ("headers", {"A": "ü"}), ("headers", {"A": "b\0"}),
        ("headers", {1: "b"}), ("system", None),
        ("temperature", -0.1), ("temperature", 2.1), ("temperature", True), ("temperature", float("nan")),
        ("top_p", 1.1), ("max_tokens", 0), ("max_tokens", 1.5), ("seed", "1"), ("stop", "END"),
        ("stop", ("",)),
        ("stop", ["END"]), ("thinking", "deep"), ("thinking", 5), ("thinking", []),
        ("extra", None), ("extra", [("a", 1)]),
        ("extra", {"a": object()}), ("extra", {"a": 1, 2: 3}), ("extra", {"a": float("nan")}),
        ("extra", {"a": "\ud800"}), ("timeout", 0),
        ("timeout", float("inf")), ("first_token_timeout", -1), ("between_tokens_timeout", "1"),
        ("connect_timeout", None), ("max_concurrency", 0), ("max_response_size", 0), ("embedding_batch", 0),
        ("embedding_concurrency", 0), ("cache", object()), ("cache_ttl", 0),
    ],
)  # fmt: skip
def test_each_option_is_checked(name: str, value: Any) -> None:
    options: dict[str, Any] = {"model": "tiny", name: value}
    config = LLMConfig(**options)
    error = assert_failure(config.check(), "INVALID_LLM_CONFIG")
    assert error.message.startswith(name)
    assert_failure(LLMClient.create("ollama", config), "INVALID_LLM_CONFIG")


def test_all_that_is_wrong_is_named() -> None:
    error = assert_failure(LLMConfig(model="", temperature=9, timeout=-1).check(), "INVALID_LLM_CONFIG")
    assert error.message.count(";") == 2


def test_what_is_no_configuration() -> None:
    given: Any = {"model": "tiny"}
    assert_failure(LLMClient.create("ollama", given), "INVALID_LLM_CONFIG")
    with pytest.raises(TypeError, match=r"LLMClient\.create"):
        LLMClient(given)


def test_secrets_are_not_shown() -> None:
    config = LLMConfig(
        model="tiny", api_key="sesame", base_url="http://ann:sesame@localhost", headers={"X-Key": "sesame"}
    )
    assert "sesame" not in repr(config)


OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["tiny", "large"]),
    "temperature": st.none() | st.floats(0, 2),
    "max_tokens": st.none() | st.integers(1, 9),
    "system": st.text(max_size=3).filter(lambda text: text.isprintable()),
    "timeout": st.none() | st.floats(0.1, 9),
    "stop": st.lists(st.sampled_from("abc"), max_size=2).map(tuple),
}
changes = st.fixed_dictionaries({}, optional=OPTIONS)
BASE = LLMClient.create("ollama", LLMConfig(model="tiny")).unwrap()


@given(changes, changes)
def test_local_options_compose(first: dict[str, Any], second: dict[str, Any]) -> None:
    """The reader's `local`: identity, composition, and the original untouched."""
    before = BASE.config
    one_by_one = assert_success(assert_success(BASE.with_config(**first)).with_config(**second))
    at_once = assert_success(BASE.with_config(**{**first, **second}))
    assert one_by_one.config == at_once.config
    assert assert_success(BASE.with_config()).config == BASE.config
    assert BASE.config is before
    assert one_by_one.raw is BASE.raw, "the connections are shared"


def test_another_place_is_another_connection() -> None:
    there = assert_success(BASE.with_config(base_url="http://127.0.0.1:1"))
    assert there.raw is not BASE.raw
    assert assert_success(there.with_config(temperature=0.0)).raw is there.raw
    assert assert_success(there.with_config(base_url=None)).raw is BASE.raw


def test_local_options_are_checked() -> None:
    assert_failure(BASE.with_config(temperature=9), "INVALID_LLM_CONFIG")
    assert "tempreature" in assert_failure(BASE.with_config(tempreature=0), "INVALID_LLM_CONFIG").message
