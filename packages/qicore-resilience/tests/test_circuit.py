import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from qicore.base import ErrorCategory, Failure, QiError, Result, Success
from qicore.resilience import CircuitBreaker, CircuitBreakerConfig, CircuitState

DOWN: Result[int] = Failure(QiError.network("NETWORK_ERROR", "connection refused"))
ABSENT: Result[int] = Failure(QiError.network("HTTP_ERROR", "no such page", status=404))
TURNED_AWAY: Result[int] = Failure(QiError.timeout("BULKHEAD_FULL", "no room"))


class Service:
    """Answers as it is told, in its own time, and counts who asks; `breaker` stands before it."""

    def __init__(self, config: CircuitBreakerConfig, *, sync: bool = False) -> None:
        self.now = 1000.0
        self.asked = 0
        self.takes = 0.0
        self.answer: Result[int] | BaseException = Success(1)
        self.breaker = CircuitBreaker(config, name="service", clock=lambda: self.now)
        self.sync = sync

    def _read(self) -> Result[int]:
        self.asked += 1
        self.now += self.takes
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def _fetch(self) -> Result[int]:
        await asyncio.sleep(0)
        return self._read()

    async def ask(
        self, answer: Result[int] | BaseException | None = None, *, takes: float = 0
    ) -> Result[int]:
        self.answer, self.takes = Success(1) if answer is None else answer, takes
        if self.sync:
            return self.breaker.call_sync(self._read)
        return await self.breaker.call(self._fetch)


Make = Callable[..., Service]


@pytest.fixture(params=["async", "sync"])
def service(request: pytest.FixtureRequest) -> Make:
    def make(**options: Any) -> Service:
        return Service(CircuitBreakerConfig(**options), sync=request.param == "sync")

    return make


def code(result: Result[Any]) -> str:
    assert result.error is not None
    return result.error.code


async def test_it_opens_tries_and_closes(service: Make) -> None:
    it = service(failure_threshold=2, half_open_requests=2)
    assert [await it.ask(DOWN) for _ in range(2)] == [DOWN, DOWN]
    assert it.breaker.state == "OPEN"
    it.now += 20.5
    error = (await it.ask()).error
    assert error is not None
    assert (error.code, error.category) == ("CIRCUIT_OPEN", ErrorCategory.NETWORK)
    assert dict(error.context) == {"name": "service", "retry_after": 39.5}
    assert it.asked == 2
    it.now += 39.5
    assert it.breaker.state == "HALF_OPEN"
    assert await it.ask() == Success(1)
    assert it.breaker.state == "HALF_OPEN"
    assert await it.ask() == Success(1)
    assert it.breaker.state == "CLOSED"
    assert it.asked == 4


async def test_a_probe_that_fails_opens_it_for_as_long_again(service: Make) -> None:
    it = service(failure_threshold=1, half_open_requests=2, reset_timeout=30)
    await it.ask(DOWN)
    it.now += 30
    await it.ask()
    assert await it.ask(DOWN) == DOWN
    assert it.breaker.state == "OPEN"
    it.now += 29.75
    assert code(await it.ask()) == "CIRCUIT_OPEN"
    it.now += 0.25
    assert await it.ask() == Success(1)
    assert it.breaker.state == "HALF_OPEN", "the success before the failure counts no more"


async def test_failures_slide_out_of_the_window(service: Make) -> None:
    it = service(failure_threshold=3, monitoring_period=10)
    await it.ask(DOWN)
    it.now += 5
    await it.ask(DOWN)
    it.now += 5
    await it.ask(DOWN)
    assert it.breaker.state == "CLOSED", "the first one is exactly as old as the window is long"
    assert it.breaker.statistics().recent_failures == 2
    it.now += 4.75
    await it.ask(DOWN)
    assert it.breaker.state == "OPEN"


async def test_successes_in_between_do_not_take_failures_back(service: Make) -> None:
    it = service(failure_threshold=2)
    await it.ask(DOWN)
    await it.ask()
    await it.ask(DOWN)
    assert it.breaker.state == "OPEN"


async def test_only_an_illness_counts(service: Make) -> None:
    it = service(failure_threshold=1)
    for harmless in (ABSENT, Failure(QiError.validation("DB_CONSTRAINT", "UNIQUE constraint failed"))):
        assert await it.ask(harmless) is harmless
    assert it.breaker.state == "CLOSED"
    seen = it.breaker.statistics()
    assert (seen.succeeded, seen.failed) == (2, 0)


