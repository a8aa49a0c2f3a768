"""Retry: make a call again that failed in passing, later each time, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

from qicore.base import Failure, Result
from qicore.resilience.course import Course, is_worth_it, last
from qicore.resilience.policy import attempt, attempt_sync, pause
from qicore.resilience.retry_config import RetryConfig

__all__ = ["Retry"]

T = TypeVar("T")


class Retry:
    """Makes a call again while its errors are worth it, with tenacity.

    Only for what may be done twice. The answer is that of the last attempt. A Failure that was worth another
    attempt, or came after one, says in its context how many there were (`attempts`), which other errors came
    before (`earlier_errors`), and whether the budget ended them (`retry_budget`).

    What the operation raises becomes a Failure. Cancelling the call ends a wait at once.

    Tasks and threads may share one. Raises ValueError for options that are wrong; `create` answers a Failure.

    >>> from qicore.base import Failure, QiError, Success
    >>> answers = [Failure(QiError.network("NETWORK_ERROR", "reset")), Success("page")]
    >>> Retry(RetryConfig(wait_initial=0)).call_sync(lambda: answers.pop(0))
    Success('page')
    """

    __slots__ = ("_clock", "_config", "_jitter", "_name", "_sleep", "_sleep_sync", "_tenacity")

    def __init__(
        self,
        config: RetryConfig | None = None,
        *,
        name: str = "default",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = pause,
        sleep_sync: Callable[[float], object] = time.sleep,
    ) -> None:
        config = config or RetryConfig()
        wrong = config.check().error
        if wrong is not None:
            raise ValueError(wrong.message)
        self._config = config
        self._name = name
        self._clock = clock
        self._sleep = sleep
        self._sleep_sync = sleep_sync
        # Loaded with the first Retry: it takes longer to import than all else here.
        import tenacity

        self._tenacity = tenacity
        # int: of 0.0, tenacity makes the longest wait from the 1025th attempt on, for 2 ** 1024 is no float.
        first = config.wait_initial or 0
        self._jitter = tenacity.wait_random_exponential(multiplier=first, max=config.wait_max)

    @classmethod
    def create(
        cls,
        config: RetryConfig | None = None,
        *,
        name: str = "default",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = pause,
        sleep_sync: Callable[[float], object] = time.sleep,
    ) -> Result[Self]:
        """Check the options and return a retry; INVALID_RESILIENCE_CONFIG [VALIDATION]."""
        checked = (config or RetryConfig()).check()
        return checked.map(
            lambda config: cls(config, name=name, clock=clock, sleep=sleep, sleep_sync=sleep_sync)
        )

    @property
    def name(self) -> str:
        """What is called: it stands in logs and events."""
        return self._name

    @property
    def config(self) -> RetryConfig:
        """The options."""
        return self._config

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        """Call and await `operation` until it succeeds, or is not worth it any more."""
        begun = self._begin()
        first = await attempt(operation)
        if not self._goes_on(first):
            return first
        course = self._course(begun)

        async def following() -> Result[T]:
            # The first attempt was made without tenacity, which costs more than most calls that succeed.
            course.attempts += 1
            return first if course.attempts == 1 else await attempt(operation)

        async def sleep(seconds: float) -> None:
            await self._sleep(seconds)

        retrying = self._tenacity.AsyncRetrying(
            sleep=sleep, stop=course.stop, wait=course.wait, retry=course.again, retry_error_callback=last
        )
        return course.told(await retrying(following))

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        """Call `operation` until it succeeds, or is not worth it any more."""
        begun = self._begin()
        first = attempt_sync(operation)
        if not self._goes_on(first):
            return first
        course = self._course(begun)

        def following() -> Result[T]:
            course.attempts += 1
            return first if course.attempts == 1 else attempt_sync(operation)

        def sleep(seconds: float) -> None:
            self._sleep_sync(seconds)

        retrying = self._tenacity.Retrying(
            sleep=sleep, stop=course.stop, wait=course.wait, retry=course.again, retry_error_callback=last
        )
        return course.told(retrying(following))

    def _begin(self) -> float:
        if self._config.budget is not None:
            self._config.budget.deposit()
        return self._clock()

    def _goes_on(self, first: Result[T]) -> bool:
        return isinstance(first, Failure) and is_worth_it(self._config, self._name, first.error)

    def _course(self, begun: float) -> Course:
        return Course(self._config, self._name, self._jitter, self._clock, begun)

    def __repr__(self) -> str:
        return f"<Retry {self._name!r} attempts={self._config.attempts}>"
