"""One call's way through its attempts: whether there is another, and after how long."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from qicore.base import Failure, QiError, Result
from qicore.resilience.retry_config import RetryConfig, RetryEvent

if TYPE_CHECKING:
    from tenacity import RetryCallState

__all__ = ["Course", "is_worth_it", "last"]

T = TypeVar("T")
_log: Final = logging.getLogger("qicore.resilience")

_MAX_EARLIER: Final = 10
"""How many earlier errors the last one tells of. An error is no log."""


class Course:
    """What tenacity asks about one call after each failed attempt, in this order: `wait`, then `stop`.

    Attributes:
        attempts: how many there were so far.
    """

    __slots__ = ("_begun", "_clock", "_config", "_earlier", "_jitter", "_name", "_spent", "attempts")

    def __init__(
        self,
        config: RetryConfig,
        name: str,
        jitter: Callable[[RetryCallState], float],
        clock: Callable[[], float],
        begun: float,
    ) -> None:
        self._config = config
        self._name = name
        self._jitter = jitter
        self._clock = clock
        self._begun = begun
        self._earlier: dict[str, None] = {}  # an ordered set
        self._spent = False
        self.attempts = 0

    def again(self, state: RetryCallState) -> bool:
        """Whether the outcome is worth another attempt."""
        outcome = state.outcome
        if outcome is None or outcome.failed:
            return False  # an attempt raises only what ends the task or the program: that goes on its way
        if self.attempts == 1:
            return True  # the first was judged before there was a course
        error = last(state).error
        return error is not None and is_worth_it(self._config, self._name, error)

    def wait(self, state: RetryCallState) -> float:
        """Return the seconds until the next attempt, if there is one."""
        return (_asked(_error(state)) or 0.0) + self._jitter(state)

    def stop(self, state: RetryCallState) -> bool:
        """Whether there is none. When there is, it is paid for, and told."""
        config, wait, error = self._config, state.upcoming_sleep, _error(state)
        if self.attempts >= config.attempts or (_asked(error) or 0.0) > config.retry_after_max:
            return True
        if config.deadline is not None and self._clock() + wait - self._begun >= config.deadline:
            return True
        if config.budget is not None and not config.budget.withdraw():
            self._spent = True
            return True
        if len(self._earlier) < _MAX_EARLIER:
            self._earlier[str(error)] = None
        self._tell(RetryEvent(self._name, self.attempts, wait, error))
        return False

    def _tell(self, event: RetryEvent) -> None:
        # Without the message: whoever made the error may have put into it what no log should hold.
        _log.info(
            "retry %r: attempt %d failed with %s/%s, the next in %.3f s",
            event.name,
            event.attempt,
            event.error.category.value,
            event.error.code,
            event.wait,
        )
        if self._config.on_retry is not None:
            try:
                self._config.on_retry(event)
            except Exception:  # noqa: BLE001 - logged: what listens never hurts a call
                _log.exception("`on_retry` of retry %r failed", self._name)

    def told(self, result: Result[T]) -> Result[T]:
        """Return the outcome; an error tells of how many attempts it is the last, and how others ended."""
        error = result.error
        if error is None:
            return result
        context: dict[str, object] = {"attempts": self.attempts}
        earlier = [other for other in self._earlier if other != str(error)]
        if earlier:
            context["earlier_errors"] = earlier
        if self._spent:
            context["retry_budget"] = "exhausted"
        return Failure(error.with_context(context))


def is_worth_it(config: RetryConfig, name: str, error: QiError) -> bool:
    """Whether another attempt may end otherwise, if there is one left."""
    if config.attempts == 1:
        return False
    if error.code == "CIRCUIT_OPEN":
        asked = _asked(error)
        return asked is not None and asked <= config.wait_max
    try:
        return config.retry_on(error)
    except Exception:  # noqa: BLE001 - logged, and there is no retry: the failure is the answer
        _log.exception("`retry_on` of retry %r failed: there is no retry", name)
        return False


def last(state: RetryCallState) -> Result[Any]:
    """Return what the last attempt answered."""
    return cast("Result[Any]", cast("Any", state.outcome).result())


def _error(state: RetryCallState) -> QiError:
    return cast("QiError", last(state).error)


def _asked(error: QiError) -> float | None:
    """Return the seconds that an error asks to wait; None if it doesn't, or asks for nonsense."""
    asked = error.context.get("retry_after")
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked >= 0:
        return None
    # An int may be too large for a float.
    return float(asked) if asked < 1e9 else math.inf