async def test_the_options_say_what_counts(service: Make) -> None:
    def absent(error: QiError) -> bool:
        return error.code == "HTTP_ERROR"

    it = service(failure_threshold=1, counts=absent)
    await it.ask(DOWN)
    assert it.breaker.state == "CLOSED"
    await it.ask(ABSENT)
    assert it.breaker.state == "OPEN"


async def test_an_error_that_tells_nothing_counts_as_neither(service: Make) -> None:
    def tells(error: QiError) -> bool | None:
        return None if error.code == "HTTP_ERROR" else True

    it = service(failure_threshold=1, half_open_requests=1, counts=tells)
    await it.ask(DOWN)
    it.now += 60
    assert code(await it.ask(ABSENT)) == "HTTP_ERROR"
    assert it.breaker.state == "HALF_OPEN", "it was no successful probe"
    assert (await it.ask()).is_success, "and gave its permit back"
    assert it.breaker.state == "CLOSED"
    seen = it.breaker.statistics()
    assert (seen.succeeded, seen.failed, seen.released) == (1, 1, 1)


async def test_a_broken_predicate_counts_as_a_failure_and_is_logged(
    service: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(error: QiError) -> bool:
        raise RuntimeError("broken predicate")

    it = service(failure_threshold=1, counts=broken)
    assert await it.ask(ABSENT) == ABSENT
    assert it.breaker.state == "OPEN"
    assert "broken predicate" in caplog.text


@pytest.mark.parametrize(
    ("raised", "category", "counted"),
    [
        (RuntimeError("boom"), ErrorCategory.UNKNOWN, True),
        (TimeoutError(), ErrorCategory.TIMEOUT, True),
        (ConnectionResetError(), ErrorCategory.NETWORK, True),
        (PermissionError(), ErrorCategory.PERMISSION, False),
        (QiError.validation("BAD", "it is bad"), ErrorCategory.VALIDATION, False),
    ],
)
async def test_what_is_raised_becomes_a_failure_and_counts_as_its_error_does(
    service: Make, raised: Exception, category: ErrorCategory, counted: bool
) -> None:
    it = service(failure_threshold=1)
    error = (await it.ask(raised)).error
    assert error is not None
    assert error.category is category
    assert error is raised or error.__cause__ is raised
    assert it.breaker.state == ("OPEN" if counted else "CLOSED")


@pytest.mark.parametrize(
    "raised", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(), GeneratorExit()]
)
@pytest.mark.parametrize("options", [{}, {"failure_rate": 0.5}])
async def test_what_ends_a_program_or_a_task_passes_and_counts_as_neither(
    service: Make, raised: BaseException, options: dict[str, Any]
) -> None:
    it = service(failure_threshold=1, half_open_requests=1, minimum_calls=1, **options)
    with pytest.raises(type(raised)):
        await it.ask(raised)
    assert it.breaker.state == "CLOSED"
    await it.ask(DOWN)
    it.now += 60
    with pytest.raises(type(raised)):
        await it.ask(raised)
    assert it.breaker.state == "HALF_OPEN"
    seen = it.breaker.statistics()
    assert (seen.succeeded, seen.failed, seen.released) == (0, 1, 2)
    assert await it.ask() == Success(1), "its permit came back"
    assert it.breaker.state == "CLOSED"


async def test_a_probe_that_was_turned_away_further_down_gives_its_permit_back(service: Make) -> None:
    it = service(failure_threshold=1, half_open_requests=1)
    await it.ask(DOWN)
    it.now += 60
    assert await it.ask(TURNED_AWAY) == TURNED_AWAY
    assert it.breaker.state == "HALF_OPEN"
    await it.ask()
    assert it.breaker.state == "CLOSED"


async def test_a_404_to_a_probe_is_an_answer(service: Make) -> None:
    it = service(failure_threshold=1, half_open_requests=1)
    await it.ask(DOWN)
    it.now += 60
    await it.ask(ABSENT)
    assert it.breaker.state == "CLOSED"


async def test_an_answer_that_is_no_result_is_a_failure_that_counts(service: Make) -> None:
    it = service(failure_threshold=1)
    result = await it.ask(cast("Result[int]", 7))
    assert str(result.error) == "UNKNOWN/TYPE_ERROR: the operation must answer a Result, not int"
    assert it.breaker.state == "OPEN"


