"""How long values live."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qicore.cache import CacheStatistics
from qicore.cache.times import invalid_ttl, jittered, ttl_is_wrong


@given(st.floats(min_value=0, max_value=1e12, exclude_min=True) | st.integers(min_value=1, max_value=10**12))
def test_any_number_above_zero_is_a_time_to_live(ttl: float) -> None:
    assert not ttl_is_wrong(ttl)


@pytest.mark.parametrize("ttl", [0, 0.0, -1, math.nan, math.inf, -math.inf, True, "1", b"1", [1], object()])
def test_nothing_else_is(ttl: Any) -> None:
    assert ttl_is_wrong(ttl)
    error = invalid_ttl(ttl)
    assert error.code == "INVALID_TTL"
    assert error.context["ttl"] == repr(ttl)[:100]


@given(st.floats(0.001, 1e9), st.floats(0, 1))
def test_jitter_shortens_by_no_more_than_its_share(ttl: float, share: float) -> None:
    assert ttl * (1 - share) <= jittered(ttl, share) * (1 + 1e-9)
    assert jittered(ttl, share) <= ttl


def test_without_jitter_it_stays_the_same() -> None:
    assert jittered(5.0, 0.0) == 5.0


def test_before_the_first_read_there_is_a_hit_rate_too() -> None:
    assert CacheStatistics().hit_rate == 0.0
    assert CacheStatistics(hits=1, misses=3).hit_rate == 0.25
