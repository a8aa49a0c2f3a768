"""Retry: make a call again that failed in passing, later each time, and not for ever."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from qicore.base import Failure, QiError, Result
from qicore.resilience.budget import RetryBudget
from qicore.resilience.checks import Checks
from qicore.resilience.policy import attempt, attempt_sync, pause
from qicore.resilience.predicates import is_transient

if TYPE_CHECKING:
    from tenacity import RetryCallState
    from tenacity.wait import wait_random_exponential

__all__ = ["Retry", "RetryConfig", "RetryEvent"]

T = TypeVar("T")
_log: Final = logging.getLogger("qicore.resilience")


@dataclass(frozen=True, slots=True)
class RetryEvent:
    """An attempt failed, and another follows.

    Attributes:
        attempt: which one failed, from 1 on.
        wait: seconds until the next.
        error: why.
    """

    attempt: int
    wait: float
    error: QiError


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryConfig:
    """How often, and how much later, a call is made again. The defaults are meant for production.

    The wait before attempt n + 1 is drawn evenly from 0 to `wait_initial * 2 ** (n - 1)` seconds, at most
    `wait_max`: "full jitter", by which callers that failed together do not come back together. See
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    >>> RetryConfig(attempts=0).check().error.message
    'attempts must be a whole number of at least 1'

    Attributes:
        attempts: how many there are at most, the first included.
        wait_initial: seconds that the first wait may take.
        wait_max: seconds that any wait may take.
        deadline: seconds after the call began from which no further attempt begins, or None. It does not end
            one that runs: put a `Timeout` around it, or inside.
        retry_after_max: seconds that are waited when the error says how long (`retry_after` in its context,
            from an HTTP header `Retry-After`). When it wants more, the failure is the answer.
        retry_on: which errors are worth another attempt.
        budget: bounds the retries of all that share it, or None.
        on_retry: told before each wait, or None. What it raises is logged.
    """

    attempts: int = 3
    wait_initial: float = 0.1
    wait_max: float = 5.0
    deadline: float | None = None
    retry_after_max: float = 30.0
    retry_on: Callable[[QiError], bool] = is_transient
    budget: RetryBudget | None = None
    on_retry: Callable[[RetryEvent], object] | None = None

    def check(self) -> Result[Self]:
        """Return these options, or INVALID_RESILIENCE_CONFIG [VALIDATION] naming every one that is wrong."""
        checks = Checks().whole("attempts", self.attempts)
        checks.seconds("wait_initial", self.wait_initial, least=0).seconds("wait_max", self.wait_max, least=0)
        checks.seconds("deadline", self.deadline, none=True)
        checks.seconds("retry_after_max", self.retry_after_max, least=0)
        checks.that(callable(cast("object", self.retry_on)), "retry_on must be a function of an error")
        on_retry: object = self.on_retry
        checks.that(
            on_retry is None or callable(on_retry), "on_retry must be a function of an event, or None"
        )
        return checks.answer(self)


class Retry:
    """Makes a call again while its errors are worth it, with tenacity.

    Only for what may be done twice. The Failure of the last attempt is the answer, with `attempts` in its
    context when there were several. Cancelling the call ends a wait at once. An open circuit is not waited
    for: CIRCUIT_OPEN is the answer.

    Tasks and threads may share one. Raises ValueError for options that are wrong; `create` answers a Failure.

    >>> from qicore.base import Failure, QiError, Success
    >>> answers = [Failure(QiError.network("NETWORK_ERROR", "reset")), Success("page")]
    >>> Retry(RetryConfig(wait_initial=0)).call_sync(lambda: answers.pop(0))
    Success('page')
    """

    __slots__ = ("_clock", "_config", "_sleep", "_sleep_sync", "_tenacity", "_wait")

    def __init__(
        self,
        config: RetryConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = pause,
        sleep_sync: Callable[[float], object] = time.sleep,
    ) -> None:
        config = config or RetryConfig()
        wrong = config.check().error
        if wrong is not None:
            raise ValueError(wrong.message)
        self._config = config
        self._clock = clock
        self._sleep = sleep
        self._sleep_sync = sleep_sync
        # Loaded with the first Retry: it takes longer to import than all else here.
        import tenacity

        self._tenacity = tenacity
        self._wait = tenacity.wait_random_exponential(multiplier=config.wait_initial, max=config.wait_max)

    @classmethod
    def create(cls, config: RetryConfig | None = None) -> Result[Self]:
        """Check the options and return a retry; INVALID_RESILIENCE_CONFIG [VALIDATION]."""
        return (config or RetryConfig()).check().map(cls)

    @property
    def config(self) -> RetryConfig:
        """The options."""
        return self._config

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        """Call and await `operation` until it succeeds, or is not worth it any more."""
        begun = self._begin()
        first = await attempt(operation)
        if not self._again(first):
            return first
        course = _Course(self._config, self._wait, self._clock, begun)

        async def following() -> Result[T]:
            # The first attempt was made without tenacity, which costs more than most calls that succeed.
            return first if course.count() == 1 else await attempt(operation)

        async def sleep(seconds: float) -> None:
            await self._sleep(seconds)

        retrying = self._tenacity.AsyncRetrying(
            sleep=sleep, stop=course.stop, wait=course.wait, retry=self._outcome, retry_error_callback=_last
        )
        return course.told(await retrying(following))

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        """Call `operation` until it succeeds, or is not worth it any more."""
        begun = self._begin()
        first = attempt_sync(operation)
        if not self._again(first):
            return first
        course = _Course(self._config, self._wait, self._clock, begun)

        def following() -> Result[T]:
            return first if course.count() == 1 else attempt_sync(operation)

        def sleep(seconds: float) -> None:
            self._sleep_sync(seconds)

        retrying = self._tenacity.Retrying(
            sleep=sleep,
            stop=course.stop,
            wait=course.wait,
            retry=self._outcome,
            retry_error_callback=_last,
        )
        return course.told(retrying(following))

    def _begin(self) -> float:
        if self._config.budget is not None:
            self._config.budget.deposit()
        return self._clock()

    def _again(self, result: Result[Any]) -> bool:
        """Whether this outcome is worth another attempt."""
        return (
            isinstance(result, Failure) and self._config.attempts > 1 and self._config.retry_on(result.error)
        )

    def _outcome(self, state: RetryCallState) -> bool:
        # An attempt raises nothing but what ends the task or the program: that goes on its way.
        outcome = state.outcome
        return outcome is not None and not outcome.failed and self._again(outcome.result())


def _last(state: RetryCallState) -> Any:
    return cast("Any", state.outcome).result()


class _Course:
    """One call's way through its attempts: tenacity asks it how long to wait, and whether to stop."""

    def __init__(
        self,
        config: RetryConfig,
        wait: wait_random_exponential,
        clock: Callable[[], float],
        begun: float,
    ) -> None:
        self._config = config
        self._jitter = wait
        self._clock = clock
        self._begun = begun
        self._attempts = 0
        self._spent = False

    def count(self) -> int:
        self._attempts += 1
        return self._attempts

    def wait(self, state: RetryCallState) -> float:
        wanted = _retry_after(_error(state)) or 0.0
        return max(wanted, self._jitter(state))

    def stop(self, state: RetryCallState) -> bool:
        # Tenacity asks after it has drawn the wait, and before it waits.
        config, wait = self._config, state.upcoming_sleep
        if self._attempts >= config.attempts:
            return True
        if (_retry_after(_error(state)) or 0.0) > config.retry_after_max:
            return True
        if config.deadline is not None and self._clock() + wait - self._begun >= config.deadline:
            return True
        if config.budget is not None and not config.budget.withdraw():
            self._spent = True
            return True
        self._tell(RetryEvent(self._attempts, wait, _error(state)))
        return False

    def _tell(self, event: RetryEvent) -> None:
        error = event.error
        _log.info(
            "attempt %d failed: %s/%s; the next in %.3f s",
            event.attempt,
            error.category.value,
            error.code,
            event.wait,
        )
        if self._config.on_retry is not None:
            try:
                self._config.on_retry(event)
            except Exception:  # noqa: BLE001 - logged: what listens never hurts a call
                _log.exception("on_retry failed")

    def told(self, result: Result[T]) -> Result[T]:
        """Return the outcome, its error with how many attempts there were."""
        error = result.error
        if error is None:
            return result
        context: dict[str, object] = {"attempts": self._attempts}
        if self._spent:
            context["retry_budget"] = "exhausted"
        return Failure(error.with_context(context))


def _error(state: RetryCallState) -> QiError:
    return cast("QiError", _last(state).error)


def _retry_after(error: QiError) -> float | None:
    wanted = error.context.get("retry_after")
    return wanted if isinstance(wanted, int | float) and not isinstance(wanted, bool) else None