async def test_a_failure_rate_takes_the_place_of_the_threshold(service: Make) -> None:
    it = service(failure_threshold=2, failure_rate=0.5, minimum_calls=10)
    for _ in range(6):
        await it.ask()
    for _ in range(5):
        await it.ask(DOWN)
        assert it.breaker.state == "CLOSED"
    assert it.breaker.statistics().recent_failures == 5
    await it.ask(DOWN)
    assert it.breaker.state == "OPEN", "6 of 12"


async def test_a_failure_rate_says_nothing_before_there_were_enough_calls(service: Make) -> None:
    it = service(failure_rate=0.3, minimum_calls=10)
    for _ in range(9):
        await it.ask(DOWN)
    assert it.breaker.state == "CLOSED"
    await it.ask()
    assert it.breaker.state == "OPEN", "9 of 10"


async def test_a_rate_that_is_reached_exactly_opens(service: Make) -> None:
    it = service(failure_rate=0.1, minimum_calls=30)
    for _ in range(27):
        await it.ask()
    for _ in range(3):
        assert it.breaker.state == "CLOSED"
        await it.ask(DOWN)
    assert it.breaker.state == "OPEN"


async def test_a_failure_rate_forgets_what_is_out_of_the_window(service: Make) -> None:
    it = service(failure_rate=0.5, minimum_calls=4, monitoring_period=10)
    for _ in range(3):
        await it.ask(DOWN)
    it.now += 10
    for _ in range(3):
        await it.ask()
    await it.ask(DOWN)
    assert it.breaker.state == "CLOSED"
    assert it.breaker.statistics().recent_failures == 1


async def test_slow_calls_open_it_beside_failures(service: Make) -> None:
    options: dict[str, Any] = {"slow_call_duration": 2.0, "slow_call_rate": 0.5, "minimum_calls": 4}
    it = service(monitoring_period=100, **options)
    for takes in (1.75, 1.75, 2.0):
        await it.ask(takes=takes)
    assert it.breaker.state == "CLOSED"
    assert await it.ask(takes=5) == Success(1)
    assert it.breaker.state == "OPEN", "2 of 4 were slow, and all succeeded"
    assert it.breaker.statistics().slow == 2
    failing = service(failure_threshold=2, **options)
    await failing.ask(DOWN)
    await failing.ask(DOWN)
    assert failing.breaker.state == "OPEN", "the threshold counts, too"


async def test_slow_probes_open_it_again(service: Make) -> None:
    it = service(
        failure_threshold=1,
        half_open_requests=2,
        slow_call_duration=2.0,
        slow_call_rate=1.0,
        minimum_calls=100,
    )
    await it.ask(DOWN)
    it.now += 60
    await it.ask(takes=3)
    assert it.breaker.state == "HALF_OPEN"
    await it.ask(takes=3)
    assert it.breaker.state == "OPEN"
    it.now += 60
    await it.ask(takes=3)
    await it.ask(takes=1)
    assert it.breaker.state == "CLOSED", "half of them slow is below the rate"


async def test_one_that_was_opened_by_hand_stays_open_until_told(service: Make) -> None:
    it = service(reset_timeout=1, half_open_requests=1)
    it.breaker.open()
    it.now += 1e9
    assert it.breaker.state == "OPEN"
    error = (await it.ask()).error
    assert error is not None
    assert (error.code, dict(error.context)) == ("CIRCUIT_OPEN", {"name": "service"})
    assert it.breaker.statistics().retry_after is None
    it.breaker.close()
    assert await it.ask() == Success(1)


async def test_opening_by_hand_overrules_the_time_that_was_running(service: Make) -> None:
    it = service(failure_threshold=1)
    await it.ask(DOWN)
    it.breaker.open()
    it.now += 60
    assert it.breaker.state == "OPEN"


async def test_closing_by_hand_begins_with_an_empty_window(service: Make) -> None:
    it = service(failure_threshold=2)
    await it.ask(DOWN)
    it.breaker.close()
    await it.ask(DOWN)
    assert it.breaker.state == "CLOSED"
    assert it.breaker.statistics().failed == 2


