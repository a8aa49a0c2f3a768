"""Health: whether the process lives, and whether it is ready for requests."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias, cast

from pydantic_core import to_json
from qicore.base import Failure, QiError, Result
from starlette.responses import Response

__all__ = ["HealthCheck", "Readiness", "health_routes"]

logger = logging.getLogger("qicore.web")

HealthCheck: TypeAlias = Callable[[], "Awaitable[Result[object]] | Result[object]"]
"""Whether something that the application needs is there: a Success, or the error that says why not."""

_LATE: Final = QiError.timeout("TIMEOUT_ERROR", "the check did not answer in time")


class Readiness:
    """Asks the checks, all at once, and remembers for a moment what they said.

    However many probes come, each check runs once at a time and at most once in `max_age`.

    Args:
        checks: what is checked, by name. The names are shown to whoever asks.
        timeout: seconds that each check may take.
        max_age: seconds for which what the checks said is true enough.
        draining: tells that the process is about to end. It is not ready then, whatever the checks say.
        clock: tells monotonic seconds.

    Raises ValueError for options that can't be: mistakes of the program.

    >>> async def database() -> Result[object]:
    ...     return Result.failure(QiError.network("DB_CONNECT_FAILED", "10.0.0.7 is not there"))
    >>> asyncio.run(Readiness({"database": database}).failures())
    {'database': 'DB_CONNECT_FAILED'}
    """

    def __init__(
        self,
        checks: Mapping[str, HealthCheck],
        *,
        timeout: float = 2.0,
        max_age: float = 1.0,
        draining: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not all(callable(check) for check in checks.values()):
            raise ValueError("checks must be functions, by name")
        if not 0 < timeout < math.inf:
            raise ValueError("timeout must be a number of seconds above 0")
        if not 0 <= max_age < math.inf:
            raise ValueError("max_age must be a number of seconds, 0 or more")
        self.checks: Mapping[str, HealthCheck] = dict(checks)
        self.draining = draining
        self._timeout = timeout
        self._max_age = max_age
        self._clock = clock
        self._known: dict[str, str] = {}
        self._until = -math.inf
        self._round: asyncio.Task[dict[str, str]] | None = None
        self._asked: dict[str, asyncio.Task[Result[object]]] = {}

    async def failures(self) -> dict[str, str]:
        """Return the code of each check that fails, by name: none of them when all is well."""
        if self._clock() < self._until:
            return self._known
        if self._round is None or self._round.done():
            self._round = asyncio.ensure_future(self._ask_all())
        # A probe that gives up does not end the round for the others.
        return await asyncio.shield(self._round)

    async def _ask_all(self) -> dict[str, str]:
        for name, check in self.checks.items():
            # One that is still at it since the last time has had its time already.
            if name not in self._asked or self._asked[name].done():
                self._asked[name] = asyncio.ensure_future(_ask(name, check))
        tasks = dict(self._asked)
        if tasks:
            # Not awaited beyond the timeout: a check may be deaf to its cancellation.
            await asyncio.wait(tasks.values(), timeout=self._timeout)
        errors: dict[str, QiError] = {}
        for name, task in tasks.items():
            error = _LATE if not task.done() or task.cancelled() else task.result().error
            task.cancel()
            if error is not None:
                errors[name] = error
        self._tell(errors)
        self._known = {name: error.code for name, error in errors.items()}
        self._until = self._clock() + self._max_age
        return self._known

    def _tell(self, errors: Mapping[str, QiError]) -> None:
        """Log what changed since the last time: probes come too often to log each."""
        for name, error in errors.items():
            if self._known.get(name) != error.code:
                logger.warning("the health check %r fails: %s", name, error, exc_info=error.__cause__)
        for name in self._known.keys() - errors.keys():
            logger.info("the health check %r passes again", name)


async def _ask(name: str, check: Callable[[], object]) -> Result[object]:
    try:
        answer = check()
        if inspect.isawaitable(answer):
            answer = await answer
    except Exception as error:  # noqa: BLE001 - whatever a check raises, it fails
        return Failure(QiError.from_exception(error))
    if isinstance(answer, Result):
        return cast("Result[object]", answer)
    return Failure(QiError.validation("INVALID_CHECK", f"the check {name!r} answers no Result"))


def health_routes(
    checks: Mapping[str, HealthCheck] | None = None,
    *,
    prefix: str = "/health",
    timeout: float = 2.0,
    max_age: float = 1.0,
    draining: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[tuple[str, Callable[[], Awaitable[Response]]], ...]:
    """Return the paths of liveness and readiness, with the handlers that answer GET there.

    `/health/live` is 200 as long as the process answers; restart it when it does not. `/health/ready` is 200
    when every check succeeds, else 503: send it no requests then. Its body names the checks that fail, with
    the code of their error and nothing else of it. The options are those of `Readiness`.

    >>> from qicore.base import Success
    >>> (live, _), (ready, answer) = health_routes({"cache": lambda: Success(None)})
    >>> live, ready, asyncio.run(answer()).body
    ('/health/live', '/health/ready', b'{"status":"pass","checks":{"cache":{"status":"pass"}}}')
    """
    readiness = Readiness(checks or {}, timeout=timeout, max_age=max_age, draining=draining, clock=clock)

    async def live() -> Response:
        return _response(200, {"status": "pass"})

    async def ready() -> Response:
        if readiness.draining():
            return _response(503, {"status": "fail", "reason": "draining"})
        failures = await readiness.failures()
        told = {
            name: {"status": "fail", "code": failures[name]} if name in failures else {"status": "pass"}
            for name in readiness.checks
        }
        return _response(503 if failures else 200, {"status": "fail" if failures else "pass", "checks": told})

    return (f"{prefix}/live", live), (f"{prefix}/ready", ready)


def _response(status: int, body: Mapping[str, object]) -> Response:
    return Response(
        to_json(body), status, headers={"cache-control": "no-store"}, media_type="application/json"
    )
