"""The cache in memory against a model: a dict in the order of use, and a clock turned by hand."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from qicore.base import Failure, Success
from qicore.cache import CacheConfig, MemoryCache

KEYS = st.sampled_from("abcdefgh")
VALUES = st.integers(0, 9)  # a value is its own weight
TIMES = st.none() | st.integers(1, 8)


class Model:
    """What a cache does, without regard for time and space."""

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self.now = 0.0
        self.entries: dict[str, tuple[int, float | None]] = {}  # the least recently used first
        self.evictions = 0

    def live(self) -> dict[str, int]:
        return {key: value for key, (value, ends) in self.entries.items() if ends is None or ends > self.now}

    def fits(self) -> bool:
        config, values = self.config, [value for value, _ in self.entries.values()]
        return (config.max_entries is None or len(values) <= config.max_entries) and (
            config.max_weight is None or sum(values) <= config.max_weight
        )

    def set(self, key: str, value: int, ttl: float | None) -> bool:
        if self.config.max_weight is not None and value > self.config.max_weight:
            return False
        ttl = self.config.ttl if ttl is None else ttl
        self.entries.pop(key, None)
        self.entries[key] = (value, None if ttl is None else self.now + ttl)
        if not self.fits():
            self.entries = {key: self.entries[key] for key in self.live()}
        while not self.fits():
            del self.entries[next(iter(self.entries))]
            self.evictions += 1
        return True

    def use(self, key: str) -> int | None:
        if key in self.live():
            self.entries[key] = entry = self.entries.pop(key)
            return entry[0]
        return None

    def remove(self, key: str) -> bool:
        return self.entries.pop(key, None) is not None if key in self.live() else False


class MemoryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.hits = self.misses = 0

    @initialize(
        ttl=st.none() | st.integers(1, 8),
        max_entries=st.none() | st.integers(1, 6),
        max_weight=st.none() | st.integers(1, 20),
    )
    def start(self, ttl: int | None, max_entries: int | None, max_weight: int | None) -> None:
        weigh = None if max_weight is None else int
        config = CacheConfig(ttl=ttl, max_entries=max_entries, max_weight=max_weight, weigh=weigh)
        self.model = Model(config)
        self.cache: MemoryCache[Any] = MemoryCache.create(config, clock=lambda: self.model.now).unwrap()

    def count(self, *, hit: bool) -> None:
        self.hits += hit
        self.misses += not hit

    @rule(key=KEYS, value=VALUES, ttl=TIMES)
    def sets(self, key: str, value: int, ttl: int | None) -> None:
        kept = self.model.set(key, value, ttl)
        result = self.cache.set(key, value, ttl)
        assert result.is_success is kept
        if result.error is not None:
            assert result.error.code == "CACHE_WRITE_FAILED"

    @rule(values=st.dictionaries(KEYS, VALUES), ttl=TIMES)
    def sets_many(self, values: dict[str, int], ttl: int | None) -> None:
        most = self.model.config.max_weight
        fits = most is None or all(value <= most for value in values.values())
        assert self.cache.set_many(values, ttl).is_success is fits
        if fits:
            for key, value in values.items():
                self.model.set(key, value, ttl)

    @rule(key=KEYS)
    def gets(self, key: str) -> None:
        value = self.model.use(key)
        self.count(hit=value is not None)
        match self.cache.get(key).variant:
            case Success(found):
                assert found == value
            case Failure(error):
                assert value is None
                assert error.code == "KEY_NOT_FOUND"

    @rule(keys=st.lists(KEYS))
    def gets_many(self, keys: list[str]) -> None:
        expected: dict[str, int] = {}
        for key in dict.fromkeys(keys):
            value = self.model.use(key)
            self.count(hit=value is not None)
            if value is not None:
                expected[key] = value
        assert self.cache.get_many(keys) == Success(expected)

    @rule(key=KEYS, value=VALUES, ttl=TIMES)
    def gets_or_sets(self, key: str, value: int, ttl: int | None) -> None:
        found = self.model.use(key)
        self.count(hit=found is not None)
        if found is None:
            self.model.set(key, value, ttl)
            found = value
        assert self.cache.get_or_set_sync(key, lambda: value, ttl) == Success(found)

    @rule(key=KEYS)
    def has(self, key: str) -> None:
        assert self.cache.has(key) == Success(key in self.model.live())

    @rule(key=KEYS)
    def removes(self, key: str) -> None:
        assert self.cache.remove(key) == Success(self.model.remove(key))

    @rule()
    def clears(self) -> None:
        self.model.entries.clear()
        assert self.cache.clear() == Success(None)

    @rule(seconds=st.integers(1, 5))
    def time_passes(self, seconds: int) -> None:
        self.model.now += seconds

    @rule()
    def is_counted(self) -> None:
        # Not an invariant: to be counted, what has expired is dropped, which should also happen otherwise.
        assert self.cache.size() == Success(len(self.model.live()))

    @invariant()
    def same_keys_and_values_in_the_same_order(self) -> None:
        live = self.model.live()
        assert self.cache.keys() == Success(sorted(live))
        order = [(key, entry[1]) for key, entry in self.cache.raw.items() if key in live]
        assert order == list(live.items())

    @invariant()
    def never_too_many_never_too_heavy(self) -> None:
        kept = [entry[1] for entry in self.cache.raw.values()]
        config = self.model.config
        assert config.max_entries is None or len(kept) <= config.max_entries
        assert config.max_weight is None or sum(kept) <= config.max_weight

    @invariant()
    def counts_agree(self) -> None:
        statistics = self.cache.statistics()
        assert statistics.evictions == self.model.evictions
        assert (statistics.hits, statistics.misses) == (self.hits, self.misses)


TestMemoryModel = MemoryMachine.TestCase
TestMemoryModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
