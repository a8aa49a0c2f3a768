"""Hedge: when an answer is slow to come, ask once more, and take whichever is first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Self, TypeVar

from qicore.base import Failure, QiError, Result
from qicore.resilience.checks import Checks
from qicore.resilience.policy import attempt
from qicore.resilience.predicates import is_transient
from qicore.resilience.threads import start

__all__ = ["Hedge", "HedgeConfig"]

T = TypeVar("T")


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
        hedge_on: which errors are worth to wait for the others, or to begin the next at once. Any other is
            the answer.
    """

    delay: float = 0.1
    attempts: int = 2
    hedge_on: Callable[[QiError], bool] = is_transient

    def check(self) -> Result[Self]:
        """Return these options, or INVALID_RESILIENCE_CONFIG [VALIDATION] naming every one that is wrong."""
        return Checks().seconds("delay", self.delay, least=0).whole("attempts", self.attempts).answer(self)


class Hedge:
    """Begins another attempt when one is slow; the first success is the answer.

    Only for what may be done twice. `call` cancels the attempts that lost, and waits until they have ended.
    `call_sync` runs each attempt in a thread of its own, and leaves those that lost to end unheard. When all
    fail, the last Failure is the answer, with the errors before it as its causes.

    Raises ValueError for options that are wrong; `create` answers a Failure.

    >>> from qicore.base import Success
    >>> Hedge(HedgeConfig(delay=1)).call_sync(lambda: Success("quick"))
    Success('quick')
    """

    __slots__ = ("_config",)

    def __init__(self, config: HedgeConfig | None = None) -> None:
        config = config or HedgeConfig()
        wrong = config.check().error
        if wrong is not None:
            raise ValueError(wrong.message)
        self._config = config

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

        left = self._config.attempts - 1
        running = {asyncio.ensure_future(attempt(operation))}
        errors: list[QiError] = []
        try:
            while True:
                done, running = await asyncio.wait(
                    running, timeout=self._config.delay if left else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    result = task.result()
                    if not self._goes_on(result, errors):
                        return result
                if not running and not left:
                    return _failed(errors)
                if left:
                    left -= 1
                    running.add(asyncio.ensure_future(attempt(operation)))
        finally:
            for task in running:
                task.cancel()
            # Also when this task is cancelled: nothing runs on behind it.
            if running:
                await asyncio.wait(running)

    def call_sync(self, operation: Callable[[], Result[T]], /) -> Result[T]:
        """Call `operation`, again while it is slow; answer the first success."""
        left = self._config.attempts - 1
        running = 1
        errors: list[QiError] = []
        answers: SimpleQueue[Result[T]] = SimpleQueue()
        start(operation, answers)
        while True:
            try:
                result = answers.get(timeout=self._config.delay if left else None)
            except Empty:
                pass
            else:
                running -= 1
                if not self._goes_on(result, errors):
                    return result
            if not running and not left:
                return _failed(errors)
            if left:
                left -= 1
                running += 1
                start(operation, answers)

    def _goes_on(self, result: Result[T], errors: list[QiError]) -> bool:
        """Whether to wait for a better answer; the error of this one is kept."""
        if not isinstance(result, Failure) or not self._config.hedge_on(result.error):
            return False
        errors.append(result.error)
        return True


def _failed(errors: list[QiError]) -> Failure:
    error = errors[-1]
    for earlier in reversed(errors[:-1]):
        if earlier is not error:
            error = error.with_cause(earlier)
    return Failure(error)
