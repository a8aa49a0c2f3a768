"""The cache on Redis against a dict: whatever is done in whatever order, both hold the same."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qicore.base.testing import assert_success
from qicore.cache import Cache, CacheConfig

KEYS = st.sampled_from(["a", "b", "a:b", "a*", "%", "{a}", "ü"])
VALUES = st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9) | st.binary(max_size=9)
STEPS = st.one_of(
    st.tuples(st.just("set"), KEYS, VALUES),
    st.tuples(st.just("set_many"), st.dictionaries(KEYS, VALUES, max_size=4)),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("get_many"), st.lists(KEYS, max_size=4)),
    st.tuples(st.just("get_or_set"), KEYS, VALUES),
    st.tuples(st.just("has"), KEYS),
    st.tuples(st.just("remove"), KEYS),
    st.tuples(st.just("keys")),
    st.tuples(st.just("size")),
    st.tuples(st.just("clear")),
)


async def step(cache: Cache[Any], model: dict[str, Any], words: tuple[Any, ...]) -> None:
    match words:
        case ("set", key, value):
            assert_success(await cache.set(key, value))
            model[key] = value
        case ("set_many", values):
            assert_success(await cache.set_many(values))
            model.update(values)
        case ("get", key):
            result = await cache.get(key)
            assert result.is_success is (key in model)
            assert result.data == model.get(key)
        case ("get_many", keys):
            expected = {key: model[key] for key in keys if key in model}
            assert assert_success(await cache.get_many(keys)) == expected
        case ("get_or_set", key, value):
            assert assert_success(await cache.get_or_set(key, lambda: value)) == model.setdefault(key, value)
        case ("has", key):
            assert assert_success(await cache.has(key)) is (key in model)
        case ("remove", key):
            assert assert_success(await cache.remove(key)) is (model.pop(key, step) is not step)
        case ("keys",):
            assert assert_success(await cache.keys()) == sorted(model)
        case ("size",):
            assert assert_success(await cache.size()) == len(model)
        case _:
            assert_success(await cache.clear())
            model.clear()


async def run(url: str, levels: int, steps: list[tuple[int, tuple[Any, ...]]]) -> None:
    config = CacheConfig(namespace="model")
    model: dict[str, Any] = {}
    create = Cache.create_persistent if levels == 1 else Cache.create_tiered
    async with (
        assert_success(await create(url, config)) as one,
        assert_success(await create(url, config)) as other,
    ):
        # What another process writes, two levels hear of a moment later: they are one here.
        caches = (one, other) if levels == 1 else (one, one)
        assert_success(await one.clear())
        for which, words in steps:
            await step(caches[which], model, words)
        assert_success(await one.clear())  # the server may be somebody's


@pytest.mark.parametrize("levels", [1, 2])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 1), STEPS), max_size=40))
def test_it_holds_what_a_dict_holds(
    redis_url: str, levels: int, steps: list[tuple[int, tuple[Any, ...]]]
) -> None:
    asyncio.run(run(redis_url, levels, steps))
