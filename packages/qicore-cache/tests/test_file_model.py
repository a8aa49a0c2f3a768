"""The cache in a file against a model: a dict in the order of use, with the time given."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from qicore.base import Failure, QiError, Result, Success
from qicore.base.testing import assert_failure, assert_success
from qicore.cache import CacheConfig
from qicore.cache.file import FileCache

T = TypeVar("T")
MOST = 4
KEYS = st.sampled_from(["a", "b", "c", "d", "e", "f", "é\0*", "A"])
VALUES = st.one_of(st.none(), st.integers(-(2**40), 2**40), st.text(max_size=5), st.binary(max_size=200_000))
TTLS = st.sampled_from([None, 1.0, 2.5, 100.0])


class AgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.runner = asyncio.Runner()
        self.now = 1_700_000_000.0
        self.model: dict[str, tuple[Any, float]] = {}  # the one used last at the end
        self.caches: list[FileCache[Any]] = []

    def teardown(self) -> None:
        for cache in self.caches:
            assert_success(self.runner.run(cache.close()))
        self.runner.close()
        shutil.rmtree(self.folder)

    def open(self) -> FileCache[Any]:
        config = CacheConfig(max_entries=MOST, ttl=10.0, namespace="model")
        opened = FileCache.open(f"{self.folder}/cache.db", config, clock=lambda: self.now)
        return assert_success(self.runner.run(opened))

    @initialize()
    def begin(self) -> None:
        self.caches = [self.open(), self.open()]

    def run(self, make: Callable[[FileCache[Any]], Coroutine[Any, Any, Result[T]]], which: int) -> Result[T]:
        """Run an operation; what the other cache has used is told first, as it would be in time."""
        assert_success(self.runner.run(self.caches[1 - which].flush()))
        return self.runner.run(make(self.caches[which]))

    def lives(self, key: str) -> bool:
        return key in self.model and self.model[key][1] > self.now

    def put(self, key: str, value: Any, ttl: float | None) -> None:
        self.model.pop(key, None)
        self.model[key] = (value, self.now + (ttl or 10.0))

    def make_room(self) -> None:
        if len(self.model) > MOST:
            self.model = {key: entry for key, entry in self.model.items() if entry[1] > self.now}
        while len(self.model) > MOST:
            del self.model[next(iter(self.model))]

    def use(self, key: str) -> None:
        self.model[key] = self.model.pop(key)

    @rule(which=st.integers(0, 1), key=KEYS, value=VALUES, ttl=TTLS)
    def set(self, which: int, key: str, value: Any, ttl: float | None) -> None:
        assert_success(self.run(lambda cache: cache.set(key, value, ttl), which))
        self.put(key, value, ttl)
        self.make_room()

    @rule(which=st.integers(0, 1), values=st.dictionaries(KEYS, VALUES, max_size=7), ttl=TTLS)
    def set_many(self, which: int, values: dict[str, Any], ttl: float | None) -> None:
        assert_success(self.run(lambda cache: cache.set_many(values, ttl), which))
        for key, value in values.items():
            self.put(key, value, ttl)
        self.make_room()

    @rule(which=st.integers(0, 1), key=KEYS)
    def get(self, which: int, key: str) -> None:
        got = self.run(lambda cache: cache.get(key), which)
        if self.lives(key):
            assert assert_success(got) == self.model[key][0]
            self.use(key)
        else:
            assert_failure(got, "KEY_NOT_FOUND")

    @rule(which=st.integers(0, 1), keys=st.lists(KEYS, max_size=5))
    def get_many(self, which: int, keys: list[str]) -> None:
        got = assert_success(self.run(lambda cache: cache.get_many(keys), which))
        assert got == {key: self.model[key][0] for key in keys if self.lives(key)}
        for key in dict.fromkeys(keys):
            if self.lives(key):
                self.use(key)
        # Large values are read after the small ones, and so used later.
        for key in got:
            if isinstance(got[key], bytes) and len(got[key]) > 65_000:
                self.use(key)

    @rule(which=st.integers(0, 1), key=KEYS, value=VALUES, ttl=TTLS, fails=st.booleans())
    def get_or_set(self, which: int, key: str, value: Any, ttl: float | None, fails: bool) -> None:
        made: Result[Any] = Failure(QiError.network("DOWN", "it is down")) if fails else Success(value)
        got = self.run(lambda cache: cache.get_or_set(key, lambda: made, ttl), which)
        if self.lives(key):
            assert assert_success(got) == self.model[key][0]
            self.use(key)
        elif fails:
            assert_failure(got, "DOWN")
        else:
            assert assert_success(got) == value
            self.put(key, value, ttl)
            self.make_room()

    @rule(which=st.integers(0, 1), key=KEYS)
    def remove(self, which: int, key: str) -> None:
        assert assert_success(self.run(lambda cache: cache.remove(key), which)) is self.lives(key)
        self.model.pop(key, None)

    @rule(which=st.integers(0, 1))
    def clear(self, which: int) -> None:
        assert_success(self.run(lambda cache: cache.clear(), which))
        self.model.clear()

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 50.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(which=st.integers(0, 1))
    @precondition(lambda self: self.caches)
    def open_again(self, which: int) -> None:
        assert_success(self.runner.run(self.caches[which].close()))
        self.caches[which] = self.open()

    @invariant()
    def the_same_is_there(self) -> None:
        for cache in self.caches:
            live = sorted(key for key in self.model if self.lives(key))
            assert assert_success(self.runner.run(cache.keys())) == live
            assert assert_success(self.runner.run(cache.size())) == len(live)
            for key in ("a", "é\0*"):
                assert assert_success(self.runner.run(cache.has(key))) is self.lives(key)


TestAgainstModel = AgainstModel.TestCase
TestAgainstModel.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