async def test_a_reset_forgets_all_but_the_listeners(service: Make) -> None:
    it = service(failure_threshold=1)
    told: list[CircuitState] = []
    it.breaker.add_listener(lambda change: told.append(change.after))
    fresh = it.breaker.statistics()
    await it.ask()
    await it.ask(DOWN)
    await it.ask()
    it.breaker.reset()
    assert it.breaker.statistics() == fresh
    assert told == [CircuitState.OPEN, CircuitState.CLOSED]


async def test_statistics_tell_what_happened(service: Make) -> None:
    it = service(failure_threshold=2, half_open_requests=1, reset_timeout=30)
    for answer in (Success(1), DOWN, ABSENT, TURNED_AWAY, DOWN):
        await it.ask(answer)
    it.now += 10
    for _ in range(3):
        await it.ask()
    seen = it.breaker.statistics()
    assert (seen.state, seen.retry_after, seen.last_error) == (
        "OPEN",
        20.0,
        "NETWORK/NETWORK_ERROR: connection refused",
    )
    assert (seen.succeeded, seen.failed, seen.released, seen.rejected, seen.opened) == (2, 2, 1, 3, 1)
    it.now += 20
    assert it.breaker.statistics().retry_after == 0.0
    await it.ask()
    seen = it.breaker.statistics()
    assert (seen.state, seen.succeeded, seen.retry_after) == ("CLOSED", 3, None)


async def test_an_operation_may_answer_at_once() -> None:
    breaker = CircuitBreaker()

    def at_once() -> Result[int]:
        return Success(1)

    assert await breaker.call(at_once) == Success(1)


async def test_a_call_that_outlives_its_state_counts_for_nothing() -> None:
    it = Service(CircuitBreakerConfig(failure_threshold=1, half_open_requests=1))
    go_on = asyncio.Event()

    async def answer_late(result: Result[int]) -> Result[int]:
        await go_on.wait()
        return result

    late = [
        asyncio.create_task(it.breaker.call(lambda: answer_late(Success(5)))),
        asyncio.create_task(it.breaker.call(lambda: answer_late(DOWN))),
    ]
    await asyncio.sleep(0)
    await it.ask(DOWN)
    it.now += 60
    assert it.breaker.state == "HALF_OPEN"
    probe = it.breaker.admit().unwrap()
    go_on.set()
    assert await asyncio.gather(*late) == [Success(5), DOWN], "their callers get their answers all the same"
    seen = it.breaker.statistics()
    assert (seen.state, seen.late, seen.failed) == ("HALF_OPEN", 2, 1)
    probe.success()
    assert it.breaker.state == "CLOSED"


def test_a_coroutine_that_is_dropped_gives_its_permit_back() -> None:
    it = Service(CircuitBreakerConfig(failure_threshold=1, half_open_requests=1), sync=True)
    it.breaker.call_sync(lambda: DOWN)
    it.now += 60

    class Forever:
        def __await__(self) -> Any:
            yield

    async def hang() -> Result[int]:
        await cast("Awaitable[None]", Forever())
        return Success(1)

    call = it.breaker.call(hang)
    call.send(None)
    assert it.breaker.admit().is_failure
    del call
    assert it.breaker.admit().is_success


def test_rejections_tell_the_time_and_keep_no_notes() -> None:
    it = Service(CircuitBreakerConfig(failure_threshold=1), sync=True)

    def reject() -> QiError:
        error = it.breaker.call_sync(lambda: DOWN).error
        assert error is not None
        return error

    reject()
    first = reject()
    assert reject() == first
    it.now += 0.25
    assert reject().context["retry_after"] == 59.75
    noted = reject()
    noted.add_note("mine alone")
    assert not hasattr(reject(), "__notes__")
    raised = reject()
    with pytest.raises(QiError):
        Failure(raised).unwrap()
    assert raised.__traceback__ is not None
    assert reject().__traceback__ is None


def test_the_clock_is_monotonic_unless_told_otherwise() -> None:
    breaker = CircuitBreaker(CircuitBreakerConfig(failure_threshold=1, reset_timeout=3600))
    breaker.call_sync(lambda: DOWN)
    earlier = time.monotonic()
    retry_after = breaker.statistics().retry_after
    assert retry_after is not None
    assert 3600 - (time.monotonic() - earlier) - 60 < retry_after <= 3600


def test_it_shows_its_name_and_state_and_no_more() -> None:
    assert repr(CircuitBreaker(name="geocoder")) == "<CircuitBreaker 'geocoder' CLOSED>"
