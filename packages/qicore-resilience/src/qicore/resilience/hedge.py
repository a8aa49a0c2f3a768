"""Hedge: when an answer is slow to come, ask once more, and take whichever is first."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from qicore.base import Failure, QiError, Result
from qicore.base.options import Checks
from qicore.resilience.errors import INVALID_CONFIG, NEVER_CALLED, with_causes
from qicore.resilience.policy import attempt
from qicore.resilience.predicates import is_transient
from qicore.resilience.statistics import HedgeStatistics
from qicore.resilience.threads import Answers

if TYPE_CHECKING:
    import asyncio

__all__ = ["Hedge", "HedgeConfig"]

T = TypeVar("T")
_log: Final = logging.getLogger("qicore.resilience")


@dataclass(frozen=True, kw_only=True, slots=True)
class HedgeConfig:
    """When to ask again, and how often.

    >>> HedgeConfig(delay=-1).check().error.message
    'delay must be a number of seconds from 0 on'

    Attributes:
        delay: seconds without an answer after which another attempt begins, beside those that run. A high
            percentile of the usual time, such as the 95th, costs one call in twenty; see Dean and Barroso,
            "The Tail at Scale", https://doi.org/10.1145/2408776.2408794
        attempts: how many there are at most, the first included.
        hedge_on: which errors are worth waiting for the others, or beginning the next at once. Any other is
            the answer.
    """

    delay: float = 0.1
    attempts: int = 2
    hedge_on: Callable[[QiError], bool] = is_transient

    def check(self) -> Result[Self]:
        """Return these options, or INVALID_RESILIENCE_CONFIG [VALIDATION] naming every one that is wrong."""
        checks = Checks().seconds("delay", self.delay, least=0).whole("attempts", self.attempts)
        checks.that(callable(cast("object", self.hedge_on)), "hedge_on must be a function of an error")
        return checks.answer(self, INVALID_CONFIG)


class Hedge:
    """Begins another attempt when one is slow; the first success is the answer.

    Only for what may be done twice, and at the same time: reads, not payments. And only for values that need
    no closing, for those that come too late are dropped.

    `call` makes each attempt in a task of its own, cancels those that lost, and waits until they have ended.
    `call_sync` makes each in a thread of its own. Python can't stop a thread: those that lost go on to their
    end, unheard. When all fail, the last Failure is the answer, with the errors before it as its causes. When
    a policy inside turns an attempt away (CIRCUIT_OPEN, BULKHEAD_FULL, RATE_LIMITED) while others run, those
    are waited for, and no more begin.

    Tasks and threads may share one. Raises ValueError for options that are wrong; `create` answers a Failure.

    >>> from qicore.base import Success
    >>> Hedge(HedgeConfig(delay=1)).call_sync(lambda: Success("quick"))
    Success('quick')
    """

    __slots__ = ("_calls", "_config", "_further", "_lock")

    def __init__(self, config: HedgeConfig | None = None) -> None:
        config = config or HedgeConfig()
        wrong = config.check().error
        if wrong is not None:
            raise ValueError(wrong.message)
        self._config = config
        self._lock = RLock()
        self._calls = self._further = 0

    @classmethod
    def create(cls, config: HedgeConfig | None = None) -> Result[Self]:
        """Check the options and return a hedge; INVALID_RESILIENCE_CONFIG [VALIDATION]."""
        return (config or HedgeConfig()).check().map(cls)

    @property
    def config(self) -> HedgeConfig:
        """The options."""
        return self._config

    async def call(self, operation: Callable[[], Awaitable[Result[T]]], /) -> Result[T]:
        """Call and await `operation`, again while it is slow; answer the first success."""
        import asyncio

        race = self._race()
        running = [asyncio.ensure_future(attempt(operation))]
        try:
            while True:
                await asyncio.wait(running, timeout=race.patience, return_when=asyncio.FIRST_COMPLETED)
                ended = [task for task in running if task.done()]
                running = [task for task in running if not task.done()]
                answer = race.judge([task.result() for task in ended], others=len(running))
                if answer is not None:
                    return answer
                if self._begins(race):
                    running.append(asyncio.ensure_future(attempt(operation)))
        finally:
            if running:
                await _end(running)

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        """Call `operation`, again while it is slow; answer the first success."""
        race, running = self._race(), 1
        answers = Answers[T]()
        answers.start(operation)
        while True:
            result = answers.next(race.patience)
            ended = [] if result is None else [result]
            running -= len(ended)
            answer = race.judge(ended, others=running)
            if answer is not None:
                return answer
            if self._begins(race):
                running += 1
                answers.start(operation)

    def statistics(self) -> HedgeStatistics:
        """Return how often it was called, and how often it asked again."""
        with self._lock:
            return HedgeStatistics(calls=self._calls, further=self._further)

    def _race(self) -> _Race:
        with self._lock:
            self._calls += 1
        return _Race(self._config)

    def _begins(self, race: _Race) -> bool:
        if not race.left:
            return False
        race.left -= 1
        with self._lock:
            self._further += 1
        return True

    def __repr__(self) -> str:
        return f"<Hedge delay={self._config.delay:g} attempts={self._config.attempts}>"


class _Race:
    """The attempts of one call.

    Attributes:
        left: how many more may begin.
    """

    __slots__ = ("_config", "_errors", "left")

    def __init__(self, config: HedgeConfig) -> None:
        self._config = config
        self._errors: list[QiError] = []
        self.left = config.attempts - 1

    @property
    def patience(self) -> float | None:
        """Seconds to wait for an answer before another attempt begins; None when there is none left."""
        return self._config.delay if self.left else None

    def judge(self, ended: list[Result[T]], *, others: int) -> Result[T] | None:
        """Return the answer, or None to go on, when these attempts have ended and so many others run."""
        for result in ended:
            if result.is_success:  # also when one failed in the same moment
                return result
        for result in ended:
            error = result.error
            if error is None:
                continue
            if others and error.code in NEVER_CALLED:
                self.left = 0
            elif not self._goes_on(error):
                return Failure(with_causes(error, self._errors))
            self._errors.append(error)
        if others or self.left:
            return None
        *before, last = self._errors
        return Failure(with_causes(last, before))

    def _goes_on(self, error: QiError) -> bool:
        try:
            return self._config.hedge_on(error)
        except Exception:  # noqa: BLE001 - logged, and the failure is the answer: nothing here hurts a call
            _log.exception("`hedge_on` failed: there is no further attempt")
            return False


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and wait for their end, even when this one is cancelled: they must not run on."""
    import asyncio

    cancelled: asyncio.CancelledError | None = None
    running: list[asyncio.Task[Any]] = list(tasks)
    for task in running:
        task.cancel()
    while running:
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError as error:
            cancelled = error
        running = [task for task in running if not task.done()]
    if cancelled is not None:
        raise cancelled
