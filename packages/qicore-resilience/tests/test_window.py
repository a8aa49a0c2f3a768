from hypothesis import given
from hypothesis import strategies as st
from qicore.resilience import CircuitBreakerConfig
from qicore.resilience.window import Rates, Window

# Quarters of a second are exact in floating point, and so are the steps of a window of 25 seconds.
calls = st.lists(
    st.tuples(st.sampled_from([0, 0.25, 0.5, 3, 24.5, 24.75, 25, 25.25, 300]), st.booleans(), st.booleans()),
    max_size=60,
)


@given(calls, st.integers(1, 5))
def test_it_opens_at_so_many_failures_within_the_period(
    steps: list[tuple[float, bool, bool]], threshold: int
) -> None:
    window = Window(CircuitBreakerConfig(failure_threshold=threshold, monitoring_period=25), 0.0)
    now, failures = 0.0, list[float]()
    for passed, failed, slow in steps:
        now += passed
        if failed:
            failures.append(now)
        recent = sum(now - moment < 25 for moment in failures)
        assert window.add(now, failed=failed, slow=slow) is (failed and recent >= threshold)
        assert window.failures(now) == min(recent, threshold)


@given(calls)
def test_rates_count_what_is_within_the_period(steps: list[tuple[float, bool, bool]]) -> None:
    rates = Rates(25, 0.0)
    now, seen = 0.0, list[tuple[float, bool, bool]]()
    for passed, failed, slow in steps:
        now += passed
        rates.add(now, failed=failed, slow=slow)
        seen.append((now, failed, slow))
        within = [(failed, slow) for moment, failed, slow in seen if now - moment < 25]
        assert rates.counts(now) == (
            len(within),
            sum(failed for failed, _ in within),
            sum(slow for _, slow in within),
        )
        assert rates.until > now
        assert not (rates.calm and any(failed or slow for failed, slow in within))


def test_rates_slide_by_hundredths_and_forget_no_earlier_than_that() -> None:
    rates = Rates(10, 1000.0)
    rates.add(1000.0, failed=True, slow=False)
    assert rates.counts(1009.85)[1] == 1
    assert rates.counts(1010.0)[1] == 0
    assert not rates.counts(1010.0)[0]


def test_a_moment_from_the_past_counts_as_the_present() -> None:
    rates = Rates(25, 100.0)
    rates.add(150.0, failed=False, slow=False)
    rates.add(90.0, failed=True, slow=False)
    assert rates.counts(150.0) == (2, 1, 0)


def test_its_memory_does_not_grow_with_the_traffic() -> None:
    rated = CircuitBreakerConfig(failure_threshold=1000, failure_rate=1.0, minimum_calls=10**9)
    window = Window(rated, 0.0)
    for n in range(20_000):
        window.add(n / 100, failed=True, slow=False)
    assert window.rates is not None
    kept = (window._failures, window.rates._marks)  # pyright: ignore[reportPrivateUsage]  # what it holds is the point
    assert [len(part) for part in kept] == [1000, 100]
