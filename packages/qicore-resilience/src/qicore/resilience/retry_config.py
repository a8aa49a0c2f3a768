"""The options of a retry, and what its listener is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

from qicore.base import QiError, Result
from qicore.base.options import Checks
from qicore.resilience.budget import RetryBudget
from qicore.resilience.errors import INVALID_CONFIG
from qicore.resilience.predicates import is_transient

__all__ = ["RetryConfig", "RetryEvent"]


@dataclass(frozen=True, slots=True)
class RetryEvent:
    """An attempt failed, and another follows.

    Attributes:
        name: the retry's.
        attempt: which one failed, from 1 on.
        wait: seconds until the next.
        error: why.
    """

    name: str
    attempt: int
    wait: float
    error: QiError


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryConfig:
    """How often, and how much later, a call is made again. The defaults are meant for production.

    The wait before attempt n + 1 is drawn evenly from 0 to `wait_initial * 2 ** (n - 1)` seconds, at most
    `wait_max`: "full jitter", by which callers that failed together do not come back together. See
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/

    An error may ask for more: `retry_after` in its context, in seconds, as an HTTP header `Retry-After` or a
    rate limiter gives it. The wait is then that and the jitter. When it asks for more than `retry_after_max`,
    or `deadline` comes first, nobody waits: the failure is the answer.

    CIRCUIT_OPEN is not up to `retry_on`. It is waited for if the circuit lets calls through again within
    `wait_max` seconds, and else is the answer at once: that is what the breaker is for.

    >>> RetryConfig(attempts=0).check().error.message
    'attempts must be a whole number of at least 1'

    Attributes:
        attempts: how many there are at most, the first included.
        wait_initial: seconds that the first wait may take.
        wait_max: seconds that a wait drawn here may take.
        deadline: seconds after the call began from which no further attempt begins, or None. It does not end
            one that runs: put a `Timeout` around it, or inside.
        retry_after_max: seconds that are waited at most because the error asks for it.
        retry_on: which errors are worth another attempt. When it raises, that is logged, and there is none.
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
        # Whatever callers without types gave.
        retry_on, budget, on_retry = cast("tuple[object, ...]", (self.retry_on, self.budget, self.on_retry))
        checks.that(callable(retry_on), "retry_on must be a function of an error")
        checks.that(
            budget is None or isinstance(budget, RetryBudget), "budget must be a RetryBudget, or None"
        )
        checks.that(
            on_retry is None or callable(on_retry), "on_retry must be a function of an event, or None"
        )
        return checks.answer(self, INVALID_CONFIG)
